"""What the values in a mask file mean -> class indices."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.channels import as_grey, without_opaque_alpha
from segmentation.data.numbered import OBJECTS, SEPARATE, touching
from segmentation.data.problems import FileError, Problem
from segmentation.data.sample import Part
from segmentation.errors import InputError, nearest
from segmentation.inference.classes import Classes

MaskMeaning = dict[int, int] | dict[str, list[int] | list[list[int]]] | str | None
"""The forms of ``mask_values`` in a config; see ``MaskRule``."""

LOSSY_SUFFIXES = (".jpg", ".jpeg")

MANY = 16  # more values than this are no list of classes that somebody forgot to state

MOST_CLASSES = 254

_THRESHOLD = re.compile(r">=\s*([0-9.eE+-]+)")
_IGNORED = "ignore"


class UnknownValuesError(FileError):
    """A mask holds values that mean no class.

    Args:
        part: The mask.
        rule: What it was read by.
        found: Every value in it, with its pixels.
        unknown: Those of them that mean no class.
    """

    def __init__(self, part: Part, rule: "MaskRule", found: Counter[int], unknown: Sequence[int]) -> None:
        super().__init__(
            f"mask {part}", f"holds {rule.listed(sorted(found))}; {rule.meant()}", rule.cure(sorted(found), unknown)
        )
        self.part, self.rule, self.found = part, rule, found
        self.counts = {rule.written(value): found[value] for value in unknown}
        self.unknown = tuple(unknown)

    def __reduce__(self) -> tuple[type[FileError], tuple[str, str, str]]:  # a loader process sends the text
        return FileError, (self.file, self.fault, self.cure)


def unknown_values(errors: Sequence[UnknownValuesError]) -> list[Problem]:
    """One problem for all masks of a data set, with the pixels and the number of masks of each value."""
    if not errors:
        return []
    rule = errors[0].rule
    found, pixels, masks = Counter[int](), Counter[int](), Counter[int]()
    for error in errors:
        found.update(error.found)
        pixels.update({value: error.found[value] for value in error.unknown})
        masks.update(error.unknown)
    told = [
        f"{rule.written(value)} ({pixels[value]:,} pixels in {count:,} mask{'s' if count > 1 else ''})"
        for value, count in masks.most_common(5)
    ]
    more = f" and {len(masks) - 5} more values" if len(masks) > 5 else ""
    fault = f"mask values without a meaning: {', '.join(told)}{more}; the masks hold {rule.listed(sorted(found))}, {rule.meant()}"
    return [Problem(fault, tuple(str(error.part) for error in errors), rule.cure(sorted(found), sorted(masks)))]


class MaskRule:
    """The meaning of the values in the mask files of one data set.

    =======================  ================================================================================
    ``values``               a mask value means
    =======================  ================================================================================
    None                     the class index itself, or ``classes.ignore_index``
    ``{0: 0, 255: 1}``       what the mapping says: a class index or ``ignore_index``
    ``{road: [128, 0, 0]}``  the class of that colour, RGB or RGBA; the name ``ignore`` means ``ignore_index``
                             and may have several: ``{ignore: [[0, 0, 0], [255, 255, 255]]}``
    ``">=128"``              class 1 from that grey value on, else class 0: for JPEG and antialiased masks
    ``"objects"``            class 1 unless it is 0: for masks that number objects (instance ids)
    ``"separate_objects"``   the same, and class 0 where two objects touch
    =======================  ================================================================================

    Without a mapping and of two classes with 255 as ``ignore_index``, a mask that holds 255 and no 1 is
    refused even so: nearly always its 255 is the foreground, and read as "ignore" there would be nothing
    left to learn.

    Args:
        classes: Of the data set.
        values: One of the forms above. Values that a mapping lacks are refused.
        ignore_unknown: Read values without a meaning as ``ignore_index`` instead.

    Raises:
        InputError: When ``values`` leads to no class or has no such form, ``ignore_index`` is itself a
            class or no uint8, or there are more than ``MOST_CLASSES`` classes.
    """

    def __init__(self, classes: Classes, values: MaskMeaning = None, ignore_unknown: bool = False) -> None:
        if not len(classes) <= classes.ignore_index <= 255:
            raise InputError(
                f"data.source.ignore_index is {classes.ignore_index}; with {len(classes)} classes it is "
                f"{len(classes)}..255. Set data.source.ignore_index: 255"
            )
        if len(classes) > MOST_CLASSES:
            raise InputError(
                f"there are {len(classes)} classes; masks can be read as at most {MOST_CLASSES}, because a byte also "
                "holds what does not count and what means nothing. Put some of the classes together"
            )
        self.classes = classes
        self.stated = values is not None
        self.ignore_unknown = ignore_unknown
        self.channels = 1
        """Of a mask: 1 for values, 3 or 4 for colours, which are packed to one number."""
        self.threshold: float | None = None
        self.separate = values == SEPARATE
        self.meaning: dict[int, int] = {}
        if isinstance(values, str):
            self._state(values)
        elif values and all(isinstance(key, str) for key in values):
            self._state_colors({str(name): _several(color) for name, color in values.items()})
        else:
            self._state_mapping(values)  # type: ignore[arg-type] # its keys are numbers
        # a value that is no class and not ignored, for what has no meaning
        self._none = next(value for value in range(255, -1, -1) if value not in self._indices())

    def decode(self, values: NDArray[Any], part: Part) -> NDArray[np.uint8]:
        """Stored values -> class indices.

        Args:
            values: (H, W), or (H, W, C): colours, or equal channels; an opaque alpha is dropped. Any real dtype.
                A palette's indices, or its colours where the rule is one of colours (``channels`` > 1).
            part: Where the values come from, for messages; a lossy file format is known by its suffix.

        Returns:
            (H, W) class indices in 0..K-1 or ``ignore_index``.

        Raises:
            UnknownValuesError: Naming the part, the values it holds and the mapping that fits them.
            FileError: For a lossy format without a threshold, and for channels that do not fit.
        """
        if part.path.suffix.lower() in LOSSY_SUFFIXES and self.threshold is None:
            raise FileError(
                f"mask {part}",
                "is a JPEG file, whose compression alters the class values",
                "save masks as PNG or TIFF with exact values, or, for two classes, set "
                'data.source.mask_values: ">=128"',
            )
        stored = self._stored(values, part)
        labels = self._labels(stored)
        if self.separate:
            labels[touching(stored)] = 0
        lacking = labels == self._none
        if lacking.any():
            if not self.ignore_unknown:
                raise self._unknown(stored, np.unique(stored[lacking]).tolist(), part)
            labels[lacking] = self.classes.ignore_index
        elif self._doubtful and (labels == 255).any() and not (labels == 1).any():
            raise self._unknown(stored, [], part)
        return labels

    def listed(self, found: Sequence[int]) -> str:
        """The values of a mask, for a message."""
        what = "value" if self.channels == 1 else "colour"
        if len(found) == 1:
            return f"only the {what} {self.written(found[0])}"
        if len(found) <= MANY:
            return f"the {what}s [{', '.join(map(self.written, found))}]"
        first = ", ".join(map(self.written, found[:3]))
        return f"{len(found)} different {what}s ({first} ... {self.written(found[-1])})"

    def written(self, value: int) -> str:
        """A value as it stands in a config."""
        if self.channels == 1:
            return str(value)
        return str([value >> 8 * place & 255 for place in reversed(range(self.channels))])

    def meant(self) -> str:
        """What this rule says, for a message."""
        if self.stated:
            mapping = (
                _written(self.meaning)
                if self.channels == 1
                else f"{len(self.meaning)} colours such as {self.written(next(iter(self.meaning)))}"
            )
            return f"data.source.mask_values is {mapping}"
        return f"{len(self.classes)} classes mean {_range(self.classes)} ({self.classes.ignore_index} = ignore)"

    def cure(self, found: Sequence[int], unknown: Sequence[int]) -> str:
        """What to set in the config, for a message."""
        count, ignore = len(self.classes), self.classes.ignore_index
        if self.channels == 1 and len(found) > MANY and len(found) != count:
            if found[-1] > 255 or found[-1] < min(2 * len(found), 192):
                return (
                    "if these are classes, name them all in data.source.classes; if they number objects (instance "
                    "ids), set data.source.mask_values: separate_objects"
                )
            return (
                "that many come from lossy compression, antialiasing or resizing, which masks must not have been "
                "through: save them as PNG or TIFF with exact values, or, for two classes, set "
                f'data.source.mask_values: ">={(found[0] + found[-1] + 1) // 2}"'
            )
        if self.stated:
            return f"add {', '.join(map(self.written, unknown[:MANY]))} to it, or set data.source.ignore_unknown: true"
        if not unknown:
            stated = _written({0: 0, 255: 1})
            explicit = _written({0: 0, 1: 1, 255: 255})
            return f"set data.source.mask_values: {stated}, or, where 255 means ignore, {explicit}"
        if len(found) == count:
            return f"set data.source.mask_values: {_written({value: index for index, value in enumerate(found)})}"
        if count == 2 and len(found) == 1:
            return f"set data.source.mask_values: {_written({0: 0, found[0]: 1})}"
        if any(0 < value < count for value in found) and len(unknown) <= 3:
            ignored = {**{index: index for index in range(count)}, **dict.fromkeys(unknown, ignore)}
            return (
                f"set data.source.mask_values: {_written(ignored)} to ignore {', '.join(map(str, unknown))}, "
                "or name more classes in data.source.classes"
            )
        example = ""
        if count == 2 and len(found) <= 4:
            example = f", for example {_written({**dict.fromkeys(found, ignore), found[0]: 0, found[-1]: 1})}"
        return (
            f"set data.source.mask_values to lead each value to a class {_range(self.classes)} or to {ignore} "
            f"(ignore){example}, or name more classes in data.source.classes"
        )

    def _state(self, text: str) -> None:
        written = _THRESHOLD.fullmatch(text.strip())
        if text not in (OBJECTS, SEPARATE) and written is None:
            raise InputError(
                f"data.source.mask_values is {text!r}; give a mapping such as {{0: 0, 255: 1}}, colours such as "
                f'{{background: [0, 0, 0]}}, ">=128", objects or separate_objects' + nearest(text, [OBJECTS, SEPARATE])
            )
        if not self.classes.binary:
            raise InputError(
                f"data.source.mask_values {text!r} is for two classes; there are {len(self.classes)}: "
                f"{', '.join(self.classes.names)}"
            )
        try:
            self.threshold = None if written is None else float(written[1])
        except ValueError as error:
            raise InputError(f"data.source.mask_values is {text!r}; {written and written[1]} is no number") from error

    def _state_mapping(self, values: Mapping[int, int] | None) -> None:
        wrong = {value: index for value, index in (values or {}).items() if index not in self._indices()}
        if wrong or (values is not None and not values):
            raise InputError(
                f"data.source.mask_values is {_written(values or {})}; every value means a class "
                f"{_range(self.classes)} or {self.classes.ignore_index} (ignore)"
                + (f", not {', '.join(str(index) for index in wrong.values())}" if wrong else "")
            )
        mapping = {index: index for index in self._indices()} if values is None else values
        self.meaning = {int(value): int(index) for value, index in mapping.items()}

    def _state_colors(self, colors: Mapping[str, list[list[int]]]) -> None:
        names = [*self.classes.names, _IGNORED]
        for name, several in colors.items():
            if name not in names:
                raise InputError(f"data.source.mask_values: {name!r} is no class" + nearest(name, names))
            if len(several) != 1 and name != _IGNORED:
                raise InputError(f"data.source.mask_values: {name} is {several}; only ignore may have several colours")
            for color in several:
                if len(color) not in (3, 4) or not all(0 <= value <= 255 for value in color):
                    raise InputError(
                        f"data.source.mask_values: {name} is {color}; a colour is [red, green, blue], each 0..255"
                    )
        lacking = [name for name in self.classes.names if name not in colors]
        if lacking:
            raise InputError(f"data.source.mask_values has no colour for {', '.join(lacking)}")
        self.channels = max(len(color) for several in colors.values() for color in several)
        packed = [
            (name, _packed([*color, 255][: self.channels])) for name, several in colors.items() for color in several
        ]
        if len({color for _, color in packed}) < len(packed):
            raise InputError(f"data.source.mask_values: one colour is there twice in {dict(colors)}")
        indices = {
            **{name: index for index, name in enumerate(self.classes.names)},
            _IGNORED: self.classes.ignore_index,
        }
        self.meaning = {color: indices.get(name, self.classes.ignore_index) for name, color in packed}

    def _indices(self) -> list[int]:
        return [*range(len(self.classes)), self.classes.ignore_index]

    @property
    def _doubtful(self) -> bool:
        return not self.stated and self.classes.binary and self.classes.ignore_index == 255

    def _meanings(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Classes of values (N,), ``_none`` where there is none."""
        if not self.meaning:
            foreground = values != 0 if self.threshold is None else values >= self.threshold
            return foreground.astype(np.uint8)
        return np.array([self.meaning.get(int(value), self._none) for value in values], np.uint8)

    def _labels(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        if self.channels == 3:
            return self._color_table.take(stored)
        if self.channels == 1 and stored.dtype == np.uint8:
            return self._table.take(stored)
        if self.channels == 1 and stored.dtype == np.uint16:
            return self._deep_table.take(stored)
        unique, position = np.unique(stored, return_inverse=True)
        return self._meanings(unique).take(position.reshape(stored.shape))

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        return self._meanings(np.arange(2**8))

    @cached_property
    def _deep_table(self) -> NDArray[np.uint8]:
        return self._meanings(np.arange(2**16))

    @cached_property
    def _color_table(self) -> NDArray[np.uint8]:
        table = np.full(2**24, self._none, np.uint8)
        table[list(self.meaning)] = list(self.meaning.values())
        return table

    def __getstate__(self) -> dict[str, Any]:
        """Without the tables: a worker makes its own."""
        return {name: value for name, value in vars(self).items() if not name.endswith("_table")}

    def _stored(self, values: NDArray[Any], part: Part) -> NDArray[Any]:
        """One number a pixel (H, W)."""
        if self.channels == 1:
            grey = _one_channel(values, part)
            return grey if self.threshold is not None else _whole(grey, part)
        if values.ndim == 2:
            values = np.repeat(values[..., None], 3, axis=2)  # a mask of greys among colours, such as black alone
        if values.shape[2] == self.channels + 1:
            values = without_opaque_alpha(values)
        if values.shape[2] == self.channels - 1:
            values = np.concatenate([values, np.full_like(values[..., :1], 255)], axis=2)
        if values.shape[2] != self.channels or values.dtype != np.uint8:
            raise FileError(
                f"mask {part}",
                f"is {values.dtype} with {values.shape[2]} channels; data.source.mask_values has colours of {self.channels} numbers",
                "save masks as 8-bit RGB PNG, or give the colours with as many numbers (with alpha: 4)",
            )
        packed: NDArray[np.uint32] = _packed(np.moveaxis(values.astype(np.uint32), 2, 0))
        return packed

    def _unknown(self, stored: NDArray[Any], unknown: Sequence[int], part: Part) -> UnknownValuesError:
        found, counts = np.unique(stored, return_counts=True)
        return UnknownValuesError(part, self, Counter(dict(zip(found.tolist(), counts.tolist(), strict=True))), unknown)


def _several(stated: Any) -> list[list[int]]:
    """A colour or a list of colours -> a list of colours."""
    together = bool(stated) and all(isinstance(color, Sequence) for color in stated)
    return [list(color) for color in (stated if together else [stated])]


def _packed(channels: Any) -> Any:
    """The channels of a colour as one number."""
    number = channels[0]
    for channel in channels[1:]:
        number = number << 8 | channel
    return number


def _one_channel(values: NDArray[Any], part: Part) -> NDArray[Any]:
    if values.ndim not in (2, 3):
        raise FileError(f"mask {part}", f"has the shape {values.shape}; (H, W) is expected", "save it as one image")
    grey = as_grey(values)
    if grey.ndim == 2:
        return grey
    raise FileError(
        f"mask {part}",
        f"has {values.shape[-1]} channels that differ; a mask holds one class index per pixel",
        "save it as a grey or palette PNG, or, where colours mean classes, set data.source.mask_values: "
        "{background: [0, 0, 0], CLASS: [R, G, B]}",
    )


def _whole(values: NDArray[Any], part: Part) -> NDArray[Any]:
    """The values as integers, uint8 where they fit."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise FileError(
                f"mask {part}",
                f"is {values.dtype} and holds fractions",
                'save masks as PNG or TIFF with whole numbers, or, for two classes, set data.source.mask_values: ">=0.5"',
            )
    elif values.dtype.kind not in "biu":
        raise FileError(f"mask {part}", f"is {values.dtype}", "save masks as PNG or TIFF with whole numbers")
    if values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    return values.astype(np.uint16 if values.min() >= 0 and values.max() < 2**16 else np.int64)


def _range(classes: Classes) -> str:
    return f"0..{len(classes) - 1}"


def _written(mapping: Mapping[int, int]) -> str:
    """As it stands in a config, in the order of the values."""
    return "{" + ", ".join(f"{value}: {mapping[value]}" for value in sorted(mapping)) + "}"
