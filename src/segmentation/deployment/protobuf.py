"""The parts of an ONNX file, found without the package onnx and before anything is loaded.

onnxruntime opens the files that a tensor names, and allocates what it declares, before anybody can look at it.
"""

from collections.abc import Iterator
from typing import Literal

Part = Literal["model", "graph", "function", "node", "attribute", "tensor", "sparse tensor"]

Fields = dict[int, list[int | memoryview]]
"""The values of a message by the number of their field; a number as it is, everything longer as its bytes."""

INNER: dict[Part, dict[int, Part]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "tensor": {},
    "sparse tensor": {},
}
"""Which fields hold further parts, from onnx.proto."""


def parts(model: bytes) -> Iterator[tuple[Part, Fields]]:
    """Every part of a model, the model itself first; nothing is copied.

    Args:
        model: A serialised ModelProto.

    Raises:
        ValueError: When the bytes are not protobuf, or end too early.
    """
    todo: list[tuple[Part, memoryview]] = [("model", memoryview(model))]
    while todo:  # no recursion, which a hostile file could make too deep
        part, message = todo.pop()
        found = fields(message)
        yield part, found
        for number, inner in INNER[part].items():
            todo += [(inner, value) for value in found.get(number, []) if isinstance(value, memoryview)]


def fields(message: memoryview) -> Fields:
    """The fields of one message (protobuf.dev/programming-guides/encoding); errors as for ``parts``."""
    found: Fields = {}
    place = 0
    while place < len(message):
        key, place = _number(message, place)
        value: int | memoryview
        if key & 7 == 0:
            value, place = _number(message, place)
        else:
            length, place = _length(message, place, key & 7)
            if place + length > len(message):
                raise ValueError(f"{place + length - len(message)} bytes are missing")
            value = message[place : place + length]
            place += length
        found.setdefault(key >> 3, []).append(value)
    return found


def numbers(values: list[int | memoryview]) -> list[int]:
    """A repeated number, which may be packed: several in one value."""
    found = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        place = 0
        while place < len(value):
            number, place = _number(value, place)
            found.append(number)
    return found


def text(values: list[int | memoryview]) -> str:
    """A text; of several values the last one counts, and none is the empty text."""
    last = values[-1] if values else 0
    return "" if isinstance(last, int) else str(last, "utf-8")


def _length(message: memoryview, place: int, kind: int) -> tuple[int, int]:
    """The length of a value and where it begins."""
    if kind == 2:
        return _number(message, place)
    if kind in (1, 5):
        return (8 if kind == 1 else 4), place
    raise ValueError(f"a field is of the unknown kind {kind}")


def _number(message: memoryview, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where the next field begins."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("it ends within a number")
        byte = message[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise ValueError("a number has more than ten bytes")
