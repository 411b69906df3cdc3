"""Deal samples by class content, so that every part of a split holds its share of the rare classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PASSES = 2
CANDIDATES = 500
"""Units that one is compared with when places change; more would cost seconds for thousands of units."""


def stratified(images: NDArray[np.int64], pixels: NDArray[np.int64], sizes: Sequence[int]) -> list[list[int]]:
    """Deal units to bins of fixed sizes, the rarest class first.

    Iterative stratification (Sechidis et al. 2011, doi 10.1007/978-3-642-23808-6_10): of the class that
    the fewest images left hold, one unit after the other, that with the most pixels first, goes to the bin
    that lacks the largest part of its share of such images. Among bins that lack as much it goes to the one
    that lacks more of the pixels. A bin of more than half of the units, which is what is left to train on,
    gets the first unit of a class. Then units change places where that evens out the pixels and
    leaves the images as they are.

    Args:
        images: (U, K) images of each unit that hold each class.
        pixels: (U, K) pixels of each class in each unit.
        sizes: Units in each bin; their sum is U.

    Returns:
        The units of each bin, ascending; the same in every call.
    """
    shares = np.asarray(sizes) / max(1, sum(sizes))
    wanted_images = shares[:, None] * images.sum(0)
    wanted_pixels = shares[:, None] * pixels.sum(0)
    lacking_images, lacking_pixels = wanted_images.copy(), wanted_pixels.copy()
    bins: list[list[int]] = [[] for _ in sizes]
    # not the order of the files: units without a difference would be dealt out like cards, neighbours apart
    order = np.random.default_rng(0).permutation(len(images))
    free = np.ones(len(images), bool)

    def put(unit: int, scores: NDArray[np.float64]) -> None:
        full = np.array([len(bin_) >= size for bin_, size in zip(bins, sizes, strict=True)])
        # among equals the largest bin, then the first
        chosen = int(np.lexsort((-shares, -np.where(full, -np.inf, scores)))[0])
        bins[chosen].append(unit)
        lacking_images[chosen] -= images[unit]
        lacking_pixels[chosen] -= pixels[unit]
        free[unit] = False

    while True:
        left = order[free[order]]
        in_images, in_pixels = images[left].sum(0), pixels[left].sum(0)
        present = np.flatnonzero(in_images)
        if not len(present):
            break
        rarest = min(present.tolist(), key=lambda k: (in_images[k], in_pixels[k]))
        holders = left[images[left, rarest] > 0]
        for unit in holders[np.argsort(-pixels[holders, rarest], kind="stable")].tolist():
            wanted = np.maximum(wanted_images[:, rarest], 1e-9)
            by_pixels = lacking_pixels[:, rarest] / np.maximum(wanted_pixels[:, rarest], 1e-9)
            # a quarter of an image either way: pixels only settle what images leave open
            scores = (lacking_images[:, rarest] + 0.25 * np.clip(by_pixels, -1, 1)) / np.maximum(wanted, 1)
            untouched = lacking_images[:, rarest] == wanted_images[:, rarest]
            put(unit, np.where((shares > 0.5) & untouched, np.inf, scores))
    for unit in left.tolist():
        put(unit, np.array([1 - len(bin_) / max(1, size) for bin_, size in zip(bins, sizes, strict=True)]))
    place = np.empty(len(images), np.int64)
    for number, bin_ in enumerate(bins):
        place[bin_] = number
    _exchange(
        place,
        order,
        images / np.maximum(1, images.sum(0)),
        -lacking_images / np.maximum(1, images.sum(0)),
        pixels / np.maximum(1, pixels.sum(0)),
        -lacking_pixels / np.maximum(1, pixels.sum(0)),
    )
    return [np.flatnonzero(place == number).tolist() for number in range(len(sizes))]


def _exchange(
    place: NDArray[np.int64],
    order: NDArray[np.int64],
    images: NDArray[np.float64],
    images_over: NDArray[np.float64],
    pixels: NDArray[np.float64],
    pixels_over: NDArray[np.float64],
) -> None:
    """Let units of two bins change places, in place; (U, K) are shares of all, (bins, K) what is too much."""
    for unit in np.tile(order, PASSES):
        own = place[unit]
        others = order[place[order] != own][:CANDIDATES]
        if not len(others):
            return
        theirs = place[others]
        more_images, more_pixels = images[unit] - images[others], pixels[unit] - pixels[others]
        gains = -_change(pixels_over[own], pixels_over[theirs], more_pixels, 2).sum(1)
        # not less uneven either: that could take a bin's only image of a class
        gains[(np.abs(_change(images_over[own], images_over[theirs], more_images, 1)) > 1e-9).any(1)] = 0
        best = int(np.argmax(gains))
        if gains[best] > 1e-9:
            other = others[best]
            for over, more in ((images_over, more_images[best]), (pixels_over, more_pixels[best])):
                over[own] -= more
                over[theirs[best]] += more
            place[unit], place[other] = place[other], own


def _change(
    here: NDArray[np.float64], there: NDArray[np.float64], moved: NDArray[np.float64], power: int
) -> NDArray[np.float64]:
    """How much more uneven two bins are, (N, K), when ``moved`` goes from here to there."""
    after = np.abs(here - moved) ** power + np.abs(there + moved) ** power
    result: NDArray[np.float64] = after - np.abs(here) ** power - np.abs(there) ** power
    return result
