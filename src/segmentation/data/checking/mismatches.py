"""Masks that lie beside the wrong image: they explain its pixel values worse than those of another one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.problems import Problem

SIDE = 64
"""Rows and columns of the grid on which images and masks are compared."""

SEEN = 4
"""At most about this many rows and columns of each cell are looked at, evenly spread."""

COMPARED = 500
"""At most about this many pairs of a data set, evenly spread: a pair takes 16 KB for each of its classes and channels."""

FEWEST = 8
"""With fewer pairs nothing is said."""

CHANCE = 2.0
"""Standard deviations of chance within which masks have nothing to do with their images."""

SWAPPED = 0.6
"""Share of what a mask usually explains that two images must gain by each other's mask."""


@dataclass(frozen=True)
class Thumbnail:
    """An image and its mask as vectors over the ``SIDE * SIDE`` cells of a grid.

    Attributes:
        image: (cells, C) means of the pixels; each channel with mean 0 and norm 1, or 0 everywhere.
        regions: (cells, k) orthonormal, with mean 0: what can be said of a cell by the shares of the classes in it;
            k is 0 for a mask of one class, which says nothing about any image.
    """

    image: NDArray[np.float32]
    regions: NDArray[np.float32]


def thumbnail(image: NDArray[Any], mask: NDArray[np.uint8]) -> Thumbnail:
    """An image and its mask on the grid.

    Args:
        image: (H, W, C) finite, any numeric dtype.
        mask: (H, W) class indices; ignored pixels are a class of their own.
    """
    step, times = max(1, min(mask.shape) // (SEEN * SIDE)), -(-SIDE // min(mask.shape))
    image, mask = image[::step, ::step], mask[::step, ::step]
    if times > 1:
        image, mask = (array.repeat(times, axis=0).repeat(times, axis=1) for array in (image, mask))
    rows, columns = (np.arange(SIDE + 1) * length // SIDE for length in mask.shape)
    sizes = np.outer(np.diff(rows), np.diff(columns)).reshape(-1, 1)
    strips = np.add.reduceat(image, rows[:-1], axis=0, dtype=np.float64)
    sums = np.add.reduceat(strips, columns[:-1], axis=1)
    row_of, column_of = (np.repeat(np.arange(SIDE), np.diff(edges)) for edges in (rows, columns))
    present = np.bincount(mask.ravel(), minlength=256) > 0
    classes = int(present.sum())
    places = (row_of[:, None] * SIDE + column_of) * classes + (np.cumsum(present) - 1)[mask]
    counts = np.bincount(places.ravel(), minlength=SIDE * SIDE * classes).reshape(SIDE * SIDE, classes)
    shares = _centred(counts / sizes)
    basis, strengths, _ = np.linalg.svd(shares, full_matrices=False)
    regions = basis[:, strengths > 1e-3]  # the shares add up to 1, so that one direction is always missing
    means = _centred(sums.reshape(SIDE * SIDE, -1) / sizes)
    norms = np.linalg.norm(means, axis=0)
    normed = np.divide(means, norms, out=np.zeros_like(means), where=norms > 0)
    return Thumbnail(normed.astype(np.float32), regions.astype(np.float32))


def explained(thumbnails: list[Thumbnail]) -> NDArray[np.float64]:
    """Coefficients of determination: the share of the variance of image i, 0..1, that a function of mask j can explain.

    Args:
        thumbnails: N of them, with equally many channels.

    Returns:
        (N, N), images by masks; the mean over channels.
    """
    count = len(thumbnails)
    images = np.concatenate([one.image for one in thumbnails], axis=1)
    columns = [((one.regions.T @ images) ** 2).sum(0).reshape(count, -1).mean(1) for one in thumbnails]
    return np.stack(columns, axis=1).astype(np.float64)


def mismatches(thumbnails: Mapping[str, Thumbnail]) -> list[Problem]:
    """Whether masks fit their own images, and which two would fit better the other way round.

    A pairing by chance explains on average what all masks explain of all images; how much the sum over pairs varies
    then is known from the whole table (Hoeffding 1951, doi:10.1214/aoms/1177729545).

    Args:
        thumbnails: By the file that a person looks for.
    """
    telling = {file: one for file, one in thumbnails.items() if one.regions.shape[1]}
    files, count = list(telling), len(telling)
    if count < FEWEST:
        return []
    table = explained(list(telling.values()))
    # beyond what an image is explained by any mask, and what a mask explains of any image
    beyond = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    chance = np.sqrt((beyond**2).sum() / (count - 1))
    if chance < 1e-3:  # masks that are all alike
        return []
    own = np.diag(beyond)
    if own.sum() < CHANCE * chance:
        return [
            Problem(
                f"the masks of {count} images say no more about the pixels of their own image than about those of the others: "
                "they may belong to other images",
                cure="look at the pictures of the page; if they do not fit, correct how images and masks are paired",
            )
        ]
    gains = beyond - own[:, None]  # of image i by mask j
    both = np.where(np.minimum(gains, gains.T) > 0, (gains + gains.T) / 2, 0)
    partner = both.argmax(axis=1)
    pairs = [
        f"{files[one]} and {files[other]}"
        for one, other in enumerate(partner)
        if one < other and partner[other] == one and both[one, other] > SWAPPED * np.median(own)
    ]
    if not pairs:
        return []
    return [
        Problem(
            "each of the two images fits the mask of the other better than its own: their masks may be swapped",
            tuple(pairs),
            "look at both; exchange the masks if they are",
        )
    ]


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = values - values.mean(axis=0)
    return centred
