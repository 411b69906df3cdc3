"""Digests and the program's commit."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segmentation.evaluation.report import identity


def scored(**digests: str) -> Any:
    return SimpleNamespace(digests=digests)


def test_the_digest_is_of_the_samples_wherever_they_lie() -> None:
    whole = identity.data_digest([scored(a="1", b="2", c="3")])
    assert identity.data_digest([scored(c="3"), scored(b="2", a="1")]) == whole
    assert identity.data_digest([scored(a="1", b="2", c="4")]) != whole
    assert identity.data_digest([scored(a="1", b="2")]) != whole


def test_the_hash_of_a_file_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert identity.sha256(tmp_path / "file").startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1


def test_the_commit_is_that_of_a_tracked_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*args: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", str(tmp_path), *who, *args], check=True, capture_output=True)

    for name in ("tracked.py", "installed.py"):
        (tmp_path / name).touch()
    git("init")
    git("add", "tracked.py")
    git("commit", "-m", "one")
    monkeypatch.setattr(identity, "__file__", str(tmp_path / "installed.py"))
    assert identity.commit() == ""
    monkeypatch.setattr(identity, "__file__", str(tmp_path / "tracked.py"))
    clean = identity.commit()
    assert clean.startswith("commit ") and not clean.endswith("-dirty")
    (tmp_path / "tracked.py").write_text("changed")
    assert identity.commit() == f"{clean}-dirty"
