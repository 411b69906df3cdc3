"""The run of a split is found again."""

from pathlib import Path

import pytest

from segmentation.callbacks.runs import find_checkpoint, folder_of_fit
from segmentation.data.splits import write_split
from segmentation.errors import InputError


def test_a_run_that_left_samples_unused_is_found_by_its_split(tmp_path: Path) -> None:
    split = {"train": ["a"], "val": ["b"], "test": []}
    checkpoint = tmp_path / "one" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    write_split(tmp_path / "one" / "split.json", split, ["c"])
    assert find_checkpoint("best", tmp_path, split) == checkpoint
    with pytest.raises(InputError, match="is that of no run"):
        find_checkpoint("best", tmp_path, split | {"val": ["c"]})


def test_a_named_folder_is_used_unless_it_holds_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "mine"
    named.mkdir()
    (named / "notes.txt").touch()
    assert folder_of_fit(tmp_path, str(named), None) == named
    (named / "config.yaml").touch()
    with pytest.raises(
        InputError, match=r"holds a run already \(config.yaml\).*--ckpt_path .*mine/checkpoints/last.ckpt"
    ):
        folder_of_fit(tmp_path, str(named), None)
    monkeypatch.setenv("LOCAL_RANK", "1")  # a further process of the run that made it
    assert folder_of_fit(tmp_path, str(named), None) == named


def test_a_resumed_run_goes_on_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder_of_fit(Path("runs"), "mine", tmp_path / "mine") == tmp_path / "mine"
    with pytest.raises(InputError, match="goes on in its own folder, mine; leave --run_folder out"):
        folder_of_fit(Path("runs"), "other", Path("mine"))
