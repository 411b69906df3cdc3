"""Scores over folds: numbers by hand."""

import csv
import json
import math
from pathlib import Path

import pytest

from segmentation.evaluation.folds import fold_table, over_folds, write_scores

FOLDS = [
    {"scored": "validation", "epoch": 3, "dice": 0.8, "dice/a": 0.5, "iou": None, "v_rand": None},
    {"scored": "validation", "epoch": 9, "dice": 0.9, "dice/a": 0.7, "iou": 0.6, "v_rand": None},
    {"scored": "validation", "epoch": 9, "dice": 0.7, "dice/a": 0.6, "iou": 0.4, "v_rand": None},
]
POOLED = {"dice": (0.81, 0.75, 0.86), "hd95": (3.5, math.nan, math.nan)}


def test_mean_and_standard_deviation_by_hand() -> None:
    scores = over_folds(FOLDS, POOLED)
    assert list(scores) == ["dice", "dice/a", "iou", "v_rand", "hd95"]
    dice = scores["dice"]
    assert (dice.mean, dice.sd) == pytest.approx((0.8, 0.1))  # sqrt((0 + 0.01 + 0.01) / 2)
    assert (dice.pooled, dice.low, dice.high) == (0.81, 0.75, 0.86)
    # a score that a fold does not have is left out of both
    assert scores["iou"].folds == [None, 0.6, 0.4]
    assert (scores["iou"].mean, scores["iou"].sd) == pytest.approx((0.5, math.sqrt(0.02)))
    assert (scores["v_rand"].mean, scores["v_rand"].sd) == (None, None)
    assert (scores["hd95"].mean, scores["hd95"].pooled, scores["hd95"].low) == (None, 3.5, None)


def test_one_fold_with_the_score_has_no_deviation() -> None:
    assert over_folds([{"iou": 0.5}, {"iou": None}], {})["iou"].sd is None


def test_what_is_written_is_what_was_computed(tmp_path: Path) -> None:
    scores = over_folds(FOLDS, POOLED)
    write_scores(scores, {"folds": 3}, tmp_path)
    told = json.loads((tmp_path / "crossval.json").read_text())
    assert told["folds"] == 3
    assert told["scores"]["dice"] == {
        **{"mean": scores["dice"].mean, "sd": scores["dice"].sd, "folds": [0.8, 0.9, 0.7]},
        **{"pooled": 0.81, "low": 0.75, "high": 0.86},
    }
    with (tmp_path / "crossval.csv").open(newline="") as file:
        rows = {row["score"]: row for row in csv.DictReader(file)}
    assert rows["iou"]["fold0"] == "" and float(rows["iou"]["fold1"]) == 0.6
    assert float(rows["dice"]["high"]) == 0.86


def test_the_terminal_shows_the_pool_beside_the_mean() -> None:
    shown = fold_table(over_folds(FOLDS, POOLED), "three folds")
    cells = {column.header: list(column.cells) for column in shown.columns}
    place = cells["score"].index("dice")
    assert (cells["mean"][place], cells["sd"][place], cells["pooled"][place]) == ("0.8000", "0.1000", "0.8100")
    assert cells["95 % interval"][place] == "0.7500 to 0.8600"
