"""Files written from rows hold what was given, in every layout; a failure leaves nothing behind."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmentation.data import writing
from segmentation.data.placement import Placement, placement_of
from segmentation.data.sample import Part
from segmentation.data.writing import Png, Table, Tiff, WriteError

SIZES = [(1, 1), (5, 9), (256, 256), (257, 300), (520, 513), (700, 40)]


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    values = np.random.default_rng(0).random(shape)
    return values.astype(dtype) if dtype.startswith("float") else (values * np.iinfo(dtype).max).astype(dtype)


def bands(page: np.ndarray, axis: int, seed: int = 0) -> list[np.ndarray]:
    """A page in bands of uneven heights."""
    height = page.shape[axis]
    cuts = np.unique(np.random.default_rng(seed).integers(0, height + 1, 5))
    return [band for band in np.split(page, cuts, axis=axis) if band.shape[axis]]


def fill(file: Tiff | Png | Table) -> None:
    with file:
        if not isinstance(file, Table):
            file.add(noise(6, 8))


def fail_in(file: Tiff | Png | Table) -> None:
    with file:
        if not isinstance(file, Table):
            file.add(noise(2, 8))
        raise ZeroDivisionError


def read(path: Path) -> np.ndarray:
    return tifffile.imread(path)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_a_tiff_from_bands_is_the_image(tmp_path: Path, size: tuple[int, int], tiled: bool) -> None:
    page = noise(*size)
    with Tiff(tmp_path / "deep" / "a.tif", size, "uint8", tiled=tiled) as file:
        for band in bands(page, 0):
            file.add(band)
    with tifffile.TiffFile(tmp_path / "deep" / "a.tif") as written:
        first = written.pages[0].aspage()
        np.testing.assert_array_equal(first.asarray(), page)
        assert (first.is_tiled, first.compression, len(written.pages)) == (tiled, 8, 1)
        assert not written.is_bigtiff
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.tif"]


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(
    ("tail", "options", "axis"), [((3,), {"colored": True}, 0), ((), {"planes": 3}, 1), ((), {"planes": 1}, 0)]
)
def test_colours_planes_and_stacks(
    tmp_path: Path, tail: tuple[int, ...], options: dict[str, Any], axis: int, tiled: bool
) -> None:
    planes = options.get("planes", 1)
    lead = () if planes == 1 else (planes,)
    pages = noise(4, *lead, 300, 270, *tail, dtype="uint8" if tail else "float16")
    with Tiff(tmp_path / "stack.tif", (300, 270), pages.dtype.name, tiled=tiled, **options) as file:
        for number, page in enumerate(pages):
            for band in bands(page, axis, number):
                file.add(band)
    found = read(tmp_path / "stack.tif")
    assert found.dtype == pages.dtype
    np.testing.assert_array_equal(found, pages)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (5, 1), (1, 5)])
def test_planes_of_a_line(tmp_path: Path, size: tuple[int, int], tiled: bool) -> None:
    pages = noise(3, 2, *size, dtype="float16")
    with Tiff(tmp_path / "a.tif", size, "float16", planes=2, tiled=tiled) as file:
        for page in pages:
            file.add(page)
    with tifffile.TiffFile(tmp_path / "a.tif") as written:
        assert [page.shape for page in written.pages] == [size] * 6
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), pages)


@pytest.mark.parametrize(("largest", "dtype"), [(65535, "uint16"), (65536, "uint32")])
def test_ids_take_16_bits_where_they_fit(tmp_path: Path, largest: int, dtype: str) -> None:
    ids = np.zeros((2, 20, 30), np.uint32)
    ids[1, 19, 29] = largest
    with Tiff(tmp_path / "ids.tif", (20, 30), "uint32") as file:
        for page in ids:
            file.add(page)
    assert read(tmp_path / "ids.tif").dtype == dtype
    np.testing.assert_array_equal(read(tmp_path / "ids.tif"), ids)


def test_more_than_fits_a_classic_tiff_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "CLASSIC", 10)
    with Tiff(tmp_path / "a.tif", (300, 300), "uint8", tiled=True) as file:
        file.add(noise(300, 300))
    with tifffile.TiffFile(tmp_path / "a.tif") as written:
        assert written.is_bigtiff
        np.testing.assert_array_equal(written.asarray(), noise(300, 300))


def test_memory_does_not_grow_with_the_height(tmp_path: Path) -> None:
    with Tiff(tmp_path / "a.tif", (4096, 300), "uint8", tiled=True) as file:
        for _ in range(4096 // 64):
            file.add(np.zeros((64, 300), np.uint8))
            assert file._waiting is None or file._waiting.shape[1] < 256


def test_resolution_and_place_are_stored_on_every_page(tmp_path: Path) -> None:
    scale, keys = (0.5, 0.5, 0.0), (1, 1, 0, 1, 1024, 0, 1, 1)
    placement = Placement((300.0, 150.0, 3), ((33550, 12, 3, scale, False), (34735, 3, 8, keys, False)))
    with Tiff(tmp_path / "a.tif", (6, 8), "float16", planes=2, placement=placement) as file:
        file.add(noise(2, 6, 8, dtype="float16"))
    with tifffile.TiffFile(tmp_path / "a.tif") as written:
        for page in written.pages:
            tags = page.aspage().tags
            assert [tags.valueof(code) for code in (33550, 34735, 296)] == [scale, keys, 3]
            assert (tags.valueof(282), tags.valueof(283)) == ((300, 1), (150, 1))


def test_a_png_has_palette_and_resolution(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    colors = ((9, 8, 7), (60, 50, 40), (1, 200, 3))
    with Png(tmp_path / "a.png", colors, Placement((300.0, 300.0, 2))) as file:
        for row in indices:
            file.add(row[None])
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.array(picture), indices)
        np.testing.assert_array_equal(np.array(picture.convert("RGB")), np.array(colors, np.uint8)[indices])
    assert placement_of(Part(tmp_path / "a.png")).dpi == pytest.approx((300, 300), rel=1e-3)


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    files = [Tiff(tmp_path / "a.tif", (6, 8), "uint8"), Png(tmp_path / "a.png"), Table(tmp_path / "a.csv", ["x"])]
    for file in files:
        with pytest.raises(ZeroDivisionError):
            fail_in(file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["tif", "png", "csv"])
def test_a_disk_that_refuses_is_told(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").write_text("a file in the place of a folder")
    path = tmp_path / "out" / f"a.{kind}"
    file = {"tif": Tiff(path, (6, 8), "uint8"), "png": Png(path), "csv": Table(path, ["x"])}[kind]
    with pytest.raises(WriteError, match=rf"out/a\.{kind} cannot be written \(.*\); give another --out"):
        fill(file)


def test_a_table_is_a_csv(tmp_path: Path) -> None:
    with Table(tmp_path / "a.csv", ("file", "reason")) as table:
        table.rows.append((Path("b,c.png"), 'is "torn"'))
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["file", "reason"], ["b,c.png", 'is "torn"']]
