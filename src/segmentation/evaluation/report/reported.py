"""What a report left in its folder, read back."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.callbacks.runs import stored_scores
from segmentation.errors import InputError
from segmentation.model.checkpoint import RUN
from segmentation.typed import typed

SCORES, IMAGES, PICTURES = "scores.json", "images.csv", "pictures"


@dataclass(frozen=True)
class Reported:
    """The scores of one report.

    Attributes:
        folder: Of the report.
        scored: What was scored, in words.
        split: train, val or test.
        data: Digest of the ids and pixels of what was scored; empty where it is not known.
        tolerance: Of the surface Dice, in pixels; None where it is not known.
        checkpoints: Whose predictions were scored.
        decision: How probabilities became labels, in words; empty where it is not known.
        classes: Their names.
        scores: Score -> (value over the data set, low and high end of its 95 % interval); NaN where undefined.
        ids: Of the N images.
        groups: Of each image; empty where it has none.
        sizes: (height, width) of each image.
        truths: Digest of the mask of each image; empty where it is not known.
        values: Score -> (N,) float64, the values of the images; NaN where undefined.
        pictures: Image -> its picture, where the report drew one.
    """

    folder: Path
    scored: str
    split: str
    data: str
    tolerance: float | None
    checkpoints: tuple[str, ...]
    decision: str
    classes: tuple[str, ...]
    scores: dict[str, tuple[float, float, float]]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    truths: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]
    pictures: dict[str, Path]

    def whole(self, score: str) -> float:
        """The value over the data set."""
        return self.scores.get(score, (math.nan,))[0]

    def of(self, score: str, ids: Sequence[str]) -> NDArray[np.float64]:
        """(N,) the values of these images; NaN where the report does not have the score by image."""
        if score not in self.values:
            return np.full(len(ids), np.nan)
        by_id = dict(zip(self.ids, self.values[score], strict=True))
        return np.array([by_id[key] for key in ids], np.float64)


def find_report(path: Path) -> Path:
    """The report that a path means: itself, or the newest one of a run, a cross-validation or all runs of a config.

    Raises:
        InputError: When there is none, with the command that makes one.
    """
    for folders in ([path], path.glob("report*"), path.glob(f"{RUN}/report-*")):
        there = [folder for folder in folders if (folder / IMAGES).is_file() and (folder / SCORES).is_file()]
        made = [folder for folder in there if is_whole(folder)] or there  # read_report says what is wrong
        if made:
            return max(made, key=lambda folder: (folder / SCORES).stat().st_mtime)
    if not path.exists():
        raise InputError(f"{path} does not exist; give the folders of reports or runs")
    raise InputError(f"{path} holds no report; make one: {typed('report', ckpt_path=path)}")


def read_report(folder: Path) -> Reported:
    """Read a report.

    Raises:
        InputError: When its files cannot be read or are not those of a report.
    """
    try:
        stored = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        with (folder / IMAGES).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        scores = {
            name: (_number(score["value"]), _number(score["low"]), _number(score["high"]))
            for name, score in stored["scores"].items()
        }
        return Reported(
            folder=folder,
            scored=str(stored["scored"]),
            split=str(stored["split"]),
            data=str(stored.get("data") or ""),
            tolerance=None if (tolerance := stored.get("tolerance")) is None else float(tolerance),
            checkpoints=tuple(map(str, stored["checkpoints"])),
            decision=str(stored.get("identity", {}).get("Checkpoint", {}).get("decision") or ""),
            classes=tuple(map(str, stored["classes"])),
            scores=scores,
            ids=tuple(row["id"] for row in rows),
            groups=tuple(row["group"] for row in rows),
            sizes=tuple((int(row["height"]), int(row["width"])) for row in rows),
            truths=tuple(row.get("truth") or "" for row in rows),
            values={
                name: np.array([_number(row[name]) for row in rows]) for name in scores if rows and name in rows[0]
            },
            pictures={row["id"]: folder / PICTURES / row["picture"] for row in rows if row.get("picture")},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder} is no report that can be read ({type(error).__name__}: {error}); make it anew: "
            "python -m segmentation report --ckpt_path ..."
        ) from error


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a finished report; a run has a scores.json too."""
    return (folder / IMAGES).is_file() and stored_scores(folder) is not None


def _number(value: Any) -> float:
    return math.nan if value in (None, "") else float(value)
