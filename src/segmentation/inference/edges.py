"""Where pixels of different labels meet."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS: tuple[tuple[Any, Any], ...] = ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:]))
"""Slices of (H, W): each pixel and the one below it, each pixel and the one to its right."""


def edges(labels: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): known pixels with a known 4-neighbour of another label; the rim of the image is none.

    Args:
        labels: (H, W).
        known: (H, W).
    """
    found = np.zeros(labels.shape, np.bool_)
    for here, there in NEIGHBOURS:
        differ = (labels[here] != labels[there]) & known[here] & known[there]
        found[here] |= differ
        found[there] |= differ
    return found
