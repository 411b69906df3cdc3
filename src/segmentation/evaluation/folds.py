"""The scores of a cross-validation: mean and standard deviation over folds, beside those of all samples pooled."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from segmentation.data.replacing import write_json

NO_SCORES = ("scored", "epoch", "smallest_object", "largest_hole")
"""Entries of a run's scores.json that are not averaged."""


@dataclass(frozen=True)
class FoldScore:
    """One score; None where it is undefined.

    Attributes:
        mean: Over the folds that have it.
        sd: Standard deviation over these folds (n - 1).
        folds: Of each fold, by its best checkpoint on its validation samples.
        pooled: Of all samples together, each predicted by the fold that did not train on it.
        low: 2.5 % end of the interval of ``pooled``.
        high: 97.5 % end.
    """

    mean: float | None
    sd: float | None
    folds: list[float | None]
    pooled: float | None = None
    low: float | None = None
    high: float | None = None


def over_folds(
    folds: Sequence[Mapping[str, Any]], pooled: Mapping[str, tuple[float, float, float]]
) -> dict[str, FoldScore]:
    """Bring the scores of the folds and of all samples together.

    Args:
        folds: The scores.json of each fold.
        pooled: Score -> value and the ends of its interval, of all samples.

    Returns:
        Score -> its values; first what the folds have, then what only the pool has.
    """
    names = dict.fromkeys([name for fold in folds for name in fold if name not in NO_SCORES] + list(pooled))
    return {name: _score([fold.get(name) for fold in folds], pooled.get(name)) for name in names}


def write_scores(scores: Mapping[str, FoldScore], about: Mapping[str, Any], out: Path) -> None:
    """Write crossval.json and crossval.csv; the files there are of fewer finished folds or the same.

    Args:
        scores: As ``over_folds`` gives them.
        about: What else crossval.json says.
        out: The folder.
    """
    told = dict(about) | {"scores": {name: asdict(score) for name, score in scores.items()}}
    write_json(out / "crossval.json", told)
    count = max((len(score.folds) for score in scores.values()), default=0)
    with (out / "crossval.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["score", "mean", "sd", *(f"fold{fold}" for fold in range(count)), "pooled", "low", "high"])
        for name, score in scores.items():
            writer.writerow([name, score.mean, score.sd, *score.folds, score.pooled, score.low, score.high])


def fold_table(scores: Mapping[str, FoldScore], title: str) -> Table:
    """For the terminal: the scores over all classes, and the Dice of each class."""
    shown = Table("score", "mean", "sd", "pooled", "95 % interval", title=title)
    for name, score in scores.items():
        if "/" in name and not name.startswith("dice/"):
            continue
        ends = "" if score.low is None or score.high is None else f"{score.low:.4f} to {score.high:.4f}"
        shown.add_row(name, *map(_text, (score.mean, score.sd, score.pooled)), ends)
    return shown


def _score(folds: list[Any], pooled: tuple[float, float, float] | None) -> FoldScore:
    values: list[float | None] = [None if value is None else float(value) for value in folds]
    known = [value for value in values if value is not None]
    ends = [None if math.isnan(value) else value for value in pooled or (math.nan,) * 3]
    return FoldScore(mean(known) if known else None, stdev(known) if len(known) > 1 else None, values, *ends)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
