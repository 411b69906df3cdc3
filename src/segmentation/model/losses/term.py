"""What every loss of ``model.loss`` is: the interface, and what several of them do alike."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segmentation.errors import nearest
from segmentation.inference.classes import Classes

MapOf = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Mask (H, W), class indices or ``ignore_index`` -> a map (..., H, W) of it."""

SURE = 1e-6
"""Below it, what is raised to a power counts as so much: the slope of a power below 1 is infinite at 0."""


class Term(nn.Module):
    """One loss.

    The keyword-only arguments of a subclass are its options in ``model.loss_options``; it raises ValueError where one
    is out of range.

    Args:
        classes: Of the task.

    Attributes:
        maps: What the loss needs beyond the mask, by name; computed by the loaders.
    """

    def __init__(self, classes: Classes) -> None:
        super().__init__()
        self.classes = classes
        self.maps: dict[str, MapOf] = {}

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (B, 1 or K, H, W) float32 or float64.
            mask: (B, H, W) int64, class indices or ``ignore_index``.
            maps: Those of ``self.maps``, (B, ..., H, W) float32.

        Returns:
            A scalar; 0 with a gradient of 0 where every pixel is ignored.
        """
        raise NotImplementedError

    def counted(self, mask: Tensor) -> Tensor:
        """Whether a pixel is not ignored, as bool."""
        return mask != self.classes.ignore_index

    def probabilities(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, 1 or K, H, W) -> probabilities (B, K, H, W), 0 at ignored pixels."""
        planes = torch.cat([-logits, logits], 1).sigmoid() if self.classes.binary else logits.softmax(1)
        return torch.where(self.counted(mask)[:, None], planes, 0)

    def indices(self, target: str | None) -> range:
        """The class of this name; of null, every class but the first, which is the background.

        Raises:
            ValueError: For a name that is none of the classes.
        """
        names = list(self.classes.names)
        if target is not None and target not in names:
            raise ValueError(f"the class {target!r} is unknown" + nearest(str(target), names))
        return range(1, len(names)) if target is None else range(names.index(target), names.index(target) + 1)


def planes_of(planes: Tensor, indices: range) -> Tensor:
    """Those of some classes: (B, K, H, W) -> (B, T, H, W), without the wait for a GPU that a list of indices costs."""
    return planes[:, indices.start : indices.stop]


def one_hot(mask: Tensor, indices: Sequence[int]) -> Tensor:
    """Whether a pixel is of a class: mask (B, H, W) -> (B, T, H, W) bool for the T classes ``indices``."""
    return torch.stack([mask == index for index in indices], 1)


def mean_over_present(losses: Tensor, present: Tensor) -> Tensor:
    """Mean of (T,) losses over the classes that are there, (T,) bool; 0 without one."""
    return torch.where(present, losses, 0).sum() / present.sum().clamp_min(1)


def checked(option: str, value: float, least: float, most: float = float("inf")) -> float:
    """The value of an option, at least ``least`` and at most ``most``.

    Raises:
        ValueError: When it is outside.
    """
    if not least <= value <= most:
        span = f"{least:g} or more" if most == float("inf") else f"a number from {least:g} to {most:g}"
        raise ValueError(f"{option} is {value}; give {span}")
    return value
