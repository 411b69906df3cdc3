"""The run of a split is found again."""

from pathlib import Path

import pytest

from segmentation.callbacks.runs import find_checkpoint
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
