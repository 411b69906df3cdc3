"""COCO files: outlines become class indices, and one message names all that is wrong."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmentation.data.problems import DataError
from segmentation.data.sources.coco import CocoSource
from segmentation.errors import InputError

SIZE = (6, 8)


def box(x: int, y: int, width: int, height: int) -> list[list[float]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def outline(image: int, category: int, segmentation: object, **entries: object) -> dict[str, Any]:
    return {"id": 7, "image_id": image, "category_id": category, "segmentation": segmentation, **entries}


CATEGORIES = [{"id": 9, "name": "fig"}, {"id": 3, "name": "date"}]


def write(
    root: Path,
    annotations: list[dict[str, Any]] | None = None,
    names: tuple[str, ...] = ("a.png", "b.png"),
    file: str = "annotations.json",
    folder: str = "images",
    categories: list[dict[str, Any]] = CATEGORIES,
) -> Path:
    entries = [
        {"id": index, "file_name": name, "height": SIZE[0], "width": SIZE[1]} for index, name in enumerate(names)
    ]
    for name in names:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)
    stored: dict[str, Any] = {"images": entries, "categories": categories}
    if annotations is not None:
        stored["annotations"] = annotations
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(stored))
    return root


def masks(source: CocoSource) -> list[np.ndarray]:
    return [source.read_mask(sample) for sample in source.samples()]


def refusal(source: CocoSource) -> str:
    with pytest.raises(InputError) as caught:
        source.samples()
    return str(caught.value)


def test_categories_are_classes_in_the_order_of_their_ids(tmp_path: Path) -> None:
    source = CocoSource(write(tmp_path, [outline(0, 9, box(0, 0, 2, 2)), outline(0, 3, box(4, 1, 3, 2))]))
    assert source.classes.names == ("background", "date", "fig")
    first, second = masks(source)
    expected = np.zeros(SIZE, np.uint8)
    expected[0:2, 0:2], expected[1:3, 4:7] = 2, 1
    np.testing.assert_array_equal(first, expected)
    assert not second.any()
    sample = source.samples()[0]
    assert (sample.id, sample.masks[0].path.name) == ("a", "annotations.json")
    assert source.read_image(sample).shape == (*SIZE, 3)


@pytest.mark.parametrize("ignored", [-100, 300, 2])
def test_an_ignore_index_that_no_mask_can_hold_is_refused(tmp_path: Path, ignored: int) -> None:
    write(tmp_path, [outline(0, 9, [[0, 0, 2, 0, 2, 2]])])
    with pytest.raises(InputError, match=f"ignore_index is {ignored}; with 3 classes it is 3..255"):
        CocoSource(tmp_path, ignore_index=ignored)


def test_a_later_class_lies_on_top_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    for order in (1, -1):
        entries = [outline(0, 3, box(0, 0, 4, 4)), outline(0, 9, box(2, 0, 4, 4))][::order]
        first = masks(CocoSource(write(tmp_path, entries)))[0]
        assert first[0].tolist() == [1, 1, 2, 2, 2, 2, 0, 0]


def test_crowds_are_ignored_where_no_object_lies(tmp_path: Path) -> None:
    column = {"size": list(SIZE), "counts": [0, 18, 30]}  # the first three columns
    entries = [outline(0, 3, column, iscrowd=1), outline(0, 9, box(2, 0, 2, 6))]
    assert masks(CocoSource(write(tmp_path, entries)))[0][0].tolist() == [255, 255, 2, 2, 0, 0, 0, 0]


def test_touching_objects_have_numbers_of_their_own_and_can_be_parted(tmp_path: Path) -> None:
    crowd = {"size": list(SIZE), "counts": [0, 6, 42]}  # the first column
    entries = [outline(0, 3, box(1, 0, 3, 6)), outline(0, 3, box(4, 0, 3, 6)), outline(0, 3, crowd, iscrowd=1)]
    write(tmp_path, entries, categories=[{"id": 3, "name": "date"}])
    source = CocoSource(tmp_path)
    assert source.numbers_objects
    assert source.read_objects(source.samples()[0])[0].tolist() == [0, 1, 1, 1, 2, 2, 2, 0]
    assert masks(source)[0][0].tolist() == [255, 1, 1, 1, 1, 1, 1, 0]
    assert masks(CocoSource(tmp_path, separate_objects=True))[0][0].tolist() == [255, 1, 1, 0, 0, 1, 1, 0]


def test_what_lies_on_top_takes_the_number(tmp_path: Path) -> None:
    entries = [outline(0, 3, box(0, 0, 8, 6)), outline(0, 9, box(2, 0, 2, 6)), outline(0, 3, box(6, 0, 2, 6))]
    write(tmp_path, entries)
    source = CocoSource(tmp_path, classes=["date", "background"])  # figs are cut out as nothing is named so
    assert source.read_objects(source.samples()[0])[0].tolist() == [1, 1, 1, 1, 1, 1, 2, 2]
    source = CocoSource(tmp_path, classes={"date": ["date"], "background": ["fig"]})  # background is drawn first
    assert source.read_objects(source.samples()[0])[0].tolist() == [2, 2, 2, 2, 2, 2, 3, 3]
    source = CocoSource(tmp_path, classes=["date", "fig"])
    assert not source.numbers_objects  # of one class, which the scores of objects are for
    assert source.read_objects(source.samples()[0])[0].tolist() == [1, 1, 3, 3, 1, 1, 2, 2]


def test_a_list_selects_and_a_mapping_joins(tmp_path: Path) -> None:
    write(tmp_path, [outline(0, 9, box(0, 0, 2, 2)), outline(0, 3, box(4, 1, 3, 2))])
    selected = CocoSource(tmp_path, classes=["background", "fig"])
    assert selected.classes.names == ("background", "fig")
    assert np.bincount(masks(selected)[0].ravel()).tolist() == [44, 4]
    joined = CocoSource(tmp_path, classes={"fruit": ["fig", "date"]})
    assert joined.classes.names == ("background", "fruit")
    assert np.bincount(masks(joined)[0].ravel()).tolist() == [38, 10]


def test_stated_classes_are_known_before_any_file_is_opened() -> None:
    source = CocoSource("nowhere", classes=["fig"], in_channels=1, colors=[[0, 0, 0], [1, 2, 3]], ignore_index=9)
    assert source.classes.colors == ((0, 0, 0), (1, 2, 3))
    assert (source.in_channels, source.classes.ignore_index) == (1, 9)


@pytest.mark.parametrize("word", ["val", "valid"])
def test_files_of_splits_are_lists(tmp_path: Path, word: str) -> None:
    write(tmp_path, [outline(0, 9, box(0, 0, 2, 2))], ("a.png",), "train/x.json", "train")
    write(tmp_path, [], ("a.png", "sub/b.png"), f"{word}/x.json", word)
    write(tmp_path, None, ("c.png",), "test/x.json", "test")
    source = CocoSource(tmp_path, annotations="{split}/x.json", images="{split}")
    assert [(sample.id, len(sample.masks)) for sample in source.samples()] == [
        ("test/c", 0),
        ("train/a", 1),
        ("val/a", 1),
        ("val/sub/b", 1),
    ]
    assert source.lists() == {"train": ["train/a"], "val": ["val/a", "val/sub/b"]}
    assert CocoSource(write(tmp_path, [])).lists() is None


def test_a_file_under_another_path_is_found_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, [], ("sub/a.png",))
    document = json.loads((tmp_path / "annotations.json").read_text())
    document["images"][0]["file_name"] = "C:\\upload\\a.png"
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    (sample,) = CocoSource(tmp_path).samples()
    assert (sample.id, sample.images[0].path) == ("sub/a", tmp_path / "images" / "sub" / "a.png")


def test_an_umlaut_is_found_however_it_is_composed(tmp_path: Path) -> None:
    apart, together = "u\u0308.png", "\u00fc.png"
    write(tmp_path, [], (apart,))
    text = (tmp_path / "annotations.json").read_text().replace(json.dumps(apart), json.dumps(together))
    (tmp_path / "annotations.json").write_text(text)
    (sample,) = CocoSource(tmp_path).samples()
    assert sample.images[0].path.name == apart
    write(tmp_path, [], (f"sub/{apart}", f"sub/{together}"))
    text = (tmp_path / "annotations.json").read_text().replace("sub/", "other/")
    (tmp_path / "annotations.json").write_text(text)
    (tmp_path / "images" / apart).unlink()
    assert {sample.images[0].path.name for sample in CocoSource(tmp_path).samples()} == {apart, together}


def test_no_id_leads_out_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path, [], ("../other/a.png",))
    (sample,) = CocoSource(tmp_path).samples()
    assert sample.id == "other/a"


def test_one_message_names_all_that_is_wrong(tmp_path: Path) -> None:
    entries = [
        outline(5, 9, box(0, 0, 2, 2)),
        outline(0, 8, box(0, 0, 2, 2)),
        outline(0, 9, [[1, 1, 2, 2]]),
        outline(1, 9, []),
        outline(1, 9, box(0, 0, 2, 2)),
    ]
    write(tmp_path, entries)
    (tmp_path / "images" / "a.png").unlink()
    source = CocoSource(tmp_path, classes=["figs"])
    with pytest.raises(DataError) as caught:
        source.samples()
    message = str(caught.value)
    for part in (
        "image_id 5",
        "category_id 8",
        "fewer than 3 points",
        "no segmentation",
        f"{tmp_path / 'images' / 'a.png'}: does not exist",
        "data.source.classes: figs",
        "did you mean 'fig'",
    ):
        assert part in message, message
    assert [sample.id for sample in caught.value.samples] == ["b"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [("{", "cannot be read as JSON"), ("[]", "has no list 'images'"), ('{"images": []}', "lists no images")],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(InputError, match=f"annotations.json.*{fault}"):
        CocoSource(tmp_path)


def test_a_missing_file_names_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, [], file="labels/x.json")
    with pytest.raises(InputError, match=r"annotations\.json does not exist.*holds labels/x\.json"):
        CocoSource(tmp_path)
    assert "no file fits" in refusal(CocoSource(tmp_path, annotations="{split}.json", classes=["fig"]))


@pytest.mark.parametrize("size", [[2, 2], None, 4])
def test_run_lengths_of_another_size_name_the_image(tmp_path: Path, size: object) -> None:
    source = CocoSource(write(tmp_path, [outline(0, 9, {"size": size, "counts": [4]})]))
    with pytest.raises(InputError, match="a fig of the image a.png has run lengths"):
        masks(source)


def test_an_absurd_size_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, [outline(0, 9, box(0, 0, 2, 2))])
    document = json.loads((tmp_path / "annotations.json").read_text())
    document["images"][0] |= {"height": 10**7, "width": 10**7}
    document["images"][1]["height"] = float("inf")
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    source = CocoSource(tmp_path)
    with pytest.raises(DataError, match="lacks one of id, file_name, height and width") as caught:
        source.samples()
    with pytest.raises(InputError, match=r"a\.png is 6x8 \(HxW\), annotations\.json says 10000000x10000000; export"):
        source.read_mask(caught.value.samples[0])


def test_it_travels_to_workers(tmp_path: Path) -> None:
    source = CocoSource(write(tmp_path, [outline(0, 9, box(0, 0, 2, 2))]))
    sample = source.samples()[0]
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read_mask(sample), source.read_mask(sample))


def test_fit_test_and_predict(
    tmp_path: Path, folder_data: Path, run: Callable[..., int], quick: tuple[object, ...]
) -> None:
    assert run("convert", "--images", folder_data / "images", "--masks", folder_data / "masks", "--to", "coco", "--out", "c") == 0  # fmt: skip
    assert run("fit", "--data.source", "CocoSource", "--data.source.root", "c", *quick) == 0
    checkpoint = next(Path("runs").glob("*/*/checkpoints/best.ckpt"))
    assert run("test", "--ckpt_path", checkpoint) == 0
    assert run("predict", "c/images", "--ckpt_path", checkpoint, "--out", "predictions") == 0
    assert len(list(Path("predictions/labels").rglob("*.png"))) == 6


def test_the_public_example(shared_data: Path) -> None:
    source = CocoSource(shared_data / "coco", annotations="trainval.json")
    assert source.classes.names == ("background", "date", "fig", "hazelnut")
    samples = source.samples()
    assert len(samples) == 18
    counts = np.bincount(source.read_mask(samples[0]).ravel())
    stored = json.loads((shared_data / "coco" / "trainval.json").read_text())["annotations"]
    areas = [sum(entry["area"] for entry in stored if entry["image_id"] == 0 and entry["category_id"] == index) for index in (1, 2, 3)]  # fmt: skip
    np.testing.assert_allclose(counts[1:], areas, rtol=0.01)
