"""Results -> PNG, TIFF and CSV files: whole or not at all; a TIFF in memory that does not grow with it."""

import csv
import json
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.placement import Placement
from segmentation.data.replacing import replaced
from segmentation.errors import InputError
from segmentation.inference.classes import Color

TILE = 256
"""Side in pixels of the tiles of a large TIFF."""

STRIP = 2**18
"""Bytes of a strip of a small TIFF, before compression."""

CLASSIC = 2**32 - 2**26
"""Bytes of pixels from which on a TIFF needs 64-bit offsets; what remains is for its tags."""


class WriteError(InputError):
    """A result cannot be written."""


class Png:
    """A PNG from rows (h, W) of 8-bit greys or palette indices, or (h, W, 3) of colours, written on leaving the context.

    Args:
        path: Of the file.
        palette: RGB of each index.
        placement: Whose resolution is stored.

    Raises:
        WriteError: When the disk refuses.
    """

    def __init__(self, path: Path, palette: Sequence[Color] = (), placement: Placement | None = None) -> None:
        self.path, self.palette, self.placement = path, palette, placement or Placement()
        self._rows: list[NDArray[np.uint8]] = []

    def add(self, rows: NDArray[np.uint8]) -> None:
        """The next rows."""
        self._rows.append(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        picture = Image.fromarray(np.concatenate(self._rows))
        if self.palette:
            picture.putpalette(np.asarray(self.palette, np.uint8).tobytes())
        options: dict[str, Any] = {} if self.placement.dpi is None else {"dpi": self.placement.dpi}
        with _refused(self.path), replaced(self.path) as temporary:
            picture.save(temporary, format="PNG", **options)


class Tiff:
    """A deflated TIFF of one or many pages of one size from their rows, written on leaving the context.

    Compressed tiles or strips wait in a nameless file beside the result: a page lies in the file before the next one,
    while the rows of all planes of an image come together. Beyond 4 GB it is a BigTIFF.

    Args:
        path: Of the file.
        size: (H, W) of every page.
        dtype: numpy name of the pixels' type. uint32 is stored as uint16 where all values fit.
        planes: Pages that come together, such as one for each class.
        colored: Pixels are RGB.
        tiled: Tiles, for large images; else strips, which every program reads.
        placement: Resolution and georeferencing to be stored.

    Raises:
        WriteError: When the disk refuses.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        dtype: str,
        *,
        planes: int = 1,
        colored: bool = False,
        tiled: bool = False,
        placement: Placement | None = None,
    ) -> None:
        self.path, self.size, self.planes, self.colored, self.tiled = path, size, planes, colored, tiled
        self.dtype, self.placement = np.dtype(dtype).newbyteorder("<"), placement or Placement()
        rows = max(1, STRIP // (size[1] * self.dtype.itemsize * (3 if colored else 1)))
        self.segment = (TILE, TILE) if tiled else (min(size[0], rows), size[1])
        self._places: list[list[tuple[int, int]]] = []  # of each page: where its segments wait, and their bytes
        self._waiting: NDArray[Any] | None = None  # (P, h, W) rows that fill no segment yet
        self._done = 0  # rows of the last page in segments
        self._largest = 0

    def add(self, rows: NDArray[Any]) -> None:
        """The next rows: (h, W), (h, W, 3) for colours, (P, h, W) for planes; never of two pages."""
        if self._done == 0 and self._waiting is None:
            self._places += [[] for _ in range(self.planes)]
        band = rows if self.planes > 1 else rows[None]
        if self._waiting is not None:
            band = np.concatenate([self._waiting, band], axis=1)
        if self.dtype == np.uint32:
            self._largest = max(self._largest, int(rows.max()))
        tall, wide = self.segment
        ends = self._done + band.shape[1] == self.size[0]
        stop = band.shape[1] if ends else band.shape[1] // tall * tall
        for top in range(0, stop, tall):
            for plane, places in zip(band[:, top : top + tall], self._places[-self.planes :], strict=True):
                places += [self._wait(plane[:, left : left + wide]) for left in range(0, self.size[1], wide)]
        self._done = 0 if ends else self._done + stop
        self._waiting = None if stop == band.shape[1] else band[:, stop:].copy()

    def __enter__(self) -> Self:
        with _refused(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.path.parent)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._write()

    def _wait(self, segment: NDArray[Any]) -> tuple[int, int]:
        if self.tiled:
            missing = [(0, side - length) for side, length in zip(self.segment, segment.shape, strict=False)]
            segment = np.pad(segment, [*missing, (0, 0)][: segment.ndim])
        data = zlib.compress(segment.astype(self.dtype, order="C", copy=False).tobytes())
        with _refused(self.path):
            place = self._file.tell()
            self._file.write(data)
        return place, len(data)

    def _write(self) -> None:
        narrow = self.dtype == np.uint32 and self._largest < 2**16
        pages = len(self._places) // self.planes
        several = [count for count in (pages, self.planes) if count > 1]
        shape = (*several, *self.size, *([3] if self.colored else []))
        options: dict[str, Any] = {"tile": self.segment} if self.tiled else {"rowsperstrip": self.segment[0]}
        if self.placement.resolution is not None:
            across, down, unit = self.placement.resolution
            options |= {"resolution": (across, down), "resolutionunit": unit}
        with _refused(self.path), replaced(self.path) as temporary:
            tifffile.imwrite(
                temporary,
                self._segments(narrow),
                shape=shape,
                dtype=np.uint16 if narrow else self.dtype,
                bigtiff=self._file.tell() > CLASSIC,
                byteorder="<",
                ome=False,
                metadata=None,  # which takes a width of 1 for no axis
                description=json.dumps({"shape": shape}),  # as tifffile writes it, for stacks to be read as one array
                photometric="rgb" if self.colored else "minisblack",
                compression="zlib",
                extratags=self.placement.geotiff,
                **options,
            )

    def _segments(self, narrow: bool) -> Iterator[bytes]:
        for places in self._places:
            for place, length in places:
                self._file.seek(place)
                data = self._file.read(length)
                if narrow:
                    data = zlib.compress(np.frombuffer(zlib.decompress(data), "<u4").astype("<u2").tobytes())
                yield data


class Table:
    """A CSV from rows of values, written on leaving the context.

    Args:
        path: Of the file.
        header: Names of the columns.

    Raises:
        WriteError: When the disk refuses.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path = path
        self.rows: list[Sequence[object]] = [header]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            with (
                _refused(self.path),
                replaced(self.path) as temporary,
                temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
            ):
                csv.writer(file).writerows(self.rows)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(f"{path} cannot be written ({error.strerror or error}); give another --out") from error
