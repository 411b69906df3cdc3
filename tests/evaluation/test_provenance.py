"""With what a result was computed: the commit of a checkout, and the versions that are there."""

import subprocess
from pathlib import Path

import pytest

from segmentation.evaluation import provenance as module
from segmentation.evaluation.provenance import commit, provenance


def test_the_commit_is_that_of_a_tracked_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*args: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", str(tmp_path), *who, *args], check=True, capture_output=True)

    for name in ("tracked.py", "installed.py"):
        (tmp_path / name).touch()
    git("init")
    git("add", "tracked.py")
    git("commit", "-m", "one")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "installed.py"))
    assert commit() == ""
    monkeypatch.setattr(module, "__file__", str(tmp_path / "tracked.py"))
    clean = commit()
    assert clean.startswith("commit ") and not clean.endswith("-dirty")
    (tmp_path / "tracked.py").write_text("changed")
    assert commit() == f"{clean}-dirty"


def test_a_package_that_is_not_there_is_said() -> None:
    facts = provenance("numpy", "no-such-package")
    assert ", numpy " in facts["versions"] and facts["versions"].endswith(", no no-such-package")
    assert " threads; " in facts["machine"] and facts["program"].startswith("segmentation ")


def test_a_system_that_does_not_name_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_cpuinfo", dict)
    assert provenance()["CPU flags"] == "unknown"
