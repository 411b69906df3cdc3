"""A network over an image of any size: overlapping tiles, blended in bands of rows, so that memory does not grow."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import InputError
from segmentation.inference.arrays import converted, empty, join

SIGMA = 1 / 8
"""Deviation of the Gaussian weights, in tiles (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z)."""

Rows = Callable[[int, int], Any]
"""``rows(start, stop)`` -> (B, C, stop - start, W): these rows of B images of one size, array or tensor."""


@dataclass(frozen=True)
class Tiling:
    """How large images are cut.

    Attributes:
        tile: Longest side in pixels that goes through the network at once. An image that fits goes whole.
        overlap: Share of a tile that it has in common with the next, 0 to below 1.
        batch: Tiles that go through the network together.

    Raises:
        InputError: For values outside these ranges.
    """

    tile: int = 1024
    overlap: float = 0.25
    batch: int = 1

    def __post_init__(self) -> None:
        if self.tile < 1:
            raise InputError(f"the tile is {self.tile} pixels; give 1 or more, such as 512")
        if not 0 <= self.overlap < 1:
            raise InputError(f"the overlap of tiles is {self.overlap}; give a share from 0 to below 1, such as 0.25")


def run(predict: Callable[[Any], Any], image: Any, tiling: Tiling) -> Any:
    """Apply ``predict`` to a batch of images of any size.

    Everything after training (validation, test, prediction) reaches the network through here or ``bands``.

    Args:
        predict: (N, C, h, w) -> (N, K, h, w) for the sizes of a tile.
        image: (B, C, H, W), an array or a tensor.
        tiling: How it is cut.

    Returns:
        (B, K, H, W), of the kind and on the device that ``predict`` returns.
    """
    height, width = image.shape[-2:]
    result = None
    for start, block in bands(predict, lambda start, stop: image[..., start:stop, :], (height, width), tiling):
        if block.shape[-2] == height:
            return block
        if result is None:
            result = empty(block, (*block.shape[:2], height, width))
        result[..., start : start + block.shape[-2], :] = block
    return result


def bands(
    predict: Callable[[Any], Any], rows: Rows, size: tuple[int, int], tiling: Tiling
) -> Iterator[tuple[int, Any]]:
    """Apply ``predict`` from top to bottom, holding no more than a row of tiles.

    Where tiles overlap, their answers are averaged with Gaussian weights; what lies within a quarter of the
    overlap of a tile's edge inside the image counts nothing, because the network did not see what is beyond.
    The weights of all tiles at a pixel sum to 1.

    Args:
        predict: (N, C, h, w) -> (N, K, h, w) for the sizes of a tile.
        rows: The images.
        size: (H, W) of them.
        tiling: How they are cut.

    Yields:
        (start, block): finished rows (B, K, h, W) from row ``start`` on, in order, together all H.
    """
    height, width = size
    down, across = _cut(height, tiling), _cut(width, tiling)
    if len(down) == len(across) == 1:
        yield 0, predict(rows(0, height))
        return
    vertical, horizontal = weights(height, down, tiling), weights(width, across, tiling)
    pending = None
    for index, part in enumerate(down):
        row = _row(predict, rows(part.start, part.stop), across, horizontal, tiling.batch)
        row *= converted(row, vertical[index])[:, None]
        if pending is not None:
            row[..., : pending.shape[-2], :] += pending
        done = (down[index + 1].start if index + 1 < len(down) else height) - part.start
        yield part.start, row[..., :done, :]
        pending = row[..., done:, :]


def weights(length: int, parts: list[slice], tiling: Tiling) -> list[NDArray[np.float64]]:
    """The share of each tile in the answer, along one axis; the shares at each place sum to 1.

    Args:
        length: Of the axis.
        parts: Of each tile.
        tiling: With the overlap that decides how much of a tile's edge counts nothing.

    Returns:
        For each part an array of its length.
    """
    shares = []
    for part in parts:
        size = part.stop - part.start
        place = np.arange(size)
        share = np.exp(-0.5 * ((place - (size - 1) / 2) / (SIGMA * size)) ** 2)
        margin = int(tiling.overlap * size / 4)
        if part.start > 0:
            share[:margin] = 0
        if part.stop < length:
            share[size - margin :] = 0
        shares.append(share)
    total = np.zeros(length)
    for part, share in zip(parts, shares, strict=True):
        total[part] += share
    return [share / total[part] for part, share in zip(parts, shares, strict=True)]


def _cut(length: int, tiling: Tiling) -> list[slice]:
    """Tiles along an axis at equal steps, the last one moved back to the end."""
    if length <= tiling.tile:
        return [slice(0, length)]
    step = max(1, int(tiling.tile * (1 - tiling.overlap)))
    count = math.ceil((length - tiling.tile) / step) + 1
    starts = [min(index * step, length - tiling.tile) for index in range(count)]
    return [slice(start, start + tiling.tile) for start in starts]


def _row(
    predict: Callable[[Any], Any],
    pixels: Any,
    across: list[slice],
    horizontal: list[NDArray[np.float64]],
    batch: int,
) -> Any:
    """One row of tiles, blended from left to right: (B, C, h, W) -> (B, K, h, W)."""
    images, _, height, width = pixels.shape
    result = None
    together = max(1, batch // images)
    for first in range(0, len(across), together):
        parts = across[first : first + together]
        answers = predict(join([pixels[..., part] for part in parts]))
        if result is None:
            result = empty(answers, (images, answers.shape[1], height, width))
            result[...] = 0
        for place, part in enumerate(parts):
            share = converted(answers, horizontal[first + place])
            result[..., part] += answers[place * images : (place + 1) * images] * share
    return result
