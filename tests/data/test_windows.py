"""Rows of a file are the rows of the image that ``read_pixels`` gives, whatever the layout of the file."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmentation.data.channels import in_channels
from segmentation.data.problems import FileError
from segmentation.data.reading import read_pixels
from segmentation.data.sample import Part
from segmentation.data.windows import LARGE, Rows, open_rows, rows_in_channels

HEIGHT, WIDTH = 83, 70


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    values = np.random.default_rng(0).random(shape)
    return values.astype(dtype) if dtype.startswith("float") else (values * np.iinfo(dtype).max).astype(dtype)


def agrees(part: Part, limit: int = 0) -> Rows:
    """The image by rows, after its rows were compared in windows of every kind."""
    rows, whole = open_rows(part, limit), read_pixels(part)
    assert isinstance(rows, Rows)
    assert rows.shape == whole.shape
    assert rows.dtype == whole.dtype
    height = whole.shape[0]
    for start, stop in [(0, height), (0, 1), (height - 1, height), (15, 17), (16, 32), (3, 64), (40, 41), (5, 5)]:
        window = rows[start:stop]
        assert window.dtype == whole.dtype
        np.testing.assert_array_equal(window, whole[start:stop])
    np.testing.assert_array_equal(rows[60 : height + 50], whole[60:])
    return rows


LAYOUTS = {
    "whole": {},
    "strips": {"rowsperstrip": 7},
    "one-row strips": {"rowsperstrip": 1},
    "tiles": {"tile": (16, 32)},
    "tall tiles": {"tile": (64, 16)},
    "one tile": {"tile": (96, 80)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
@pytest.mark.parametrize(("dtype", "tail"), [("uint8", ()), ("uint8", (3,)), ("uint16", (4,)), ("float32", ())])
def test_rows_of_a_tiff_are_those_of_the_image(
    tmp_path: Path, layout: str, compression: str | None, dtype: str, tail: tuple[int, ...]
) -> None:
    path = tmp_path / "image.tif"
    kind = "rgb" if tail else "minisblack"
    options = LAYOUTS[layout] | ({"rowsperstrip": 20} if compression and layout == "whole" else {})
    tifffile.imwrite(
        path, noise(HEIGHT, WIDTH, *tail, dtype=dtype), compression=compression, photometric=kind, **options
    )
    agrees(Part(path))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layout", ["whole", "strips", "tiles"])
def test_planes_and_byte_orders_of_a_tiff(tmp_path: Path, layout: str, compression: str | None, byteorder: str) -> None:
    path = tmp_path / "planar.tif"
    options = LAYOUTS[layout] | ({"rowsperstrip": 30} if compression and layout == "whole" else {})
    pixels = noise(3, HEIGHT, WIDTH, dtype="uint16")
    tifffile.imwrite(
        path,
        pixels,
        planarconfig="separate",
        photometric="rgb",
        byteorder=byteorder,
        compression=compression,
        **options,
    )
    np.testing.assert_array_equal(agrees(Part(path))[0:HEIGHT], np.moveaxis(pixels, 0, -1))


def test_a_predictor_is_undone(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(HEIGHT, WIDTH), compression="zlib", predictor=True, tile=(32, 32))
    agrees(Part(tmp_path / "a.tif"))


def test_packed_bits(tmp_path: Path) -> None:
    Image.fromarray(noise(HEIGHT, WIDTH)).save(tmp_path / "a.tif", compression="packbits", strip_size=10 * WIDTH)
    agrees(Part(tmp_path / "a.tif"))


def test_a_page_of_a_stack_and_the_image_beside_its_overviews(tmp_path: Path) -> None:
    stack = noise(3, HEIGHT, WIDTH)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", tile=(32, 32))
    np.testing.assert_array_equal(agrees(Part(tmp_path / "stack.tif", 1))[0:HEIGHT][..., 0], stack[1])
    with tifffile.TiffWriter(tmp_path / "map.tif") as file:
        file.write(stack[0], photometric="minisblack", tile=(32, 32))
        file.write(stack[0, ::2, ::2], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(agrees(Part(tmp_path / "map.tif"))[0:HEIGHT][..., 0], stack[0])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float64"])
@pytest.mark.parametrize("tail", [(), (3,)])
def test_rows_of_a_numpy_file(tmp_path: Path, order: str, dtype: str, tail: tuple[int, ...]) -> None:
    pixels = noise(HEIGHT, WIDTH, *tail, dtype=dtype.replace(">u2", "uint16")).astype(dtype)
    np.save(tmp_path / "image.npy", np.asarray(pixels, order=order))
    agrees(Part(tmp_path / "image.npy"))


def _lzw(path: Path) -> None:
    Image.fromarray(noise(HEIGHT, WIDTH)).save(path, compression="tiff_lzw", strip_size=10 * WIDTH)  # several strips


def _palette(path: Path) -> None:
    colors = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(path, noise(HEIGHT, WIDTH), photometric="palette", colormap=colors, tile=(32, 32))


def _turned(path: Path) -> None:
    tifffile.imwrite(path, noise(HEIGHT, WIDTH), photometric="minisblack", extratags=[(274, 3, 1, 6, True)])


def _one_bit(path: Path) -> None:
    Image.fromarray(noise(HEIGHT, WIDTH) > 100).save(path, format="TIFF")


def _one_compressed_strip(path: Path) -> None:
    tifffile.imwrite(path, noise(HEIGHT, WIDTH), photometric="minisblack", compression="zlib", rowsperstrip=HEIGHT)


def _png(path: Path) -> None:
    Image.fromarray(noise(HEIGHT, WIDTH)).save(path, format="PNG")


def _booleans(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, noise(HEIGHT, WIDTH) > 100)


@pytest.mark.parametrize(
    "write", [_lzw, _palette, _turned, _one_bit, _one_compressed_strip, _png, _booleans], ids=lambda f: f.__name__[1:]
)
def test_what_cannot_be_had_by_rows_is_read_as_a_whole(tmp_path: Path, write) -> None:
    write(tmp_path / "image.tif")  # content decides, not the suffix
    part = Part(tmp_path / "image.tif")
    image = open_rows(part, 0)
    assert isinstance(image, np.ndarray)
    np.testing.assert_array_equal(image, read_pixels(part))


@pytest.mark.parametrize(
    "stored", ["grey", "grey and alpha", "RGB and alpha", "grey as RGB and alpha", "seen through", "grey seen through"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_have_the_channels_that_the_whole_image_would_have(
    tmp_path: Path, stored: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmentation.data.windows.LOOKED_AT", 16)
    pixels = noise(HEIGHT, WIDTH, 1 if stored.startswith("grey") else 3)
    pixels = pixels.repeat(3, axis=2) if "as RGB" in stored else pixels
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[70, 60] = 0 if "seen through" in stored else 255  # in one of the last rows
    path = tmp_path / "a.tif"
    whole = pixels if stored == "grey" else np.concatenate([pixels, alpha], axis=2)
    kind = "rgb" if whole.shape[2] == 4 else "minisblack"
    extra = [] if stored == "grey" else ["unassalpha"]
    stored_as = {"rowsperstrip": 8, "photometric": kind, "planarconfig": "contig", "extrasamples": extra}
    tifffile.imwrite(path, whole.squeeze(), **stored_as)
    rows = rows_in_channels(agrees(Part(path)), channels)
    expected = in_channels(whole, channels)
    assert rows.shape == expected.shape
    for start, stop in [(0, HEIGHT), (3, 64), (5, 5)]:
        np.testing.assert_array_equal(rows[start:stop], expected[start:stop])


def test_a_small_image_is_read_at_once(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(HEIGHT, WIDTH), photometric="minisblack", tile=(32, 32))
    part = Part(tmp_path / "a.tif")
    assert isinstance(open_rows(part), np.ndarray)
    assert isinstance(open_rows(part, HEIGHT * WIDTH), np.ndarray)
    assert isinstance(open_rows(part, HEIGHT * WIDTH - 1), Rows)
    assert LARGE > 1e6


def test_only_the_tiles_that_meet_the_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "torn.tif"
    pixels = noise(HEIGHT, WIDTH)
    tifffile.imwrite(path, pixels, photometric="minisblack", tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as file:
        page = file.pages[0].aspage()
        last = page.dataoffsets[-1]
    content = bytearray(path.read_bytes())
    content[last : last + 20] = bytes(20)
    path.write_bytes(content)
    rows = open_rows(Part(path), 0)
    np.testing.assert_array_equal(rows[0:80][..., 0], pixels[:80])
    with pytest.raises(FileError, match=r"torn\.tif cannot be read"):
        rows[0:81]


def test_an_empty_tile_holds_zeros(tmp_path: Path) -> None:
    tiles = [np.full((16, 16), value, np.uint8) for value in (1, 2, 3, 4)]
    tifffile.imwrite(
        tmp_path / "sparse.tif",
        iter([tiles[0], None, tiles[2], tiles[3]]),
        shape=(32, 32),
        dtype=np.uint8,
        tile=(16, 16),
        photometric="minisblack",
        compression="zlib",
    )
    whole = open_rows(Part(tmp_path / "sparse.tif"), 0)[0:32][..., 0]
    assert [int(whole[y, x]) for y in (0, 31) for x in (0, 31)] == [1, 0, 3, 4]


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"\x93NUMPY\x01", b"no image"])
def test_a_damaged_file_is_named_as_by_read_pixels(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "torn.tif"
    path.write_bytes(content)
    with pytest.raises(FileError) as expected:
        read_pixels(Part(path))
    with pytest.raises(FileError) as caught:
        open_rows(Part(path), 0)
    assert str(caught.value) == str(expected.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        open_rows(Part(tmp_path / "absent.tif"))
