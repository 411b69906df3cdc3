"""What an exported file says about itself; read, and the file looked through, before anything runs it.

Needs neither torch nor onnx, as the runtime does not.
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segmentation.deployment.protobuf import Fields, Part, fields, numbers, parts, text
from segmentation.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto

Precision = Literal["float32", "float16", "int8"]
"""Number format of the network; normalisation, activation and outputs are float32 always."""

KEY = "segmentation"
"""Of the entry in the metadata of the file: JSON."""

FORMAT = 1
"""Of this entry; raised when an older program could misread it."""

LIMIT = 2**31 - 1
"""Bytes of a file: protobuf's."""

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Whose operators onnxruntime brings along."""

PIXELS, PROBABILITIES, LABELS = "pixels", "probabilities", "labels"
"""Names of the input and the outputs of the graph."""

_METADATA, _CHECKSUM = 14, "checksum"


def read(path: str | Path) -> tuple[bytes, dict[str, Any]]:
    """An exported file and its description.

    Args:
        path: Of the file.

    Returns:
        The bytes of the file, which were found whole and without what could reach outside it: hand these to
        onnxruntime, not the path. And the description as ``write`` got it, with ``format``.

    Raises:
        InputError: When the file is missing, too large, cut, damaged, of another program or of a newer format, when it
            refers to other files, declares tensors that it does not hold, or has operators that onnxruntime has not.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"the model {path} does not exist; give the .onnx file that export wrote")
    size = path.stat().st_size
    if size > LIMIT:
        raise InputError(f"{path} has {size:,} bytes; an ONNX file has at most {LIMIT:,}, so it is none")
    content = path.read_bytes()
    try:
        description = _looked_through(path, list(parts(content)))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} cannot be read as an ONNX file ({error or 'nested too deep'}); it may be cut, damaged or of "
            "another program; export the checkpoint anew"
        ) from error
    return content, description


def write(model: "ModelProto", description: Mapping[str, Any]) -> None:
    """Put a description into a model, in place of all metadata that are there.

    Args:
        model: In its final form: a later change makes the checksum wrong.
        description: Plain values: ``version``, ``precision``, ``dtype`` of the input, and what
            ``Description.to_dict`` gives.
    """
    del model.metadata_props[:]
    plain = json.loads(json.dumps({"format": FORMAT, **description}))
    plain[_CHECKSUM] = _checksum(fields(memoryview(model.SerializeToString())), plain)
    model.metadata_props.add(key=KEY, value=json.dumps(plain))


def _looked_through(path: Path, found: Sequence[tuple[Part, Fields]]) -> dict[str, Any]:
    """The description of a file of this program; ValueError where its bytes mean nothing."""
    model = found[0][1]
    stored = _stored(model)
    if stored is None:
        raise InputError(
            f"{path} was not written by this program: its metadata have no entry {KEY!r}; make a file that has: "
            "python -m segmentation export --ckpt_path ... --out model.onnx"
        )
    if not isinstance(stored.get("format"), int) or stored["format"] > FORMAT:
        raise InputError(
            f"{path} has the format {stored.get('format')!r}, this program reads up to {FORMAT}; update it"
        )
    if stored.pop(_CHECKSUM, None) != _checksum(model, stored):
        raise InputError(
            f"{path} is damaged, or was changed after its export: its checksum is wrong; copy it again, or export the "
            "checkpoint anew"
        )
    _check_parts(path, found)
    return stored


def _stored(model: Fields) -> dict[str, Any] | None:
    """The entry of this program, None where there is none; ValueError where it is no JSON object."""
    for entry in model.get(_METADATA, []):
        pair = fields(entry) if isinstance(entry, memoryview) else {}
        if text(pair.get(1, [])) == KEY:
            stored = json.loads(text(pair.get(2, [])))
            if not isinstance(stored, dict):
                raise ValueError(f"its entry {KEY!r} is no mapping")
            return stored
    return None


def _checksum(model: Fields, description: Mapping[str, Any]) -> int:
    """Of everything in a model but its metadata, and of the description. For damage, not against a forger."""
    total = zlib.crc32(json.dumps(description, sort_keys=True).encode())
    for number, values in sorted(model.items()):
        for value in values if number != _METADATA else []:
            total = zlib.crc32(f"{number}".encode(), total)
            total = zlib.crc32(f"{value}".encode() if isinstance(value, int) else value, total)
    return total


def _check_parts(path: Path, found: Sequence[tuple[Part, Fields]]) -> None:
    """Refuse what ``export`` never writes and what could reach outside the file or fill the memory."""
    domains = {*DOMAINS, *(text(part.get(10, [])) for kind, part in found if kind == "function")}
    for kind, part in found:
        if kind == "sparse tensor":
            raise InputError(f"{path} holds a sparse tensor, which export never writes; export the checkpoint anew")
        if kind == "node" and text(part.get(7, [])) not in domains:
            raise InputError(
                f"{path} needs the operator {text(part.get(4, []))} of {text(part[7])!r}, which onnxruntime does not "
                "bring along; export the checkpoint anew"
            )
        if kind != "tensor":
            continue
        if part.get(13) or any(part.get(14, [])):
            raise InputError(
                f"{path} has weights in another place ({_place(part)}), which is not opened; export the checkpoint "
                "anew, which gives one file with all its weights"
            )
        elements = math.prod(numbers(part.get(1, [])))
        held = sum(len(value) for values in part.values() for value in values if isinstance(value, memoryview))
        if elements > max(1, 4 * held):  # ONNX packs at most four elements, of 2 bits, into a byte
            raise InputError(
                f"{path} declares a tensor {text(part.get(8, []))!r} of {elements:,} elements and holds {held:,} bytes "
                "of it; export the checkpoint anew"
            )


def _place(tensor: Fields) -> str:
    """Where the data of an external tensor lie."""
    for entry in tensor.get(13, []):
        pair = fields(entry) if isinstance(entry, memoryview) else {}
        if text(pair.get(1, [])) == "location":
            return text(pair.get(2, []))
    return "not said"
