"""Class names, values and colours from the small files that come with data sets."""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmentation.errors import InputError

Color = tuple[int, int, int]

LABELME_IGNORED = "__ignore__"
NOT_CLASSES = (LABELME_IGNORED, "void", "unlabelled", "unlabeled", "ignore")
"""Names of pixels that do not count."""

_NAME_COLUMNS = ("name", "class", "label", "category")
_VALUE_COLUMNS = ("pixel value", "value", "index", "id", "pixel")
_INDEXED = (
    r"(?P<index>\d+)(\s*[:=,;|]\s*|[.)]?\s+)(?P<name>[^\d,;|\t][^,;|\t]*)",
    r"(?P<name>[^,;|\t]*\S)\s*[:=,;|\t]\s*(?P<index>\d+)",  # no blank alone: "car 1", "car 2" are names
)


@dataclass(frozen=True)
class ClassTable:
    """The classes that a file names, without those that say "does not count".

    Attributes:
        names: In the order of the file, or of the values where it has them.
        values: The mask value of each name, or None.
        colors: RGB of each name, or None.
        ignored: Values, or colours, that do not count.
        decodes: Whether the colours are those of the masks; else only to paint with.
        by_order: Whether the values are the places of the names, and no numbers of the file.
    """

    names: tuple[str, ...]
    values: tuple[int, ...] | None = None
    colors: tuple[Color, ...] | None = None
    ignored: tuple[int | Color, ...] = ()
    decodes: bool = False
    by_order: bool = False

    @property
    def ignored_colors(self) -> dict[str, list[int] | list[list[int]]]:
        """The colours that do not count, as ``mask_values`` has them: none, one, or several under ``ignore``."""
        colors = [list(color) for color in dict.fromkeys(self.ignored) if not isinstance(color, int)]
        return {"ignore": colors[0] if len(colors) == 1 else colors} if colors else {}


