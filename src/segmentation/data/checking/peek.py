"""What is in the mask files of a data set: their values or colours, and how often."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from segmentation.data.channels import as_grey, without_opaque_alpha
from segmentation.data.class_tables import ClassTable
from segmentation.data.masks import LOSSY_SUFFIXES
from segmentation.data.reading import read_values
from segmentation.data.sample import Part
from segmentation.data.spreading import spread
from segmentation.errors import InputError

Value = int | float | tuple[int, ...]
"""A grey value, or a colour of 3 or 4 numbers."""

READ = 64
"""Masks that are looked at."""

_CONNECTED = 8  # of them in which components are counted
_OF_EACH = 40  # values of a mask whose components are counted
_KEPT = 4096  # different colours of a mask that are kept, the most common


@dataclass(frozen=True)
class Peek:
    """What is in some of the masks.

    Attributes:
        masks: How many were read.
        pixels: Pixels of each value, over all of them.
        holders: How many of them hold each value.
        distinct: Number of different values of each mask.
        connected: Share of the values other than 0 that are one connected region in a mask; None when
            there were none to look at.
        dtype: Of the deepest mask.
        lossy: Whether a mask is of a lossy format.
        fullest: The mask with the most different values.
        fused: By how many the regions of pixels other than 0 are fewer than the values, in the masks of ``connected``.
        numbered: Whether the values other than 0 are 1..n in each mask, and n differs.
    """

    masks: int
    pixels: dict[Value, int]
    holders: dict[Value, int]
    distinct: tuple[int, ...]
    connected: float | None = None
    dtype: str = "uint8"
    lossy: bool = False
    fused: int = 0
    fullest: Part | None = None
    numbered: bool = False

    @property
    def colored(self) -> bool:
        """Whether there are colours, not grey values."""
        return any(isinstance(value, tuple) for value in self.pixels)


def peek(parts: Sequence[Part], most: int = READ, table: ClassTable | None = None) -> Peek:
    """Read some masks, evenly spread.

    The values of palette masks are their indices, or their colours where other masks hold colours or the
    palettes have those of the table.

    Args:
        parts: All masks.
        most: Read at most so many; those that cannot be read are passed over.
        table: The classes as a file names them, if there is one.
    """
    counts: dict[Part, Counter[Value]] = {}
    flat: list[Part] = []
    whole, dtypes, lossy, touching = [], set(), False, 0
    for part in spread(parts, most):
        try:
            stored = read_values(part)
        except (InputError, OSError):
            continue
        values = as_grey(stored)
        counts[part] = found = _counts(values)
        flat += [part] if stored.ndim == 2 else []
        dtypes.add(values.dtype)
        lossy |= part.path.suffix.lower() in LOSSY_SUFFIXES
        if len(counts) <= _CONNECTED and values.ndim == 2:
            whole += _whole(values)
            touching += fused(values)
    known = {*table.colors, *table.ignored} if table is not None and table.colors and table.decodes else set()
    if known or (flat and _colored(counts)):
        painted = _palettes(flat)
        counts |= painted if _colored(counts) or _are_painted(painted, known) else {}
    pixels, holders = Counter[Value](), Counter[Value]()
    for found in counts.values():
        pixels.update(found)
        holders.update(found.keys())
    if _colored(counts):  # a mask of black alone is grey by itself
        pixels, holders = _as_colors(pixels), _as_colors(holders)
    distinct = {part: len(found) for part, found in counts.items()}
    objects = [found.keys() - {0} for found in counts.values()]
    return Peek(
        masks=len(counts),
        pixels=dict(pixels),
        holders=dict(holders),
        distinct=tuple(distinct.values()),
        connected=sum(whole) / len(whole) if whole else None,
        dtype=str(max(dtypes, key=lambda dtype: dtype.itemsize, default=np.dtype(np.uint8))),
        lossy=lossy,
        fused=touching,
        fullest=max(distinct, key=distinct.__getitem__, default=None),
        numbered=all(values == set(range(1, len(values) + 1)) for values in objects)
        and len(set(map(len, objects))) > 1,
    )


def fused(values: NDArray[Any]) -> int:
    """By how many the connected regions are fewer than the objects: at least so many touch another.

    Args:
        values: (H, W) numbers of objects, 0 = none.
    """
    objects = np.unique(values[values != 0]).size
    return max(0, objects - int(label(values != 0, return_num=True, connectivity=1)[1]))


def _colored(counts: Mapping[Part, Counter[Value]]) -> bool:
    return any(isinstance(value, tuple) for found in counts.values() for value in found)


def _palettes(parts: Sequence[Part]) -> dict[Part, Counter[Value]]:
    """The colours of those that are palette masks."""
    shown = {part: read_values(part, colors=True) for part in parts}
    return {part: _counts(without_opaque_alpha(values)) for part, values in shown.items() if values.ndim == 3}


def _are_painted(palettes: Mapping[Part, Counter[Value]], known: Set[Any]) -> bool:
    """Whether these are the colours of a table: two of them or more, for a palette of greys has black too."""
    pixels = Counter[Value]()
    for found in palettes.values():
        pixels.update(found)
    there = {color: count for color, count in pixels.items() if isinstance(color, tuple) and color[:3] in known}
    return len(there) > 1 and sum(there.values()) >= 0.5 * pixels.total()


def _counts(values: NDArray[Any]) -> Counter[Value]:
    if values.ndim == 2:
        found, counts = np.unique(values, return_counts=True)
        whole = values.dtype.kind != "f" or bool((found == np.rint(found)).all())
        return Counter({(int(v) if whole else float(v)): int(n) for v, n in zip(found, counts, strict=True)})
    packed = np.zeros(values.shape[:2], np.int64)
    for channel in range(values.shape[2]):
        packed = packed << 16 | values[..., channel].astype(np.int64) & 0xFFFF
    numbers, first, counts = np.unique(packed.ravel(), return_index=True, return_counts=True)
    flat = values.reshape(-1, values.shape[2])
    order = np.argsort(-counts, kind="stable")[:_KEPT]
    return Counter({tuple(int(v) for v in flat[first[at]]): int(counts[at]) for at in order if len(numbers)})


def _as_colors(counts: Counter[Value]) -> Counter[Value]:
    length = max(len(value) for value in counts if isinstance(value, tuple))
    together = Counter[Value]()
    for value, count in counts.items():
        color = value if isinstance(value, tuple) else (int(value),) * 3
        together[(*color, 255)[:length] if len(color) < length else color] += count
    return together


def _whole(values: NDArray[Any]) -> list[bool]:
    """For values of a mask other than 0, whether each is one connected region."""
    found = [value for value in np.unique(values) if value != 0]
    return [int(label(values == value, return_num=True, connectivity=2)[1]) == 1 for value in found[:_OF_EACH]]
