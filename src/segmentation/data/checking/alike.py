"""Images of different sets that look alike: frames of a film, slices of a stack, one picture saved twice."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from segmentation.data.checking.mismatches import SIDE, Thumbnail
from segmentation.data.problems import Problem
from segmentation.data.splits import Split

DETAIL = 9
"""Cells of a thumbnail; what is no smaller is light and shade, which strangers share."""

ALIKE = 0.5
"""Correlation of the details of near copies, where that of strangers is 0. Strangers reach 0.4, frames of one scene 1."""

IN_SERIES = 0.3
"""Share of the images that are most like the one before or after them, from which they are in series."""

CHANCE = 6.0
"""Standard deviations of chance within which an order says nothing."""


def alike(thumbnails: Mapping[str, Thumbnail], split: Split | None, files: Mapping[str, str]) -> list[Problem]:
    """Whether training images look like those that a model is scored on, so that the score is too good.

    Args:
        thumbnails: By sample id, in the source's order.
        split: Who trains and is scored; without it nothing is said.
        files: Sample id -> the file that a person looks for.
    """
    lists = {key: name for name, keys in (split or {}).items() for key in keys}
    ids = [key for key in thumbnails if key in lists]
    if len(ids) < 2:
        return []
    table = correlations([thumbnails[key] for key in ids])
    trained = np.array([lists[key] == "train" for key in ids])
    before, after = np.pad(trained, (1, 0))[:-1], np.pad(trained, (0, 1))[1:]
    beside = ~trained & (before | after)
    following, scored = in_series(table), int((~trained).sum())
    if following and 2 * int(beside.sum()) > scored:
        return [
            Problem(
                f"the images are in series, as frames of a film or slices of a stack are: {following} of {len(ids)} are "
                f"most like the one before or after them, and {int(beside.sum())} of {scored} that a model is scored on "
                "have such a neighbour in training, so that the score is better than it will be on a new series",
                cure="set data.split_kind: contiguous, which keeps neighbours together, or data.group to what names a "
                "series in the file names",
            )
        ]
    pairs = [
        f"{files[ids[one]]} ({lists[ids[one]]}) and {files[ids[other]]} ({lists[ids[other]]})"
        for one, other in zip(*np.nonzero(np.triu(near_copies(table), 1)), strict=True)
        if lists[ids[one]] != lists[ids[other]]
    ]
    if not pairs:
        return []
    return [
        Problem(
            "two images of different sets are nearly the same, so that the score is better than it will be on new images",
            tuple(pairs),
            "keep both in one set (data.group, data.split_file)",
        )
    ]


def correlations(thumbnails: list[Thumbnail]) -> NDArray[np.float64]:
    """(N, N) correlations of the details of images, the mean over channels; -1..1."""
    details = np.stack([_details(one.image) for one in thumbnails])
    table: NDArray[np.float64] = np.tensordot(details, details, axes=((1, 2), (1, 2))) / details.shape[2]
    return table


def in_series(table: NDArray[np.float64]) -> int:
    """How many images are most like the one before or after them; 0 when chance may have done it.

    Args:
        table: (N, N) likeness in the order of the images, symmetric.
    """
    count = len(table)
    others = np.where(np.eye(count, dtype=bool), -np.inf, table)
    following = int((np.abs(others.argmax(axis=1) - np.arange(count)) == 1).sum())
    chance = 2 / count  # an image has two neighbours, but for those at the ends
    deviation = np.sqrt(count * chance * (1 - chance))
    told = following >= IN_SERIES * count and following - count * chance > CHANCE * deviation
    return following if told else 0


def near_copies(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N, N) whether two images are nearly the same, but not the same.

    What all images share, such as the rim of a microscope's field or the stage below an object, does not count.
    """
    usual = float(np.median(table[~np.eye(len(table), dtype=bool)]))
    copies: NDArray[np.bool_] = (table - usual >= ALIKE * (1 - usual)) & (table < 1 - 1e-5)
    return copies


def _details(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """(cells, C) without what is as large as ``DETAIL``; each channel with norm 1, or 0 everywhere."""
    grid = image.reshape(SIDE, SIDE, -1).astype(np.float64)
    fine = (grid - uniform_filter(grid, (DETAIL, DETAIL, 0), mode="nearest")).reshape(SIDE * SIDE, -1)
    norms = np.linalg.norm(fine, axis=0)
    normed: NDArray[np.float64] = np.divide(fine, norms, out=np.zeros_like(fine), where=norms > 1e-6)
    return normed
