"""Image files -> arrays. Every failure names the file and the cure."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from segmentation.data.source import Part
from segmentation.errors import InputError

TIFF_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", *TIFF_SUFFIXES)


def is_image(path: Path) -> bool:
    """Whether a file is one to read: a known suffix in any case, and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def pages(path: Path) -> int:
    """Number of pages of a TIFF file; 1 for every other format.

    Raises:
        InputError: When the file is no readable TIFF.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return 1
    try:
        with tifffile.TiffFile(path) as file:
            return len(file.pages)
    except Exception as error:  # struct.error and others on cut files
        raise unreadable(path, error) from error


def read_pixels(part: Part) -> NDArray[Any]:
    """One image as stored: (H, W, C), any numeric dtype.

    Palette images become RGB (RGBA with transparency), one-bit images 0/255, EXIF orientation is
    applied.

    Raises:
        InputError: When the file is missing, truncated, or no image.
    """
    return _with_channels(_read(part, keep_palette=False), part)


def read_values(part: Part) -> NDArray[Any]:
    """One mask as stored: (H, W) palette indices or grey values, (H, W, C) for colours.

    Raises:
        InputError: As ``read_pixels``.
    """
    values = _with_channels(_read(part, keep_palette=True), part)
    return values[..., 0] if values.shape[-1] == 1 else values


def unreadable(path: Path | Part, error: Exception) -> InputError:
    """The error for a file that exists but cannot be decoded."""
    return InputError(f"{path} cannot be read ({error}); replace the file or remove it from the data set")


def _read(part: Part, *, keep_palette: bool) -> NDArray[Any]:
    if not part.path.is_file():
        raise InputError(f"{part.path} does not exist")
    if part.path.stat().st_size == 0:
        raise InputError(f"{part.path} is empty (0 bytes); replace the file or remove it from the data set")
    try:
        if part.path.suffix.lower() in TIFF_SUFFIXES:
            return _read_tiff(part, keep_palette=keep_palette)
        with Image.open(part.path) as image:
            return _from_pillow(image, keep_palette=keep_palette)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise unreadable(part, error) from error


def _read_tiff(part: Part, *, keep_palette: bool) -> NDArray[Any]:
    with tifffile.TiffFile(part.path) as file:
        count = len(file.pages)
        if part.page is None and count > 1:
            raise InputError(f"{part.path} has {count} pages; one image is expected, or a source that reads stacks")
        index = part.page or 0
        if index >= count:
            raise InputError(f"{part.path} has {count} pages, page {index} (from 0) does not exist")
        page = file.pages[index].aspage()
        if "Z" in page.axes:
            raise InputError(f"{part} is a volume of the shape {page.shape}; save it as one page per slice")
        try:
            pixels: NDArray[Any] = page.asarray()
        except (ImportError, ValueError) as error:
            if not isinstance(error, ImportError) and "imagecodecs" not in str(error):
                raise
            return _read_coded(part, index, page, keep_palette=keep_palette)
        if page.axes.startswith("S"):  # planar: (C, H, W) on disk
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.dtype == np.bool_:
            white = page.photometric != tifffile.PHOTOMETRIC.MINISWHITE
            return np.where(pixels == white, np.uint8(255), np.uint8(0))
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None and not keep_palette:
            colors: NDArray[np.uint8] = np.moveaxis(page.colormap >> 8, 0, -1).astype(np.uint8)
            return colors.take(pixels, axis=0)
        return pixels


def _read_coded(part: Part, index: int, page: tifffile.TiffPage, *, keep_palette: bool) -> NDArray[Any]:
    """A page in a compression (LZW, JPEG, fax) that tifffile alone does not decode and Pillow does."""
    if page.samplesperpixel > 1 and page.bitspersample > 8:  # Pillow would halve the bits without a word
        compression = tifffile.COMPRESSION(page.compression).name
        raise InputError(
            f"{part} holds {page.bitspersample}-bit colours in {compression} compression, which cannot be "
            "read; save it uncompressed or with deflate"
        )
    with Image.open(part.path) as image:
        image.seek(index)
        return _from_pillow(image, keep_palette=keep_palette)


def _from_pillow(image: Image.Image, *, keep_palette: bool) -> NDArray[Any]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "1":
        return np.asarray(upright, np.uint8) * np.uint8(255)
    if upright.mode == "P" and not keep_palette:
        upright = upright.convert("RGBA" if "transparency" in upright.info else "RGB")
    elif upright.mode not in ("L", "P", "RGB", "RGBA", "LA", "I", "F", "I;16", "I;16B"):
        upright = upright.convert("RGB")
    pixels: NDArray[Any] = np.array(upright)  # a copy: Pillow's own memory cannot be written to
    if pixels.dtype == np.int32 and pixels.min() >= 0 and pixels.max() < 2**16:  # Pillow's "I" holds 16-bit PNG
        return pixels.astype(np.uint16)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def _with_channels(pixels: NDArray[Any], part: Part) -> NDArray[Any]:
    if pixels.ndim == 2:
        return pixels[..., None]
    if pixels.ndim != 3:
        raise InputError(f"{part} has the shape {pixels.shape}; (H, W) or (H, W, C) is expected")
    return pixels
