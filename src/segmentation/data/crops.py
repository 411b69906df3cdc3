"""Where a training crop is cut: anywhere, or around a pixel that is looked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.shares import one_of
from segmentation.inference.edges import edges

Pair = tuple[NDArray[Any], NDArray[np.uint8]]
"""Image (H, W, C) and mask (H, W)."""


@dataclass(frozen=True)
class Target:
    """Chooses the pixel that a crop must hold.

    Attributes:
        foreground: Share of the crops that look for a random pixel of a random class of the image among ``classes``.
        boundary: Share of the crops that look for a random pixel of a boundary between any two classes.
        classes: The classes that foreground crops look for, each as often as the others.
        ignore_index: The mask value that is no class.
    """

    foreground: float = 0.0
    boundary: float = 0.0
    classes: tuple[int, ...] = ()
    ignore_index: int = 255

    def __call__(self, mask: NDArray[np.uint8], random: np.random.Generator) -> tuple[int, int] | None:
        """(row, column) in a mask (H, W); None for a crop at any place, also where there is nothing to be found."""
        look = one_of({self._foreground: self.foreground, self._boundary: self.boundary}, random)
        if look is None:
            return None
        found = np.flatnonzero(look(mask, random))
        if not found.size:
            return None
        row, column = divmod(int(random.choice(found)), mask.shape[1])
        return row, column

    def _foreground(self, mask: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.bool_]:
        present = [k for k in self.classes if (mask == k).any()]
        return mask == random.choice(present) if present else np.zeros(mask.shape, np.bool_)

    def _boundary(self, mask: NDArray[np.uint8], _random: np.random.Generator) -> NDArray[np.bool_]:
        return edges(mask, mask != self.ignore_index)


ANYWHERE = Target()


def random_crop(
    image: NDArray[Any],
    mask: NDArray[np.uint8],
    size: int,
    random: np.random.Generator,
    target: tuple[int, int] | None = None,
) -> Pair:
    """A square window of ``size`` pixels at a random place, views of (H, W, C) and (H, W).

    With a target (row, column) it is one of the windows that hold this pixel, each as likely: windows
    around it would show a small lesion in their middle in every draw. Smaller images are continued by reflection.
    """
    short = [max(0, size - length) for length in mask.shape]
    if any(short):
        before = [random.integers(missing + 1) for missing in short]
        pad = [(first, missing - first) for first, missing in zip(before, short, strict=True)]
        image, mask = np.pad(image, [*pad, (0, 0)], mode="symmetric"), np.pad(mask, pad, mode="symmetric")
    starts = [(0, length - size) for length in mask.shape]
    if target is not None:
        starts = [(max(0, at - size + 1), min(at, last)) for at, (_, last) in zip(target, starts, strict=True)]
    top, left = (int(random.integers(first, last + 1)) for first, last in starts)
    return image[top : top + size, left : left + size], mask[top : top + size, left : left + size]
