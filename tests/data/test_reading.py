"""Image files -> arrays in every format that people have, and errors that name the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmentation.data.reading import is_image, pages, read_pixels, read_values
from segmentation.data.source import Part
from segmentation.errors import InputError

SHARED = Path(__file__).parents[3] / "shared" / "data"

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
RGB = np.stack([GREY, GREY + 50, GREY + 100], axis=-1)
RGBA = np.concatenate([RGB, 200 - GREY[..., None]], axis=-1)
DEEP = GREY.astype(np.uint16) * 1000


def saved(path: Path, array: np.ndarray, **options: object) -> Part:
    Image.fromarray(array).save(path, **options)
    return Part(path)


@pytest.mark.parametrize("suffix", ["png", "tif", "PNG", "TIFF"])
@pytest.mark.parametrize("array", [GREY, RGB, RGBA, DEEP], ids=["grey", "rgb", "rgba", "16-bit"])
def test_pixels_are_as_stored(tmp_path: Path, array: np.ndarray, suffix: str) -> None:
    pixels = read_pixels(saved(tmp_path / f"image.{suffix}", array))
    assert pixels.dtype == array.dtype
    np.testing.assert_array_equal(pixels, array.reshape(6, 8, -1))
    assert pixels.flags.writeable


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("array", [GREY, RGB, DEEP], ids=["grey", "rgb", "16-bit"])
def test_compressed_tiffs_are_read(tmp_path: Path, array: np.ndarray, compression: str) -> None:
    pixels = read_pixels(saved(tmp_path / "image.tif", array, compression=compression))
    assert pixels.dtype == array.dtype
    np.testing.assert_array_equal(pixels, array.reshape(6, 8, -1))


def test_a_page_of_a_compressed_stack_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    first, *others = [Image.fromarray(GREY + index) for index in range(3)]
    first.save(path, compression="tiff_lzw", save_all=True, append_images=others)
    assert pages(path) == 3
    np.testing.assert_array_equal(read_values(Part(path, 2)), GREY + 2)


@pytest.mark.parametrize("suffix", ["png", "gif", "tif"])
def test_a_palette_is_colours_of_an_image_and_indices_of_a_mask(tmp_path: Path, suffix: str) -> None:
    indices = GREY % 3
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / f"mask.{suffix}")
    part = Part(tmp_path / f"mask.{suffix}")
    np.testing.assert_array_equal(read_values(part), indices)
    colors = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    np.testing.assert_array_equal(read_pixels(part), colors[indices])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_one_bit_is_0_and_255(tmp_path: Path, suffix: str) -> None:
    part = saved(tmp_path / f"mask.{suffix}", GREY > 20)
    np.testing.assert_array_equal(read_values(part), np.where(GREY > 20, 255, 0))
    assert read_pixels(part).shape == (6, 8, 1)


def test_big_endian_and_planar_tiffs_are_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "big.tif", DEEP, byteorder=">")
    np.testing.assert_array_equal(read_pixels(Part(tmp_path / "big.tif"))[..., 0], DEEP)
    planar = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "planar.tif", planar, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_pixels(Part(tmp_path / "planar.tif")), RGB)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to show
    part = saved(tmp_path / "turned.png", GREY, exif=exif)
    np.testing.assert_array_equal(read_pixels(part)[..., 0], np.rot90(GREY, 3))


def _truncated_png(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def _truncated_tiff(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("cut.png", _truncated_png, "cannot be read"),
        ("cut.tif", _truncated_tiff, "cannot be read"),
        ("empty.png", Path.touch, "empty (0 bytes)"),
        ("text.png", lambda path: path.write_text("hello"), "cannot be read"),
        ("text.tif", lambda path: path.write_text("hello"), "cannot be read"),
        ("absent.png", lambda path: None, "does not exist"),
        ("folder.png", Path.mkdir, "does not exist"),
    ],
)
@pytest.mark.parametrize("read", [read_pixels, read_values])
def test_a_bad_file_is_named(
    tmp_path: Path, name: str, damage: Callable[[Path], object], told: str, read: Callable[[Part], np.ndarray]
) -> None:
    damage(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read(Part(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)
    assert told in str(caught.value)


def test_a_stack_is_refused_where_one_image_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((5, 6, 8), np.uint8), photometric="minisblack")
    assert pages(path) == 5
    with pytest.raises(InputError, match="has 5 pages"):
        read_pixels(Part(path))
    with pytest.raises(InputError, match="page 5"):
        read_pixels(Part(path, 5))


def test_a_volume_is_not_taken_for_channels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "volume.tif", np.zeros((5, 32, 32), np.uint8), volumetric=True, tile=(16, 16, 16))
    with pytest.raises(InputError, match="volume"):
        read_pixels(Part(tmp_path / "volume.tif"))


def test_deep_colours_are_never_halved_silently(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, RGB.astype(np.uint16) * 200, photometric="rgb")
    np.testing.assert_array_equal(read_pixels(Part(path)), RGB.astype(np.uint16) * 200)
    # no encoder for 16-bit LZW is at hand: say LZW in the header, so that Pillow would be asked
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(5)
    with pytest.raises(InputError, match="16-bit colours in LZW"):
        read_pixels(Part(path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b.c.PNG", True), ("x.Tif", True), (".DS_Store", False), ("._a.png", False), ("Thumbs.db", False)],
)
def test_which_files_are_images(name: str, expected: bool) -> None:
    assert is_image(Path("folder") / name) is expected


@pytest.mark.skipif(not (SHARED / "corrupt-png").is_dir(), reason="the shared data sets are not here")
def test_really_damaged_files_are_refused_by_name() -> None:
    masks = sorted((SHARED / "corrupt-png").glob("*_mask.png"))
    assert len(masks) == 5
    for path in masks:
        with pytest.raises(InputError, match="cannot be read") as caught:
            read_values(Part(path))
        assert path.name in str(caught.value)
    for path in (SHARED / "corrupt-png").glob("*.jpg"):
        assert read_pixels(Part(path)).shape == (640, 640, 3)


@pytest.mark.skipif(not (SHARED / "hela-16bit").is_dir(), reason="the shared data sets are not here")
def test_real_16_bit_lzw_files_are_read() -> None:
    for path in (SHARED / "hela-16bit" / "images").glob("*.tif"):
        pixels = read_pixels(Part(path))
        assert pixels.shape == (700, 1100, 1)
        assert pixels.dtype == np.uint16
        assert pixels.max() > 255
