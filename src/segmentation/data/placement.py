"""How large the pixels of an image are and where it lies, for results to keep."""

import re
from dataclasses import dataclass
from typing import Any

import tifffile
from PIL import Image

from segmentation.data.reading import TIFF_STARTS, page_of
from segmentation.data.sample import Part

GEOTIFF = (33550, 33922, 34264, 34735, 34736, 34737)
"""Tags of a GeoTIFF: scale, tie points, transformation, coordinate system with its numbers and names."""

INCH, CENTIMETRE = 2, 3
"""Values of the tag ResolutionUnit; 1 is no unit."""

PER_CENTIMETRE = {"nm": 1e7, "um": 1e4, "mm": 10.0, "cm": 1.0, "m": 0.01, "inch": 1 / 2.54}
"""Units in which ImageJ and OME give the size of a pixel."""

FINEST = 2**32
"""Pixels per unit that TIFF cannot hold; an OME file in metres that says micrometres has as many."""

Ratio = tuple[int, int] | float


@dataclass(frozen=True)
class Placement:
    """What a result inherits of its image.

    Attributes:
        resolution: Pixels per unit across and down, and the unit as in TIFF; None where nothing is stored.
        geotiff: Tags (code, data type, count, value, only on the first page) as tifffile writes them.
    """

    resolution: tuple[Ratio, Ratio, int] | None = None
    geotiff: tuple[tuple[int, int, int, Any, bool], ...] = ()

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch across and down for a PNG; None without a unit, or where PNG cannot hold it."""
        if self.resolution is None or self.resolution[2] not in (INCH, CENTIMETRE):
            return None
        factor = 1.0 if self.resolution[2] == INCH else 2.54
        across, down = (factor * _number(ratio) for ratio in self.resolution[:2])
        return (across, down) if min(across, down) > 0 and max(across, down) / 0.0254 < 2**31 else None


def placement_of(part: Part) -> Placement:
    """Resolution and georeferencing of a TIFF, resolution of a PNG; nothing where there is none.

    The size of a pixel that ImageJ or OME wrote is given per centimetre.
    """
    try:
        with part.path.open("rb") as file:
            start = file.read(4)
        if start in TIFF_STARTS:
            with tifffile.TiffFile(part.path) as tiff:
                return _of_tiff(tiff, page_of(tiff, part)[0])
        with Image.open(part.path) as image:
            dpi = image.info.get("dpi") if image.format == "PNG" else None
    except Exception:  # pixels that can be read beside tags that cannot
        return Placement()
    return Placement() if dpi is None else Placement((float(dpi[0]), float(dpi[1]), INCH))


def _of_tiff(file: tifffile.TiffFile, page: tifffile.TiffPage) -> Placement:
    found = [tag for tag in map(page.tags.get, GEOTIFF) if tag is not None]
    geotiff = tuple((tag.code, int(tag.dtype), tag.count, tag.value, False) for tag in found)
    across, down = page.tags.valueof(282), page.tags.valueof(283)
    resolution = None if across is None or down is None else (across, down, int(page.tags.valueof(296, INCH)))
    if resolution is not None and not min(map(_number, resolution[:2])) > 0:
        resolution = None
    if file.is_imagej and resolution is not None:
        factor = _per_centimetre((file.imagej_metadata or {}).get("unit"))
        if factor is not None:
            resolution = (factor * _number(across), factor * _number(down), CENTIMETRE)
    elif file.is_ome:
        resolution = _of_ome(file.ome_metadata or "") or resolution
    if resolution is not None and max(map(_number, resolution[:2])) >= FINEST:
        resolution = None
    return Placement(resolution, geotiff)


def _of_ome(xml: str) -> tuple[Ratio, Ratio, int] | None:
    sizes = []
    for axis in "XY":
        size = re.search(rf'\bPhysicalSize{axis}="([^"]+)"', xml)
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]+)"', xml)
        factor = _per_centimetre(unit[1] if unit else "um")  # the default of OME
        if size is None or factor is None or not float(size[1]) > 0:
            return None
        sizes.append(factor / float(size[1]))
    return sizes[0], sizes[1], CENTIMETRE


def _per_centimetre(unit: Any) -> float | None:
    """Of a unit in one of its spellings; None for one that is no length."""
    text = str(unit).strip().lower().replace("\\u00b5", "u").replace("\xb5", "u").replace("\u03bc", "u")
    return PER_CENTIMETRE.get({"micron": "um", "microns": "um", "inches": "inch"}.get(text, text))


def _number(ratio: Ratio) -> float:
    """0 for a ratio to nothing, as some programs write where they know no resolution."""
    if isinstance(ratio, tuple):
        return ratio[0] / ratio[1] if ratio[1] else 0.0
    return float(ratio)
