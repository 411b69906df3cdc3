import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.checking.detect import describe, source_of
from segmentation.data.source import known_sources
from segmentation.data.sources.folder import FolderSource
from segmentation.errors import InputError


@pytest.mark.parametrize(
    ("name", "arguments", "labelled", "greatest"),
    [
        ("isbi2012", {"in_channels": 1, "mask_values": {0: 0, 255: 1}}, 30, 1),
        ("isbi2012-png", {"in_channels": 1, "mask_values": {0: 0, 255: 1}}, 30, 1),
        ("camvid-mini", {"in_channels": 3, "ignore_index": 11}, 150, 11),
        ("isic2018", {"in_channels": 3, "mask_values": {0: 0, 255: 1}}, 60, 1),
        ("carvana", {"in_channels": 3, "classes": ["background", "foreground"]}, 5, 1),
        ("hela-16bit", {"in_channels": 1, "mask_values": "separate_objects"}, 4, 1),
        ("labelme-voc/data_annotated", {"in_channels": 3}, 3, 255),
        ("labelme-voc/data_dataset_voc", {}, 3, 255),
        ("coco", {"in_channels": 3}, 18, 3),
    ],
)
def test_every_real_data_set_is_read_as_detected(
    shared_data: Path, name: str, arguments: dict[str, Any], labelled: int, greatest: int
) -> None:
    found = describe(shared_data / name)
    assert arguments.items() <= found.arguments.items()
    samples = [sample for sample in found.source.samples() if sample.masks]
    assert len(samples) == labelled
    assert found.source.read_image(samples[0]).shape[2] == found.source.in_channels
    masks = [found.source.read_mask(sample) for sample in samples[:5]]
    assert max(int(mask.max()) for mask in masks) == greatest


def test_damaged_files_leave_the_layout_and_the_names_of_the_table(shared_data: Path) -> None:
    found = describe(shared_data / "corrupt-png")
    assert found.arguments["classes"] == ["background", "obstacle", "road", "sidewalk", "speedbreaker"]


def test_the_small_data_set_of_the_tests_is_detected(folder_data: Path) -> None:
    source = source_of(folder_data)
    assert isinstance(source, FolderSource)
    assert len(source.samples()) == 6


def test_a_mask_for_each_class_is_read_into_one(tmp_path: Path) -> None:
    for folder, value in (("images", 90), ("masks/crack", 255), ("masks/rust", 255)):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("1", "2"):
            pixels = np.zeros((8, 8, 3) if folder == "images" else (8, 8), np.uint8)
            pixels[:4] = value
            if folder == "masks/rust":
                pixels = pixels.T.copy()
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    found = describe(tmp_path)
    assert found.arguments["classes"] == ["background", "crack", "rust"]
    assert found.arguments["in_channels"] == 1  # all images are grey, stored as RGB
    assert np.bincount(found.source.read_mask(found.source.samples()[0]).ravel()).tolist() == [16, 16, 32]


COLORS = np.array([[0, 0, 0], [128, 64, 128], [64, 0, 128]], np.uint8)
TABLE = "name,r,g,b\nbackground,0,0,0\nroad,128,64,128\ncar,64,0,128\n"


def palette_masks(folder: Path, order: tuple[int, ...], painted: int = 0) -> np.ndarray:
    """Pairs whose palettes hold ``COLORS`` in another order, the first of them RGB instead; gives the classes."""
    classes = np.kron(np.array([[0, 1], [2, 0]], np.uint8), np.ones((4, 4), np.uint8))
    for number in range(4):
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(folder / "images" / f"{number}.png")
        indices = np.argsort(order).astype(np.uint8)[classes]
        mask = Image.fromarray(indices).convert("P")
        mask.putdata(indices.ravel().tolist())
        mask.putpalette(COLORS[list(order)].ravel().tolist())
        (mask.convert("RGB") if number < painted else mask).save(folder / "masks" / f"{number}.png")
    return classes


