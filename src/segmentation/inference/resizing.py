"""Batches of images in another size, by numpy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def resized(images: NDArray[Any], size: tuple[int, int], smooth: bool = False) -> NDArray[np.float32]:
    """Bilinear, with the corners of the outermost pixels in place; ``model.resizing`` does the same in torch.

    Args:
        images: (B, C, H, W).
        size: (h, w) of the result.
        smooth: Whether pixels that would be lost go into those that stay (antialiasing).

    Returns:
        (B, C, h, w) float32.
    """
    down, across = (_shares(*lengths, smooth) for lengths in zip(images.shape[-2:], size, strict=True))
    answer: NDArray[np.float32] = down @ images.astype(np.float32) @ across.T
    return answer


def _shares(length: int, size: int, smooth: bool) -> NDArray[np.float32]:
    """(size, length): the share of each pixel in each of the new ones, along one axis."""
    ratio = length / size
    reach = max(1.0, ratio) if smooth else 1.0
    middles = (np.arange(size) + 0.5) * ratio - 0.5
    shares = np.maximum(0, 1 - np.abs(np.arange(length) - middles[:, None]) / reach)
    normed: NDArray[np.float32] = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return normed
