"""Masks that hold values without a meaning: what is told of them, and the mapping that would fit."""

from collections import Counter
from collections.abc import Sequence

from segmentation.data.mask_values import MaskValues, class_range, written_mapping
from segmentation.data.problems import FileError, Problem
from segmentation.data.sample import Part

MANY = 16  # more values than this are no list of classes that somebody forgot to state


class UnknownValuesError(FileError):
    """A mask holds values that mean no class.

    Args:
        part: The mask.
        values: What it was read by.
        found: Every value in it, with its pixels.
        unknown: Those of them that mean no class.
    """

    def __init__(self, part: Part, values: MaskValues, found: Counter[int], unknown: Sequence[int]) -> None:
        super().__init__(
            f"mask {part}",
            f"holds {_listed(values, sorted(found))}; {_meant(values)}",
            _cure(values, sorted(found), unknown),
        )
        self.part, self.values, self.found = part, values, found
        self.unknown = tuple(unknown)

    def __reduce__(self) -> tuple[type[FileError], tuple[str, str, str]]:  # a loader process sends the text
        return FileError, (self.file, self.fault, self.cure)


def unknown_values(errors: Sequence[UnknownValuesError]) -> list[Problem]:
    """One problem for all masks of a data set, with the pixels and the number of masks of each value."""
    if not errors:
        return []
    values = errors[0].values
    found, pixels, masks = Counter[int](), Counter[int](), Counter[int]()
    for error in errors:
        found.update(error.found)
        pixels.update({value: error.found[value] for value in error.unknown})
        masks.update(error.unknown)
    told = [
        f"{values.written(value)} ({pixels[value]:,} pixels in {count:,} mask{'s' if count > 1 else ''})"
        for value, count in masks.most_common(5)
    ]
    more = f" and {len(masks) - 5} more values" if len(masks) > 5 else ""
    what = (
        f"mask values without a meaning: {', '.join(told)}{more}" if told else "every pixel is of one class or ignored"
    )
    fault = f"{what}; the masks hold {_listed(values, sorted(found))}, {_meant(values)}"
    return [Problem(fault, tuple(str(error.part) for error in errors), _cure(values, sorted(found), sorted(masks)))]


def _listed(values: MaskValues, found: Sequence[int]) -> str:
    """The values of a mask, for a message."""
    what = "value" if values.channels == 1 else "colour"
    if len(found) == 1:
        return f"only the {what} {values.written(found[0])}"
    if len(found) <= MANY:
        return f"the {what}s [{', '.join(map(values.written, found))}]"
    first = ", ".join(map(values.written, found[:3]))
    return f"{len(found)} different {what}s ({first} ... {values.written(found[-1])})"


def _meant(values: MaskValues) -> str:
    """What this rule says, for a message."""
    if values.stated:
        mapping = (
            written_mapping(values.meaning)
            if values.channels == 1
            else f"{len(values.meaning)} colours such as {values.written(next(iter(values.meaning)))}"
        )
        return f"data.source.mask_values is {mapping}"
    return f"{len(values.classes)} classes mean {class_range(values.classes)} ({values.classes.ignore_index} = ignore)"


def _cure(values: MaskValues, found: Sequence[int], unknown: Sequence[int]) -> str:
    """What to set in the config, for a message."""
    count, ignore = len(values.classes), values.classes.ignore_index
    if values.channels == 1 and len(found) > MANY and len(found) != count:
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
    if values.stated:
        return f"add {', '.join(map(values.written, unknown[:MANY]))} to it, or set data.source.ignore_unknown: true"
    if not unknown:
        stated = written_mapping({0: 0, 255: 1})
        explicit = written_mapping({0: 0, 1: 1, 255: 255})
        return f"set data.source.mask_values: {stated}, or, where 255 means ignore, {explicit}"
    if len(found) == count:
        return f"set data.source.mask_values: {written_mapping({value: index for index, value in enumerate(found)})}"
    if count == 2 and len(found) == 1:
        return f"set data.source.mask_values: {written_mapping({0: 0, found[0]: 1})}"
    if any(0 < value < count for value in found) and len(unknown) <= 3:
        ignored = {**{index: index for index in range(count)}, **dict.fromkeys(unknown, ignore)}
        return (
            f"set data.source.mask_values: {written_mapping(ignored)} to ignore {', '.join(map(str, unknown))}, "
            "or name more classes in data.source.classes"
        )
    example = ""
    if count == 2 and len(found) <= 4:
        example = f", for example {written_mapping({**dict.fromkeys(found, ignore), found[0]: 0, found[-1]: 1})}"
    return (
        f"set data.source.mask_values to lead each value to a class {class_range(values.classes)} or to {ignore} "
        f"(ignore){example}, or name more classes in data.source.classes"
    )
