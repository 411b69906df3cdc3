"""Image files -> arrays. Every failure names the file and the cure."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFile

from segmentation.data.problems import FileError
from segmentation.data.sample import Part

TIFF_SUFFIXES = (".tif", ".tiff")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".npy", *TIFF_SUFFIXES)

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NPY_START = b"\x93NUMPY"

ORIENTATION = 274
"""The tag of TIFF and EXIF: how a camera was held."""

DEEP_COLORS = {"RGB;16B": [2, 1, 0], "RGBA;16B": [2, 1, 0, 3], "LA;16B": [0, 3]}
"""Kinds of PNG that Pillow halves, with the places of their channels in OpenCV's blue, green, red, alpha."""

CHANNELS = 8
"""Pages up to which a TIFF that calls them channels is believed; of more they are slices, which tifffile by default so calls."""

Image.MAX_IMAGE_PIXELS = None  # mosaics and slides are larger than what Pillow takes for an attack


def is_image(path: Path) -> bool:
    """Whether a file is one to read: a known suffix in any case, and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def pages(path: Path, *, stack: bool = False) -> int:
    """Number of pages of a TIFF file; 1 for every other format, and for an image with overviews of itself.

    Args:
        path: Of the file.
        stack: Whether pages count that the file calls the channels of one image.

    Raises:
        FileError: When the file is no readable TIFF.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return 1
    try:
        with tifffile.TiffFile(path) as file:
            count = len(file.pages)
            overviews = count > 1 and _is_overview(file.pages[count - 1])  # they come last
            if (overviews and len(_images(file)) == 1) or (not stack and are_channels(file)):
                return 1
            return _planes(file)
    except Exception as error:  # struct.error and others on cut files
        raise unreadable(path, error) from error


def read_pixels(part: Part) -> NDArray[Any]:
    """One image as stored: (H, W, C), any real dtype in native byte order.

    Pages of a TIFF that the file calls channels are those of one image where no page is asked for. Palette images become RGB (RGBA with transparency), one-bit images and booleans 0/255. The
    orientation tag of EXIF and TIFF is applied. The content decides the format, not the suffix.

    Raises:
        FileError: When the file is missing, damaged, no image, or several in one.
    """
    return _with_channels(_read(part, keep_palette=False, mask=False), part)


def read_values(part: Part, *, colors: bool = False) -> NDArray[Any]:
    """One mask as stored: (H, W) palette indices or grey values, (H, W, C) for colours.

    Turned as ``read_pixels`` turns its image. One-bit masks are 0/255 by their bits, also where a tag
    says that 0 is white.

    Args:
        part: The mask.
        colors: Read a palette's colours instead of its indices.

    Raises:
        FileError: As ``read_pixels``.
    """
    values = _with_channels(_read(part, keep_palette=not colors, mask=True), part)
    return values[..., 0] if values.shape[-1] == 1 else values


def unreadable(path: Path | Part, error: Exception) -> FileError:
    """The error for a file that exists but cannot be decoded."""
    place = path.path if isinstance(path, Part) else path
    # without what differs from file to file, so that one fault of many files is one problem
    reason = re.sub(r" \(\d+ bytes not processed\)", "", str(error).replace(f" {str(place)!r}", ""))
    return FileError(path, f"cannot be read ({reason})", "replace the file or remove it from the data set")


def _read(part: Part, *, keep_palette: bool, mask: bool) -> NDArray[Any]:
    if not part.path.is_file():
        raise FileError(part.path, "does not exist", "correct the path")
    try:
        with part.path.open("rb") as file:
            start = file.read(6)
        if not start:
            raise FileError(part.path, "is empty (0 bytes)", "replace the file or remove it from the data set")
        if start[:4] in TIFF_STARTS:
            return _read_tiff(part, keep_palette=keep_palette, mask=mask)
        if start == NPY_START:
            return _read_npy(part)
        with Image.open(part.path) as image:
            return _from_pillow(image, part, keep_palette=keep_palette)
    except FileError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise unreadable(part, error) from error


