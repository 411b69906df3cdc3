"""Image files -> arrays in every format that people have, and errors that name the file."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from segmentation.data.problems import FileError
from segmentation.data.reading import is_image, pages, read_pixels, read_values
from segmentation.data.sample import Part
from segmentation.data.windows import open_rows
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


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
def test_tiffs_of_every_depth_are_read_as_stored(
    tmp_path: Path, dtype: str, channels: int, tile: tuple[int, int] | None
) -> None:
    values = np.random.default_rng(0).integers(0, 250, (20, 33, channels)).astype(dtype) * 100
    photometric = "rgb" if channels == 3 else "minisblack"
    stored = values[..., 0] if channels == 1 else values
    tifffile.imwrite(
        tmp_path / "deep.tif",
        stored,
        photometric=photometric,
        planarconfig=None if channels == 1 else "contig",
        tile=tile,
    )
    pixels = read_pixels(Part(tmp_path / "deep.tif"))
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_png_of_16_bit_colours_keeps_all_its_bits(tmp_path: Path, mode: str) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, len(mode)), np.uint16)
    write_deep_png(tmp_path / "deep.png", values)
    with Image.open(tmp_path / "deep.png") as image:
        assert np.asarray(image).dtype == np.uint8, "Pillow has begun to read 16 bits; opencv is not needed any more"
    pixels = read_pixels(Part(tmp_path / "deep.png"))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, values)


def write_deep_png(path: Path, values: np.ndarray, *further: tuple[bytes, bytes]) -> None:
    """A PNG of (H, W, 2..4) 16-bit pixels, which Pillow cannot write."""
    height, width, channels = values.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        *further,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    written = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))


@pytest.mark.parametrize(
    ("array", "shape"),
    [(GREY, (6, 8, 1)), (RGB, (6, 8, 3)), (DEEP, (6, 8, 1)), (GREY / 3, (6, 8, 1)), (DEEP.astype(">u2"), (6, 8, 1))],
    ids=["grey", "rgb", "16-bit", "float64", "big-endian"],
)
def test_numpy_files_are_read_as_stored(tmp_path: Path, array: np.ndarray, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "array.npy", array)
    pixels = read_pixels(Part(tmp_path / "array.npy"))
    assert pixels.dtype == array.dtype.newbyteorder("=")
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, array.reshape(shape))
    if array.ndim == 2:
        np.testing.assert_array_equal(read_values(Part(tmp_path / "array.npy")), array)


def test_booleans_in_a_numpy_file_are_0_and_255(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", GREY > 20)
    np.testing.assert_array_equal(read_values(Part(tmp_path / "mask.npy")), np.where(GREY > 20, 255, 0))


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.zeros((3, 40, 50), np.uint8), r"has the shape \(3, 40, 50\); save it as \(H, W, C\)"),
        (np.zeros(5, np.uint8), r"has the shape \(5,\); \(H, W\) or \(H, W, C\) is expected"),
        (np.zeros((0, 5), np.uint8), r"has the shape \(0, 5\)"),
        (np.zeros((5, 5), np.complex64), "holds complex64 values"),
        (np.array([["a", "b"]]), "holds str"),
        (np.array([[{}]]), "cannot be read"),  # an object array runs code when it is loaded
    ],
)
def test_an_array_that_is_no_image_is_refused(tmp_path: Path, array: np.ndarray, told: str) -> None:
    np.save(tmp_path / "array.npy", array)
    with pytest.raises(FileError, match=told):
        read_pixels(Part(tmp_path / "array.npy"))


@pytest.mark.parametrize("suffix", ["bmp", "webp", "gif", "jpg"])
def test_other_formats_are_read(tmp_path: Path, suffix: str) -> None:
    flat = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    options = {"lossless": True} if suffix == "webp" else {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    pixels = read_pixels(saved(tmp_path / f"image.{suffix}", flat, **options))
    assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
    np.testing.assert_allclose(pixels, flat, atol=3 if suffix == "jpg" else 0)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_is_refused(tmp_path: Path, suffix: str) -> None:
    first, *others = [Image.fromarray(GREY + 90 * index) for index in range(3)]
    first.save(tmp_path / f"moving.{suffix}", save_all=True, append_images=others)
    with pytest.raises(FileError, match="has 3 frames, one image is expected; save the frame"):
        read_pixels(Part(tmp_path / f"moving.{suffix}"))


SHOWN = {  # orientation tag -> what a viewer shows
    1: GREY,
    2: np.fliplr(GREY),
    3: np.rot90(GREY, 2),
    4: np.flipud(GREY),
    5: GREY.T,
    6: np.rot90(GREY, 3),
    7: np.rot90(GREY, 2).T,
    8: np.rot90(GREY),
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("kind", ["png", "tif", "lzw.tif"])
def test_the_orientation_tag_turns_image_and_mask_alike(tmp_path: Path, orientation: int, kind: str) -> None:
    part = Part(tmp_path / f"turned.{kind}")
    if kind == "tif":
        tifffile.imwrite(part.path, GREY, extratags=[(274, 3, 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        saved(part.path, GREY, exif=exif, **({"compression": "tiff_lzw"} if kind == "lzw.tif" else {}))
    np.testing.assert_array_equal(read_values(part), SHOWN[orientation])
    np.testing.assert_array_equal(read_pixels(part)[..., 0], SHOWN[orientation])
    if kind == "tif":
        return  # Pillow itself mixes up the sides of a TIFF that is turned
    with Image.open(part.path) as image:
        np.testing.assert_array_equal(ImageOps.exif_transpose(image), SHOWN[orientation])


def test_16_bit_colours_are_turned_as_well(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    write_deep_png(tmp_path / "deep.png", RGB.astype(np.uint16) * 200, (b"eXIf", exif.tobytes()[6:]))
    np.testing.assert_array_equal(read_pixels(Part(tmp_path / "deep.png")), np.rot90(RGB.astype(np.uint16) * 200, 3))


def test_good_pixels_beside_a_damaged_exif_block_are_read(tmp_path: Path) -> None:
    values = RGB.astype(np.uint16) * 200
    write_deep_png(tmp_path / "deep.png", values, (b"eXIf", b"MM\0*" + b"\xff" * 5))
    np.testing.assert_array_equal(read_pixels(Part(tmp_path / "deep.png")), values)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_white_is_zero_stays_as_stored(tmp_path: Path, compression: str | None) -> None:
    """Class indices must not be turned over by a tag."""
    for name, array in (("grey", GREY), ("deep", DEEP)):
        part = saved(tmp_path / f"{name}.tif", array, **({"compression": compression} if compression else {}))
        with tifffile.TiffFile(part.path, mode="r+") as file:
            file.pages.first.tags["PhotometricInterpretation"].overwrite(0)
        np.testing.assert_array_equal(read_values(part), array)


@pytest.mark.parametrize("compression", [None, "zlib", "tiff_lzw", "group4"])
def test_one_bit_of_a_mask_is_as_stored_and_of_an_image_as_shown(tmp_path: Path, compression: str | None) -> None:
    part = Part(tmp_path / "mask.tif")
    if compression in (None, "zlib"):
        tifffile.imwrite(part.path, GREY > 20, compression=compression)  # white is zero: so it writes booleans
    else:
        saved(part.path, GREY > 20, compression=compression)
        with tifffile.TiffFile(part.path, mode="r+") as file:
            file.pages.first.tags["PhotometricInterpretation"].overwrite(0)
    np.testing.assert_array_equal(read_values(part), np.where(GREY > 20, 255, 0))
    np.testing.assert_array_equal(read_pixels(part)[..., 0], np.where(GREY > 20, 0, 255))


@pytest.mark.parametrize("photometric", ["separated", "cielab", "ycbcr"])
def test_an_odd_colour_space_is_read_as_stored(tmp_path: Path, photometric: str) -> None:
    values = np.concatenate([RGB, RGB[..., :1]], axis=-1) if photometric == "separated" else RGB
    tifffile.imwrite(tmp_path / "odd.tif", values, photometric=photometric)
    np.testing.assert_array_equal(read_pixels(Part(tmp_path / "odd.tif")), values)


def test_overviews_in_a_tiff_are_no_further_images(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "map.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_pixels(Part(tmp_path / "map.tif")), RGB)


FORMATS = ("png", "jpg", "tif", "lzw.tif", "gif", "bmp", "webp", "npy")


def written(path: Path, kind: str) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    if kind == "npy":
        np.save(path, noise)
    elif kind == "lzw.tif":
        Image.fromarray(noise).save(path, compression="tiff_lzw")
    else:
        Image.fromarray(noise).save(path)
    return path


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("damage", ["half", "start", "zeros", "random", "empty"])
@pytest.mark.parametrize("read", [read_pixels, read_values])
def test_a_damaged_file_of_any_format_is_named(
    tmp_path: Path, kind: str, damage: str, read: Callable[[Part], np.ndarray]
) -> None:
    path = written(tmp_path / f"image.{kind}", kind)
    content = path.read_bytes()
    random = np.random.default_rng(1)
    damaged = {
        "half": content[: len(content) // 2],
        "start": content[:12],
        "zeros": bytes(len(content)),
        "random": random.bytes(len(content)),
        "empty": b"",
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(FileError) as caught:
        read(Part(path))
    assert caught.value.file == str(path)
    assert caught.value.cure


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "bmp", "webp", "npy"])
def test_the_content_decides_the_format_and_not_the_suffix(tmp_path: Path, kind: str, suffix: str) -> None:
    expected = read_pixels(Part(written(tmp_path / f"image.{kind}", kind)))
    renamed = tmp_path / f"renamed.{suffix}"
    renamed.write_bytes((tmp_path / f"image.{kind}").read_bytes())
    np.testing.assert_array_equal(read_pixels(Part(renamed)), expected)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "bmp", "webp", "npy"])
@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(60), b"%PDF-1.7 " + bytes(60), b"<svg/>", b"id,rle\n"])
def test_a_file_that_is_no_image_at_all_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"other.{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileError, match="cannot be read"):
        read_pixels(Part(path))


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


@pytest.mark.parametrize(
    ("dtype", "byteorder", "shape"), [("u1", "<", (4, 9, 8, 3)), ("u2", ">", (4, 9, 8)), ("f4", ">", (4, 9, 8))]
)
def test_a_stack_of_imagej_beyond_4_gb_keeps_all_slices_behind_one_page(
    tmp_path: Path, dtype: str, byteorder: str, shape: tuple[int, ...]
) -> None:
    volume = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, volume, imagej=True, truncate=True, byteorder=byteorder)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    assert pages(path) == 4
    for number, plane in enumerate(volume):
        pixels = read_pixels(Part(path, number))
        assert pixels.dtype == dtype
        np.testing.assert_array_equal(pixels, plane.reshape(9, 8, -1))
        np.testing.assert_array_equal(open_rows(Part(path, number), 10)[2:7], pixels[2:7])
    with pytest.raises(InputError, match="has 4 pages, one image"):
        read_pixels(Part(path))
    with pytest.raises(InputError, match="page 4"):
        read_pixels(Part(path, 4))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"large\.tif cannot be read \(4 images are stated and 3 are there\)"):
        pages(path)


def test_a_file_of_nothing_but_a_thumbnail_is_one_image(tmp_path: Path) -> None:
    path = tmp_path / "thumbnail.tif"
    pixels = np.arange(72, dtype=np.uint8).reshape(9, 8)
    tifffile.imwrite(path, pixels, subfiletype=1)
    assert pages(path) == 1
    np.testing.assert_array_equal(read_pixels(Part(path))[..., 0], pixels)


def test_a_page_taken_out_of_a_stack_of_imagej_is_one_image(tmp_path: Path) -> None:
    path = tmp_path / "slice.tif"
    tifffile.imwrite(
        path, np.zeros((9, 8), np.uint8), description="ImageJ=1.53t\nimages=30\nslices=30\n", metadata=None
    )
    assert pages(path) == 1
    assert read_pixels(Part(path)).shape == (9, 8, 1)


def test_a_stack_is_refused_where_one_image_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros((5, 6, 8), np.uint8), photometric="minisblack")
    assert pages(path) == 5
    with pytest.raises(InputError, match="has 5 pages"):
        read_pixels(Part(path))
    with pytest.raises(InputError, match="page 5"):
        read_pixels(Part(path, 5))


@pytest.mark.parametrize("kind", ["imagej", "ome"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_that_are_called_channels_are_one_image(tmp_path: Path, kind: str, compression: str | None) -> None:
    path = tmp_path / "channels.ome.tif"
    channels = np.random.default_rng(0).integers(0, 60000, (2, 9, 8), np.uint16)
    compressed = None if kind == "imagej" else compression
    tifffile.imwrite(path, channels, metadata={"axes": "CYX"}, compression=compressed, **{kind: True})
    assert (pages(path), pages(path, stack=True)) == (1, 2)
    np.testing.assert_array_equal(read_pixels(Part(path)), np.moveaxis(channels, 0, -1))
    np.testing.assert_array_equal(read_pixels(Part(path, 1))[..., 0], channels[1])
    np.testing.assert_array_equal(open_rows(Part(path), 10)[2:7], np.moveaxis(channels, 0, -1)[2:7])


@pytest.mark.parametrize(("axes", "count"), [("ZYX", 3), ("TYX", 3), ("CYX", 9)])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_slices_times_and_many_channels_stay_a_stack(tmp_path: Path, kind: str, axes: str, count: int) -> None:
    path = tmp_path / "stack.ome.tif"
    tifffile.imwrite(path, np.zeros((count, 9, 8), np.uint8), metadata={"axes": axes}, **{kind: True})
    assert pages(path) == count
    with pytest.raises(FileError, match=rf"has {count} pages, one image is expected; save channels as \(H, W, C\)"):
        read_pixels(Part(path))


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


def test_overviews_and_masks_are_no_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "map.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
        file.write(GREY > 20, photometric="mask", subfiletype=4)
    with tifffile.TiffWriter(tmp_path / "stack.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB, photometric="rgb")
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    assert (pages(tmp_path / "map.tif"), pages(tmp_path / "stack.tif")) == (1, 3)
    np.testing.assert_array_equal(read_pixels(Part(tmp_path / "map.tif")), RGB)


def test_one_bit_images_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6), bool)
    pixels[0, 1] = True
    exif = Image.Exif()
    exif[274] = 6  # orientation: turn clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_pixels(Part(tmp_path / "a.png"))[..., 0], np.rot90(pixels, -1) * 255)
