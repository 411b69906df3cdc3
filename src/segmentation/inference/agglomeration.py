"""Gaps in the thin boundaries between objects, closed by what the whole of a boundary says."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import chain
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum_filter
from skimage.measure import label
from skimage.segmentation import watershed

from segmentation.inference.edges import NEIGHBOURS

SPACING = 7
"""Pixels within which an object has one seed."""


@dataclass(frozen=True)
class Cut:
    """An image in fragments, and the objects that they are by themselves.

    Attributes:
        probability: (H, W) in 0..1 of the class of the objects.
        fragments: (H, W) ids 1, 2, ...
        borders: Sum of the boundary probability along the border of each pair of neighbours, and its pixels.
        objects: (H, W) the fragments that are one object have one id.
    """

    probability: NDArray[np.float32]
    fragments: NDArray[np.int32]
    borders: dict[tuple[int, int], tuple[float, int]]
    objects: NDArray[np.int64]


def close_gaps(probability: NDArray[np.float32], level: float) -> NDArray[np.float32]:
    """Part objects that touch where the boundary between them is missing over a few pixels.

    A threshold looks at each pixel by itself, so that one gap in a membrane merges two cells. Here the image is cut into
    fragments, by a watershed of the boundary probability from the middle of every bright region, and fragments that
    touch are merged, the weakest border first, as long as the mean boundary probability along their common border is
    below the level (average linkage on the graph of neighbours: Nunez-Iglesias et al. 2013,
    doi:10.1371/journal.pone.0071715; Bailoni et al. 2022, arXiv:1906.11713). Where fragments still meet, the
    probability becomes 0; everywhere else it stays.

    Args:
        probability: (H, W) in 0..1 of the class of the objects; 1 minus it is that of the boundary.
        level: 0..1. At 0 every fragment stays by itself, beyond 1 nothing is parted.

    Returns:
        (H, W): the objects of any threshold are 4-connected within the merged fragments only.
    """
    cut = _cut(probability, level)
    return _parted(probability, cut.objects)


def close_gaps_in_stack(
    slices: Iterable[NDArray[np.float32]], level: float, weight: float
) -> Iterator[NDArray[np.float32]]:
    """``close_gaps`` of consecutive slices, each of which asks the slices before and after it.

    Two fragments belong together the more, the more likely a random pixel of each lies in the same object of a
    neighbouring slice, as it is by itself: to the mean boundary probability of a border is added ``weight`` times
    (0.5 - that likelihood, the mean over both neighbours). So a membrane that runs parallel to the section and is hardly
    to be seen in one slice is found in the next (in the spirit of joining slices by overlap: Funke et al. 2012,
    doi:10.1109/CVPR.2012.6247777).

    Args:
        slices: (H, W) each, in order; a neighbour of another size says nothing.
        level: As for ``close_gaps``.
        weight: 0 or more; at 0 each slice is by itself.

    Yields:
        (H, W) for each slice, when the one after it is known; three slices are in memory.
    """
    before: Cut | None = None
    here: Cut | None = None
    for after in chain((_cut(probability, level) for probability in slices), [None]):
        if here is not None:
            near = [cut for cut in (before, after) if cut is not None and cut.objects.shape == here.objects.shape]
            overlaps = [_overlaps(here, cut) for cut in near]
            yield _parted(here.probability, _merged(here.fragments, here.borders, level, overlaps, weight))
        before, here = here, after


def _cut(probability: NDArray[np.float32], level: float) -> Cut:
    boundary = 1 - probability.astype(np.float64)
    fragments = _fragments(boundary)
    borders = _borders(fragments, boundary)
    return Cut(probability, fragments, borders, _merged(fragments, borders, level))


def _parted(probability: NDArray[np.float32], objects: NDArray[np.int64]) -> NDArray[np.float32]:
    """0 where objects meet."""
    closed = probability.copy()
    for here, there in NEIGHBOURS:
        closed[here][objects[here] != objects[there]] = 0
    return closed


def _fragments(boundary: NDArray[np.float64]) -> NDArray[np.int32]:
    """(H, W) ids 1, 2, ... that grow from the points farthest from a boundary; one fragment without such a point."""
    inside = boundary < 0.5
    depth = gaussian_filter(distance_transform_edt(inside), 1)
    seeds = label(inside & (depth == maximum_filter(depth, SPACING)), connectivity=2)
    # depth decides where the boundary is equal, as in a network's certain 0
    ids: NDArray[np.int32] = watershed(boundary - 1e-3 * depth / max(1.0, depth.max()), seeds, connectivity=1)
    return ids


def _merged(
    fragments: NDArray[np.int32],
    borders: Mapping[tuple[int, int], tuple[float, int]],
    level: float,
    overlaps: Sequence[list[Counter[int]]] = (),
    weight: float = 0.0,
) -> NDArray[np.int64]:
    """(H, W) ids of the fragments that are one in the end; ``overlaps`` are used up."""
    around: list[dict[int, tuple[float, int]]] = [{} for _ in range(int(fragments.max()) + 1)]
    for (one, other), border in borders.items():
        around[one][other] = around[other][one] = border

    def height(one: int, other: int) -> float:
        """Of the border between two: the lowest goes first."""
        total, pixels = around[one][other]
        same = [_same(counts[one], counts[other]) for counts in overlaps if counts[one] and counts[other]]
        return total / pixels + (weight * (0.5 - fmean(same)) if same else 0.0)

    waiting = [(height(one, other), one, other) for one, other in borders]
    heapify(waiting)
    into = np.arange(len(around))
    while waiting and waiting[0][0] < level:
        lowest, kept, gone = heappop(waiting)
        if gone not in around[kept] or height(kept, gone) != lowest:
            continue  # one of the two has been merged since, or their border has grown
        if len(around[kept]) < len(around[gone]):
            kept, gone = gone, kept
        into[gone] = kept
        joined, around[gone] = around[gone], {}
        del joined[kept], around[kept][gone]
        for other, (total, pixels) in joined.items():
            del around[other][gone]
            before, more = around[kept].get(other, (0.0, 0))
            around[kept][other] = around[other][kept] = (before + total, more + pixels)
        for counts in overlaps:
            counts[kept].update(counts[gone])
        for other in around[kept] if overlaps else joined:
            heappush(waiting, (height(kept, other), kept, other))
    while (into[into] != into).any():
        into = into[into]
    merged: NDArray[np.int64] = into[fragments]
    return merged


def _overlaps(here: Cut, near: Cut) -> list[Counter[int]]:
    """For each fragment the pixels that it shares with each object of a neighbouring slice, boundaries left out."""
    inside = (here.probability > 0.5) & (near.probability > 0.5)
    width = int(near.objects.max()) + 1
    found, pixels = np.unique(here.fragments[inside] * np.int64(width) + near.objects[inside], return_counts=True)
    counts: list[Counter[int]] = [Counter() for _ in range(int(here.fragments.max()) + 1)]
    for pair, shared in zip(found.tolist(), pixels.tolist(), strict=True):
        fragment, other = divmod(pair, width)
        counts[fragment][other] = shared
    return counts


def _same(one: Counter[int], other: Counter[int]) -> float:
    """How likely a random pixel of each lies in the same object."""
    shorter, longer = sorted((one, other), key=len)
    return sum(pixels * longer[key] for key, pixels in shorter.items()) / (one.total() * other.total())


def _borders(fragments: NDArray[np.int32], boundary: NDArray[np.float64]) -> dict[tuple[int, int], tuple[float, int]]:
    """Sum of the boundary probability along the border of each pair of neighbours, and its pixels."""
    pairs, values = [], []
    for here, there in NEIGHBOURS:
        meet = fragments[here] != fragments[there]
        pairs.append(np.sort(np.stack([fragments[here][meet], fragments[there][meet]], axis=1), axis=1))
        values.append(np.maximum(boundary[here][meet], boundary[there][meet]))
    found, place = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    place = place.reshape(-1)
    totals = np.bincount(place, np.concatenate(values), len(found)).tolist()
    pixels = np.bincount(place, minlength=len(found)).tolist()
    return {
        (one, other): border
        for (one, other), border in zip(found.tolist(), zip(totals, pixels, strict=True), strict=True)
    }