def _read_npy(part: Part) -> NDArray[Any]:
    with part.path.open("rb") as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    if array.ndim == 3 and array.shape[0] <= 4 < 16 < array.shape[2]:
        raise FileError(part, f"has the shape {array.shape}", "save it as (H, W, C)")
    return array.astype(np.uint8) * np.uint8(255) if array.dtype == np.bool_ else array


def _read_tiff(part: Part, *, keep_palette: bool, mask: bool) -> NDArray[Any]:
    with tifffile.TiffFile(part.path) as file:
        page, plane = page_of(file, part)
        if part.page is None and are_channels(file):
            each = [
                _read_tiff(Part(part.path, number), keep_palette=keep_palette, mask=mask)
                for number in range(len(file.pages))
            ]
            return np.stack(each, axis=-1)
        if "Z" in page.axes:
            raise FileError(part, f"is a volume of the shape {page.shape}", "save it as one page per slice")
        try:
            pixels = _plane(part, file, page, plane) if plane else page.asarray()
        except (ImportError, ValueError) as error:
            if not isinstance(error, ImportError) and "imagecodecs" not in str(error):
                raise
            return _read_coded(part, page, keep_palette=keep_palette, mask=mask)
        if page.axes.startswith("S"):  # planar: (C, H, W) on disk
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.dtype == np.bool_:
            # tifffile writes booleans under this tag, which must not turn over what a mask says
            white = mask or page.photometric != tifffile.PHOTOMETRIC.MINISWHITE
            pixels = np.where(pixels == white, np.uint8(255), np.uint8(0))
        elif page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None and not keep_palette:
            colors: NDArray[np.uint8] = np.moveaxis(page.colormap >> 8, 0, -1).astype(np.uint8)
            pixels = colors.take(pixels, axis=0)
        return upright(pixels, page.tags.valueof(ORIENTATION, 1))


def page_of(file: tifffile.TiffFile, part: Part) -> tuple[tifffile.TiffPage, int]:
    """The page of a part, and its plane: which of the images behind that page; 0 but for a large stack of ImageJ.

    Of an image with overviews or a transparency mask, the image; of one whose pages are channels, the first.

    Raises:
        FileError: For a page that does not exist, and a stack where one image is expected.
    """
    count = _planes(file)
    if part.page is not None:
        if part.page >= count:
            raise FileError(
                part.path, f"has {count} pages, page {part.page} (from 0) does not exist", "replace the file"
            )
        behind = count > len(file.pages)
        return file.pages[0 if behind else part.page].aspage(), part.page if behind else 0
    whole = [0] if count == 1 or are_channels(file) else _images(file) if count == len(file.pages) else []
    if len(whole) != 1:
        raise FileError(
            part.path,
            f"has {count} pages, one image is expected",
            "save channels as (H, W, C), other images as separate files, or use data.source: TiffStackSource",
        )
    return file.pages[whole[0]].aspage(), 0


def are_channels(file: tifffile.TiffFile) -> bool:
    """Whether the pages are the channels of one image, as ImageJ and OME state it."""
    if not 2 <= len(file.pages) <= CHANNELS:
        return False
    shapes = {series.axes: series.shape[0] for series in file.series}
    return shapes == {"CYX": len(file.pages)}


def _planes(file: tifffile.TiffFile) -> int:
    """Number of pages; of a stack beyond 4 GB ImageJ writes only the first one, and all pixels one after another."""
    count = len(file.pages)
    stated = (file.imagej_metadata or {}).get("images", 1) if file.is_imagej and count == 1 else 1
    page = file.pages.first
    if stated == 1 or not page.is_final:
        return count
    there = (file.filehandle.size - page.dataoffsets[0]) // page.nbytes
    if there == 1:  # one page that was taken out of a stack with its description
        return count
    if there < stated:
        raise ValueError(f"{stated} images are stated and {there} are there")
    return int(stated)


def _plane(part: Part, file: tifffile.TiffFile, page: tifffile.TiffPage, plane: int) -> NDArray[Any]:
    assert page.dtype is not None
    stored = page.dtype.newbyteorder(file.byteorder)
    pixels = np.fromfile(part.path, stored, page.size, offset=plane_offset(page, plane))
    return pixels.reshape(page.shape).astype(page.dtype)