@pytest.mark.parametrize("painted", [0, 2])
@pytest.mark.parametrize("table", [TABLE, ""])
def test_palette_masks_are_read_in_their_colours_where_colours_say_what_they_mean(
    tmp_path: Path, table: str, painted: int
) -> None:
    classes = palette_masks(tmp_path, (2, 0, 1), painted)
    if table:
        (tmp_path / "class_dict.csv").write_text(table)
    found = describe(tmp_path)
    labels = [found.source.read_mask(sample) for sample in found.source.samples()]
    if table:
        assert found.arguments["classes"] == ["background", "road", "car"]
        np.testing.assert_array_equal(labels, [classes] * 4)
    elif painted:
        assert len(found.arguments["classes"]) == 3
        np.testing.assert_array_equal(labels, [np.array([0, 2, 1])[classes]] * 4)  # without names by their colours
    else:
        assert "mask_values" not in found.arguments
        np.testing.assert_array_equal(labels, [np.array([1, 2, 0])[classes]] * 4)


def test_two_greys_of_a_palette_are_colours_of_a_table_and_a_ramp_of_greys_is_none(tmp_path: Path) -> None:
    classes = palette_masks(tmp_path, (0, 1, 2))
    for path in (tmp_path / "masks").iterdir():
        mask = Image.open(path)
        mask.putpalette([level for level in range(256) for _ in range(3)])
        mask.save(path)
    (tmp_path / "class_dict.csv").write_text(TABLE)
    found = describe(tmp_path)
    np.testing.assert_array_equal(found.source.read_mask(found.source.samples()[0]), classes)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nbackground,0,0,0\nroad,255,255,255\n")
    for path in (tmp_path / "masks").iterdir():
        mask = Image.fromarray((classes == 0).astype(np.uint8)).convert("P")
        mask.putdata((classes == 0).ravel().astype(int).tolist())
        mask.putpalette([255, 255, 255, 0, 0, 0])
        mask.save(path)
    found = describe(tmp_path)
    np.testing.assert_array_equal(found.source.read_mask(found.source.samples()[0]), classes > 0)


@pytest.mark.parametrize(("grey", "channels"), [(1, 3), (5, 3), (6, 1)])
def test_grey_images_count_as_colour_where_one_is_in_colour(folder_data: Path, grey: int, channels: int) -> None:
    for path in sorted((folder_data / "images").iterdir())[:grey]:
        Image.open(path).convert("L").save(path)
    assert describe(folder_data).arguments["in_channels"] == channels


def test_pages_that_are_called_channels_are_slices_where_there_are_masks_for_them(tmp_path: Path) -> None:
    for name in ("volume", "labels"):
        pages = np.tile(np.repeat(np.array([0, 255], np.uint8), 16), (4, 32, 1))
        tifffile.imwrite(tmp_path / f"{name}.tif", pages, imagej=True)
    found = describe(tmp_path)
    assert found.layout.source == "TiffStackSource"
    assert len(found.source.samples()) == 4


def test_pages_that_imagej_calls_channels_are_those_of_an_image(folder_data: Path) -> None:
    for path in (folder_data / "images").iterdir():
        channels = np.moveaxis(np.asarray(Image.open(path))[..., :2], -1, 0)
        tifffile.imwrite(path.with_suffix(".tif"), channels, imagej=True, metadata={"axes": "CYX"})
        path.unlink()
    found = describe(folder_data)
    assert (found.layout.source, found.arguments["in_channels"]) == ("FolderSource", 2)
    assert found.source.read_image(found.source.samples()[0]).shape == (40, 48, 2)


def test_a_class_that_few_masks_hold_is_looked_for_in_all(folder_data: Path) -> None:
    names = [f"{number:03d}.png" for number in range(150)]
    for part, pixels in (("images", np.arange(64).reshape(8, 8)), ("masks", np.zeros((8, 8)))):
        shutil.rmtree(folder_data / part)
        for name in names:
            written = np.full((8, 8), 255) if (part, name) == ("masks", "007.png") else pixels
            (folder_data / part).mkdir(exist_ok=True)
            Image.fromarray(written.astype(np.uint8)).save(folder_data / part / name)
    assert describe(folder_data).arguments["mask_values"] == {0: 0, 255: 1}


def test_every_source_is_known_by_its_name() -> None:
    assert {"FolderSource", "TiffStackSource", "VOCSource", "CocoSource", "LabelmeSource"} <= known_sources().keys()


