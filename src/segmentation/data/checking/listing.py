"""Every file below a folder, listed once, and a look into a few of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segmentation.data.masks import LOSSY_SUFFIXES
from segmentation.data.reading import is_image, pages, read_values
from segmentation.data.sample import Part
from segmentation.data.spreading import spread
from segmentation.data.walking import walk
from segmentation.errors import InputError

LIMIT = 500_000
"""Files that are listed at most; a folder of more is more than one data set."""


@dataclass(frozen=True)
class Look:
    """What one image file is like.

    Attributes:
        distinct: Different values or colours among at most 65,536 evenly strided pixels.
        channels: 1 for grey and palette images.
        lossy: Whether its format alters values.
        size: Height and width in pixels.
        pages: More than 1 for a stack.
        planes: The same, with pages that the file calls channels.
    """

    distinct: int
    channels: int
    lossy: bool
    size: tuple[int, int]
    pages: int
    planes: int

    @property
    def mask_like(self) -> bool:
        """Whether a mask looks like this."""
        return self.distinct <= 64


@dataclass
class Listing:
    """The files below a root, hidden ones left out.

    Attributes:
        root: The folder.
        images: Names of the image files of each folder, by its path below the root (``""`` is the root).
        others: The same for all other files.
        folders: Every folder's path below the root.
    """

    root: Path
    images: dict[str, list[str]] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    _looks: dict[str, Look | None] = field(default_factory=dict)

    def look(self, file: str) -> Look | None:
        """Look into one file, given below the root; None when it cannot be read."""
        if file not in self._looks:
            self._looks[file] = _look(self.root / file)
        return self._looks[file]

    def typical(self, files: Sequence[str]) -> Look | None:
        """The look with the median number of values among the readable of up to five files."""
        looks = [look for file in spread(sorted(files), 5) if (look := self.look(file)) is not None]
        return sorted(looks, key=lambda look: look.distinct)[len(looks) // 2] if looks else None


def list_files(root: Path) -> Listing:
    """Walk through a folder."""
    listing = Listing(root)
    count = 0
    for folder, names in walk(root):
        below = "" if folder == root else folder.relative_to(root).as_posix()
        listing.folders.append(below)
        for name in names:
            kind = listing.images if is_image(Path(name)) else listing.others
            kind.setdefault(below, []).append(name)
        count += len(names)
        if count > LIMIT:
            break
    return listing


def join(folder: str, name: str) -> str:
    """A path below the root."""
    return f"{folder}/{name}" if folder else name


def is_below(folder: str, parent: str) -> bool:
    """Whether a folder is another one or in it, both by their paths below the root."""
    return not parent or folder == parent or folder.startswith(f"{parent}/")


def shown(text: str) -> str:
    """A name as it can be printed, whatever bytes it holds."""
    return text.encode("utf-8", "replace").decode()


def _look(path: Path) -> Look | None:
    try:
        count, planes = pages(path), pages(path, stack=True)
        values = read_values(Part(path, 0 if count > 1 else None))
    except (InputError, OSError):
        return None
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    pixels = values.reshape(height * width, channels)
    pixels = pixels[:: max(1, len(pixels) // 65_536)]
    distinct = len(np.unique(pixels, axis=0)) if channels > 1 else len(np.unique(pixels))
    return Look(distinct, channels, path.suffix.lower() in LOSSY_SUFFIXES, (height, width), count, planes)
