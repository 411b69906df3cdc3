"""Files that are whole or as they were before."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

UNFINISHED = ".*.tmp"
"""Names of what a kill left of files that were being written."""


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to, which becomes it when all is written; of several writers the last one's stays."""
    temporary = path.with_name(f".{uuid4().hex}.tmp")  # short: with the target's name in it, it could be too long
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8 that others decide by: a full disk or a kill leaves no half of it."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    """``write_whole`` of JSON; numbers that it has not, NaN and infinity, are null."""
    write_whole(path, json.dumps(_finite(content), indent=indent, allow_nan=False) + "\n")


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
