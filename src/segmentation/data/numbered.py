"""Masks that number objects (instance ids): each object has a value of its own, 0 is none."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.inference.edges import edges

OBJECTS = "objects"
"""Every number is class 1."""

SEPARATE = "separate_objects"
"""The same, but where two objects touch: there both end in pixels of class 0, so that a network learns to part them."""


def numbers(values: NDArray[Any]) -> NDArray[np.int32]:
    """Stored numbers (H, W), any real dtype -> 1, 2, ... by rising numbers; 0 stays 0."""
    found, position = np.unique(values, return_inverse=True)
    ids = np.where(found == 0, 0, np.cumsum(found != 0)).astype(np.int32)
    return ids[position.reshape(values.shape)]


def touching(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels of objects are beside (4-neighbours) one of another object.

    Args:
        values: (H, W) numbers of objects, 0 = none.
    """
    return edges(values, values != 0)
