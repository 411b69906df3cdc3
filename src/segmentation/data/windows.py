"""Large images read by rows, so that memory does not grow with the file."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from segmentation.data.channels import LOSSLESS
from segmentation.data.reading import (
    NPY_START,
    ORIENTATION,
    TIFF_STARTS,
    are_channels,
    page_of,
    plane_offset,
    read_pixels,
    unreadable,
)
from segmentation.data.sample import Part

LARGE = 64_000_000
"""Pixels from which on an image is not read, predicted and written as a whole."""

LOOKED_AT = 256
"""Rows that are read at once to see what an image's channels hold."""

Read = Callable[[int, int], NDArray[Any]]
"""``read(start, stop)`` -> (P, stop - start, W, C) rows of P planes of C channels, as the file holds them."""


class Rows:
    """An image (H, W, C) in a file of which rows are read when they are asked for; no file stays open.

    Attributes:
        shape: (H, W, C).
        dtype: Of the pixels, in native byte order.
    """

    def __init__(self, part: Part, shape: tuple[int, int, int], dtype: np.dtype[Any], read: Read) -> None:
        self.part = part
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self._read = read

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """(h, W, C): these rows.

        Raises:
            FileError: Where they are damaged.
        """
        start, stop, _ = rows.indices(self.shape[0])
        try:
            planes = self._read(start, max(start, stop))
        except Exception as error:  # decoders raise whatever they like on damaged files
            raise unreadable(self.part, error) from error
        pixels = np.moveaxis(planes, 0, 2).reshape(planes.shape[1], *self.shape[1:])
        return np.ascontiguousarray(pixels, self.dtype)


def rows_in_channels(rows: Rows, channels: int) -> Rows:
    """As ``channels.in_channels``, for which the image is read through once; as it is where that does not lead there.

    Args:
        rows: (H, W, C).
        channels: Wanted.
    """
    height, width, stored = rows.shape
    for convert in LOSSLESS[1:] if stored != channels else ():
        if all(convert(rows[top : top + LOOKED_AT]).shape[2] == channels for top in range(0, height, LOOKED_AT)):
            shape = (height, width, channels)
            return Rows(rows.part, shape, rows.dtype, partial(_converted, rows, convert))
    return rows


def _converted(rows: Rows, convert: Callable[[NDArray[Any]], NDArray[Any]], start: int, stop: int) -> NDArray[Any]:
    return convert(rows[start:stop])[None]


def open_rows(part: Part, limit: int = LARGE) -> NDArray[Any] | Rows:
    """An image whose rows are wanted from top to bottom; the pixels of ``read_pixels``.

    TIFF (tiles or strips, in a compression that tifffile decodes) and NPY files are read by rows. What
    cannot be had by rows is read as a whole: other formats, colour tables, one-bit pixels, channels as pages,
    images that the orientation tag turns, and compressed strips of more than half the image.

    Args:
        part: The file or page.
        limit: Pixels up to which an image is read as a whole.

    Returns:
        (H, W, C), an array or ``Rows``.

    Raises:
        FileError: As ``read_pixels``.
    """
    try:
        with part.path.open("rb") as file:
            start = file.read(6)
        rows = _tiff(part) if start[:4] in TIFF_STARTS else _npy(part) if start == NPY_START else None
        if rows is not None and rows.shape[0] * rows.shape[1] > limit:
            rows[:1]  # a compression that only Pillow decodes is found here
            return rows
    except Exception:  # of a damaged file, whose fault read_pixels names
        pass
    return read_pixels(part)


def _tiff(part: Part) -> Rows | None:
    with tifffile.TiffFile(part.path) as file:
        page, plane = page_of(file, part)
        if (
            page.dtype is None
            or page.bitspersample == 1
            or page.photometric == tifffile.PHOTOMETRIC.PALETTE
            or "Z" in page.axes
            or (part.page is None and are_channels(file))
            or page.tags.valueof(ORIENTATION, 1) != 1
        ):
            return None
        if page.is_final:
            read = _mapped(part, page.dtype.newbyteorder(file.byteorder), plane_offset(page, plane), page.shaped)
        elif page.is_tiled or page.rowsperstrip <= page.imagelength // 2:
            read = _decoded(part, page)
        else:
            return None
        return Rows(part, (page.imagelength, page.imagewidth, page.samplesperpixel), page.dtype, read)


def _npy(part: Part) -> Rows | None:
    array: NDArray[Any] = np.load(part.path, mmap_mode="r", allow_pickle=False)
    if array.ndim not in (2, 3) or array.dtype.kind not in "uif" or array.dtype.itemsize > 8 or array.shape[0] <= 4:
        return None  # what read_pixels refuses or changes
    height, width, channels = (*array.shape, 1)[:3]

    def read(start: int, stop: int) -> NDArray[Any]:
        rows: NDArray[Any] = np.array(np.load(part.path, mmap_mode="r")[start:stop])
        return rows.reshape(1, stop - start, width, channels)

    return Rows(part, (height, width, channels), array.dtype, read)


def _mapped(part: Part, dtype: np.dtype[Any], offset: int, shaped: tuple[int, ...]) -> Read:
    """Rows of pixels that lie in the file one after another, by a memory map."""
    planes, _, height, width, channels = shaped

    def read(start: int, stop: int) -> NDArray[Any]:
        # mapped anew each time: pages of an open map count as memory of the process
        pixels = np.memmap(part.path, dtype, "r", offset, (planes, height, width, channels))
        return np.array(pixels[:, start:stop])

    return read


def _decoded(part: Part, page: tifffile.TiffPage) -> Read:
    """Rows of tiles or strips, of which only those that meet the rows are decoded."""
    planes, _, height, width, channels = page.shaped
    tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    down, across = math.ceil(height / tall), math.ceil(width / wide)
    decode, dtype, nodata = page.decode, page.dtype, page.nodata
    offsets, sizes = page.dataoffsets, page.databytecounts
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}

    def read(start: int, stop: int) -> NDArray[Any]:
        rows = np.empty((planes, stop - start, width, channels), dtype)
        met = range(start // tall * across, math.ceil(stop / tall) * across)
        with part.path.open("rb") as file:
            for index in [plane * down * across + number for plane in range(planes) for number in met]:
                file.seek(offsets[index])
                data = file.read(sizes[index]) if offsets[index] and sizes[index] else None
                segment, (plane, _, top, left, _), _ = decode(data, index, **tables)
                first, last = max(top, start), min(top + tall, stop)
                place = rows[plane, first - start : last - start, left : left + wide]
                place[...] = nodata if segment is None else segment[0, first - top : last - top, : width - left]
        return rows

    return read
