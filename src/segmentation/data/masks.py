"""What a mask file's values mean -> class indices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.source import Part
from segmentation.errors import InputError
from segmentation.inference.classes import Classes

LOSSY_SUFFIXES = (".jpg", ".jpeg")

MANY = 16  # more values than this are no list of classes that somebody forgot to state


class MaskValues:
    """The meaning of the values in the mask files of one data set.

    Without a mapping a value is the class index itself, or ``classes.ignore_index``. Of two classes with
    255 as ``ignore_index``, a mask that holds 255 and no 1 is refused even so: nearly always its 255 is
    the foreground, and read as "ignore" there would be nothing left to learn.

    Args:
        classes: Of the data set.
        mapping: File value -> class index or ``ignore_index``. Values that it lacks are refused.

    Raises:
        InputError: When a mapping leads to no class, or ``ignore_index`` is itself a class or no uint8.
    """

    def __init__(self, classes: Classes, mapping: Mapping[int, int] | None = None) -> None:
        if not len(classes) <= classes.ignore_index <= 255:
            raise InputError(
                f"data.source.ignore_index is {classes.ignore_index}; with {len(classes)} classes it is "
                f"{len(classes)}..255. Set data.source.ignore_index: 255"
            )
        indices = [*range(len(classes)), classes.ignore_index]
        wrong = {value: index for value, index in (mapping or {}).items() if index not in indices}
        if wrong or (mapping is not None and not mapping):
            raise InputError(
                f"data.source.mask_values is {_written(mapping or {})}; every value means a class "
                f"{_range(classes)} or {classes.ignore_index} (ignore)"
                + (f", not {', '.join(str(index) for index in wrong.values())}" if wrong else "")
            )
        self.classes = classes
        self.stated = mapping is not None
        self.meaning = {int(value): int(index) for value, index in (mapping or {i: i for i in indices}).items()}
        self.table = np.zeros(256, np.uint8)
        for value, index in self.meaning.items():
            if 0 <= value < 256:
                self.table[value] = index

    def decode(self, values: NDArray[Any], part: Part) -> NDArray[np.uint8]:
        """Stored values -> class indices.

        Args:
            values: (H, W), or (H, W, C) with equal channels (an opaque alpha is dropped); any real dtype.
            part: Where the values come from, for messages; a lossy file format is refused by its suffix.

        Returns:
            (H, W) class indices in 0..K-1 or ``ignore_index``.

        Raises:
            InputError: Naming the part, the values it holds and the mapping that fits them.
        """
        if part.path.suffix.lower() in LOSSY_SUFFIXES:
            raise InputError(
                f"mask {part} is a JPEG file, whose compression alters the class values; save masks as PNG or TIFF "
                "with exact values"
            )
        stored = _whole(_one_channel(values, part), part)
        if stored.dtype == np.uint8:
            found = np.flatnonzero(np.bincount(stored.ravel(), minlength=256)).tolist()
            self._check(found, part)
            return self.table.take(stored)
        unique, position = np.unique(stored, return_inverse=True)
        found = unique.tolist()
        self._check(found, part)
        indices = np.array([self.meaning[value] for value in found], np.uint8)
        return indices.take(position.reshape(stored.shape))

    def _check(self, found: list[int], part: Part) -> None:
        unknown = [value for value in found if value not in self.meaning]
        if unknown or self._foreground_ignored(found):
            raise InputError(f"mask {part} holds {_listed(found)}; {self._meant()}. {self._cure(found, unknown)}")

    def _foreground_ignored(self, found: list[int]) -> bool:
        return (
            not self.stated
            and self.classes.binary
            and self.classes.ignore_index == 255
            and 255 in found
            and 1 not in found
        )

    def _meant(self) -> str:
        if self.stated:
            return f"data.source.mask_values is {_written(self.meaning)}"
        return f"{len(self.classes)} classes mean {_range(self.classes)} ({self.classes.ignore_index} = ignore)"

    def _cure(self, found: list[int], unknown: list[int]) -> str:
        count, ignore = len(self.classes), self.classes.ignore_index
        if len(found) > MANY and len(found) != count:
            if found[-1] > 255 or found[-1] < min(2 * len(found), 192):
                return (
                    "If these are classes, name them all in data.source.classes; if they number objects (instance "
                    "ids), save masks of classes"
                )
            return (
                "That many come from lossy compression, antialiasing or resizing, which masks must not have been "
                "through: save them as PNG or TIFF with exact values"
            )
        if self.stated:
            return f"Add {', '.join(map(str, unknown))} to it"
        if not unknown:
            stated = _written({0: 0, 255: 1})
            explicit = _written({0: 0, 1: 1, 255: 255})
            return f"Set data.source.mask_values: {stated}, or, where 255 means ignore, {explicit}"
        if len(found) == count:
            return f"Set data.source.mask_values: {_written({value: index for index, value in enumerate(found)})}"
        if count == 2 and len(found) == 1:
            return f"Set data.source.mask_values: {_written({0: 0, found[0]: 1})}"
        if any(0 < value < count for value in found) and len(unknown) <= 3:
            ignored = {**{index: index for index in range(count)}, **dict.fromkeys(unknown, ignore)}
            return (
                f"Set data.source.mask_values: {_written(ignored)} to ignore {', '.join(map(str, unknown))}, "
                "or name more classes in data.source.classes"
            )
        example = ""
        if count == 2 and len(found) <= 4:
            example = f", for example {_written({**dict.fromkeys(found, ignore), found[0]: 0, found[-1]: 1})}"
        return (
            f"Set data.source.mask_values to lead each value to a class {_range(self.classes)} or to {ignore} "
            f"(ignore){example}, or name more classes in data.source.classes"
        )


def _one_channel(values: NDArray[Any], part: Part) -> NDArray[Any]:
    if values.ndim == 2:
        return values
    if values.ndim == 3:
        channels = values.shape[-1]
        if channels in (2, 4) and (values[..., -1] == 255).all():
            values = values[..., :-1]
        if (values == values[..., :1]).all():
            return np.ascontiguousarray(values[..., 0])
        raise InputError(
            f"mask {part} has {channels} channels that differ; a mask holds one class index per pixel. "
            "Save it as a grey or palette PNG"
        )
    raise InputError(f"mask {part} has the shape {values.shape}; (H, W) is expected")


def _whole(values: NDArray[Any], part: Part) -> NDArray[Any]:
    """The values as integers, uint8 where they fit."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise InputError(
                f"mask {part} is {values.dtype} and holds fractions; save masks as PNG or TIFF with whole numbers"
            )
    elif values.dtype.kind not in "biu":
        raise InputError(f"mask {part} is {values.dtype}; whole numbers are expected")
    if values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    return values.astype(np.int64)


def _range(classes: Classes) -> str:
    return f"0..{len(classes) - 1}"


def _listed(found: Sequence[int]) -> str:
    if len(found) == 1:
        return f"only the value {found[0]}"
    if len(found) <= MANY:
        return f"the values {list(found)}"
    return f"{len(found)} different values ({found[0]}, {found[1]}, {found[2]} ... {found[-1]})"


def _written(mapping: Mapping[int, int]) -> str:
    """As it stands in a config, in the order of the values."""
    return "{" + ", ".join(f"{value}: {mapping[value]}" for value in sorted(mapping)) + "}"
