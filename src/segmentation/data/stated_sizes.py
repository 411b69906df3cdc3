"""The size of an image that an annotation file states, and the one that the image has."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from segmentation.data.problems import FileError
from segmentation.data.reading import NPY_START, TIFF_STARTS, page_of, unreadable
from segmentation.data.sample import Part


def check_stated(size: tuple[int, int], file: Path, image: Part) -> None:
    """Refuse a size that is not the image's, before memory for a mask of it is asked for.

    The image's header alone is read. Sides that are exchanged pass, because the header does not know how the
    camera was held; who reads image and mask compares them.

    Args:
        size: (H, W) as stated.
        file: That states it, for the message.
        image: The image.

    Raises:
        FileError: For another size, and for an image that cannot be read.
    """
    height, width = _in_header(image)
    if sorted(size) != sorted((height, width)):
        raise FileError(
            image,
            f"is {height}x{width} (HxW), {file.name} says {size[0]}x{size[1]}",
            "export the annotations anew, or put the image back that they were made on",
        )


def _in_header(part: Part) -> tuple[int, int]:
    """(H, W) in the file, which an orientation tag may exchange."""
    try:
        with part.path.open("rb") as file:
            start = file.read(6)
        if start[:4] in TIFF_STARTS:
            with tifffile.TiffFile(part.path) as stack:
                page, _ = page_of(stack, part)
                return page.imagelength, page.imagewidth
        if start == NPY_START:
            height, width = np.load(part.path, mmap_mode="r", allow_pickle=False).shape[:2]
            return height, width
        with Image.open(part.path) as image:
            return image.height, image.width
    except FileError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise unreadable(part, error) from error
