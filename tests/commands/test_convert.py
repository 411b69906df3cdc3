"""``convert``: every form stands for the same pixels, images are copied as they are, nothing is overwritten."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from segmentation.commands.convert import convert
from segmentation.data.reading import read_pixels
from segmentation.data.sample import Part
from segmentation.data.source import Source
from segmentation.data.sources.coco import CocoSource
from segmentation.data.sources.folder import FolderSource
from segmentation.data.sources.labelme import LabelmeSource
from segmentation.errors import InputError

CLASSES = ["background", "cat", "dog"]


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    """Masks of three classes with ignored regions: noise, so that there are holes and touching objects."""
    random = np.random.default_rng(3)
    for name, factor in (("a", 1), ("sub/b", 3), ("c.1", 5)):
        mask = random.choice(np.array([0, 1, 2, 255], np.uint8), (12, 9), p=[0.3, 0.4, 0.2, 0.1])
        mask = np.kron(mask, np.ones((factor, factor), np.uint8))
        image = random.integers(0, 256, (*mask.shape, 3), np.uint8)
        for folder, pixels in (("images", image), ("masks", mask)):
            path = tmp_path / "painted" / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "painted"


def masks(source: Source) -> dict[str, np.ndarray]:
    return {sample.id: source.read_mask(sample) for sample in source.samples()}


def assert_same(source: Source, other: Source) -> None:
    assert source.classes == other.classes
    first, second = masks(source), masks(other)
    assert first.keys() == second.keys()
    for id in first:
        np.testing.assert_array_equal(first[id], second[id], err_msg=id)


def config(name: str, **arguments: object) -> Path:
    """A config with a source."""
    path = Path(f"{name}.yaml")
    path.write_text(yaml.safe_dump({"data": {"source": {"class_path": name, "init_args": arguments}}}))
    return path


@pytest.mark.parametrize(("to", "name"), [("coco", "CocoSource"), ("labelme", "LabelmeSource")])
def test_masks_to_outlines_and_back_are_the_same_pixels(painted: Path, to: str, name: str) -> None:
    truth = FolderSource(painted, CLASSES)
    convert(out=Path("there"), to=to, images=f"{painted}/images", masks=f"{painted}/masks", classes=CLASSES)
    assert_same(truth, CocoSource("there") if to == "coco" else LabelmeSource("there"))
    convert(out=Path("back"), to="masks", config=config(name, root="there"))
    assert_same(truth, FolderSource("back", "classes.json"))
    for sample in truth.samples():
        path = sample.images[0].path
        copy = Path("back/images") / path.relative_to(painted / "images")
        assert copy.read_bytes() == path.read_bytes()


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Masks that number 30 objects, many of which touch and some of which another one cuts in two."""
    random, rows, columns = np.random.default_rng(7), *np.indices((70, 90))
    stored = np.zeros((70, 90), np.uint16)
    for number in range(1, 30):
        top, left, height, width = *random.integers(0, (70, 90)), *random.integers(3, 20, 2)
        stored[(abs(rows - top) < height) & (abs(columns - left) < width)] = 11 * number
    stored[30:33] = 5000  # a bar through all of them
    for folder, pixels in (("images", (stored % 251).astype(np.uint8)), ("masks", stored)):
        (tmp_path / "numbered" / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "numbered" / folder / "a.png")
    return tmp_path / "numbered"


