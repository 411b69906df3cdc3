"""A search's trials as a table and a plot."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segmentation.evaluation.study import Tried, best_of, draw, write_table

TRIED = [
    Tried(0, "complete", 0.80, {"model.lr": 1e-3, "data.augment": "em"}, 61.4),
    Tried(1, "pruned", 0.99, {"model.lr": 1e-1, "data.augment": "flips"}, 20.0),
    Tried(2, "failed", None, {"model.lr": 3e-3, "data.augment": "em"}, 1.0, "killed by signal 9"),
    Tried(3, "complete", 0.85, {"model.lr": 1e-2, "data.augment": "flips"}, 60.0),
    Tried(4, "running", None, {"model.lr": 2e-2, "data.augment": "flips"}),
]


def test_the_best_is_complete_and_the_lowest_of_losses() -> None:
    best = best_of(TRIED, "val/iou")
    assert best is not None and best.number == 3
    best = best_of(TRIED, "val/loss")
    assert best is not None and best.number == 0
    best = best_of(TRIED, "val/iou/blossom")
    assert best is not None and best.number == 3
    assert best_of(TRIED[1:3], "val/iou") is None


def test_the_table_has_every_trial() -> None:
    write_table(TRIED, ["model.lr", "data.augment"], Path("trials.csv"))
    with Path("trials.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["trial", "state", "score", "model.lr", "data.augment", "seconds", "problem"]
    assert rows[1] == ["0", "complete", "0.8", "0.001", "em", "61", ""]
    assert rows[3] == ["2", "failed", "", "0.003", "em", "1", "killed by signal 9"]
    assert rows[5] == ["4", "running", "", "0.02", "flips", "", ""]


def test_the_plot_shows_the_best_and_those_stopped_early() -> None:
    draw(TRIED, {"model.lr"}, "val/iou", Path("both.png"))
    draw([one for one in TRIED if one.state == "complete"], {"model.lr"}, "val/iou", Path("complete.png"))
    both, complete = (_pixels(name) for name in ("both.png", "complete.png"))
    assert both.shape == complete.shape and (both != complete).any()
    red = (both[..., 0] > 200) & (both[..., 1] < 100) & (both[..., 2] < 110)
    assert red.sum() > 300  # a star in the history and one along each argument


def test_the_plot_does_not_take_a_class_for_a_loss() -> None:
    for monitor in ("val/iou/blissum", "val/iou/blossom"):
        draw(TRIED, {"model.lr"}, monitor, Path(f"{monitor[-7:]}.png"))
    drawn = [_pixels(f"{name}.png")[:, 100:] for name in ("blissum", "blossom")]  # right of the title of the axis
    assert (drawn[0] == drawn[1]).all()


def _pixels(name: str) -> Any:
    with Image.open(name) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_one_trial_and_many_arguments_are_drawn() -> None:
    values = {f"model.{name}": 1.0 for name in "abcdefg"} | {"model.network": "$x" * 20}
    draw([Tried(0, "complete", 0.5, values)], set(), "val/loss", Path("one.png"))
    with Image.open("one.png") as plot:
        assert plot.height > 1000
