"""The run of a split is found again."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segmentation.callbacks.runs import RunFolder, claimed_folder, find_checkpoints, folder_of_fit, told
from segmentation.data.splits import write_split
from segmentation.errors import InputError


def test_a_run_that_left_samples_unused_is_found_by_its_split(tmp_path: Path) -> None:
    split = {"train": ["a"], "val": ["b"], "test": []}
    checkpoint = tmp_path / "one" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    write_split(tmp_path / "one" / "split.json", split, ["c"])
    assert find_checkpoints("best", tmp_path, split) == [checkpoint]
    with pytest.raises(InputError, match="is that of no run"):
        find_checkpoints("best", tmp_path, split | {"val": ["c"]})


def test_a_named_folder_is_used_unless_it_holds_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "mine"
    named.mkdir()
    (named / "notes.txt").touch()
    assert folder_of_fit(str(named), None) == named
    (named / "config.yaml").touch()
    with pytest.raises(InputError, match=r"holds a run already \(config.yaml\); give another folder$"):
        folder_of_fit(str(named), None)
    (named / "checkpoints").mkdir()
    (named / "checkpoints/last.ckpt").touch()
    with pytest.raises(
        InputError, match=r"holds a run already \(config.yaml\).*--ckpt_path .*mine/checkpoints/last.ckpt"
    ):
        folder_of_fit(str(named), None)
    monkeypatch.setenv("LOCAL_RANK", "1")  # a further process of the run that made it
    assert folder_of_fit(str(named), None) == named


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    with claimed_folder(tmp_path / "isbi") as first, claimed_folder(tmp_path / "isbi") as second:
        assert first != second
        (first / "config.yaml").touch()
        (second / "config.yaml").touch()
    assert sorted((tmp_path / "isbi").iterdir()) == sorted([first, second])


def test_a_folder_into_which_nothing_was_written_is_gone(tmp_path: Path) -> None:
    with claimed_folder(tmp_path / "isbi") as folder:
        assert folder.is_dir()
    assert not (tmp_path / "isbi").exists()


@pytest.mark.parametrize("rank", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_a_further_process_claims_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    with claimed_folder(tmp_path / "isbi") as first:
        monkeypatch.setenv(rank, "1")
        with claimed_folder(tmp_path / "isbi") as second:
            assert second == first
        assert first.is_dir()
        assert len(list((tmp_path / "isbi").iterdir())) == 1


def test_a_named_folder_holds_no_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/isbi/1/checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match="runs/isbi is the folder of other runs, such as runs/isbi/1; give another"):
        folder_of_fit("runs/isbi", None)


def test_a_resumed_run_goes_on_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder_of_fit("mine", tmp_path / "mine") == tmp_path / "mine"
    with pytest.raises(InputError, match="goes on in its own folder, mine; leave --run_folder out"):
        folder_of_fit("other", Path("mine"))


def test_the_newest_run_is_used_and_a_better_one_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / name / "checkpoints/best.ckpt" for name in ("new", "old", "older", "broken")]
    for path, score in zip(paths, (0.48, 0.79, 0.6, None), strict=True):
        path.parent.mkdir(parents=True)
        (path.parent.parent / "scores.json").write_text(
            "{" if score is None else f'{{"iou": {score}, "iou/blossom": {score}, "loss": {score}}}'
        )
    assert told(paths, "val/iou") == (
        f"Checkpoint: {paths[0]}, of the newest of 4 runs (iou 0.4800); {paths[1]} has the best iou, 0.7900"
    )
    assert f"{paths[1]} has the best iou/blossom, 0.7900" in told(paths, "val/iou/blossom")
    assert told(paths, "val/loss") == f"Checkpoint: {paths[0]}, of the newest of 4 runs"
    assert told(paths[3:], "val/iou") == f"Checkpoint: {paths[3]}"


@pytest.mark.parametrize(("words", "name"), [("seed_everything", "config.yaml"), ("unused", "split.json")])
def test_what_a_full_disk_cut_is_not_there(
    tmp_path: Path, disk_full: Callable[[str], None], words: str, name: str
) -> None:
    split = {"train": ["a"], "val": ["b"], "test": []}
    data = SimpleNamespace(split=split, unused=["c"])
    trainer: Any = SimpleNamespace(is_global_zero=True, datamodule=data, loggers=[])
    disk_full(words)
    folder = RunFolder(None, None, tmp_path, resumed=False, text="seed_everything: 0\n")
    with pytest.raises(OSError, match="No space left"):
        folder.setup(trainer, SimpleNamespace(), "fit")  # type: ignore[arg-type]
    assert not (tmp_path / name).exists()


def test_two_fits_do_not_begin_in_one_named_folder(tmp_path: Path) -> None:
    trainer: Any = SimpleNamespace(is_global_zero=True, datamodule=SimpleNamespace(split={}, unused=[]), loggers=[])
    first, second = (RunFolder(None, None, tmp_path, resumed=False, text=text) for text in ("a: 1", "b: 2"))
    first.setup(trainer, SimpleNamespace(), "fit")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="another fit has just begun in .*; give another --run_folder"):
        second.setup(trainer, SimpleNamespace(), "fit")  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "split.json"]
    assert (tmp_path / "config.yaml").read_text() == "a: 1"