@pytest.mark.parametrize("values", ["objects", "separate_objects"])
@pytest.mark.parametrize("to", ["coco", "labelme"])
def test_numbered_objects_stay_the_same_objects(
    numbered: Path, to: str, values: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = {"root": str(numbered), "classes": ["background", "cell"], "mask_values": values, "in_channels": 1}
    truth = FolderSource(**stated)
    convert(out=Path("there"), to=to, config=config("FolderSource", **stated))
    separate = values == "separate_objects"
    assert ("--data.source.separate_objects true" in capsys.readouterr().out) == separate
    kind = CocoSource if to == "coco" else LabelmeSource
    back = kind("there", in_channels=1, separate_objects=separate)
    assert_same(truth, back)
    (first,), (second,) = truth.samples(), back.samples()
    before, after = truth.read_objects(first), back.read_objects(second)
    assert len(np.unique(before)) > 10
    # one to one, whatever the numbers
    assert len(np.unique(np.stack([before, after]).reshape(2, -1), axis=1).T) == len(np.unique(before))
    assert len(np.unique(after)) == len(np.unique(before))


def test_touching_outlines_of_several_classes_stay_apart() -> None:
    Path("c/images").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 9, 3), np.uint8)).save("c/images/a.png")
    outlines = [(index, left) for index, left in ((1, 0), (1, 3), (2, 6))]
    box = lambda left: [left, 0, left + 3, 0, left + 3, 4, left, 4]  # noqa: E731
    annotations = [
        {"id": number, "image_id": 1, "category_id": index, "segmentation": [box(left)]}
        for number, (index, left) in enumerate(outlines)
    ]
    stored = {
        "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 9}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": annotations,
    }
    Path("c/annotations.json").write_text(json.dumps(stored))
    convert(out=Path("again"), to="coco", root=Path("c"))
    written = json.loads(Path("again/annotations.json").read_text())["annotations"]
    assert [(one["category_id"], one["bbox"], one["area"]) for one in written] == [
        (index, [left, 0, 3, 4], 12) for index, left in outlines
    ]


def test_coco_annotations_state_box_and_area(tmp_path: Path) -> None:
    mask = np.zeros((5, 7), np.uint8)
    mask[1:4, 2:6], mask[2, 3], mask[4, 0] = 1, 0, 255
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.fromarray(mask).save(tmp_path / folder / "a.png")
    convert(out=Path("c"), to="coco", images=str(tmp_path / "images"), masks=str(tmp_path / "masks"), classes=CLASSES)
    stored = json.loads(Path("c/annotations.json").read_text())
    assert stored["images"] == [{"id": 1, "file_name": "a.png", "height": 5, "width": 7}]
    assert [category["name"] for category in stored["categories"]] == ["cat", "dog"]
    cat, ignored = stored["annotations"]
    assert (cat["area"], cat["bbox"], cat["iscrowd"], cat["category_id"]) == (11, [2, 1, 4, 3], 0, 1)
    assert (ignored["area"], ignored["bbox"], ignored["iscrowd"]) == (1, [0, 4, 1, 1], 1)


