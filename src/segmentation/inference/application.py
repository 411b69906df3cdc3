"""How a trained network is applied to whole images: tiles, test-time augmentation, closed gaps."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import tee
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import InputError, nearest
from segmentation.inference.arrays import converted, mean, to_numpy
from segmentation.inference.flips import VIEWS, Tta, averaged
from segmentation.inference.tiling import Tiling

TOGETHER = {"cuda": 4}
"""Tiles that go through the network together, by device; a CPU is no faster with more than one."""

Probabilities = Callable[[Any], Any]
"""Pixels (B, C, h, w) after the intensity rule -> probabilities (B, K, h, w) float32."""

Resized = Callable[[Any, tuple[int, int], bool], Any]
"""Images (B, C, h, w), a new (h, w), whether to smooth before pixels are lost -> float32, bilinear."""


@dataclass(frozen=True)
class Application:
    """How a trained network is applied.

    Attributes:
        tiling: Of images that are larger than a tile.
        tta: Views of a tile whose probabilities are averaged.
        scales: Sizes of a tile, as factors, whose probabilities are averaged.
        agglomeration: Level of ``close_gaps``; None for none.
    """

    tiling: Tiling
    tta: Tta
    scales: tuple[float, ...]
    agglomeration: float | None

    def averaged(self, network: Probabilities, resized: Resized, tile: Any, together: int = 1) -> Any:
        """Probabilities of a tile, the mean over views and scales.

        Args:
            network: Computes them of one view.
            resized: Of the kind of array that the tile is.
            tile: (B, C, h, w) pixels after the intensity rule, array or tensor.
            together: Images that go through the network at once.

        Returns:
            (B, K, h, w) float32.
        """
        return mean(
            [averaged(partial(_at_scale, network, resized, scale), self.tta, together)(tile) for scale in self.scales]
        )

    def closed(self, probabilities: Any) -> Any:
        """Probabilities (B, K, H, W) of whole images -> the same with the gaps between objects closed, where wanted."""
        if self.agglomeration is None:
            return probabilities
        from segmentation.inference.agglomeration import close_gaps  # scipy and scikit-image take a second to import

        whole = to_numpy(probabilities)
        return converted(
            probabilities, np.stack([_emptied(one, close_gaps(one[1], self.agglomeration)) for one in whole])
        )

    def closed_stack(self, slices: Iterable[NDArray[np.float32]], weight: float) -> Iterator[NDArray[np.float32]]:
        """Probabilities (2, H, W) of consecutive slices -> the same with gaps closed, neighbours asked.

        Args:
            slices: In order.
            weight: Of the neighbours, as for ``close_gaps_in_stack``.
        """
        assert self.agglomeration is not None
        from segmentation.inference.agglomeration import close_gaps_in_stack

        slices, objects = tee(slices)
        closed = close_gaps_in_stack((one[1] for one in objects), self.agglomeration, weight)
        yield from map(_emptied, slices, closed)


def application_of(settings: Mapping[str, Any], classes: int, fixed: int | None) -> Application:
    """How the arguments of the module say that a network is applied.

    Args:
        settings: Its arguments ``tile``, ``overlap``, ``tta``, ``tta_scales`` and ``agglomeration``.
        classes: K.
        fixed: The only H and W that the network takes; None for any.

    Raises:
        InputError: For values outside their range.
    """
    scales = tuple(settings["tta_scales"] or (1.0,))
    if not all(scale > 0 for scale in scales):
        raise InputError(f"model.tta_scales is {list(scales)}; give factors greater than 0, such as [0.75, 1, 1.25]")
    if fixed is not None and scales != (1,):
        raise InputError(
            f"model.tta_scales is {list(scales)}, but this network takes images of {fixed} pixels only; leave it out"
        )
    if settings["tta"] not in VIEWS:
        raise InputError(f"model.tta {settings['tta']!r} is unknown" + nearest(settings["tta"], list(VIEWS)))
    level = settings["agglomeration"]
    if level is not None and not (classes == 2 and 0 <= level <= 1):
        raise InputError(
            f"model.agglomeration is {level} with {classes} classes; give a probability from 0 to 1 with two, "
            "class 0 the boundary, or leave it out"
        )
    return Application(Tiling(fixed or settings["tile"], settings["overlap"]), settings["tta"], scales, level)


def _emptied(probabilities: NDArray[np.float32], closed: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2, H, W) with certain boundaries where the probability of the objects (H, W) has been lowered."""
    nothing = np.array([1, 0], probabilities.dtype)[:, None, None]
    return np.where(closed < probabilities[1], nothing, probabilities)


def _at_scale(network: Probabilities, resized: Resized, scale: float, tile: Any) -> Any:
    if scale == 1:
        return network(tile)
    height, width = tile.shape[-2:]
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return resized(network(resized(tile, size, scale < 1)), (height, width), False)
