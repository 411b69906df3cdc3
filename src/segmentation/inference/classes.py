"""What the numbers in a label array mean, and how they are painted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import InputError

IGNORE_INDEX = 255

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Classes:
    """The ordered classes of a task. Two make it binary, more multiclass.

    Attributes:
        names: Class ``k`` of a mask is ``names[k]``.
        colors: RGB in 0..255 for each class; by default black and white for two classes, the palette
            of PASCAL VOC for more.
        ignore_index: The mask value of pixels that count neither in the loss nor in any score; no class, K..255.

    Raises:
        InputError: With fewer than two names, a name twice, another number of colours, or an ``ignore_index`` that is a
            class or no uint8.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...] = ()
    ignore_index: int = IGNORE_INDEX

    def __post_init__(self) -> None:
        names = tuple(str(name) for name in self.names)
        if not 2 <= len(names) <= 255 or len(set(names)) != len(names):
            raise InputError(
                f"classes are {list(names)}; give 2 to 255 different names in the order of the mask values, "
                "the background first, for example [background, lesion]"
            )
        for color in self.colors:
            if len(color) != 3 or not all(0 <= value <= 255 for value in color):
                raise InputError(f"colors holds {list(color)}; a colour is [red, green, blue], each 0..255")
        colors = tuple((int(r), int(g), int(b)) for r, g, b in self.colors) or palette(len(names))
        if len(colors) != len(names):
            raise InputError(f"{len(names)} classes but {len(colors)} colours; give one RGB colour per class")
        if not len(names) <= self.ignore_index <= 255:
            raise InputError(
                f"data.source.ignore_index is {self.ignore_index}; with {len(names)} classes it is {len(names)}..255. "
                "Set data.source.ignore_index: 255"
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "colors", colors)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def binary(self) -> bool:
        """Whether one logit decides between two classes."""
        return len(self.names) == 2

    @property
    def tints(self) -> tuple[Color, ...]:
        """Colours for ``overlay``: black and white, which only darken and brighten, become blue on class 1."""
        return ((0, 0, 0), (40, 160, 230)) if self.colors == palette(2) else self.colors

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, as configs and checkpoints hold them."""
        return {
            "names": list(self.names),
            "colors": [list(color) for color in self.colors],
            "ignore_index": self.ignore_index,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Classes":
        """The inverse of ``to_dict``."""
        return cls(tuple(values["names"]), tuple(values.get("colors", ())), values.get("ignore_index", IGNORE_INDEX))

    def paint(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class indices (H, W) -> RGB (H, W, 3); what is outside the classes, such as ignored pixels, is hatched."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.colors)] = self.colors
        painted = table[labels]
        outside = labels >= len(self.colors)
        if outside.any():
            painted[outside] = hatching(labels.shape)[outside]
        return painted


def hatching(size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Diagonal stripes in two greys, which no class can be mistaken for, whatever its colour.

    Args:
        size: (H, W); the stripes are wide enough to be seen when such a picture is scaled down to a thumbnail.

    Returns:
        (H, W, 3) uint8.
    """
    height, width = size
    diagonals = np.arange(height)[:, None] + np.arange(width)
    stripe = -(-max(size) // 64)
    grey = np.where(diagonals // stripe % 2 == 0, np.uint8(90), np.uint8(170))
    return np.repeat(grey[..., None], 3, axis=-1)


def palette(count: int) -> tuple[Color, ...]:
    """Black and white for two classes; the bit-interleaved palette of PASCAL VOC for more."""
    if count == 2:
        return ((0, 0, 0), (255, 255, 255))
    return tuple(_voc_color(index) for index in range(count))


def _voc_color(index: int) -> Color:
    color = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            color[channel] |= (index >> channel & 1) << (7 - bit)
        index >>= 3
    return color[0], color[1], color[2]


def overlay(
    image: NDArray[np.generic],
    labels: NDArray[np.uint8],
    colors: Sequence[Color],
    opacity: float = 0.4,
    span: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Tint an image with the colours of its classes.

    Args:
        image: (H, W, C) raw pixels of any dtype; the first or the first three channels are shown,
            stretched to their range unless uint8.
        labels: (H, W) class indices; indices without a colour stay untinted.
        colors: RGB per class; black leaves the image as it is.
        opacity: Share of the colour, 0..1.
        span: As in ``to_rgb``.

    Returns:
        (H, W, 3) uint8.
    """
    shown = to_rgb(image, span).astype(np.float32)
    table = np.zeros((256, 3), np.float32)
    table[: len(colors)] = colors
    tint = table[labels]
    tinted = tint.any(-1)
    shown[tinted] = (1 - opacity) * shown[tinted] + opacity * tint[tinted]
    tinted_image: NDArray[np.uint8] = np.clip(shown + 0.5, 0, 255).astype(np.uint8)
    return tinted_image


def to_rgb(image: NDArray[np.generic], span: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Raw pixels (H, W, C) of any dtype and any C -> viewable RGB (H, W, 3) uint8.

    Args:
        image: Shown as it is where it is uint8, else stretched.
        span: The values that become black and white; None for the smallest and largest that are shown.
    """
    shown = image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)
    if shown.dtype == np.uint8:
        return np.ascontiguousarray(shown).astype(np.uint8)
    values = shown.astype(np.float64)
    low, high = span or value_range(image) or (0.0, 1.0)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / max(high - low, 1e-12)
    viewable: NDArray[np.uint8] = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return viewable


def value_range(image: NDArray[np.generic]) -> tuple[float, float] | None:
    """Smallest and largest finite value of the channels that ``to_rgb`` shows; None without one."""
    shown = image[..., : 3 if image.shape[-1] >= 3 else 1].astype(np.float64)
    finite = shown[np.isfinite(shown)]
    return (float(finite.min()), float(finite.max())) if finite.size else None