def read_class_table(path: Path) -> ClassTable:
    """Read ``classes.txt`` and its relatives; what it is, is seen from its content.

    ======================================================  ==========================================
    a name in a line                                        ``classes.txt``, labelme's ``labels.txt``
    ``0 name``, ``0: name``, ``name,0``                     the same with the indices 0..K-1 in any order
    ``name:r,g,b::``                                        ``labelmap.txt`` of CVAT
    ``r g b name``                                          ``label_colors.txt`` of CamVid
    ``name,r,g,b`` under a head, any delimiter              ``class_dict.csv``
    ``Pixel Value, Class`` under a head, any delimiter      ``_classes.csv`` of Roboflow
    ``{"classes": [...], "colors": [...]}``, or a list      ``classes.json``
    ``{"0": "name"}``, ``{"name": 0}``                      the same with the indices 0..K-1
    ======================================================  ==========================================

    Args:
        path: A text, CSV or JSON file; lines that begin with ``#`` are passed over.

    Raises:
        InputError: When it cannot be read or names fewer than two classes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json(json.loads(text)) if path.suffix.lower() == ".json" else _lines(text)
    except (OSError, ValueError, LookupError, AttributeError, TypeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table of classes ({error})") from error
    by_order = not any(value is not None or color is not None for _, value, color in rows)
    if by_order:
        # the line is the value; labelme's __ignore__ stands before 0
        counted_lines = [name for name, _, _ in rows if name != LABELME_IGNORED]
        rows = [(name, index, None) for index, name in enumerate(counted_lines)]
    if all(value is not None for _, value, _ in rows):
        rows = sorted(rows, key=lambda row: row[1] or 0)
    counted = [row for row in rows if row[0].lower() not in NOT_CLASSES]
    names = tuple(name for name, _, _ in counted)
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"{path} names the classes {list(names)}; two or more different names are expected, one a line, or a "
            "table such as name,r,g,b"
        )
    values = [value for _, value, _ in counted if value is not None]
    colors = [color for _, _, color in counted if color is not None]
    dropped = [color if value is None else value for name, value, color in rows if name.lower() in NOT_CLASSES]
    return ClassTable(
        names,
        tuple(values) if len(values) == len(names) else None,
        tuple(colors) if len(colors) == len(names) else None,
        tuple(value for value in dropped if value is not None),
        decodes=len(colors) == len(names) and not values and path.suffix.lower() != ".json",
        by_order=by_order,
    )


Row = tuple[str, int | None, Color | None]


def _json(content: Any) -> list[Row]:
    stated = content.get("classes", content.get("names", content)) if isinstance(content, dict) else content
    if isinstance(stated, dict):
        by_index = all(key.isdecimal() for key in stated)
        rows = _indexed([(str(stated[key]), key) if by_index else (key, str(stated[key])) for key in stated])
    elif isinstance(stated, list):
        rows = [(str(name), None, None) for name in stated]
    else:
        raise ValueError('{"classes": [NAME, ...]} or {"0": NAME, ...} is expected')
    colors = (content.get("colors") if isinstance(content, dict) else None) or [None] * len(rows)
    return [
        (name, value, None if color is None else _color(color))
        for (name, value, _), color in zip(rows, colors, strict=True)
    ]


def _lines(text: str) -> list[Row]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    labelmap = [re.fullmatch(r"([^:]+):(\d+),(\d+),(\d+):.*", line) for line in lines]
    if lines and all(labelmap):
        return [(found[1].strip(), None, _color(found.groups()[1:])) for found in labelmap if found]
    colored = [re.fullmatch(r"(\d+)[\s,;]+(\d+)[\s,;]+(\d+)[\s,;]+(\S.*)", line) for line in lines]
    if lines and all(colored):
        return [(found[4].strip(), None, _color(found.groups()[:3])) for found in colored if found]
    for form in _INDEXED:
        indexed = [re.fullmatch(form, line) for line in lines]
        if lines and all(indexed):
            return _indexed([(found["name"].strip(), found["index"]) for found in indexed if found])
    delimiter = next((mark for mark in ("\t", ";", ",", "|") if lines and mark in lines[0]), None)
    if delimiter is None:
        return [(line, None, None) for line in lines]
    table = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    head = [cell.lower() for cell in table[0]]
    name_at = next((head.index(name) for name in _NAME_COLUMNS if name in head), None)
    if name_at is None:  # no head
        head, name_at = ["name", "r", "g", "b"][: len(head)], 0
        table = [[], *table]
    value_at = next((head.index(name) for name in _VALUE_COLUMNS if name in head), None)
    channels = [_channel(head, name) for name in ("red", "green", "blue")]
    return [
        (
            row[name_at],
            None if value_at is None or value_at == name_at else int(row[value_at]),
            None if None in channels else _color([row[at] for at in channels if at is not None]),
        )
        for row in table[1:]
    ]


def _indexed(pairs: list[tuple[str, str]]) -> list[Row]:
    """Names with their indices, in the order of the indices; those of names that do not count may be any."""
    if not all(index.isdecimal() for _, index in pairs):
        raise ValueError("names with the indices 0, 1, 2, ... are expected")
    numbered = sorted((int(index), name) for name, index in pairs)
    indices = [index for index, _ in numbered]
    counted = [index for index, name in numbered if name.lower() not in NOT_CLASSES]
    if len(set(indices)) < len(indices) or not any(used == list(range(len(used))) for used in (indices, counted)):
        raise ValueError(
            f"its classes have the indices {', '.join(map(str, indices[:10]))}, not 0..{len(indices) - 1}, each once; if these "
            "are values of the masks, write them as CSV under the head value,name, else leave them out"
        )
    return [(name, index, None) for index, name in numbered]


def _channel(head: list[str], name: str) -> int | None:
    """The column of a channel: ``r`` or ``red``, else one such as ``red value`` or ``r_channel``."""
    exact = next((at for at, cell in enumerate(head) if cell in (name[0], name)), None)
    if exact is not None:
        return exact
    return next((at for at, cell in enumerate(head) if {name[0], name} & set(re.split("[^a-z]+", cell))), None)


def _color(values: Any) -> Color:
    red, green, blue = (int(value) for value in values)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"{[red, green, blue]} is no colour in 0..255")
    return red, green, blue
