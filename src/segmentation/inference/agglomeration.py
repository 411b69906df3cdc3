"""Gaps in the thin boundaries between objects, closed by what the whole of a boundary says."""

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, maximum_filter
from skimage.measure import label
from skimage.segmentation import watershed

from segmentation.inference.edges import NEIGHBOURS

SPACING = 7
"""Pixels within which an object has one seed."""


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
    boundary = 1 - probability.astype(np.float64)
    fragments = _fragments(boundary)
    merged = _agglomerated(fragments, boundary, level)[fragments]
    closed = probability.copy()
    for here, there in NEIGHBOURS:
        closed[here][merged[here] != merged[there]] = 0
    return closed


def _fragments(boundary: NDArray[np.float64]) -> NDArray[np.int32]:
    """(H, W) ids 1, 2, ... that grow from the points farthest from a boundary; one fragment without such a point."""
    inside = boundary < 0.5
    depth = gaussian_filter(distance_transform_edt(inside), 1)
    seeds = label(inside & (depth == maximum_filter(depth, SPACING)), connectivity=2)
    # depth decides where the boundary is equal, as in a network's certain 0
    ids: NDArray[np.int32] = watershed(boundary - 1e-3 * depth / max(1.0, depth.max()), seeds, connectivity=1)
    return ids


def _agglomerated(fragments: NDArray[np.int32], boundary: NDArray[np.float64], level: float) -> NDArray[np.int64]:
    """(fragments + 1,) the fragment that each one belongs to in the end."""
    borders = _borders(fragments, boundary)
    waiting = [(total / pixels, pixels, one, other) for (one, other), (total, pixels) in borders.items()]
    heapify(waiting)
    around: list[dict[int, tuple[float, int]]] = [{} for _ in range(int(fragments.max()) + 1)]
    for (one, other), border in borders.items():
        around[one][other] = around[other][one] = border
    into = np.arange(len(around))
    while waiting and waiting[0][0] < level:
        mean, pixels, kept, gone = heappop(waiting)
        total, now = around[kept].get(gone, (0.0, 0))
        if now != pixels or total / now != mean:
            continue  # one of the two has been merged since, or their border has grown
        if len(around[kept]) < len(around[gone]):
            kept, gone = gone, kept
        into[gone] = kept
        del around[kept][gone]
        for other, (total, pixels) in around[gone].items():
            if other == kept:
                continue
            del around[other][gone]
            before, more = around[kept].get(other, (0.0, 0))
            around[kept][other] = around[other][kept] = (before + total, more + pixels)
            heappush(waiting, ((before + total) / (more + pixels), more + pixels, kept, other))
        around[gone] = {}
    while (into[into] != into).any():
        into = into[into]
    return into


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
