"""What ``mask_values`` of a config says: values, colours, a threshold or numbered objects -> class indices."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from segmentation.data.numbered import OBJECTS, SEPARATE
from segmentation.errors import InputError, nearest
from segmentation.inference.classes import Classes

MaskMeaning = dict[int, int] | dict[str, list[int] | list[list[int]]] | str | None
"""The forms of ``mask_values`` in a config; see ``mask_values``."""

_THRESHOLD = re.compile(r">=\s*([0-9.eE+-]+)")
_IGNORED = "ignore"


@dataclass(frozen=True)
class MaskValues:
    """The meaning of the values in the mask files of one data set.

    Attributes:
        classes: Of the data set.
        stated: Whether a config says it; without, a value is its class.
        meaning: Class index or ``ignore_index`` of each value, of colours as ``packed``; empty where every number has
            one, by ``threshold`` or because it is that of an object.
        channels: Of a mask: 1 for values, 3 or 4 for colours.
        threshold: The grey value from which on a pixel is class 1.
        objects: Whether a value is the number of an object.
        separate: Whether pixels where two of them touch are class 0.
    """

    classes: Classes
    stated: bool
    meaning: Mapping[int, int] = field(default_factory=dict)
    channels: int = 1
    threshold: float | None = None
    objects: bool = False
    separate: bool = False

    def written(self, value: int) -> str:
        """A value as it stands in a config."""
        if self.channels == 1:
            return str(value)
        return str([value >> 8 * place & 255 for place in reversed(range(self.channels))])


def mask_values(stated: MaskMeaning, classes: Classes) -> MaskValues:
    """What a config states.

    =======================  ================================================================================
    ``stated``               a mask value means
    =======================  ================================================================================
    None                     the class index itself, or ``classes.ignore_index``
    ``{0: 0, 255: 1}``       what the mapping says: a class index or ``ignore_index``
    ``{road: [128, 0, 0]}``  the class of that colour, RGB or RGBA; the name ``ignore`` means ``ignore_index``
                             and may have several: ``{ignore: [[0, 0, 0], [255, 255, 255]]}``
    ``">=128"``              class 1 from that grey value on, else class 0: for JPEG and antialiased masks
    ``"objects"``            class 1 unless it is 0: for masks that number objects (instance ids)
    ``"separate_objects"``   the same, and class 0 where two objects touch
    =======================  ================================================================================

    Args:
        stated: One of these forms.
        classes: Of the data set.

    Raises:
        InputError: When it leads to no class or has no such form.
    """
    if isinstance(stated, str):
        return _of_text(stated, classes)
    if stated and all(isinstance(key, str) for key in stated):
        return _of_colors({str(name): _several(color) for name, color in stated.items()}, classes)
    return _of_mapping(stated, classes)  # type: ignore[arg-type] # its keys are numbers


def class_indices(classes: Classes) -> list[int]:
    """All class indices, and ``ignore_index``."""
    return [*range(len(classes)), classes.ignore_index]


def packed(channels: Any) -> Any:
    """The channels of a colour as one number, the first the highest byte; numbers or arrays."""
    number = channels[0]
    for channel in channels[1:]:
        number = number << 8 | channel
    return number


def written_mapping(mapping: Mapping[int, int]) -> str:
    """As it stands in a config, in the order of the values."""
    return "{" + ", ".join(f"{value}: {mapping[value]}" for value in sorted(mapping)) + "}"


def class_range(classes: Classes) -> str:
    """The class indices, for a message."""
    return f"0..{len(classes) - 1}"


def _of_text(text: str, classes: Classes) -> MaskValues:
    written = _THRESHOLD.fullmatch(text.strip())
    if text not in (OBJECTS, SEPARATE) and written is None:
        raise InputError(
            f"data.source.mask_values is {text!r}; give a mapping such as {{0: 0, 255: 1}}, colours such as "
            f'{{background: [0, 0, 0]}}, ">=128", objects or separate_objects' + nearest(text, [OBJECTS, SEPARATE])
        )
    if not classes.binary:
        raise InputError(
            f"data.source.mask_values {text!r} is for two classes; there are {len(classes)}: {', '.join(classes.names)}"
        )
    try:
        threshold = None if written is None else float(written[1])
    except ValueError as error:
        raise InputError(f"data.source.mask_values is {text!r}; {written and written[1]} is no number") from error
    return MaskValues(classes, True, threshold=threshold, objects=threshold is None, separate=text == SEPARATE)


def _of_mapping(values: Mapping[int, int] | None, classes: Classes) -> MaskValues:
    wrong = {value: index for value, index in (values or {}).items() if index not in class_indices(classes)}
    if wrong or (values is not None and not values):
        raise InputError(
            f"data.source.mask_values is {written_mapping(values or {})}; every value means a class "
            f"{class_range(classes)} or {classes.ignore_index} (ignore)"
            + (f", not {', '.join(str(index) for index in wrong.values())}" if wrong else "")
        )
    mapping = {index: index for index in class_indices(classes)} if values is None else values
    return MaskValues(classes, values is not None, {int(value): int(index) for value, index in mapping.items()})


def _of_colors(colors: Mapping[str, list[list[int]]], classes: Classes) -> MaskValues:
    names = [*classes.names, _IGNORED]
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
    lacking = [name for name in classes.names if name not in colors]
    if lacking:
        raise InputError(f"data.source.mask_values has no colour for {', '.join(lacking)}")
    channels = max(len(color) for several in colors.values() for color in several)
    of_names = [(name, packed([*color, 255][:channels])) for name, several in colors.items() for color in several]
    if len({color for _, color in of_names}) < len(of_names):
        raise InputError(f"data.source.mask_values: one colour is there twice in {dict(colors)}")
    indices = {
        **{name: index for index, name in enumerate(classes.names)},
        _IGNORED: classes.ignore_index,
    }
    return MaskValues(classes, True, {color: indices[name] for name, color in of_names}, channels)


def _several(stated: Any) -> list[list[int]]:
    """A colour or a list of colours -> a list of colours."""
    together = bool(stated) and all(isinstance(color, Sequence) for color in stated)
    return [list(color) for color in (stated if together else [stated])]
