"""What ``check`` found, and which samples of a data set are worth a look."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.checking.findings import Facts
from segmentation.data.problems import Problem
from segmentation.data.splits import Split
from segmentation.data.spreading import spread
from segmentation.data.survey import Record, class_pixels
from segmentation.inference.classes import Classes

PICTURES = 24


@dataclass(frozen=True)
class Report:
    """What ``check`` found.

    Attributes:
        name: Of the data set.
        place: What was checked: a folder, or a config.
        problems: What keeps a training from running or from learning anything.
        warnings: What its result suffers from.
        seen: Label -> what was recognised and why.
        classes: Of the data set; None when it could not be opened.
        facts: Of the samples that could be read; None when there are none.
        split: Who trains; None when it is not known.
        shares: List -> (samples, share of each class in its pixels).
        config: The text of the config.
        settings: What the config says, plain values.
        commands: What to run next.
    """

    name: str
    place: str
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    seen: dict[str, str] = field(default_factory=dict)
    classes: Classes | None = None
    facts: Facts | None = None
    split: Split | None = None
    shares: dict[str, tuple[int, tuple[float, ...]]] = field(default_factory=dict)
    config: str = ""
    settings: dict[str, Any] | None = None
    commands: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether a training with this config would run and have something to learn."""
        return not self.problems


def shares_of(records: Sequence[Record], split: Split | None) -> dict[str, tuple[int, tuple[float, ...]]]:
    """List -> how many of its samples were read, and the share of each class in their pixels."""
    result = {}
    for name, ids in (split or {}).items():
        wanted = set(ids)
        listed = [record for record in records if record.id in wanted]
        if listed:
            pixels = class_pixels(listed)
            result[name] = (len(listed), tuple((pixels / max(1, int(pixels.sum()))).tolist()))
    return result


def chosen(records: Sequence[Record], classes: Classes, count: int = PICTURES) -> dict[str, str]:
    """Samples to look at -> why: those most likely wrong, those with the rarest classes, and a spread of the rest."""
    counts = np.stack([record.class_pixels for record in records]).astype(float)
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    picked: dict[str, str] = {}

    def pick(order: Sequence[int] | NDArray[np.intp], note: str, most: int = 2) -> None:
        for index in list(order)[:most]:
            picked.setdefault(records[int(index)].id, note)

    deviations = [record.deviation for record in records]
    areas = [record.pixels for record in records]
    if min(areas) < np.median(areas) / 2:
        pick([int(np.argmin(areas))], "smallest")
    if max(areas) > np.median(areas) * 2:
        pick([int(np.argmax(areas))], "largest")
    pick(np.argsort(deviations, kind="stable"), "least contrast", 1)
    pick(np.flatnonzero((counts > 0).sum(1) <= 1), "one class only")
    for index in np.argsort(counts.sum(0), kind="stable")[: count // 3]:
        if counts[:, index].any():
            pick([int(np.argmax(shares[:, index]))], f"most {classes.names[index]}")
    picked = dict(list(picked.items())[: count * 2 // 3])
    rest = [record.id for record in records if record.id not in picked]
    return picked | dict.fromkeys(spread(rest, count - len(picked)), "")
