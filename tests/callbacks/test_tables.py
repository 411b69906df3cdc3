"""The score table, and the warning when a network predicts one class."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from segmentation.callbacks.tables import WarnOneClass, tables
from segmentation.metrics.region import region_scores
from segmentation.model.module import SegmentationModule


def module() -> SegmentationModule:
    return SegmentationModule({"names": ["background", "lesion"]}, 1, encoder="tu-test_resnet.r160_in1k")


def trainer_after(counts: list[list[int]]) -> Any:
    scores = region_scores(torch.tensor(counts).numpy(), ("background", "lesion"))
    metrics = {f"val/{name}": torch.tensor(value) for name, value in scores.items()}
    return SimpleNamespace(sanity_checking=False, state=SimpleNamespace(fn="fit"), callback_metrics=metrics)


def test_it_warns_once_after_three_validations_of_one_class() -> None:
    watch, one_class, both = WarnOneClass(patience=3), [[9, 0], [4, 0]], [[9, 0], [3, 1]]
    network = module()
    for counts in (one_class, one_class, both, one_class, one_class):
        watch.on_validation_end(trainer_after(counts), network)
    with pytest.warns(UserWarning, match="3 validations in a row found nothing but 'background'"):
        watch.on_validation_end(trainer_after(one_class), network)


def test_the_tables_name_every_class_and_round_nothing_away() -> None:
    scores = region_scores(torch.tensor([[8, 2], [1, 9]]).numpy(), ("background", "lesion")) | {"threshold": 0.25}
    console = Console(record=True, width=120)
    for table in tables(scores, ("background", "lesion"), "test"):
        console.print(table)
    text = console.export_text()
    lesion = next(line for line in text.splitlines() if "lesion" in line)
    assert lesion.split("│")[2].strip() == f"{9 / 12:.4f}"
    assert "0.2500" in text
    assert "accuracy" in text


def test_a_class_in_brackets_is_shown_as_it_is_called(
    run: Callable[..., int], folder_data: Path, quick, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ("--data.source", "FolderSource", "--data.source.root", folder_data)
    assert run("fit", *source, "--data.source.classes", "[background, 'cell [/x]']", *quick) == 0
    assert "cell [/x]" in capsys.readouterr().out


def test_scores_that_a_full_disk_cut_are_not_there(
    run: Callable[..., int], synthetic, quick, disk_full: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    disk_full('"scored"')
    assert run("fit", *synthetic, *quick, "--run_folder", "full") == 1
    assert "no space left on the disk" in capsys.readouterr().err
    assert Path("full/checkpoints/best.ckpt").is_file() and not Path("full/scores.json").exists()
