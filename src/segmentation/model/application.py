"""How a trained network is applied to whole images: tiles, test-time augmentation, closed gaps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segmentation.errors import InputError, nearest
from segmentation.inference.agglomeration import close_gaps
from segmentation.inference.flips import VIEWS, Tta, averaged
from segmentation.inference.tiling import Tiling

TOGETHER = {"cuda": 4}
"""Tiles that go through the network together, by device; a CPU is no faster with more than one."""

Probabilities = Callable[[Tensor], Tensor]
"""Raw pixels (B, C, h, w) -> probabilities (B, K, h, w) float32."""


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

    def averaged(self, network: Probabilities, tile: Tensor) -> Tensor:
        """Raw pixels (B, C, h, w) of a tile -> probabilities (B, K, h, w), the mean over views and scales."""
        together = TOGETHER.get(tile.device.type, 1)
        means = [averaged(partial(_at_scale, network, scale), self.tta, together)(tile) for scale in self.scales]
        return torch.stack(means).mean(0) if len(means) > 1 else means[0]

    def closed(self, probabilities: Tensor) -> Tensor:
        """Probabilities (B, K, H, W) of whole images -> the same with the gaps between objects closed, where wanted."""
        if self.agglomeration is None:
            return probabilities
        before = probabilities[:, 1]
        after = torch.from_numpy(np.stack([close_gaps(one, self.agglomeration) for one in before.cpu().numpy()]))
        nothing = probabilities.new_tensor([1.0, 0.0]).view(2, 1, 1)
        return torch.where((after.to(before) < before)[:, None], nothing, probabilities)


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


def _at_scale(network: Probabilities, scale: float, tile: Tensor) -> Tensor:
    if scale == 1:
        return network(tile)
    size = [max(1, round(length * scale)) for length in tile.shape[-2:]]
    scaled = F.interpolate(tile.float(), size=size, mode="bilinear", antialias=scale < 1)
    return F.interpolate(network(scaled), size=tile.shape[-2:], mode="bilinear")
