"""How much memory is left for this process."""

import os
from collections.abc import Iterator
from pathlib import Path

ASSUMED = 4 * 2**30
"""Bytes, on systems that do not say."""


def free_memory(system: Path = Path("/")) -> int:
    """Bytes that may still be taken: what machine and container have left, shared by the processes of a training here.

    Memory that only caches files counts as free.

    Args:
        system: Where ``proc`` and ``sys`` lie.
    """
    left = min([_of_machine(system), *_of_groups(system)])
    return max(0, left) // _processes()


def _of_machine(system: Path) -> int:
    try:
        lines = dict(line.split(":", 1) for line in (system / "proc/meminfo").read_text(encoding="utf-8").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return ASSUMED


def _of_groups(system: Path) -> Iterator[int]:
    """What each control group of this process has left: the limits of containers and of jobs on a cluster."""
    try:
        groups = [line.split(":", 2) for line in (system / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, path in groups:
        if controllers == "":  # version 2
            top, names = system / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif controllers == "memory":
            top = system / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = top / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group.is_relative_to(top):
                yield from _of_group(group, *names)


def _of_group(group: Path, limit: str, used: str, cached: str) -> Iterator[int]:
    try:
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
        yield (
            int((group / limit).read_text(encoding="utf-8"))
            - int((group / used).read_text(encoding="utf-8"))
            + int(stat.get(cached, 0))
        )
    except (OSError, ValueError):  # of another version, or "max"
        return


def _processes() -> int:
    """Of one training on this machine, as torchrun, Lightning or SLURM say."""
    for name in ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE", "WORLD_SIZE"):
        text = os.environ.get(name, "")
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return 1
