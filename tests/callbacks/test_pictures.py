"""The picture sheets: what is drawn where, in which colour."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segmentation.callbacks import pictures
from segmentation.callbacks.pictures import class_legend, error_map, sheet
from segmentation.inference.classes import Classes, hatching
from segmentation.inference.decision import Decision
from segmentation.model.module import SegmentationModule


def test_the_error_map_tells_the_two_errors_apart_and_leaves_ignored_pixels() -> None:
    image = np.full((1, 5, 1), 100, np.uint8)
    mask = np.array([[0, 1, 0, 1, 255]], np.uint8)
    labels = np.array([[0, 1, 1, 0, 1]], np.uint8)
    drawn = error_map(image, mask, labels, Classes(("membrane", "cell")))
    pale = [100 // 2 + 127] * 3
    assert drawn[0].tolist() == [pale, pale, [230, 60, 40], [40, 110, 230], pale]


def test_the_error_map_of_many_classes_has_one_colour() -> None:
    mask, labels = np.array([[0, 1, 2]], np.uint8), np.array([[2, 1, 0]], np.uint8)
    drawn = error_map(np.zeros((1, 3, 3), np.uint8), mask, labels, Classes(("a", "b", "c")))
    assert drawn[0].tolist() == [[230, 60, 40], [127, 127, 127], [230, 60, 40]]


def test_a_sheet_holds_every_picture_unchanged_when_no_scaling_is_needed() -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (320, 320, 3), dtype=np.uint8) for _ in range(4)]
    drawn = sheet(["one", "two"], [("first", pictures[:2]), ("second", pictures[2:])], [("class", (1, 2, 3))])
    places = [(top, left) for top in (22, 22 + 342) for left in (0, 324)]
    for picture, (top, left) in zip(pictures, places, strict=True):
        assert np.array_equal(drawn[top : top + 320, left : left + 320], picture)
    assert (drawn == (1, 2, 3)).all(-1).sum() > 100  # the legend's colour


def test_small_and_large_pictures_share_the_side() -> None:
    drawn = sheet(["x"], [("s", [np.zeros((8, 16, 3), np.uint8)])], [])
    assert (drawn[22 : 22 + 160, :320] == 0).all()


def test_ignored_pixels_are_in_the_legend_when_there_are_any() -> None:
    classes = Classes(("membrane", "cell"))
    named = [("membrane", (0, 0, 0)), ("cell", (255, 255, 255))]
    without, with_ignored = np.array([[0, 1]], np.uint8), np.array([[0, 255]], np.uint8)
    assert class_legend(classes, [without, without]) == named
    assert class_legend(classes, [without, with_ignored]) == [*named, ("ignored", None)]


def test_the_mark_of_ignored_pixels_is_hatched_as_they_are() -> None:
    black = np.zeros((320, 320, 3), np.uint8)
    drawn = sheet(["x"], [("s", [black])], [("ignored", None)])
    top = 22 + 320 + 22
    assert np.array_equal(drawn[top + 7 : top + 20, 5:18], hatching((320, 320))[:13, :13])
    assert len(np.unique(drawn[top + 7 : top + 20, 5:18])) == 2
    assert (drawn[top + 6, 4:19] == 0).all()  # its frame


def test_a_long_legend_stands_in_columns_below_the_pictures() -> None:
    pictures = [np.zeros((320, 320, 3), np.uint8)] * 4
    colors = [(200, 10 * number, 9) for number in range(20)]
    drawn = sheet(["x"] * 4, [("s", pictures)], [(f"class {number}", color) for number, color in enumerate(colors)])
    assert drawn.shape[0] < 22 + 320 + 22 + 20 * 22 / 4
    tops = {int(np.argwhere((drawn == color).all(-1))[0, 0]) for color in colors}
    assert all((drawn == color).all(-1).sum() == 13 * 13 for color in colors) and 1 < len(tops) < 5


def test_the_best_picture_is_of_the_best_validation_and_shows_its_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    improved = iter([True, False])
    checkpoints = SimpleNamespace(improved=lambda _: next(improved))
    monkeypatch.setattr(pictures.Checkpoints, "of", lambda _: checkpoints)
    drawn: list[Any] = []

    def sheet(_titles: object, rows: Any, _legend: object) -> np.ndarray:
        drawn.append(rows)
        return np.full((4, 4, 3), len(drawn), np.uint8)

    monkeypatch.setattr(pictures, "sheet", sheet)
    module = SegmentationModule({"names": ["membrane", "cell"]}, 1, encoder="tu-test_resnet.r160_in1k")
    trainer: Any = SimpleNamespace(
        is_global_zero=True, sanity_checking=False, loggers=[], state=SimpleNamespace(fn="fit")
    )
    watch, cell = pictures.Pictures(tmp_path), torch.full((2, 1, 8, 8), 0.6)
    for threshold in (0.7, 0.2):
        module.decision = Decision(threshold)
        for number in range(5):
            batch = {
                "id": [f"{number}a", "" if number == 1 else f"{number}b"],  # a filler is no image
                "image": torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
                "mask": torch.ones(2, 8, 8, dtype=torch.long),
            }
            watch.on_validation_batch_end(
                trainer, module, {"probabilities": torch.cat([1 - cell, cell], 1)}, batch, number
            )
        watch.on_validation_end(trainer, module)
    shades = [int(np.array(Image.open(tmp_path / f"{name}.png")).max()) for name in ("best", "validation")]
    assert shades == [1, 2]
    for rows, predicted in zip(drawn, (0, 255), strict=True):
        assert [key for key, _ in rows] == ["0a", "0b", "1a", "2a", "2b", "3a"]
        _, truth, prediction, _ = rows[0][1]
        assert (truth == 255).all()
        assert (prediction == predicted).all()


def test_the_sanity_check_is_not_drawn(tmp_path: Path) -> None:
    watch, module = (
        pictures.Pictures(tmp_path),
        SegmentationModule({"names": ["a", "b"]}, 1, encoder="tu-test_resnet.r160_in1k"),
    )
    trainer: Any = SimpleNamespace(is_global_zero=True, sanity_checking=True)
    batch = {"id": ["a"], "image": torch.zeros(1, 1, 8, 8, dtype=torch.uint8), "mask": torch.ones(1, 8, 8).long()}
    watch.on_validation_batch_end(trainer, module, {"probabilities": torch.full((1, 2, 8, 8), 0.5)}, batch, 0)
    trainer.sanity_checking = False
    watch.on_test_end(trainer, module)
    assert not list(tmp_path.iterdir())
