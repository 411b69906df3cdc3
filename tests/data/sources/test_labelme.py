"""labelme files: shapes become class indices, and one message names all that is wrong."""

import base64
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmentation.data.problems import DataError
from segmentation.data.sources.labelme import LabelmeSource
from segmentation.errors import InputError

SIZE = (6, 8)


def shape(label: str, points: list[list[float]], kind: str = "polygon", **entries: object) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **entries}


def square(label: str, left: int, top: int, side: int) -> dict[str, Any]:
    return shape(label, [[left, top], [left + side, top], [left + side, top + side], [left, top + side]])


def write(root: Path, name: str, *shapes: object, image: str | None = None, **entries: object) -> Path:
    """``NAME.json`` and its image beside it."""
    file = root / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(file.with_suffix(".png"))
    stored = {"shapes": list(shapes), "imagePath": image or f"{file.stem}.png", "imageData": None}
    file.write_text(json.dumps(stored | {"imageHeight": SIZE[0], "imageWidth": SIZE[1]} | entries))
    return root


def only_mask(source: LabelmeSource) -> np.ndarray:
    (sample,) = source.samples()
    return source.read_mask(sample)


def test_labels_are_classes_in_natural_order(tmp_path: Path) -> None:
    write(tmp_path, "b", square("cell10", 0, 0, 2), square("_background_", 5, 5, 1))
    write(tmp_path, "sub/a", square("cell2", 1, 1, 2), square("__ignore__", 4, 4, 2))
    source = LabelmeSource(tmp_path)
    assert source.classes.names == ("background", "cell2", "cell10")
    samples = source.samples()
    assert [(sample.id, sample.images[0].path.name) for sample in samples] == [("b", "b.png"), ("sub/a", "a.png")]
    expected = np.zeros(SIZE, np.uint8)
    expected[1:3, 1:3], expected[4:6, 4:6] = 1, 255
    np.testing.assert_array_equal(source.read_mask(samples[1]), expected)
    assert source.read_image(samples[0]).shape == (*SIZE, 3)


def test_folders_of_a_split_are_lists(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "valid/c"):
        write(tmp_path, name, square("cell", 0, 0, 2))
    assert LabelmeSource(tmp_path).lists() == {"train": ["train/a", "train/b"], "val": ["valid/c"]}
    write(tmp_path, "more/d", square("cell", 0, 0, 2))
    assert LabelmeSource(tmp_path).lists() is None


def test_an_ignored_class_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", square("cell", 0, 0, 2))
    with pytest.raises(InputError, match="ignore_index is 1; with 2 classes it is 2..255"):
        LabelmeSource(tmp_path, ignore_index=1)


def test_shapes_lie_in_the_order_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, "a", square("b", 0, 0, 4), square("a", 2, 0, 4), square("_background_", 5, 0, 2))
    assert only_mask(LabelmeSource(tmp_path))[0].tolist() == [2, 2, 1, 1, 1, 0, 0, 0]


def test_touching_objects_have_numbers_of_their_own_and_can_be_parted(tmp_path: Path) -> None:
    cut = square("_background_", 7, 0, 1)
    write(tmp_path, "a", square("cell", 0, 0, 2), square("cell", 2, 0, 3), square("__ignore__", 5, 0, 1), cut)
    source = LabelmeSource(tmp_path)
    assert source.numbers_objects
    assert source.read_objects(source.samples()[0])[0].tolist() == [1, 1, 2, 2, 2, 0, 0, 0]
    assert only_mask(source)[0].tolist() == [1, 1, 1, 1, 1, 255, 0, 0]
    assert only_mask(LabelmeSource(tmp_path, separate_objects=True))[0].tolist() == [1, 0, 0, 1, 1, 255, 0, 0]


def test_shapes_of_one_group_are_one_object(tmp_path: Path) -> None:
    parts = [square("cell", left, 0, 1) | {"group_id": group} for left, group in ((0, 4), (1, 5), (2, 4), (4, None))]
    source = LabelmeSource(write(tmp_path, "a", *parts))
    assert source.read_objects(source.samples()[0])[0].tolist() == [1, 2, 1, 0, 4, 0, 0, 0]


def test_a_file_without_shapes_is_background(tmp_path: Path) -> None:
    assert not only_mask(LabelmeSource(write(tmp_path, "a"), classes=["a"])).any()


