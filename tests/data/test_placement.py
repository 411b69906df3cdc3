"""Resolution and georeferencing of images, in the spellings of different programs."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmentation.data.placement import Placement, placement_of
from segmentation.data.sample import Part

GREY = np.zeros((6, 8), np.uint8)


def written(path: Path, **options: object) -> Part:
    tifffile.imwrite(path, GREY, **({"photometric": "minisblack"} | options))
    return Part(path)


def test_a_geotiff_keeps_its_tags(tmp_path: Path) -> None:
    tags = [
        (33550, 12, 3, (0.25, 0.25, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 4100000.0, 0.0), True),
        (34735, 3, 12, (1, 1, 0, 2, 1024, 0, 1, 1, 1026, 34737, 4, 0), True),
        (34736, 12, 2, (6378137.0, 298.257), True),
        (34737, 2, 5, "UTM|", True),
        (42113, 2, 3, "-1", True),  # GDAL's nodata says nothing about a result
    ]
    placement = placement_of(written(tmp_path / "map.tif", extratags=tags))
    assert [(code, value) for code, _, _, value, _ in placement.geotiff] == [(tag[0], tag[3]) for tag in tags[:-1]]
    again = placement_of(written(tmp_path / "again.tif", extratags=placement.geotiff))
    assert again.geotiff == placement.geotiff


@pytest.mark.parametrize(("unit", "dpi"), [("inch", 300.0), ("centimeter", 762.0), ("none", None)])
def test_the_resolution_of_a_tiff(tmp_path: Path, unit: str, dpi: float | None) -> None:
    placement = placement_of(written(tmp_path / "a.tif", resolution=(300, 300), resolutionunit=unit))
    assert placement.resolution == ((300, 1), (300, 1), {"none": 1, "inch": 2, "centimeter": 3}[unit])
    assert placement.dpi == (None if dpi is None else pytest.approx((dpi, dpi)))


@pytest.mark.parametrize("unknown", [(0, 0), (300, 0)])
def test_a_resolution_of_nothing_costs_no_other_tag(tmp_path: Path, unknown: tuple[int, int]) -> None:
    tags = [(33550, 12, 3, (0.25, 0.25, 0.0), True)]
    part = written(tmp_path / "map.tif", extratags=tags, resolution=((1, 7), (1, 7)))
    content = part.path.read_bytes()
    assert content.count(struct.pack("<II", 1, 7)) >= 1
    part.path.write_bytes(content.replace(struct.pack("<II", 1, 7), struct.pack("<II", *unknown)))
    placement = placement_of(part)
    assert placement.resolution is None and [tag[0] for tag in placement.geotiff] == [33550]


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_the_pixel_size_of_imagej(tmp_path: Path, unit: str) -> None:
    """4 pixels in a micrometre are 40,000 in a centimetre."""
    part = written(tmp_path / "a.tif", photometric=None, imagej=True, resolution=(4, 2), metadata={"unit": unit})
    assert placement_of(part).resolution == (40_000, 20_000, 3)


def test_the_pixel_size_of_ome(tmp_path: Path) -> None:
    """Pixels of 50 nm are 200,000 in a centimetre; micrometres are meant where no unit is given."""
    sizes = {"PhysicalSizeX": 50.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.1}
    part = written(tmp_path / "a.ome.tif", metadata={"axes": "YX"} | sizes)
    resolution = placement_of(part).resolution
    assert resolution is not None
    assert resolution == (pytest.approx(200_000), pytest.approx(100_000), 3)


@pytest.mark.parametrize("form", ["a.tif", "a.ome.tif"])
def test_pixels_smaller_than_a_tiff_can_say_have_no_size(tmp_path: Path, form: str) -> None:
    """As where metres are written without their unit."""
    options: dict[str, Any] = (
        {"metadata": {"axes": "YX", "PhysicalSizeX": 6.5e-8, "PhysicalSizeY": 6.5e-8}}
        if "ome" in form
        else {"photometric": None, "imagej": True, "resolution": (10_000, 10_000), "metadata": {"unit": "nm"}}
    )
    assert placement_of(written(tmp_path / form, **options)) == Placement()


def test_the_resolution_of_a_png(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", dpi=(72, 144))
    assert placement_of(Part(tmp_path / "a.png")).dpi == pytest.approx((72, 144), rel=1e-3)
    Image.fromarray(GREY).save(tmp_path / "b.png")
    assert placement_of(Part(tmp_path / "b.png")) == Placement()


def test_a_resolution_that_png_cannot_hold_is_left_out() -> None:
    assert Placement((1e9, 1e9, 3)).dpi is None
    assert Placement((0.0, 1.0, 3)).dpi is None


@pytest.mark.parametrize("content", [b"", b"II*\0", b"\x89PNG\r\n", b"no image"])
def test_a_damaged_file_has_no_place(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "torn.tif").write_bytes(content)
    assert placement_of(Part(tmp_path / "torn.tif")) == Placement()
    assert placement_of(Part(tmp_path / "absent.tif")) == Placement()
