"""Through a folder and all below it, the same way for everything that is read."""

import os
from collections.abc import Iterator
from pathlib import Path


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder below one, with the names of its files, in order.

    Folders behind links are gone through too, each one once. Hidden files and folders are left out, as what macOS adds to
    archives is; what cannot be entered is passed over.
    """
    seen: set[str] = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link to a folder above, or a second one to the same
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield Path(here), sorted(name for name in names if not name.startswith("."))
