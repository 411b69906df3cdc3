"""The smallest of what machine and container have left, divided among the processes."""

from pathlib import Path

import pytest

from segmentation.data.free_memory import ASSUMED, free_memory

GB = 2**30


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def write(path: str, text: str) -> None:
    file = Path("system", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def machine(free_gb: int) -> None:
    write("proc/meminfo", f"MemTotal: 1 kB\nMemFree: 1 kB\nMemAvailable:  {free_gb * 2**20} kB\n")


def test_what_caches_files_is_free() -> None:
    machine(16)
    assert free_memory(Path("system")) == 16 * GB


def test_a_container_has_less() -> None:
    machine(16)
    write("proc/self/cgroup", "0::/\n")
    for name, text in (("max", 8 * GB), ("current", 7 * GB), ("stat", f"anon 5\ninactive_file {3 * GB}\n")):
        write(f"sys/fs/cgroup/memory.{name}", f"{text}")
    assert free_memory(Path("system")) == 4 * GB


def test_the_limit_of_a_group_above_counts() -> None:
    machine(16)
    write("proc/self/cgroup", "0::/job/step\n")
    for group, limit in (("job", 6 * GB), ("job/step", "max")):
        for name, text in (("max", limit), ("current", GB), ("stat", "inactive_file 0")):
            write(f"sys/fs/cgroup/{group}/memory.{name}", f"{text}\n")
    assert free_memory(Path("system")) == 5 * GB


def test_groups_of_the_first_version() -> None:
    machine(16)
    write("proc/self/cgroup", "5:cpu:/job\n4:memory:/job\n")
    for name, text in (("limit_in_bytes", 2 * GB), ("usage_in_bytes", 3 * GB), ("stat", f"total_inactive_file {GB}")):
        write(f"sys/fs/cgroup/memory/job/memory.{name}", f"{text}\n")
    assert free_memory(Path("system")) == 0


def test_processes_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(16)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert free_memory(Path("system")) == 2 * GB
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_memory(Path("system")) == 4 * GB


def test_a_system_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert free_memory(Path("nowhere")) == ASSUMED


def test_this_machine_has_some() -> None:
    assert free_memory() > 2**20