def test_index_masks_have_the_classes_colours(painted: Path) -> None:
    convert(out=Path("m"), to="masks", images=f"{painted}/images", masks=f"{painted}/masks", classes=CLASSES)
    with Image.open("m/masks/sub/b.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    stored = json.loads(Path("m/classes.json").read_text())
    assert stored["classes"] == CLASSES and stored["ignore_index"] == 255


def test_pages_of_a_stack_become_files(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 2**16, (3, 8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "images.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "masks.tif", (stack > 2**15).astype(np.uint8), photometric="minisblack")
    source = config("TiffStackSource", root=str(tmp_path), images="images.tif", masks="masks.tif", classes=["a", "b"])
    convert(out=Path("m"), to="masks", config=source)
    files = sorted(Path("m/images").rglob("*.tif"))
    assert len(files) == 3
    for page, file in zip(stack, files, strict=True):
        np.testing.assert_array_equal(read_pixels(Part(file))[..., 0], page)


def test_parts_are_stacked_without_loss(tmp_path: Path, painted: Path) -> None:
    shape = (12, 9)
    depth = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / "d" / folder).mkdir(parents=True)
        (tmp_path / "d" / folder / "a.png").write_bytes((painted / folder / "a.png").read_bytes())
    (tmp_path / "d" / "depth").mkdir()
    Image.fromarray(depth).save(tmp_path / "d" / "depth" / "a.png")
    arguments = {"root": str(tmp_path / "d"), "images": ["images", "depth"], "in_channels": 4, "classes": CLASSES}
    convert(out=Path("m"), to="masks", config=config("FolderSource", **arguments))
    pixels = read_pixels(Part(Path("m/images/a.tif")))
    np.testing.assert_array_equal(pixels[..., :3], read_pixels(Part(painted / "images" / "a.png")))
    np.testing.assert_array_equal(pixels[..., 3], depth)


def test_lists_go_along_as_a_split(tmp_path: Path, painted: Path) -> None:
    for split in ("train", "val"):
        for folder in ("images", "masks"):
            target = tmp_path / "d" / split / folder / "a.png"
            target.parent.mkdir(parents=True)
            target.write_bytes((painted / folder / "a.png").read_bytes())
    patterns = {"images": "{split}/images/{stem}", "masks": "{split}/masks/{stem}"}
    convert(
        out=Path("c"), to="coco", config=config("FolderSource", root=str(tmp_path / "d"), classes=CLASSES, **patterns)
    )
    assert json.loads(Path("c/split.json").read_text()) == {"train": ["train/a"], "val": ["val/a"], "test": []}
    assert [sample.id for sample in CocoSource("c").samples()] == ["train/a", "val/a"]


@pytest.mark.parametrize(
    ("to", "name"), [("masks", "FolderSource"), ("coco", "CocoSource"), ("labelme", "LabelmeSource")]
)
def test_slices_of_a_stack_stay_together(
    tmp_path: Path,
    to: str,
    name: str,
    run: Callable[..., int],
    quick: tuple[object, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(0)
    for stack in "ab":
        for folder, high in (("images", 256), ("masks", 2)):
            (tmp_path / "s" / folder).mkdir(parents=True, exist_ok=True)
            pages = random.integers(0, high, (6, 32, 33), np.uint8)
            tifffile.imwrite(tmp_path / f"s/{folder}/{stack}.tif", pages, photometric="minisblack")
    convert(out=Path("c"), to=to, config=config("TiffStackSource", root=str(tmp_path / "s"), classes=["o", "cell"]))
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert words[:6] == ["python", "-m", "segmentation", "fit", "--data.source", name]
    assert run(*words[3:], *quick, "--data.folds", 2, "--data.fold", 0, "--run_folder", "r") == 0
    split = json.loads(Path("r/split.json").read_text())
    assert (sorted({id[0] for id in split["train"]}), sorted({id[0] for id in split["val"]})) == (["b"], ["a"])


def test_the_command_for_grey_images_says_that_they_are_grey(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, high in (("images", 256), ("masks", 3)):
        (tmp_path / folder).mkdir()
        pixels = np.random.default_rng(0).integers(0, high, (8, 9), np.uint8)
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    given = ("convert", "--images", "images", "--masks", "masks", "--classes", "[background, cat, dog]", "--to", "coco")
    assert run(*given, "--out", "two words") == 0
    assert "--data.source.root 'two words' --data.source.in_channels 1\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("to", "names"), [("coco", ["sky", "background", "car"]), ("labelme", ["sky", "car", "__ignore__"])]
)
def test_a_class_whose_name_means_no_class_is_not_lost(painted: Path, to: str, names: list[str]) -> None:
    given = {"images": f"{painted}/images", "masks": f"{painted}/masks", "classes": names}
    with pytest.raises(InputError, match=f"the class {next(n for n in names[1:] if n != 'car')!r} would be lost: {to}"):
        convert(out=Path("c"), to=to, **given)
    assert not Path("c").exists()
    convert(out=Path("c"), to="masks", **given)
    assert json.loads(Path("c/classes.json").read_text())["classes"] == names


@pytest.mark.parametrize("out", ["images", "masks/converted"])
def test_results_among_the_images_are_refused(painted: Path, out: str) -> None:
    before = sorted(painted.rglob("*"))
    with pytest.raises(InputError, match="would be read as further ones"):
        convert(out=painted / out, to="coco", images=f"{painted}/images", masks=f"{painted}/masks", classes=CLASSES)
    with pytest.raises(InputError, match="would be read as further ones"):
        convert(out=painted / "plain", to="masks", root=painted)
    config = {
        "data": {"source": {"class_path": "FolderSource", "init_args": {"root": str(painted), "classes": CLASSES}}}
    }
    Path("config.yaml").write_text(json.dumps(config))
    with pytest.raises(InputError, match="would be read as further ones"):
        convert(out=painted / out, to="coco", config=Path("config.yaml"))
    assert sorted(painted.rglob("*")) == before


def test_nothing_is_overwritten_unasked(painted: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    given = ("--images", painted / "images", "--masks", painted / "masks", "--classes", "[background, cat, dog]")
    assert run("convert", *given, "--to", "masks", "--out", "m") == 0
    assert "--data.source FolderSource --data.source.root m --data.source.classes classes.json" in capsys.readouterr().out  # fmt: skip
    mask = Path("m/masks/a.png")
    mask.write_bytes(b"mine")
    assert run("convert", *given, "--to", "masks", "--out", "m") == 1
    assert "nothing overwritten" in capsys.readouterr().err
    assert mask.read_bytes() == b"mine"
    assert run("convert", *given, "--to", "masks", "--out", "m", "--overwrite") == 0
    assert mask.read_bytes() != b"mine"


def test_the_data_set_itself_is_never_overwritten(painted: Path) -> None:
    with pytest.raises(InputError, match="is a file of the data set"):
        convert(
            out=painted,
            to="masks",
            images=f"{painted}/images",
            masks=f"{painted}/masks",
            classes=CLASSES,
            overwrite=True,
        )


def test_all_that_is_wrong_is_told_before_the_first_file_is_written(painted: Path) -> None:
    Image.fromarray(np.full((12, 9), 7, np.uint8)).save(painted / "masks" / "a.png")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(painted / "masks" / "c.1.png")
    with pytest.raises(InputError) as caught:
        convert(out=Path("m"), to="coco", images=f"{painted}/images", masks=f"{painted}/masks", classes=CLASSES)
    assert "masks/a.png" in str(caught.value)
    assert "images/c.1.png" in str(caught.value)
    assert not Path("m").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give the data set once"),
        ({"root": Path("a"), "config": Path("b")}, "give the data set once"),
        ({"images": "a"}, "go together"),
        ({"root": Path("a"), "classes": ["b", "c"]}, "--classes go with"),
        ({"config": Path("none.yaml")}, "none.yaml cannot be read"),
    ],
)
def test_the_data_set_is_given_once(given: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        convert(out=Path("m"), to="masks", **given)


def test_predicted_masks_come_back_as_outlines(painted: Path) -> None:
    """The masks lie in another folder than the images."""
    (painted / "masks").rename("index")
    convert(out=Path("l"), to="labelme", images=f"{painted}/images", masks="index", classes=CLASSES)
    source = LabelmeSource("l", classes=CLASSES)
    for id, mask in masks(source).items():
        np.testing.assert_array_equal(mask, np.asarray(Image.open(f"index/{id}.png")))


@pytest.mark.parametrize(
    ("name", "folder", "annotations", "count"),
    [("CocoSource", "coco", "trainval.json", 18), ("LabelmeSource", "labelme-voc/data_annotated", None, 3)],
)
def test_public_examples_become_the_same_masks(
    shared_data: Path, name: str, folder: str, annotations: str | None, count: int
) -> None:
    arguments = {"root": str(shared_data / folder)} | ({"annotations": annotations} if annotations else {})
    convert(out=Path("m"), to="masks", config=config(name, **arguments))
    source = CocoSource(**arguments) if annotations else LabelmeSource(**arguments)
    assert_same(source, FolderSource("m", "classes.json"))
    assert len(source.samples()) == count


def test_the_form_of_a_folder_is_recognised(painted: Path) -> None:
    convert(out=Path("there"), to="coco", images=f"{painted}/images", masks=f"{painted}/masks", classes=CLASSES)
    convert(out=Path("back"), to="masks", root=Path("there"))
    assert_same(FolderSource(painted, CLASSES), FolderSource("back", "classes.json"))