def test_several_ways_and_none_say_what_was_seen_and_what_settles_it(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can be read in 2 ways") as several:
        source_of(shared_data / "labelme-voc")
    assert "labelme files" in str(several.value) and "PASCAL VOC" in str(several.value)
    assert f"check --root {shared_data / 'labelme-voc/data_annotated'}" in str(several.value)
    with pytest.raises(InputError, match="is not recognised: no images at all, ") as nothing:
        source_of(tmp_path)
    for error in (several, nothing):
        assert "data.source" in str(error.value) and "give as root the folder" in str(error.value)


def painted_voc(root: Path) -> NDArray[np.uint8]:
    """Two images with masks of the three COLORS, as RGB; gives the pixels of a mask."""
    painted = COLORS[np.random.default_rng(0).integers(0, 3, (20, 24))]
    for folder, pixels in (("JPEGImages", painted[..., ::-1]), ("SegmentationClass", painted)):
        (root / folder).mkdir()
        for name in ("a", "b"):
            suffix = "jpg" if folder == "JPEGImages" else "png"
            Image.fromarray(np.ascontiguousarray(pixels)).save(root / folder / f"{name}.{suffix}")
    return painted


def test_painted_masks_of_voc_are_read_by_their_label_map(tmp_path: Path) -> None:
    """As CVAT writes them."""
    painted = painted_voc(tmp_path)
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "road:128,64,128::", "car:64,0,128::"]
    (tmp_path / "labelmap.txt").write_text("\n".join(lines))
    found = describe(tmp_path)
    assert (found.layout.source, found.arguments["classes"]) == ("VOCSource", "labelmap.txt")
    assert found.source.classes.names == ("background", "road", "car")
    np.testing.assert_array_equal(COLORS[found.source.read_mask(found.source.samples()[0])], painted)


def test_painted_masks_of_voc_without_a_label_map_have_a_class_for_each_colour(tmp_path: Path) -> None:
    painted = painted_voc(tmp_path)
    found = describe(tmp_path)
    colors = found.arguments["mask_values"]
    assert found.layout.source == "VOCSource" and list(colors) == found.arguments["classes"]
    mask = found.source.read_mask(found.source.samples()[0])
    np.testing.assert_array_equal(np.array(list(colors.values()))[mask], painted)


def outlined(root: Path, form: str, second: list[int]) -> Path:
    """Two images with two squares of 6 pixels each; the upper left corner of the second one is given as (y, x)."""
    root.mkdir()
    (root / "images").mkdir(exist_ok=True)
    squares = [[(x, y), (x + 6, y), (x + 6, y + 6), (x, y + 6)] for y, x in ([2, 2], second)]
    for number in range(2):
        folder = root / "images" if form == "coco" else root
        Image.fromarray(np.full((24, 24), 40 * number, np.uint8)).save(folder / f"{number}.png")
        if form == "labelme":
            shapes = [{"label": "cell", "points": square, "shape_type": "polygon"} for square in squares]
            content: dict[str, Any] = {"shapes": shapes, "imagePath": f"{number}.png"}
            (root / f"{number}.json").write_text(json.dumps(content | {"imageHeight": 24, "imageWidth": 24}))
    if form == "coco":
        annotations = [
            {
                "id": 2 * image + at,
                "image_id": image,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": [np.ravel(square).tolist()],
            }
            for image in range(2)
            for at, square in enumerate(squares)
        ]
        images = [{"id": image, "file_name": f"{image}.png", "width": 24, "height": 24} for image in range(2)]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
        (root / "annotations.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize("form", ["coco", "labelme"])
def test_outlined_objects_that_touch_are_separated(tmp_path: Path, form: str) -> None:
    apart = describe(outlined(tmp_path / "apart", form, [12, 12]))
    assert "separate_objects" not in apart.arguments
    touching = describe(outlined(tmp_path / "touching", form, [2, 8]))
    assert touching.arguments["separate_objects"] is True
    assert touching.reasons["separate_objects"].startswith(
        "objects are outlined in 2 images looked at; at least 2 of them touch another: there both end in"
    )
    assert touching.source.separate_objects
    mask = touching.source.read_mask(touching.source.samples()[0])
    assert mask[4].tolist() == [0] * 2 + [1] * 5 + [0] * 2 + [1] * 5 + [0] * 10
