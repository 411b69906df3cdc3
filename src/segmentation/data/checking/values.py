"""What the values in the mask files of a data set mean, from the values themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segmentation.data.checking.peek import Peek
from segmentation.data.class_tables import ClassTable
from segmentation.data.numbered import OBJECTS, SEPARATE
from segmentation.data.problems import Problem
from segmentation.errors import InputError
from segmentation.inference.classes import IGNORE_INDEX

_MOST_CLASSES = 64
_MANY_OBJECTS = 20
_EXTREMES = 0.12
"""Part of the range at its two ends; two-level masks that were compressed or resized lie there."""


@dataclass(frozen=True)
class Meaning:
    """How a source must read the masks.

    Attributes:
        arguments: ``classes``, and what is needed of ``mask_values``, ``ignore_index``, ``ignore_unknown`` and
            ``colors``; plain values.
        reasons: Argument -> one sentence why.
        warnings: What else the values may mean.
    """

    arguments: dict[str, Any]
    reasons: dict[str, str]
    warnings: tuple[Problem, ...] = ()


def meaning(seen: Peek, table: ClassTable | None = None) -> Meaning:
    """Classes and their values.

    Args:
        seen: What the masks hold.
        table: The classes as a file names them, if there is one.

    Raises:
        InputError: When nothing can be made of the values, with what was seen. Where no mask could be read,
            the classes are those of the table or background and foreground: the survey names the files.
    """
    if seen.masks == 0:
        names = ["background", "foreground"] if table is None else list(table.names)
        return Meaning({"classes": names}, {"classes": "assumed: none of the masks looked at can be read"})
    if seen.colored:
        return _colors(seen, table)
    values = sorted(value for value in seen.pixels if not isinstance(value, tuple))
    if len(values) == 1:
        raise InputError(
            f"all {_masks(seen)} looked at hold only the value {values[0]}, so there is nothing to learn; "
            "check that these are the masks and that they were saved with their labels"
        )
    blank = table is not None and table.values is None and len(table.names) == len(values) == 2 and values[1] > 1
    if table is not None and not blank and not _two_levels(seen, values):
        named = _named(seen, [int(value) for value in values], table)
        if named is not None:
            return named
    return _unnamed(seen, values, table)


def _masks(seen: Peek) -> str:
    return "the one mask" if seen.masks == 1 else f"the {seen.masks} masks"


def _two_levels(seen: Peek, values: Sequence[int | float]) -> bool:
    """Black and white that compression or resizing has blurred."""
    low, high = values[0], values[-1]
    fractions = any(isinstance(value, float) for value in values)
    if len(values) < 3 or (high <= 16 and not fractions) or (len(values) <= 8 and not seen.lossy):
        return False
    width = _EXTREMES * (high - low)
    numbers = np.array(values, np.float64)
    counts = np.array([seen.pixels[value] for value in values], np.float64)
    dark, bright = counts[numbers <= low + width].sum(), counts[numbers >= high - width].sum()
    ends = seen.pixels[low] + seen.pixels[high] if not seen.lossy else dark + bright
    return bool(dark + bright >= 0.9 * counts.sum() and min(dark, bright) > 0 and ends >= 0.8 * (dark + bright))


def _named(seen: Peek, values: Sequence[int], table: ClassTable) -> Meaning | None:
    """Values by a table; None when it does not fit them."""
    names, count = list(table.names), len(table.names)
    ignored = [value for value in table.ignored if isinstance(value, int)]
    known = list(table.values) if table.values is not None else list(range(count))
    left = [value for value in values if value not in known and value not in ignored]
    reasons = {"classes": f"the {count} names of the class table"}
    doubt: tuple[Problem, ...] = ()
    unnamed = left[:1] == [count] and (table.values is None or table.by_order)  # one value more than names
    if unnamed and 0 not in values:
        known, left = list(range(1, count + 1)), left[1:]
    elif unnamed and _zero_is_background(seen, table):
        names, left = ["background", *names], left[1:]
        known = list(range(count + 1))
        reasons["classes"] = f"0, most of the pixels, is the background; 1..{count} are the names of the class table"
        cure = f"set data.source.classes to the names of the table and data.source.ignore_index: {count}"
        doubt = (_doubt("0 is taken for the background", f"if it is {count} that does not count, {cure}"),)
    elif unnamed:
        shifted = {0: IGNORE_INDEX} | {value: value - 1 for value in range(1, count + 1)}
        cure = f"remove data.source.ignore_index and set data.source.mask_values: {shifted}"
        doubt = (_doubt(f"{count} is taken for pixels that do not count", f"if it is 0 that has no name, {cure}"),)
    arguments: dict[str, Any] = {"classes": names}
    voids = [value for value in left if value in (IGNORE_INDEX, max(known) + 1)]
    if set(left) - set(voids) or len(voids) > 1 or not set(values) & set(known):
        return None
    ignored += voids
    index = voids[0] if voids and voids[0] <= 255 and voids[0] >= len(names) else IGNORE_INDEX
    if known == list(range(len(names))) and all(value == index for value in ignored):
        if voids:
            reasons["ignore_index"] = f"{index} has no name in the class table, so its pixels do not count"
            arguments["ignore_index"] = index
        return Meaning(arguments, reasons, doubt)
    arguments["mask_values"] = {value: at for at, value in enumerate(known)} | dict.fromkeys(ignored, IGNORE_INDEX)
    reasons["mask_values"] = (
        f"{known[0]}..{known[-1]} are the names of the class table: no mask looked at holds 0"
        if unnamed
        else "the values of the class table, which are not 0, 1, 2, ..."
    )
    return Meaning(arguments, reasons)


def _doubt(taken: str, cure: str) -> Problem:
    """CamVid's 11 names are 0..10 and 11 is void; ADE20K's 150 names are 1..150 and 0 has none."""
    return Problem(f"the masks hold one value more than the class table has names: {taken}", cure=cure)


def _zero_is_background(seen: Peek, table: ClassTable) -> bool:
    first = table.names[0].strip("_ ").lower()
    return first != "background" and seen.pixels.get(0, 0) > 0.5 * sum(seen.pixels.values())


def _unnamed(seen: Peek, values: Sequence[int | float], table: ClassTable | None) -> Meaning:
    if _two_levels(seen, values):
        half = (values[0] + values[-1]) / 2
        threshold = f">={half:.3g}" if values[-1] <= 1 else f">={int(half + 0.5)}"
        why = "lossy compression" if seen.lossy else "antialiasing or resizing"
        reasons = {
            "classes": "the masks have two levels",
            "mask_values": f"{len(values)} values between {values[0]} and {values[-1]}, nearly all at the two ends: "
            f"{why}; half of the range divides them",
        }
        return Meaning({"classes": _two_names(table), "mask_values": threshold}, reasons)
    if any(isinstance(value, float) for value in values):
        raise _unclear(seen, values, "they are fractions")
    whole = [int(value) for value in values]
    if _are_objects(seen, whole):
        reasons = {
            "classes": "objects are told from the background",
            "mask_values": _numbered(seen),
        }
        return Meaning({"classes": _two_names(table), "mask_values": SEPARATE if seen.fused else OBJECTS}, reasons)
    if len(whole) > _MOST_CLASSES:
        raise _unclear(seen, whole, "they are too many for classes and neither two levels nor connected objects")
    void = IGNORE_INDEX if IGNORE_INDEX in whole and len(whole) > 2 and whole[-2] <= _MOST_CLASSES else None
    if void is not None and not _steps_of_one(whole[:-1]):
        void = None
    if len(whole) > 2 and whole[0] < 0 <= whole[1]:
        void = whole[0]
    known = [value for value in whole if value != void]
    arguments: dict[str, Any] = {"classes": _two_names(table) if len(known) == 2 else _names(known)}
    reasons = {"classes": f"the masks hold the values {whole}; the names are yours to change"}
    if void is not None:
        reasons["ignore_index"] = f"{void} beside {known} marks pixels that do not count"
        arguments["ignore_index"] = IGNORE_INDEX
    if known != list(range(len(known))) or void not in (None, IGNORE_INDEX):
        mapping = {value: at for at, value in enumerate(known)}
        arguments["mask_values"] = mapping | ({void: IGNORE_INDEX} if void is not None else {})
        reasons["mask_values"] = f"the values {known} become the classes 0..{len(known) - 1} in this order"
    if table is not None:
        reasons["classes"] += f"; the {len(table.names)} names of the class table do not fit them"
    return Meaning(arguments, reasons, _may_be_objects(seen, whole))


def _steps_of_one(values: Sequence[int]) -> bool:
    return list(values) == list(range(values[0], values[0] + len(values))) and values[0] in (0, 1)


def _numbered(seen: Peek) -> str:
    """What is said of masks that number objects."""
    objects = sum(count for value, count in seen.holders.items() if value != 0)
    most = max(seen.distinct) - (0 in seen.pixels)
    told = f"the values number objects: {objects} in {_masks(seen)} looked at, up to {most} in one"
    return f"{told}; {touch_told(seen.fused)}" if seen.fused else told


def touch_told(count: int) -> str:
    """What is said of objects of which ``count`` or more touch another, so that they are separated."""
    return (
        f"at least {count} of them touch another: there both end in pixels of the background, so that a network learns "
        "to part them"
    )


def _are_objects(seen: Peek, values: Sequence[int]) -> bool:
    if seen.connected is None or seen.connected < 0.9 or max(seen.distinct) < 3 or values[0] < 0:
        return False
    return len(values) > _MANY_OBJECTS or (seen.dtype not in ("uint8", "bool") and len(values) > 8)


def _may_be_objects(seen: Peek, values: Sequence[int]) -> tuple[Problem, ...]:
    """A warning on masks that number few objects: by their values alone these are classes as well."""
    if not seen.numbered or seen.connected is None or seen.connected < 0.9 or values[0] != 0 or len(values) < 3:
        return ()
    return (
        Problem(
            f"each mask looked at holds 1..n, n up to {values[-1]}, nearly always one connected region each: they may "
            "number objects, and are taken for classes",
            cure="if they number objects, set data.source.mask_values: separate_objects and data.source.classes: "
            "[background, foreground]",
        ),
    )


def _two_names(table: ClassTable | None) -> list[str]:
    if table is not None and len(table.names) == 2:
        return list(table.names)
    return ["background", "foreground"]


def _names(values: Sequence[int]) -> list[str]:
    """Of more than two classes; only 0 is the background for certain."""
    if values[0] > 0:
        return [f"class_{value}" for value in values]
    return ["background", *(f"class_{number}" for number in range(1, len(values)))]


def _unclear(seen: Peek, values: Sequence[int | float], why: str) -> InputError:
    first = ", ".join(f"{value:g}" for value in values[:3])
    most = f", {max(seen.distinct)} of them in {seen.fullest}" if seen.fullest is not None and seen.masks > 1 else ""
    return InputError(
        f"{_masks(seen)} looked at hold {len(values)} different values ({first} ... {values[-1]:g}){most}; {why}. Save masks as PNG "
        "or TIFF with a whole number for each class, state data.source.mask_values, or, where these are the classes, name them "
        "in a classes.txt, one a line"
    )


def _colors(seen: Peek, table: ClassTable | None) -> Meaning:
    total = sum(seen.pixels.values())
    found = {value: count for value, count in seen.pixels.items() if isinstance(value, tuple)}
    if table is not None and table.colors is not None:
        named = dict(zip(table.names, table.colors, strict=True))
        known = {*named.values(), *table.ignored}
        unknown = sum(count for color, count in found.items() if color[:3] not in known)
        if unknown <= 0.5 * total:
            mapping = {name: list(color) for name, color in named.items()} | table.ignored_colors
            arguments: dict[str, Any] = {"classes": list(named), "mask_values": mapping}
            arguments["colors"] = [list(color) for color in named.values()]
            reasons = {
                "classes": f"the {len(named)} names of the class table",
                "mask_values": "the masks are painted in the colours of the class table",
                "colors": "predictions are painted like the masks",
            }
            return _with_unknown(arguments, reasons, unknown, total)
    main = _main_colors(seen, found, total)
    background = (0, 0, 0) if (0, 0, 0) in {color[:3] for color in main} else main[0][:3]
    ordered = sorted(main, key=lambda color: (color[:3] != background, color))
    names = ["background", "foreground"] if len(ordered) == 2 else _names(range(len(ordered)))
    arguments = {
        "classes": names,
        "mask_values": {name: list(color) for name, color in zip(names, ordered, strict=True)},
        "colors": [list(color[:3]) for color in ordered],
    }
    how = "black" if background == (0, 0, 0) else "the most common colour"
    reasons = {
        "classes": f"the masks hold {len(ordered)} colours, which no class table names; {how} is the background",
        "mask_values": "each colour is a class, in the order of the colours",
        "colors": "predictions are painted like the masks",
    }
    return _with_unknown(arguments, reasons, total - sum(found[color] for color in main), total)


def _main_colors(seen: Peek, found: dict[tuple[int, ...], int], total: int) -> list[tuple[int, ...]]:
    """The colours of classes, the most common first, without those of blurred edges."""
    ranked = sorted(found, key=lambda color: (-found[color], color))
    if len(ranked) > _MOST_CLASSES:
        ranked = [color for color in ranked if found[color] >= 1e-3 * total]
    if not 2 <= len(ranked) <= _MOST_CLASSES or sum(found[color] for color in ranked) < 0.95 * total:
        raise InputError(
            f"{_masks(seen)} looked at hold {len(found)} different colours, too many for classes. Are these the masks? "
            "Save them as PNG with one colour, or one number, for each class"
        )
    return ranked


def _with_unknown(arguments: dict[str, Any], reasons: dict[str, str], unknown: int, total: int) -> Meaning:
    if unknown:
        arguments["ignore_unknown"] = True
        reasons["ignore_unknown"] = (
            f"{100 * unknown / total:.2g} % of the pixels have other colours, which do not count"
        )
    return Meaning(arguments, reasons)
