import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmentation.data.checking.layouts import Layout, find
from segmentation.data.words import role, split_word
from segmentation.errors import InputError

NAMES = ("cut01", "cut02", "cut03", "cut10")


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)).save(path)


def mask(path: Path, values: tuple[int, ...] = (0, 255)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).choice(np.array(values, np.uint8), (24, 20))).save(path)


def colors(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = np.array([[0, 0, 0], [200, 30, 0], [0, 90, 10]], np.uint8)
    Image.fromarray(table[np.random.default_rng(0).integers(0, 3, (24, 20))]).save(path)


def pairs(root: Path, image: str, mask_: str, names: tuple[str, ...] = NAMES) -> None:
    for name in names:
        photo(root / image.format(name))
        mask(root / mask_.format(name))


def only(root: Path) -> Layout:
    layouts = find(root)
    assert len(layouts) == 1, layouts
    return layouts[0]


@pytest.mark.parametrize(
    ("name", "source", "arguments"),
    [
        ("isbi2012", "TiffStackSource", {"images": "train-volume.tif", "masks": "train-labels.tif"}),
        ("isbi2012-png", "FolderSource", {"images": "train/image/{stem}", "masks": "train/label/{stem}"}),
        ("camvid-mini", "FolderSource", {"images": "{split}/{stem}", "masks": "{split}annot/{stem}"}),
        ("isic2018", "FolderSource", {"images": "images/{stem}", "masks": "masks/{stem}_segmentation"}),
        ("carvana", "FolderSource", {"images": "manual_test/{stem}", "masks": "manual_test_masks/{stem}_mask"}),
        ("hela-16bit", "FolderSource", {"images": "images/t{stem}", "masks": "masks/man_seg{stem}"}),
        ("labelme-voc/data_annotated", "LabelmeSource", {}),
        ("labelme-voc/data_dataset_voc", "VOCSource", {}),
        ("coco", "CocoSource", {"annotations": "trainval.json", "images": "images"}),
        ("corrupt-png", "FolderSource", {"images": "{stem}", "masks": "{stem}_mask"}),
    ],
)
def test_every_real_data_set_is_read_in_one_way(
    shared_data: Path, name: str, source: str, arguments: dict[str, Any]
) -> None:
    layout = only(shared_data / name)
    assert (layout.source, layout.arguments) == (source, arguments)


def test_what_is_not_labelled_is_noted_and_tables_of_classes_are_found(shared_data: Path) -> None:
    assert only(shared_data / "isbi2012").notes == (
        "test-volume.tif holds 30 slices without labels: give it to predict",
    )
    assert only(shared_data / "isbi2012-png").notes == ("test/ holds 30 images without masks: give them to predict",)
    tables = {name: only(shared_data / name).table for name in ("camvid-mini", "corrupt-png", "isic2018")}
    assert tables == {
        "camvid-mini": shared_data / "camvid-mini/classes.txt",
        "corrupt-png": shared_data / "corrupt-png/_classes.csv",
        "isic2018": None,
    }


def test_a_folder_of_several_data_sets_is_for_a_person_to_decide(shared_data: Path) -> None:
    found = {layout.source: layout.below for layout in find(shared_data / "labelme-voc")}
    assert found == {"VOCSource": "data_dataset_voc", "LabelmeSource": "data_annotated"}


@pytest.mark.parametrize(
    ("image", "mask_", "arguments"),
    [
        ("pictures/{}.jpg", "truth/{}.png", {"images": "pictures/{stem}", "masks": "truth/{stem}"}),
        ("{}.png", "{}_mask.png", {"images": "{stem}", "masks": "{stem}_mask"}),
        ("{}.png", "mask_{}.png", {"images": "{stem}", "masks": "mask_{stem}"}),
        ("{}_sat.jpg", "{}_gt.png", {"images": "{stem}_sat", "masks": "{stem}_gt"}),
        ("{}.jpg", "{}.png", {"images": "{stem}.jpg", "masks": "{stem}.png"}),
        ("{}.jpg", "lesions/{}.png", {"images": "{stem}", "masks": "lesions/{stem}"}),
        ("a/{}.png", "b/{}.png", {"images": "a/{stem}", "masks": "b/{stem}"}),
        (
            "x/images/p1/{}.jpg",
            "x/masks/p1/{}_label.png",
            {"images": "x/images/{stem}", "masks": "x/masks/{stem}_label"},
        ),
        ("p1/{}.png", "p1/{}-seg.png", {"images": "{stem}", "masks": "{stem}-seg"}),
        ("Img/im{}.png", "GT/gt{}.png", {"images": "Img/im{stem}", "masks": "GT/gt{stem}"}),
        ("imagesTr/{}_0000.png", "labelsTr/{}.png", {"images": "imagesTr/{stem}_0000", "masks": "labelsTr/{stem}"}),
    ],
)
def test_names_and_pixels_tell_images_from_masks(
    tmp_path: Path, image: str, mask_: str, arguments: dict[str, Any]
) -> None:
    pairs(tmp_path, image, mask_)
    layout = only(tmp_path)
    assert (layout.source, layout.arguments, layout.count) == ("FolderSource", arguments, len(NAMES))


@pytest.mark.parametrize(
    ("image", "mask_", "splits", "arguments"),
    [
        (
            "{}/images/",
            "{}/masks/",
            ("train", "valid"),
            {"images": "{split}/images/{stem}", "masks": "{split}/masks/{stem}"},
        ),
        (
            "images/{}/",
            "masks/{}/",
            ("Training", "Test"),
            {"images": "images/{split}/{stem}", "masks": "masks/{split}/{stem}"},
        ),
        ("images{}/", "labels{}/", ("Tr", "Ts"), {"images": "images{split}/{stem}", "masks": "labels{split}/{stem}"}),
        ("{}/", "{}_gt/", ("train", "val", "test"), {"images": "{split}/{stem}", "masks": "{split}_gt/{stem}"}),
    ],
)
def test_folders_that_differ_by_the_name_of_a_split_are_one(
    tmp_path: Path, image: str, mask_: str, splits: tuple[str, ...], arguments: dict[str, Any]
) -> None:
    for at, split in enumerate(splits):
        names = tuple(f"{name}-{at}" for name in NAMES)
        pairs(tmp_path, image.format(split) + "{}.png", mask_.format(split) + "{}.png", names)
    layout = only(tmp_path)
    assert (layout.arguments, layout.count) == (arguments, len(splits) * len(NAMES))


def test_a_test_folder_without_masks_is_left_out_of_training(tmp_path: Path) -> None:
    for split in ("train", "val"):
        pairs(tmp_path, split + "/images/{}.png", split + "/masks/{}.png")
    for name in NAMES:
        photo(tmp_path / f"test/images/{name}.png")
    layout = only(tmp_path)
    assert layout.arguments["unlabelled"] is True
    assert "4 images have no mask (test/images/cut01.png, ...)" in layout.notes[0]


def test_suffixes_in_both_cases_are_one_format(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        photo(tmp_path / f"{name}.{'JPG' if number % 2 else 'jpg'}")
        mask(tmp_path / f"{name}.png")
    layout = only(tmp_path)
    assert layout.arguments == {"images": "{stem}.jpg", "masks": "{stem}.png"}
    assert layout.count == len(NAMES)


def test_folders_of_equal_names_are_channels_of_one_image(tmp_path: Path) -> None:
    pairs(tmp_path, "rgb/{}.png", "labels/{}.png")
    for name in NAMES:
        photo(tmp_path / f"depth/{name}.png")
    assert only(tmp_path).arguments == {"images": ["rgb/{stem}", "depth/{stem}"], "masks": "labels/{stem}"}


@pytest.mark.parametrize(
    ("further", "fused"), [("new_images", False), ("augmented", False), ("dapi", True), ("ch2", True)]
)
def test_images_of_equal_names_are_channels_only_where_a_folder_says_so(
    tmp_path: Path, further: str, fused: bool
) -> None:
    pairs(tmp_path, "images/{}.png", "masks/{}.png")
    for name in NAMES:
        photo(tmp_path / f"{further}/{name}.png")
    layout = only(tmp_path)
    assert layout.arguments["images"] == (["images/{stem}", f"{further}/{{stem}}"] if fused else "images/{stem}")
    told = (
        f"{further}/{{stem}}: other images of the same names, not read; if they are channels of one image, set "
        f"data.source.images: [images/{{stem}}, {further}/{{stem}}]"
    )
    assert layout.notes == (() if fused else (told,))


def test_images_of_other_stems_are_no_channels(tmp_path: Path) -> None:
    """As in Potsdam, whose height models write 02 where all others write 2."""
    for number in (2, 3):
        for column in (10, 11, 12):
            photo(tmp_path / f"rgb/top_{number}_{column}_RGB.png")
            photo(tmp_path / f"dsm/dsm_0{number}_{column}.png")
            mask(tmp_path / f"labels/top_{number}_{column}_label.png")
    layout = only(tmp_path)
    assert isinstance(layout.arguments["images"], str)


@pytest.mark.parametrize(
    ("painted", "indices"),
    [("gt/color", "gt/labels"), ("labels/color", "labels/masks"), ("annotations/rgb", "annotations/index_masks")],
)
def test_painted_masks_are_no_images(tmp_path: Path, painted: str, indices: str) -> None:
    pairs(tmp_path, "images/{}.png", f"{indices}/{{}}.png")
    for name in NAMES:
        colors(tmp_path / f"{painted}/{name}.png")
    layout = only(tmp_path)
    assert layout.arguments == {"images": "images/{stem}", "masks": f"{indices}/{{stem}}"}


def test_list_files_are_noted(tmp_path: Path) -> None:
    pairs(tmp_path, "{}.png", "{}_mask.png")
    for split in ("train", "val"):
        (tmp_path / f"{split}.txt").write_text("cut01\n")
    assert only(tmp_path).notes == (
        "{split}.txt: not read; if it lists the samples, set data.source.lists: {split}.txt",
    )


def test_numbered_ends_of_names_are_channels_of_one_image(tmp_path: Path) -> None:
    for name in NAMES:
        photo(tmp_path / f"imagesTr/{name}_0000.png")
        photo(tmp_path / f"imagesTr/{name}_0001.png")
        photo(tmp_path / f"imagesTs/{name}_0000.png")
        mask(tmp_path / f"labelsTr/{name}.png")
    layout = only(tmp_path)
    assert layout.arguments == {
        "images": ["imagesTr/{stem}_0000", "imagesTr/{stem}_0001"],
        "masks": "labelsTr/{stem}",
    }
    assert layout.notes == ("imagesTs/ holds 4 images without masks: give them to predict",)


@pytest.mark.parametrize("pattern", ["masks/{class}/{stem}", "masks/{stem}_{class}"])
def test_a_mask_for_each_class_names_the_classes(tmp_path: Path, pattern: str) -> None:
    for name in NAMES:
        photo(tmp_path / f"images/{name}.jpg")
        for kind in ("crack", "rust"):
            path = pattern.replace("{class}", kind).replace("{stem}", name)
            mask(tmp_path / f"{path}.png")
    assert only(tmp_path).arguments == {
        "images": "images/{stem}",
        "masks": pattern,
        "classes": ["background", "crack", "rust"],
    }


def test_copies_for_viewing_are_no_second_masks(tmp_path: Path) -> None:
    pairs(tmp_path, "images/{}.png", "labels/{}.png")
    for name in NAMES:
        colors(tmp_path / f"labels_color/{name}.png")
        photo(tmp_path / f"overlay/{name}.jpg")
    layout = only(tmp_path)
    assert layout.arguments == {"images": "images/{stem}", "masks": "labels/{stem}"}
    assert "labels_color/{stem}: other masks of the same images" in layout.notes[0]


def test_two_kinds_of_masks_are_for_a_person_to_decide(tmp_path: Path) -> None:
    pairs(tmp_path, "images/{}.png", "masks_road/{}.png")
    for name in NAMES:
        mask(tmp_path / f"masks_car/{name}.png")
    assert {layout.arguments["masks"] for layout in find(tmp_path)} == {"masks_road/{stem}", "masks_car/{stem}"}


def test_images_of_the_same_numbers_go_with_the_masks_beside_them(tmp_path: Path) -> None:
    for site in ("north", "south"):
        pairs(tmp_path, site + "/images/{}.png", site + "/masks/{}.png", ("1", "2", "3"))
    found = {(layout.arguments["images"], layout.arguments["masks"]) for layout in find(tmp_path)}
    assert found == {(f"{site}/images/{{stem}}", f"{site}/masks/{{stem}}") for site in ("north", "south")}


def test_umlauts_that_are_composed_otherwise_are_one_name(tmp_path: Path) -> None:
    for at, word in enumerate(("stra\u00dfe", "b", "c", "d")):
        photo(tmp_path / "images" / f"{word}u\u0308{at}.png")
        mask(tmp_path / "masks" / f"{word}\u00fc{at}_mask.png")
    layout = only(tmp_path)
    assert (layout.arguments["images"], layout.arguments["masks"]) == ("images/{stem}", "masks/{stem}_mask")


def test_orphans_hinder_nothing(tmp_path: Path) -> None:
    pairs(tmp_path, "images/{}.jpg", "masks/{}.png", tuple(f"n{number}" for number in range(10)))
    (tmp_path / "masks/n3.png").rename(tmp_path / "masks/lost.png")
    assert only(tmp_path).count == 9


@pytest.mark.parametrize(
    ("volume", "labels", "arguments"),
    [
        ("raw.tif", "labels.tif", {"images": "raw.tif", "masks": "labels.tif"}),
        ("first.tif", "second.tif", {"images": "first.tif", "masks": "second.tif"}),
        ("em/a.tif", "truth/b.tif", {"images": "em/a.tif", "masks": "truth/b.tif"}),
    ],
)
def test_two_stacks_are_a_volume_and_its_labels(
    tmp_path: Path, volume: str, labels: str, arguments: dict[str, Any]
) -> None:
    random = np.random.default_rng(0)
    for name, values in ((volume, 255), (labels, 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(
            tmp_path / name, random.integers(0, values, (4, 24, 20), dtype=np.uint8), photometric="minisblack"
        )
    layout = only(tmp_path)
    assert (layout.source, layout.arguments, layout.count) == ("TiffStackSource", arguments, 4)


def test_folders_of_stacks_are_paired_by_name(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for folder, values in (("volumes", 255), ("annotations", 2)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            pixels = random.integers(0, values, (4, 24, 20), dtype=np.uint8)
            tifffile.imwrite(tmp_path / folder / f"{name}.tif", pixels, photometric="minisblack")
    layout = only(tmp_path)
    assert layout.source == "TiffStackSource"
    assert layout.arguments == {"images": "volumes/{stem}", "masks": "annotations/{stem}"}


def coco(names: list[str]) -> str:
    images = [{"id": at, "file_name": name, "height": 24, "width": 20} for at, name in enumerate(names)]
    return json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "cat"}]})


@pytest.mark.parametrize(
    ("images", "file", "arguments"),
    [
        ("{split}2017", "annotations/instances_{split}2017.json", None),
        ("{split}", "{split}/_annotations.coco.json", None),
        ("pictures", "{split}.json", None),
    ],
)
def test_coco_files_of_splits_are_one(tmp_path: Path, images: str, file: str, arguments: dict[str, Any] | None) -> None:
    for split in ("train", "val"):
        names = [f"{split}{name}.jpg" for name in NAMES]
        for name in names:
            photo(tmp_path / images.replace("{split}", split) / name)
        path = tmp_path / file.replace("{split}", split)
        path.parent.mkdir(exist_ok=True)
        path.write_text(coco(names))
    layout = only(tmp_path)
    assert (layout.source, layout.count) == ("CocoSource", 8)
    assert layout.arguments == {"annotations": file, "images": images}


def test_cityscapes_is_known_by_its_folders(tmp_path: Path) -> None:
    photo(tmp_path / "leftImg8bit/train/bonn/a_leftImg8bit.png")
    mask(tmp_path / "gtFine/train/bonn/a_gtFine_labelIds.png")
    mask(tmp_path / "gtFine/train/bonn/a_gtFine_instanceIds.png")
    assert only(tmp_path).source == "CityscapesSource"


def _nothing(root: Path) -> None:
    pass


def _text(root: Path) -> None:
    (root / "classes.txt").write_bytes(b"\xff\xfe\x00bad")
    (root / "list.json").write_text("[" * 100_000)


def _images_alone(root: Path) -> None:
    pairs(root, "images/{}.png", "other_photos/{}x.png")


def _broken(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir()
        for name in NAMES:
            (root / folder / f"{name}{folder}.png").write_bytes(b"no image")


def _odd_names(root: Path) -> None:
    (root / "images").mkdir()
    (root / "images" / b"\xff\xfe.png".decode("utf-8", "surrogateescape")).write_bytes(b"")
    (root / "loop").symlink_to(root)


@pytest.mark.parametrize("make", [_nothing, _text, _images_alone, _broken, _odd_names])
def test_what_is_no_data_set_is_no_layout(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    assert [layout for layout in find(tmp_path) if layout.source != "FolderSource"] == []
    if make in (_nothing, _text, _odd_names):
        assert find(tmp_path) == []


def test_a_class_table_that_cannot_be_read_is_noted_unless_another_can(folder_data: Path) -> None:
    (folder_data / "classes.txt").write_text("1 sky\n2 road\n3 car\n")
    layout = only(folder_data)
    assert layout.table is None
    assert layout.notes[0].startswith(f"not read: {folder_data / 'classes.txt'} cannot be read as a table of classes")
    assert "indices 1, 2, 3, not 0..2" in layout.notes[0]
    (folder_data / "labels.txt").write_text("sky\nroad\n")
    assert (only(folder_data).table, only(folder_data).notes) == (folder_data / "labels.txt", ())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        find(tmp_path / "nowhere")


def test_words_in_names() -> None:
    told = ("images", "image_masks", "labelled_images", "gtFine", "leftImg8bit", "trainannot", "cars")
    assert [role(name) for name in told] == ["image", "mask", "image", "mask", "image", "mask", None]
    words = [split_word(name) for name in ("trainannot", "imagesTr", "val2017", "trays", "contest", "manual_test")]
    assert words == [
        ("", "train", "annot"),
        ("images", "Tr", ""),
        ("", "val", "2017"),
        None,
        None,
        ("manual_", "test", ""),
    ]