def plane_offset(page: tifffile.TiffPage, plane: int) -> int:
    """Where a plane begins in its file, in bytes."""
    return page.dataoffsets[0] + plane * page.nbytes


def _images(file: tifffile.TiffFile) -> list[int]:
    return [index for index, page in enumerate(file.pages) if not _is_overview(page)]


def _is_overview(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Whether a page shows another one again, smaller or as its transparency, as in GeoTIFF."""
    whole = page.aspage()
    return whole.is_reduced or whole.is_mask


def _read_coded(part: Part, page: tifffile.TiffPage, *, keep_palette: bool, mask: bool) -> NDArray[Any]:
    """A page in a compression (LZW, JPEG, fax) that tifffile alone does not decode and Pillow does."""
    if page.samplesperpixel > 1 and page.bitspersample > 8:  # Pillow would halve the bits without a word
        compression = tifffile.COMPRESSION(page.compression).name
        raise FileError(
            part,
            f"holds {page.bitspersample}-bit colours in {compression} compression, which cannot be read",
            "save it uncompressed or with deflate",
        )
    with Image.open(part.path) as image:
        image.seek(page.index)
        pixels = _from_pillow(image, part, keep_palette=keep_palette, stack=True)
    bits = page.bitspersample
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and (bits == 8 or (bits == 1 and mask)):
        pixels = np.uint8(255) - pixels  # Pillow inverts it
    if page.samplesperpixel > 1 or page.photometric == tifffile.PHOTOMETRIC.PALETTE or bits == 1:
        return pixels
    # Pillow has no unsigned 32-bit and no signed 16-bit images; the bits are right
    return pixels if page.dtype is None else pixels.astype(page.dtype)


def _from_pillow(image: ImageFile.ImageFile, part: Part, *, keep_palette: bool, stack: bool = False) -> NDArray[Any]:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and not stack and image.format != "MPO":  # MPO: a photograph and its own preview
        raise FileError(part, f"has {frames} frames, one image is expected", "save the frame that is meant as PNG")
    raw = _raw_mode(image)
    image.load()
    orientation = _exif_orientation(image)
    if raw in DEEP_COLORS:
        return upright(_read_deep_colors(part, raw), orientation)
    if image.mode == "1":
        pixels: NDArray[Any] = np.asarray(image, np.uint8) * np.uint8(255)
        return upright(pixels, orientation)
    shown: Image.Image = image
    if (image.mode == "P" and not keep_palette) or image.mode == "PA":
        shown = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    elif image.mode not in ("L", "P", "RGB", "RGBA", "LA", "I", "F", "I;16", "I;16B"):
        shown = image.convert("RGB")
    pixels = np.array(shown)  # a copy: Pillow's own memory cannot be written to
    if image.format == "PNG" and pixels.dtype == np.int32:  # older releases of Pillow hold 16-bit PNG in 32
        pixels = pixels.astype(np.uint16)
    return upright(pixels, orientation)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """What the file holds, such as ``RGB;16B``; the mode says only what Pillow makes of it."""
    if not image.tile:
        return ""
    arguments = image.tile[0][3]
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _read_deep_colors(part: Part, raw: str) -> NDArray[Any]:
    """A PNG of 16 bits in several channels, of which Pillow gives the upper 8 without a word."""
    import cv2

    decoded = cv2.imdecode(np.fromfile(part.path, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("a PNG with 16 bits per channel that OpenCV does not read")
    return np.asarray(decoded)[..., DEEP_COLORS[raw]]


def _exif_orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a damaged EXIF block beside good pixels
        return 1


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(H, W) or (H, W, C) as stored -> as it is shown, by the value of the orientation tag (1 to 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _with_channels(pixels: NDArray[Any], part: Part) -> NDArray[Any]:
    if pixels.dtype.kind not in "uif" or pixels.dtype.itemsize > 8:
        raise FileError(part, f"holds {pixels.dtype.name} values", "save it as integers or floats")
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise FileError(part, f"has the shape {pixels.shape}", "(H, W) or (H, W, C) is expected")
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return native[..., None] if native.ndim == 2 else native
