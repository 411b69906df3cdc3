"""find_batch_size: up to --max on a CPU, and until memory is full, which is acted here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from segmentation.model.distillation import Distillation
from segmentation.model.module import SegmentationModule

Run = Callable[..., int]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Let steps of more crops than this fail as on a full GPU; gives the sizes that were tried."""
    step = SegmentationModule.training_step
    tried: list[int] = []

    def limit(crops: int) -> list[int]:
        def limited(self: SegmentationModule, batch: Any, index: int) -> torch.Tensor:
            size = len(batch["image"])
            tried.append(size)
            if size > crops:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return step(self, batch, index)

        monkeypatch.setattr(SegmentationModule, "training_step", limited)
        return tried

    return limit


def found() -> object:
    return yaml.safe_load(Path("size.yaml").read_text())


@pytest.mark.parametrize("most", [4, 7])
def test_on_a_cpu_the_largest_that_is_asked_for(run: Run, synthetic, quick, capsys, memory, most: int) -> None:
    tried = memory(1000)
    assert run("find_batch_size", *synthetic, *quick, "--out", "size.yaml", "--max", most) == 0
    assert tried == [2, 2, 2, 4, 4, 4]  # each with some steps, the last one too
    assert found() == {"data": {"batch_size": 4}}
    assert "Batch size: 4 (the largest that --max allows)" in capsys.readouterr().out
    assert {path.name for path in Path().rglob("*")} == {"size.yaml"}


def test_teachers_teach_in_the_search(run: Run, synthetic, quick, trained: Path, monkeypatch) -> None:
    """Else their memory would not count, and find_lr would look at another loss."""
    lessons, taught = [], Distillation.taught

    def counted(self: Distillation, image: Any, logits: Any, loss: Any) -> torch.Tensor:
        lessons.append(len(image))
        return taught(self, image, logits, loss)

    monkeypatch.setattr(Distillation, "taught", counted)
    args = (*synthetic, *quick, "--distillation.teacher", trained, "--model.ema", 0.9)
    assert run("find_batch_size", *args, "--out", "size.yaml", "--max", 4) == 0
    assert lessons == [2, 2, 2, 4, 4, 4]


def test_a_full_memory_ends_the_search(run: Run, synthetic, quick, capsys, memory) -> None:
    tried = memory(4)
    args = (*synthetic, *quick, "--trainer.accumulate_grad_batches", 2)
    assert run("find_batch_size", *args, "--out", "size.yaml", "--max", 64) == 0
    assert tried == [2] * 6 + [4] * 6 + [8]
    assert found() == {"data": {"batch_size": 4}}
    assert "Batch size: 4 (twice as many do not fit)" in capsys.readouterr().out
    assert run("fit", *args, "--config", "size.yaml", "--run_folder", "run") == 0
    assert yaml.safe_load(Path("run/config.yaml").read_text())["data"]["batch_size"] == 4


def test_a_crop_that_never_fits_is_said(run: Run, synthetic, quick, capsys, memory) -> None:
    memory(0)
    assert run("find_batch_size", *synthetic, *quick, "--out", "size.yaml") == 1
    assert "not even one crop fits into memory; set a smaller data.crop" in capsys.readouterr().err
    assert not list(Path().rglob("*"))


def test_other_errors_are_not_taken_for_a_full_memory(run: Run, synthetic, quick, capsys) -> None:
    assert run("find_batch_size", *synthetic, *quick, "--out", "size.yaml", "--max", 3) == 1
    assert "--max is 3; give 4 or more" in capsys.readouterr().err
    assert run("find_batch_size", *synthetic, *quick, "--out", "size.yaml", "--data.fold", 9) == 1
    assert "fold" in capsys.readouterr().err
