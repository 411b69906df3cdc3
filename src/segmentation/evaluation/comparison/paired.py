"""Paired differences of two reports: how much the second is better on the images of both, and beyond what chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from segmentation.evaluation.report.reported import Reported
from segmentation.evaluation.scoring import resampling_units
from segmentation.metrics.direction import lower_is_better

RESAMPLES = 10_000
LEVEL = 0.05

EQUAL = 1e-9
"""A smaller difference is one of rounding."""


@dataclass(frozen=True)
class Difference:
    """Of one score between two reports, always the second minus the first.

    Attributes:
        score: Its name.
        first: Over the data set, as the first report has it.
        second: As the second has it.
        mean: Of the differences of the images; NaN without any.
        low: Low end of the 95 % interval of the mean; NaN for fewer than two images or groups.
        high: High end.
        p: How often two models that are equally good differ as consistently as these.
        better: Images on which the second is better.
        worse: Images on which it is worse.
        equal: Images with the same value.
    """

    score: str
    first: float
    second: float
    mean: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    equal: int

    @property
    def images(self) -> int:
        """How many have the score in both reports; that of a class that is absent in truth and both is undefined."""
        return self.better + self.worse + self.equal

    @property
    def whole(self) -> float:
        """Of the scores over the data sets."""
        return self.second - self.first

    @property
    def shown(self) -> int:
        """1 when the second is better beyond chance, -1 when it is worse, 0 when neither can be shown.

        Both the interval and the test must say so: the interval alone is too narrow for a handful of images, the test
        alone does not say how much.
        """
        if not (self.p < LEVEL and (self.low > 0 or self.high < 0)):
            return 0
        return sign(self.score) if self.low > 0 else -sign(self.score)

    def interval(self) -> str:
        """The mean and its interval as text, with as many decimals as the numbers need."""
        known = [abs(value) for value in (self.mean, self.low, self.high) if math.isfinite(value) and value]
        largest = max(known, default=1.0)
        decimals = min(9, max(3, 1 - math.floor(math.log10(largest))))
        mean = f"{self.mean:+.{decimals}f}"
        ends = "no interval" if math.isnan(self.low) else f"{self.low:.{decimals}f} to {self.high:.{decimals}f}"
        return f"{mean} ({ends})"


def differences(
    first: Reported,
    second: Reported,
    ids: Sequence[str],
    groups: Mapping[str, str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Difference]:
    """The paired differences of every score that both reports have.

    The interval is the percentile bootstrap of the mean difference (Efron 1979, doi:10.1214/aos/1176344552); whole
    groups are resampled where there are at least two, because images of one patient or scene are alike. The test is
    Wilcoxon's signed-rank (doi:10.2307/3001968) on the differences, averaged within groups: unlike the sign test it
    also uses how large they are, so fewer images suffice, and unlike the t-test a few extreme images do not decide it.

    Args:
        first: The baseline.
        second: What is compared with it.
        ids: Images of both, one or more.
        groups: Of those images that have one.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    names = [name for name in first.scores if name in second.scores]
    columns = [image_differences(first, second, ids, name) for name in names]
    units = resampling_units([groups.get(key) for key in ids])
    low, high = _interval(np.stack(columns, axis=1), units, resamples, seed)
    return {
        name: Difference(
            score=name,
            first=first.whole(name),
            second=second.whole(name),
            mean=float(np.nanmean(column)) if np.isfinite(column).any() else math.nan,
            low=float(low[place]),
            high=float(high[place]),
            p=_p_value(column, units),
            better=int((column * sign(name) > 0).sum()),
            worse=int((column * sign(name) < 0).sum()),
            equal=int((column == 0).sum()),
        )
        for place, (name, column) in enumerate(zip(names, columns, strict=True))
    }


def paired(
    first: Reported, second: Reported, ids: Sequence[str], score: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) and (N,) values of the images in both reports.

    The overlap of a class that is neither in the truth nor predicted is undefined. Where the other network did predict
    it, that is the right answer to be compared with a wrong one: 1.
    """
    before, after = first.of(score, ids), second.of(score, ids)
    if score.startswith(("iou/", "dice/")):
        absent = np.isnan(before), np.isnan(after)
        before[absent[0] & ~absent[1]] = 1
        after[absent[1] & ~absent[0]] = 1
    return before, after


def image_differences(first: Reported, second: Reported, ids: Sequence[str], score: str) -> NDArray[np.float64]:
    """(N,) second minus first for each image; NaN where either is undefined or infinite."""
    before, after = paired(first, second, ids, score)
    finite = np.isfinite(before) & np.isfinite(after)
    difference = np.full(len(ids), np.nan)
    difference[finite] = after[finite] - before[finite]
    difference[np.abs(difference) < EQUAL] = 0
    return difference


def sign(score: str) -> int:
    """1 when higher is better, -1 when lower is."""
    return -1 if lower_is_better(score) else 1


def _interval(values: NDArray[np.float64], units: NDArray[np.intp], resamples: int, seed: int) -> NDArray[np.float64]:
    """(2, S): the 2.5 and 97.5 % percentiles of the means of (N, S) values, whole units resampled."""
    count = int(units.max()) + 1
    known = ~np.isnan(values)
    sums, numbers = np.zeros((2, count, values.shape[1]))
    np.add.at(sums, units, np.where(known, values, 0))
    np.add.at(numbers, units, known)
    random = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, 500):  # thousands of images times all resamples would be gigabytes
        size = min(500, resamples - start)
        drawn = random.multinomial(count, np.full(count, 1 / count), size).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means.append(drawn @ sums / (drawn @ numbers))
    ends = np.full((2, values.shape[1]), np.nan)
    enough = (numbers > 0).sum(0) > 1
    if enough.any():
        ends[:, enough] = np.nanpercentile(np.concatenate(means)[:, enough], [2.5, 97.5], axis=0)
    return ends


def _p_value(values: NDArray[np.float64], units: NDArray[np.intp]) -> float:
    """Two-sided, of Wilcoxon's signed-rank test on the means of the units; NaN without any."""
    known = ~np.isnan(values)
    if not known.any():
        return math.nan
    numbers = np.bincount(units[known])
    means = np.bincount(units[known], weights=values[known])[numbers > 0] / numbers[numbers > 0]
    changed = means[means != 0]
    return float(wilcoxon(changed).pvalue) if len(changed) else 1.0