def test_rectangles_circles_and_masks_are_filled(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[255, 0], [255, 255]], np.uint8)).save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    write(
        tmp_path,
        "a",
        shape("a", [[2, 2], [0, 0]], "rectangle"),
        shape("b", [[5, 3], [5, 4.2]], "circle"),
        shape("c", [[6, 0], [7, 1]], "mask", mask=text),
        shape("d", [[-1, 5], [0, 6]], "mask", mask=text),
    )
    assert only_mask(LabelmeSource(tmp_path)).tolist() == [
        [1, 1, 0, 0, 0, 0, 3, 0],
        [1, 1, 0, 0, 0, 0, 3, 3],
        [0, 0, 0, 0, 2, 2, 0, 0],
        [0, 0, 0, 0, 2, 2, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


def test_the_size_is_the_images_where_the_file_lacks_it(tmp_path: Path) -> None:
    write(tmp_path, "a", square("a", 0, 0, 2), imageHeight=None, imageWidth=None)
    assert only_mask(LabelmeSource(tmp_path)).shape == SIZE


def test_an_absurd_size_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "a", square("a", 0, 0, 2), imageHeight=10**7, imageWidth=10**7)
    with pytest.raises(InputError, match=r"a\.png is 6x8 \(HxW\), a\.json says 10000000x10000000; export"):
        only_mask(LabelmeSource(tmp_path))


@pytest.mark.parametrize("stated", ["..\\photos\\a.png", "/home/else/a.png", "renamed.png"])
def test_an_image_is_found_beside_its_file(tmp_path: Path, stated: str) -> None:
    (sample,) = LabelmeSource(write(tmp_path, "a", image=stated), classes=["a"]).samples()
    assert sample.images[0].path == tmp_path / "a.png"


def test_an_image_is_found_in_the_other_spelling_of_an_umlaut(tmp_path: Path) -> None:
    """labelme on Linux writes one character, a Mac stores two."""
    write(tmp_path, "a", square("cell", 0, 0, 2), image="z\u00e4hne.png")
    (tmp_path / "a.png").rename(tmp_path / "za\u0308hne.png")
    (sample,) = LabelmeSource(tmp_path).samples()
    assert sample.images[0].path.name == "za\u0308hne.png"


def test_one_message_names_all_that_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, "line", shape("a", [[0, 0], [3, 3]], "line"), shape("a", [[0, 0], [3, 3]]))
    write(tmp_path, "embedded", imageData="iVBOR")
    (tmp_path / "embedded.png").unlink()
    write(tmp_path, "gone")
    (tmp_path / "gone.png").unlink()
    write(tmp_path, "typo", square("cel", 0, 0, 2))
    write(tmp_path, "fine", square("cell", 0, 0, 2))
    (tmp_path / "torn.json").write_text("{")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError) as caught:
        LabelmeSource(tmp_path, classes=["cell"]).samples()
    message = str(caught.value)
    for part in (
        f"{tmp_path / 'line.json'}: has a line, which has no inside",
        f"{tmp_path / 'line.json'}: has a polygon 'a' that has fewer than 3 points",
        f"{tmp_path / 'embedded.json'}: has its image embedded only (imageData)",
        f"{tmp_path / 'gone.json'}: is of the image gone.png, which does not exist",
        f"{tmp_path / 'typo.json'}: has the label 'cel'",
        "did you mean 'cell'",
        f"{tmp_path / 'torn.json'}: cannot be read as JSON",
        f"{tmp_path / 'other.json'}: is no file of labelme",
    ):
        assert part in message, message
    assert [sample.id for sample in caught.value.samples] == ["fine"]


def test_folders_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        LabelmeSource(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no JSON file"):
        LabelmeSource(tmp_path)
    with pytest.raises(InputError, match="label nothing"):
        LabelmeSource(write(tmp_path, "a"))


def test_stated_classes_are_known_before_any_file_is_opened() -> None:
    source = LabelmeSource("nowhere", ["_background_", "b", "a", "__ignore__"], in_channels=1, ignore_index=9)
    assert source.classes.names == ("background", "b", "a")
    assert (source.in_channels, source.classes.ignore_index) == (1, 9)


def test_it_travels_to_workers(tmp_path: Path) -> None:
    source = LabelmeSource(write(tmp_path, "a", square("a", 0, 0, 2)))
    assert only_mask(pickle.loads(pickle.dumps(source))).sum() == 4


def test_fit_test_and_predict(folder_data: Path, run: Callable[..., int], quick: tuple[object, ...]) -> None:
    assert run("convert", "--images", folder_data / "images", "--masks", folder_data / "masks", "--to", "labelme", "--out", "l") == 0  # fmt: skip
    assert run("fit", "--data.source", "LabelmeSource", "--data.source.root", "l", *quick) == 0
    checkpoint = next(Path("runs").glob("*/*/checkpoints/best.ckpt"))
    assert run("test", "--ckpt_path", checkpoint) == 0
    assert run("predict", "l", "--ckpt_path", checkpoint, "--out", "predictions") == 0
    assert len(list(Path("predictions/labels").rglob("*.png"))) == 6


def test_masks_are_those_of_labelmes_own_export(shared_data: Path) -> None:
    """All but the outermost pixels, which labelme's export paints as a line around each polygon."""
    export = shared_data / "labelme-voc" / "data_dataset_voc"
    classes = (export / "class_names.txt").read_text().splitlines()
    source = LabelmeSource(shared_data / "labelme-voc" / "data_annotated", classes=classes)
    samples = source.samples()
    assert [sample.id for sample in samples] == ["2011_000003", "2011_000006", "2011_000025"]
    for sample in samples:
        exported = np.asarray(Image.open(export / "SegmentationClass" / f"{sample.id}.png"))
        assert (source.read_mask(sample) == exported).mean() >= 0.99
