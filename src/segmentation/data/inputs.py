"""What ``predict`` is given: files, folders and globs -> the images behind them."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from segmentation.data.channels import in_channels, stacked
from segmentation.data.reading import IMAGE_SUFFIXES, is_image, pages, read_pixels
from segmentation.data.sample import Part, with_neighbours
from segmentation.data.walking import walk
from segmentation.errors import InputError


@dataclass(frozen=True)
class Job:
    """One input file.

    Attributes:
        path: Of the file.
        name: Of the results without suffix, relative to the output folder; sub-folders are kept.
        pages: Of a stack, also those that the file calls channels; 1 for a single image.
    """

    path: Path
    name: Path
    pages: int

    def of_channels(self, channels: int, context: int) -> "Job":
        """Itself; one image where the file calls its pages channels and the network takes so many, without neighbours."""
        one = 1 < self.pages == channels and not context and pages(self.path) == 1
        return replace(self, pages=1) if one else self

    def part(self, number: int) -> Part:
        """One of its pages, from 0."""
        return Part(self.path, number if self.pages > 1 else None)

    def parts(self, number: int, context: int) -> tuple[Part, ...]:
        """One of its pages, from 0, between so many neighbours; an image by itself is its own neighbour."""
        if context and self.pages > 1:
            return with_neighbours(self.path, number, self.pages, context)
        return (self.part(number),) * (2 * context + 1)

    def read(self, number: int, channels: int, context: int = 0) -> NDArray[Any]:
        """One of its pages, from 0, for a network of so many channels.

        Args:
            number: Of the page.
            channels: Of the network, those of neighbouring pages among them.
            context: Neighbours on each side; an image by itself is its own neighbour.

        Returns:
            (H, W, C) as stored; C may differ from the channels without context.

        Raises:
            FileError: When a page cannot be read, and when pages and channels do not go together.
        """
        near = self.parts(number, context)
        if not context:
            return in_channels(read_pixels(near[0]), channels)
        each = channels // len(near)
        return stacked([in_channels(read_pixels(one), each) for one in near], channels, near)


def find_jobs(inputs: Sequence[str], out: Path | None = None) -> list[Job]:
    """The files behind inputs, each once.

    Args:
        inputs: Files, folders and globs.
        out: Folder of results: below a folder of inputs, those of earlier calls are none. None where nothing is written.

    Raises:
        InputError: Naming every input that holds no image; with ``out`` also images whose results would share a name, and
            an input that is ``out``.
    """
    found: dict[Path, tuple[Path, Path]] = {}
    empty = []
    for text in inputs:
        if out is not None and Path(text).is_dir() and Path(text).resolve() == out.resolve():
            raise InputError(
                f"{text} is both input and --out, so that results would be inputs next time; give another --out"
            )
        files = list(_files(text, out and out.resolve()))
        if not files:
            empty.append(text)
        for path, name in files:
            found.setdefault(path.absolute(), (path, name))
    if empty or not found:
        raise InputError(
            f"no images in {', '.join(map(_told, empty)) or 'nothing'}; give image files, folders or globs "
            f"({', '.join(IMAGE_SUFFIXES)})"
        )
    if out is not None:
        _check_names(found.values())
    return [Job(path, name, _pages(path)) for path, name in found.values()]


def _check_names(found: Iterable[tuple[Path, Path]]) -> None:
    by_name: dict[Path, list[Path]] = {}
    for path, name in found:
        by_name.setdefault(name, []).append(path)
    clashes = [" and ".join(map(str, paths)) for paths in by_name.values() if len(paths) > 1]
    if clashes:
        raise InputError(
            f"these inputs would share a result: {'; '.join(clashes)}; predict them into different --out, or stack parts of "
            "one image as channels of one file"
        )


def _told(text: str) -> str:
    return text if Path(text).exists() or glob.has_magic(text) else f"{text} (does not exist)"


def _files(text: str, out: Path | None) -> Iterator[tuple[Path, Path]]:
    path = Path(text)
    if path.is_dir():
        for file in sorted(here / name for here, names in walk(path) for name in names):
            earlier = out is not None and path.resolve() in out.parents and out in file.resolve().parents
            if is_image(file) and not earlier:
                yield file, file.relative_to(path).with_suffix("")
    elif path.is_file():
        yield path, Path(path.stem)
    else:
        for match in sorted(glob.glob(text, recursive=True)):
            if Path(match).is_file() and is_image(Path(match)):
                yield Path(match), Path(Path(match).stem)


def _pages(path: Path) -> int:
    try:
        return pages(path, stack=True)
    except InputError:
        return 1  # its fault is reported when its turn comes
