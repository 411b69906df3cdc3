"""Objects found, merged, split and missed: what a count of cells needs to know, and pixels do not tell."""

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ObjectCounts:
    """How many objects of one or several images met which fate; counts of images add up with ``+``.

    Every true object is one of four: ``true = found + merged + split + missed``.

    Attributes:
        true: True objects.
        predicted: Predicted objects.
        found: True objects with a predicted one of IoU greater than 0.5, of which there can be one only (Caicedo et
            al. 2019, doi:10.1038/s41592-019-0612-7).
        merged: True objects that are not found, and of which more than half lies in a predicted object that covers
            more than half of another true object too.
        split: True objects that are neither, and of which more than half is covered by two or more predicted objects
            that each lie in it with more than half of their pixels.
        missed: All other true objects.
        spurious: Predicted objects that have no part in this: neither a match, nor merging, nor a piece of a split.
    """

    true: int = 0
    predicted: int = 0
    found: int = 0
    merged: int = 0
    split: int = 0
    missed: int = 0
    spurious: int = 0

    def __add__(self, other: "ObjectCounts") -> "ObjectCounts":
        return ObjectCounts(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))


def match(truth: Ids, predicted: Ids) -> ObjectCounts:
    """Compare the objects of one image.

    Args:
        truth: (H, W) ids of the true objects, 0 = none. Any positive numbers.
        predicted: (H, W) ids of the predicted objects, 0 = none. Pixels that are not to count are 0 in both.
    """
    true_area, predicted_area = np.bincount(truth.ravel()), np.bincount(predicted.ravel())
    true_area[0] = predicted_area[0] = 0
    t, p, shared = overlaps(truth.ravel(), predicted.ravel())
    both = (t > 0) & (p > 0)
    t, p, shared = t[both], p[both], shared[both]
    matches = shared / (true_area[t] + predicted_area[p] - shared) > 0.5
    covers = 2 * shared > true_area[t]
    within = 2 * shared > predicted_area[p]

    found = _among(true_area, t[matches])
    merging = np.bincount(p[covers], minlength=len(predicted_area)) > 1
    merged = _among(true_area, t[covers & merging[p]]) & ~found
    pieces = np.bincount(t[within], minlength=len(true_area)) > 1
    covered = 2 * np.bincount(t[within], shared[within], len(true_area)) > true_area
    split = pieces & covered & ~found & ~merged
    involved = merging | _among(predicted_area, p[matches | (within & split[t])])
    return ObjectCounts(
        true=int(np.count_nonzero(true_area)),
        predicted=int(np.count_nonzero(predicted_area)),
        found=int(np.count_nonzero(found)),
        merged=int(np.count_nonzero(merged)),
        split=int(np.count_nonzero(split)),
        missed=int(np.count_nonzero((true_area > 0) & ~found & ~merged & ~split)),
        spurious=int(np.count_nonzero((predicted_area > 0) & ~involved)),
    )


def overlaps(first: Ids, second: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Which ids of two label maps meet, and in how many pixels.

    Args:
        first: (n,) ids from 0 on.
        second: (n,) ids from 0 on, of the same pixels, in the order of the image.

    Returns:
        For each pair that occurs, by rising ids: the first id, the second, and the pixels (whole numbers, exact).
    """
    # A noisy map has so many segments that a whole table would not fit in memory. Neighbours mostly share their pair,
    # and sorting runs is five times faster than sorting pixels.
    width = int(second.max(initial=0)) + 1
    pixels = first.astype(np.int64, copy=False) * width + second
    starts = np.flatnonzero(np.diff(pixels, prepend=-1))
    pairs, run = np.unique(pixels[starts], return_inverse=True)
    counts = np.bincount(run, weights=np.diff(starts, append=pixels.size))
    rows, columns = np.divmod(pairs, width)
    return rows, columns, counts.astype(np.float64, copy=False)  # which holds integers up to 2^53 exactly


def _among(areas: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    marked = np.zeros(len(areas), np.bool_)
    marked[ids] = True
    return marked
