"""Two or more reports side by side: which images they share, what differs, and the verdict in words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segmentation.errors import InputError, nearest
from segmentation.evaluation.comparison.doubts import settings, tolerances, warnings
from segmentation.evaluation.comparison.paired import EQUAL, Difference, differences, image_differences, paired, sign
from segmentation.evaluation.report.reported import Reported

Change = tuple[str, float, float]
"""An image, its score in the baseline and in another report."""


@dataclass(frozen=True)
class Comparison:
    """Two or more reports; the first is the baseline.

    Attributes:
        reports: Called A, B, ... in this order.
        score: What the verdicts are about.
        ids: The images that all have.
        left_out: Images that some do not have.
        differences: For each report but the first, score -> its difference from the first.
        warnings: What makes the comparison doubtful.
        settings: Key of the config -> its value in each report, where they differ; empty where it is not set.
            None when a config was not found.
    """

    reports: tuple[Reported, ...]
    score: str
    ids: tuple[str, ...]
    left_out: tuple[str, ...]
    differences: tuple[dict[str, Difference], ...]
    warnings: tuple[str, ...]
    settings: dict[str, tuple[str, ...]] | None

    @property
    def names(self) -> tuple[str, ...]:
        """A, B, ..., Z, AA, ..."""
        return tuple(map(letters, range(len(self.reports))))

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Of each report but the first, in words."""
        pairs = zip(self.names[1:], self.differences, strict=True)
        return tuple(verdict(name, of_scores[self.score]) for name, of_scores in pairs)

    def changes(self, place: int) -> list[Change]:
        """All images, from the one that gained most in report ``place`` to the one that lost most."""
        first, second = self.reports[0], self.reports[place]
        gains = image_differences(first, second, self.ids, self.score) * sign(self.score)
        before, after = paired(first, second, self.ids, self.score)
        order = [number for number in np.argsort(-gains, kind="stable") if not np.isnan(gains[number])]
        return [(self.ids[number], float(before[number]), float(after[number])) for number in order]

    def most_changed(self, place: int, count: int) -> tuple[list[Change], list[Change]]:
        """Those that gained most and those that lost most, the largest change first; ``changes`` has the meaning."""
        direction = sign(self.score)
        changed = self.changes(place)
        gained = [change for change in changed if (change[2] - change[1]) * direction > EQUAL]
        lost = [change for change in reversed(changed) if (change[1] - change[2]) * direction > EQUAL]
        return gained[:count], lost[:count]


def compared(reports: Sequence[Reported], score: str) -> Comparison:
    """Compare all reports with the first.

    Raises:
        InputError: When they cannot be compared.
    """
    first, names = reports[0], [letters(number) for number in range(len(reports))]
    if any(report.classes != first.classes for report in reports):
        told = "\n  ".join(f"{report.folder}: {list(report.classes)}" for report in reports)
        raise InputError(f"the reports are of different classes and cannot be compared:\n  {told}")
    if told := tolerances(reports, names):
        if _of_surfaces(score):
            raise InputError(
                f"--score {score}: the reports took it at different tolerances ({told}); report again with the same --tolerance"
            )
        reports = [_without_surfaces(report) for report in reports]
        first = reports[0]
    known = [name for name in first.values if all(name in report.values for report in reports)]
    if score not in known:
        raise InputError(f"--score {score}: not every report has it for each image" + nearest(score, known))
    ids = common_ids(reports)
    if not ids:
        counts = ", ".join(f"{report.folder}: {len(report.ids)} such as {report.ids[:1]}" for report in reports)
        raise InputError(f"no image is in all reports ({counts}); report both checkpoints on the same samples")
    groups = _groups(reports)
    everywhere = set(ids)
    left_out = dict.fromkeys(key for report in reports for key in report.ids if key not in everywhere)
    return Comparison(
        reports=tuple(reports),
        score=score,
        ids=tuple(ids),
        left_out=tuple(left_out),
        differences=tuple(differences(first, report, ids, groups) for report in reports[1:]),
        warnings=tuple(warnings(reports, names, ids, list(left_out))),
        settings=settings(reports),
    )


def letters(number: int) -> str:
    """0, 1, ... -> A, B, ..., Z, AA, ..."""
    return (letters(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def common_ids(reports: Sequence[Reported]) -> list[str]:
    """The images that all reports have in the same size, in the order of the first."""
    sizes = [dict(zip(report.ids, report.sizes, strict=True)) for report in reports]
    return [key for key in reports[0].ids if all(other.get(key) == sizes[0][key] for other in sizes[1:])]


def _groups(reports: Sequence[Reported]) -> dict[str, str]:
    """Id -> group, of the first report that names one: a baseline without groups makes images no more independent."""
    return {
        key: group
        for report in reversed(reports)
        for key, group in zip(report.ids, report.groups, strict=True)
        if group
    }


def _of_surfaces(score: str) -> bool:
    return score.split("/")[0] == "surface_dice"


def _without_surfaces(report: Reported) -> Reported:
    scores = {name: ends for name, ends in report.scores.items() if not _of_surfaces(name)}
    return replace(
        report, scores=scores, values={name: report.values[name] for name in scores if name in report.values}
    )


def verdict(name: str, difference: Difference) -> str:
    """In words, for the report called ``name`` against the baseline."""
    score, images = difference.score, difference.images
    counted = f"{images} image{'' if images == 1 else 's'}"
    if images == 0:
        return f"{name} cannot be compared: no image has {score} in both reports"
    mean, interval = difference.interval().split(" ", 1)
    if difference.shown == 0:
        return f"{name}: no difference can be shown on {counted}: {mean} {score} {interval}"
    word, number = ("better", difference.better) if difference.shown > 0 else ("worse", difference.worse)
    return f"{name} is {word}: {mean} {score} {interval}, {number} of {counted}"
