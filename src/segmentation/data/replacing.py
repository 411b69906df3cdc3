"""Files that are whole or as they were before."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


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
