"""Pixels -> as many channels as the network takes, where nothing is lost by it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.problems import FileError
from segmentation.data.sample import Part


def stacked(pixels: Sequence[NDArray[Any]], channels: int, parts: Sequence[Part]) -> NDArray[Any]:
    """Arrays (H, W, C_i) -> (H, W, channels), where nothing is lost by it.

    Opaque alpha channels are dropped, grey images stored as RGB become one channel, and an image of one grey
    part becomes three equal channels, when the sum of all channels is only then what is wanted.

    Args:
        pixels: One array per part.
        channels: Wanted in all.
        parts: Where they come from, for the message.

    Raises:
        FileError: For sizes that differ, and for other channels, with the setting that fits.
    """
    sizes = [array.shape[:2] for array in pixels]
    for part, size in zip(parts, sizes, strict=True):
        if size != sizes[0]:
            raise FileError(
                part,
                f"is {size[0]}x{size[1]} (HxW), {parts[0].path.name} is {sizes[0][0]}x{sizes[0][1]}",
                "the parts of an image must be of one size",
            )
    # of several parts, three equal channels in place of one would hide a wrong number of channels
    for change in LOSSLESS if len(pixels) == 1 else LOSSLESS[:-1]:
        changed = [change(array) for array in pixels]
        if _channels(changed) == channels:
            return _joined(changed)
    stored = _channels([without_opaque_alpha(array) for array in pixels])
    kinds = {1: "grey", 2: "grey with transparency", 3: "RGB", 4: "RGBA"}
    kind = " + ".join(kinds.get(array.shape[2], f"{array.shape[2]}-channel") for array in pixels)
    raise FileError(
        " + ".join(map(str, parts)),
        f"is {kind}, shape {(*sizes[0], sum(array.shape[2] for array in pixels))}; data.source.in_channels says "
        f"{(*sizes[0], channels)}",
        f"set data.source.in_channels: {stored}, or save every image of the data set with {channels} "
        f"channel{'s' if channels > 1 else ''}",
    )


def in_channels(pixels: NDArray[Any], channels: int) -> NDArray[Any]:
    """(H, W, C) -> (H, W, channels) by what ``stacked`` does without loss; as it is where that does not lead there."""
    changed = (change(pixels) for change in LOSSLESS)
    return next((array for array in changed if array.shape[2] == channels), pixels)


def _channels(pixels: Sequence[NDArray[Any]]) -> int:
    return sum(array.shape[2] for array in pixels)


def _joined(pixels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.ascontiguousarray(pixels[0] if len(pixels) == 1 else np.concatenate(pixels, axis=2))


def without_opaque_alpha(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W, C) without its last channel where that is an alpha channel of nothing but opaque pixels."""
    if pixels.shape[2] not in (2, 4):
        return pixels
    full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
    return pixels[..., :-1] if (pixels[..., -1] == full).all() else pixels


def one_if_grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W, 3) of equal channels -> (H, W, 1); others as they are."""
    return pixels[..., :1] if pixels.shape[2] == 3 and (pixels == pixels[..., :1]).all() else pixels


def as_grey(values: NDArray[Any]) -> NDArray[Any]:
    """(H, W, C) of equal channels, but for an opaque alpha -> (H, W); others as they are, without that alpha."""
    if values.ndim == 2:
        return values
    opaque = without_opaque_alpha(values)
    return np.ascontiguousarray(opaque[..., 0]) if (opaque == opaque[..., :1]).all() else opaque


def _as_stored(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    return one_if_grey(without_opaque_alpha(pixels))


def _three_if_one(pixels: NDArray[Any]) -> NDArray[Any]:
    opaque = without_opaque_alpha(pixels)
    return np.repeat(opaque, 3, axis=2) if opaque.shape[2] == 1 else opaque


LOSSLESS: tuple[Callable[[NDArray[Any]], NDArray[Any]], ...] = (
    _as_stored,
    without_opaque_alpha,
    _grey,
    _three_if_one,
)
"""Changes of channels by which nothing is lost, (H, W, C) -> (H, W, D); the first that gives what is wanted is taken."""
