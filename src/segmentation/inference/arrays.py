"""What numpy arrays and torch tensors name differently, so that one code serves both without importing torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def empty(like: Any, shape: tuple[int, ...]) -> Any:
    """Uninitialised, of the kind, type and device of ``like``."""
    return like.new_empty(shape) if hasattr(like, "new_empty") else np.empty(shape, like.dtype)


def converted(like: Any, values: NDArray[Any]) -> Any:
    """``values`` in the kind, type and device of ``like``."""
    return like.new_tensor(values) if hasattr(like, "new_tensor") else values.astype(like.dtype)


def to_numpy(array: Any) -> NDArray[Any]:
    """The same values as a numpy array in main memory."""
    values: NDArray[Any] = array.cpu().numpy() if hasattr(array, "cpu") else array
    return values


def mean(arrays: Sequence[Any]) -> Any:
    """Of arrays of one shape, element by element."""
    return arrays[0] if len(arrays) == 1 else sum(arrays[1:], start=arrays[0]) / len(arrays)


def join(parts: Sequence[Any]) -> Any:
    """Concatenated along the first axis; all of one shape."""
    first = parts[0]
    if len(parts) == 1:
        return first
    joined = empty(first, (len(parts) * len(first), *first.shape[1:]))
    for place, part in enumerate(parts):
        joined[place * len(first) : (place + 1) * len(first)] = part
    return joined


def flip(array: Any, axes: tuple[int, ...]) -> Any:
    """Reversed along axes."""
    if not axes:
        return array
    return array.flip(axes) if hasattr(array, "flip") else np.flip(array, axes)
