"""``predict``: which files are inputs, what is written where, and what is never overwritten.

A stub stands for the network: it takes brightness for probability, or grey values for classes.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from segmentation.__main__ import main
from segmentation.commands.predict import predict
from segmentation.data.digest import digest
from segmentation.data.inputs import find_jobs
from segmentation.data.reading import read_pixels, read_values
from segmentation.data.sample import Part
from segmentation.errors import InputError
from segmentation.inference.classes import Classes, overlay
from segmentation.inference.decision import Decision
from segmentation.inference.intensity import Intensity
from segmentation.inference.predictor import Description, Predictor
from segmentation.inference.tiling import Tiling
from segmentation.model.module import SegmentationModule

BINARY = Classes(("background", "lesion"))
THREE = Classes(("sky", "road", "car"), ((10, 20, 30), (200, 0, 0), (0, 0, 250)))
Pixels = NDArray[Any]


class StubPredictor:
    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.decision = Decision()
        self.in_channels, self.context = 1, 0
        self.trained_on: frozenset[str] = frozenset()
        self.tiling = Tiling()
        self.neighbour_weight: float | None = None
        self.loads: list[tuple[Any, ...]] = []
        self.batches: list[int] = []

    def bands(self, images: Sequence[Pixels]) -> Iterator[tuple[int, Pixels]]:
        for image in images:
            if image.shape[2] != self.in_channels:
                raise InputError(f"the image has the shape {image.shape}; the network takes (H, W) or (H, W, 1)")
        self.batches.append(len(images))
        for start in range(0, images[0].shape[0], 4):
            values = np.stack([image[start : start + 4][..., 0] for image in images]).astype(np.float32)
            planes = [1 - values / 255, values / 255]
            if not self.classes.binary:
                planes = [(values == index).astype(np.float32) for index in range(len(self.classes))]
            yield start, np.stack(planes, axis=1)

    def load(self, *args: Any, **options: Any) -> "StubPredictor":
        self.loads.append((*args, {name: value for name, value in options.items() if value is not None}))
        return self


class Grey:
    """A network whose probability of class 1 is the brightness."""

    def __init__(self, description: Description) -> None:
        self.description, self.together = description, 1

    def __call__(self, tiles: Pixels) -> NDArray[np.float32]:
        one = tiles.astype(np.float32) / 255
        return np.concatenate([1 - one, one], axis=1)


def stub(monkeypatch: pytest.MonkeyPatch, classes: Classes) -> StubPredictor:
    predictor = StubPredictor(classes)
    monkeypatch.setattr("segmentation.model.predictor.load", predictor.load)
    return predictor


@pytest.fixture
def binary(monkeypatch: pytest.MonkeyPatch) -> StubPredictor:
    return stub(monkeypatch, BINARY)


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> StubPredictor:
    return stub(monkeypatch, THREE)


def draw(path: str | Path, values: Pixels | None = None) -> Pixels:
    """An image file; by default the left half is dark and the right half bright."""
    pixels = np.full((6, 8), 40, np.uint8) if values is None else values
    if values is None:
        pixels[:, 4:] = 210
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if Path(path).suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        Image.fromarray(pixels).save(path)
    return pixels


def names(*inputs: str) -> dict[str, str]:
    return {job.path.as_posix(): job.name.as_posix() for job in find_jobs(inputs, Path("out"))}


def files(folder: str | Path = "predictions") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def failures(*inputs: str, **options: Any) -> dict[str, str]:
    """What is written of a call in which some inputs fail."""
    told = refusal(*inputs, **options)
    assert told.endswith("inputs could not be predicted; predictions/failures.csv says why")
    with Path("predictions/failures.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "reason"]
    assert told.startswith(f"{len(rows)} of ")
    return dict(rows)


def refusal(*inputs: str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        predict(list(inputs), ckpt_path="best.ckpt", **options)
    return str(caught.value)


def test_a_folder_gives_all_images_below_it_with_their_sub_folders() -> None:
    for name in ("in/a.png", "in/p1/a.png", "in/p1/scan.07.TIF", "in/p2/deep/b.bmp"):
        draw(name, None if not name.endswith("TIF") else np.zeros((4, 4), np.uint8))
    assert names("in") == {
        "in/a.png": "a",
        "in/p1/a.png": "p1/a",
        "in/p1/scan.07.TIF": "p1/scan.07",
        "in/p2/deep/b.bmp": "p2/deep/b",
    }


def test_hidden_and_other_files_of_a_folder_are_passed_over() -> None:
    for name in ("in/a.png", "in/.a.png", "in/.ipynb_checkpoints/a-checkpoint.png", "in/p1/.cache/b.png"):
        draw(name)
    for name in ("notes.txt", "Thumbs.db", "mask.mat", "README"):
        Path("in", name).write_text("stray")
    assert names("in") == {"in/a.png": "a"}


def test_a_folder_that_is_hidden_itself_is_read_when_asked_for() -> None:
    draw(".mine/a.png")
    assert names(".mine") == {".mine/a.png": "a"}


def test_globs_and_files_go_by_their_names() -> None:
    for name in ("in/a1.png", "in/a2.png", "in/b.png", "in/p1/a3.png", "other/c.png"):
        draw(name)
    Path("in/a4.txt").write_text("stray")
    assert names("in/a*", "other/c.png") == {"in/a1.png": "a1", "in/a2.png": "a2", "other/c.png": "c"}
    assert names("in/**/a*.png") == {"in/a1.png": "a1", "in/a2.png": "a2", "in/p1/a3.png": "a3"}


def test_a_file_whose_name_reads_as_a_glob_is_that_file() -> None:
    draw("in/a[1].png")
    draw("in/a1.png")
    assert names("in/a[1].png") == {"in/a[1].png": "a[1]"}


def test_an_input_named_twice_is_one() -> None:
    draw("in/p1/a.png")
    absolute = str(Path("in/p1/a.png").absolute())
    assert names("in", "in/p1/a.png", "./in/p1/*.png", absolute) == {"in/p1/a.png": "p1/a"}


def test_pages_of_stacks_are_counted() -> None:
    draw("in/stack.tif", np.zeros((5, 6, 8), np.uint8))
    draw("in/single.tif", np.zeros((6, 8), np.uint8))
    draw("in/a.png")
    assert {job.path.name: job.pages for job in find_jobs(["in"], Path("out"))} == {
        "stack.tif": 5,
        "single.tif": 1,
        "a.png": 1,
    }


def test_pages_that_are_called_channels_are_an_image_for_a_network_of_so_many() -> None:
    """tifffile calls the slices of any stack channels where nothing is stated."""
    Path("in").mkdir()
    tifffile.imwrite("in/stack.tif", np.zeros((2, 6, 8), np.uint8), imagej=True)
    (job,) = find_jobs(["in"], Path("out"))
    assert job.pages == 2
    assert job.read(1, 1).shape == (6, 8, 1)
    assert job.of_channels(1, 0) == job.of_channels(2, 1) == job
    assert job.of_channels(2, 0).pages == 1
    assert job.of_channels(2, 0).read(0, 2).shape == (6, 8, 2)


def test_inputs_without_an_image_are_named(binary: StubPredictor) -> None:
    draw("in/a.png")
    Path("empty").mkdir()
    Path("empty/notes.txt").write_text("stray")
    told = refusal("in", "empty", "absent.png", "in/*.jpg")
    assert told.startswith(
        "no images in empty, absent.png (does not exist), in/*.jpg; give image files, folders or globs (.png, .jpg"
    )
    assert binary.loads == []


def test_images_that_would_share_a_result_are_named(binary: StubPredictor) -> None:
    draw("in/a.png")
    draw("in/a.tif", np.zeros((4, 4), np.uint8))
    assert "these inputs would share a result: in/a.png and in/a.tif; predict them into" in refusal("in")
    draw("one/b.png")
    draw("two/b.png")
    assert "one/b.png and two/b.png" in refusal("one", "two")


def test_two_classes_give_a_black_and_white_picture_and_an_index_png(
    binary: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = draw("in/p1/a.png")
    predict(["in"], ckpt_path="best.ckpt")
    assert files() == ["index/p1/a.png", "labels/p1/a.png"]
    for kind, foreground in (("labels", 255), ("index", 1)):
        with Image.open(f"predictions/{kind}/p1/a.png") as picture:
            assert picture.mode == "L"
            np.testing.assert_array_equal(np.array(picture), np.where(pixels > 127, foreground, 0))
    assert "labels of 1 inputs: predictions/labels\n" in capsys.readouterr().out


def test_labels_of_more_classes_have_the_colours_of_the_classes(three: StubPredictor) -> None:
    values = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    draw("a.png", values)
    predict(["a.png"], ckpt_path="best.ckpt")
    with Image.open("predictions/labels/a.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture), values)
        np.testing.assert_array_equal(np.array(picture.convert("RGB")), np.array(THREE.colors, np.uint8)[values])


def test_every_kind_has_a_folder_of_its_own(binary: StubPredictor) -> None:
    pixels = draw("a.png")
    predict(["a.png"], ckpt_path="best.ckpt", out=Path("out"), write="overlay, probabilities,index,labels")
    assert files("out") == ["index/a.png", "labels/a.png", "overlay/a.png", "probabilities/a.tif"]
    labels = (pixels > 127).astype(np.uint8)
    np.testing.assert_array_equal(read_values(Part(Path("out/index/a.png"))), labels)
    probabilities = tifffile.imread("out/probabilities/a.tif")
    assert (probabilities.shape, probabilities.dtype) == ((2, 6, 8), np.float16)
    np.testing.assert_allclose(probabilities[1], pixels / 255, atol=1e-3)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-3)
    expected = overlay(pixels[..., None], labels, BINARY.tints)
    np.testing.assert_array_equal(read_pixels(Part(Path("out/overlay/a.png"))), expected)


def test_an_index_png_holds_class_indices(three: StubPredictor) -> None:
    values = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    draw("a.png", values)
    predict(["a.png"], ckpt_path="best.ckpt", write="index")
    with Image.open("predictions/index/a.png") as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.array(picture), values)


def test_a_stack_in_is_a_stack_out_in_order(binary: StubPredictor) -> None:
    stack = np.zeros((4, 6, 8), np.uint8)
    for page in range(4):
        stack[page, :, : 2 * page] = 250  # page 0 is dark, page 3 bright but for two columns
    draw("in/stack.tif", stack)
    predict(["in"], ckpt_path="best.ckpt", write="labels,index,probabilities,overlay")
    assert files() == [f"{kind}/stack.tif" for kind in ("index", "labels", "overlay", "probabilities")]
    with tifffile.TiffFile("predictions/labels/stack.tif") as file:
        assert len(file.pages) == 4
        for page in range(4):
            np.testing.assert_array_equal(file.pages[page].asarray(), np.where(stack[page] > 127, 255, 0))
    np.testing.assert_array_equal(tifffile.imread("predictions/index/stack.tif"), stack > 127)
    probabilities = tifffile.imread("predictions/probabilities/stack.tif")
    assert (probabilities.shape, probabilities.dtype) == ((4, 2, 6, 8), np.float16)
    np.testing.assert_allclose(probabilities[:, 1], stack / 255, atol=1e-3)
    overlays = tifffile.imread("predictions/overlay/stack.tif")
    expected = [overlay(page[..., None], (page > 127).astype(np.uint8), BINARY.tints) for page in stack]
    np.testing.assert_array_equal(overlays, expected)


def test_the_foreground_is_all_classes_but_the_first_a_page_for_each_slice(three: StubPredictor) -> None:
    stack = np.array([[[0, 1], [2, 0]], [[1, 1], [2, 2]], [[0, 0], [0, 2]]], np.uint8)
    draw("stack.tif", stack)
    draw("single.tif", stack[0])
    predict(["stack.tif", "single.tif"], ckpt_path="best.ckpt", write="foreground")
    assert files() == ["foreground/single.tif", "foreground/stack.tif"]
    with tifffile.TiffFile("predictions/foreground/stack.tif") as file:
        assert [(page.shape, page.dtype) for page in file.pages] == [((2, 2), np.float32)] * 3
        np.testing.assert_array_equal(file.asarray(), stack > 0)
    np.testing.assert_array_equal(tifffile.imread("predictions/foreground/single.tif"), stack[0] > 0)


def test_a_stack_of_more_classes_is_painted(three: StubPredictor) -> None:
    stack = np.array([[[0, 1], [2, 0]], [[1, 1], [2, 2]], [[0, 0], [0, 2]]], np.uint8)
    draw("stack.tif", stack)
    predict(["stack.tif"], ckpt_path="best.ckpt")
    painted = tifffile.imread("predictions/labels/stack.tif")
    np.testing.assert_array_equal(painted, np.array(THREE.colors, np.uint8)[stack])


def test_pages_of_different_sizes_are_refused(binary: StubPredictor) -> None:
    with tifffile.TiffWriter("pyramid.tif") as file:
        file.write(np.zeros((8, 8), np.uint8), photometric="minisblack")
        file.write(np.zeros((4, 4), np.uint8), photometric="minisblack")
    told = failures("pyramid.tif")["pyramid.tif"]
    assert "pyramid.tif page 1 is 4x4 (HxW), the pages before it are 8x8; save pages of different sizes" in told


def test_results_that_exist_are_replaced_only_when_asked(binary: StubPredictor) -> None:
    draw("in/a.png")
    draw("in/b.png")
    mine = Path("predictions/labels/b.png")
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    told = refusal("in")
    assert told.startswith(f"1 results exist, such as {mine}; give another --out, or --overwrite")
    assert (files(), mine.read_bytes(), binary.loads) == (["labels/b.png"], b"mine", [])
    predict(["in"], ckpt_path="best.ckpt", overwrite=True)
    np.testing.assert_array_equal(read_values(Part(mine)), read_values(Part(Path("predictions/labels/a.png"))))


def test_an_input_is_never_overwritten(binary: StubPredictor) -> None:
    draw("run/labels/a.png")
    before = Path("run/labels/a.png").read_bytes()
    for text in ("run/labels", str(Path("run/labels/a.png").absolute())):
        told = refusal(text, out=Path("run"), overwrite=True)
        assert "labels/a.png is an input and would be overwritten; give another --out" in told
    draw("run/a.png")  # its result would be labels/a.png, which is an input too
    assert "run is both input and --out" in refusal("run", out=Path("run"), overwrite=True)
    assert Path("run/labels/a.png").read_bytes() == before


def test_a_file_in_the_place_of_the_folder_is_refused(binary: StubPredictor) -> None:
    draw("a.png")
    assert refusal("a.png", out=Path("a.png")) == "a.png is a file; give a folder as --out"
    assert binary.loads == []
    Path("predictions").mkdir()
    Path("predictions/labels").write_text("in the way")
    assert "predictions/labels/a.png cannot be written" in refusal("a.png")


def test_a_file_that_fails_is_listed_and_the_others_go_on(
    binary: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        draw(f"in/{name}.png")
    Path("in/b.png").write_bytes(Path("in/b.png").read_bytes()[:50])
    Path("in/torn.tif").write_bytes(b"II*\0")
    draw("in/rgb.png", np.arange(6 * 8 * 3).reshape(6, 8, 3).astype(np.uint8))
    told = failures("in")
    assert list(told) == ["in/b.png", "in/rgb.png", "in/torn.tif"]
    assert told["in/b.png"].startswith("in/b.png cannot be read")
    assert told["in/torn.tif"].startswith("in/torn.tif cannot be read")
    assert told["in/rgb.png"] == (
        "in/rgb.png: the image has the shape (6, 8, 3); the network takes (H, W) or (H, W, 1)"
    )
    assert files() == ["failures.csv", "index/a.png", "index/c.png", "labels/a.png", "labels/c.png"]
    captured = capsys.readouterr()
    assert captured.err.count("failed: in/") == 3
    assert "labels of 2 inputs: predictions/labels\n" in captured.out


def test_a_grey_image_stored_in_colours_is_predicted_as_grey(binary: StubPredictor) -> None:
    grey = np.arange(48).reshape(6, 8).astype(np.uint8) * 5
    draw("grey.png", grey)
    draw("rgb.png", np.repeat(grey[..., None], 3, axis=2))
    draw("rgba.png", np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
    predict(["grey.png", "rgb.png", "rgba.png"], ckpt_path="best.ckpt")
    found = [np.asarray(Image.open(f"predictions/labels/{name}.png")) for name in ("grey", "rgb", "rgba")]
    assert found[0].any() and all((one == found[0]).all() for one in found)


@pytest.mark.parametrize("options", [{}, {"resume": True}])
@pytest.mark.parametrize("name", ["failures.csv", "objects.csv"])
def test_a_table_of_somebody_else_stays(binary: StubPredictor, name: str, options: dict[str, bool]) -> None:
    draw("a.png")
    Path("predictions").mkdir()
    Path("predictions", name).write_text("mine")
    with pytest.raises(InputError, match=f"predictions/{name} is no table of predict.*another --out, or --overwrite"):
        predict(["a.png"], ckpt_path="best.ckpt", write="objects", **options)
    assert (files(), Path("predictions", name).read_text()) == ([name], "mine")
    predict(["a.png"], ckpt_path="best.ckpt", write="objects", overwrite=True)
    assert files() == ["objects.csv", "objects/a.csv", "objects/a.tif"]


def test_the_tables_of_an_earlier_call_are_replaced(binary: StubPredictor) -> None:
    draw("a.png")
    Path("torn.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"failures\.csv says why"):
        predict(["a.png", "torn.png"], ckpt_path="best.ckpt", write="objects")
    draw("torn.png")
    predict(["a.png", "torn.png"], ckpt_path="best.ckpt", write="objects", resume=True)
    assert "failures.csv" not in files() and "torn" in Path("predictions/objects.csv").read_text()


def test_a_grey_image_is_predicted_by_a_network_of_three_channels(binary: StubPredictor) -> None:
    binary.in_channels = 3
    grey = draw("grey.png")
    draw("rgb.png", np.repeat(grey[..., None], 3, axis=2))
    predict(["grey.png", "rgb.png"], ckpt_path="best.ckpt")
    found = [np.asarray(Image.open(f"predictions/labels/{name}.png")) for name in ("grey", "rgb")]
    assert found[0].any() and (found[0] == found[1]).all()


def test_images_that_were_trained_on_are_counted(binary: StubPredictor, capsys: pytest.CaptureFixture[str]) -> None:
    grey = np.arange(48).reshape(6, 8).astype(np.uint8)
    draw("seen.png", grey)
    draw("new.png", grey[::-1])
    binary.trained_on = frozenset({digest(grey[..., None])})
    predict(["seen.png", "new.png"], ckpt_path="best.ckpt")
    assert "1 of the images were trained on" in capsys.readouterr().out
    predict(["new.png"], ckpt_path="best.ckpt", overwrite=True)
    assert "trained on" not in capsys.readouterr().out


def test_a_failure_is_exit_status_1(binary: StubPredictor, capsys: pytest.CaptureFixture[str]) -> None:
    draw("a.png")
    Path("notes.txt").write_text("no pixels")
    assert main(["predict", "notes.txt", "a.png", "--ckpt_path", "best.ckpt"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("failed: notes.txt cannot be read")
    assert told[1] == "error: 1 of 2 inputs could not be predicted; predictions/failures.csv says why"
    assert files() == ["failures.csv", "index/a.png", "labels/a.png"]
    Path("notes.txt").unlink()
    assert main(["predict", "a.png", "--ckpt_path", "best.ckpt", "--resume"]) == 0
    assert files() == ["index/a.png", "labels/a.png"]


def test_a_stack_with_a_broken_page_fails_as_that_file(binary: StubPredictor) -> None:
    draw("in/a.png")
    stack = np.full((5, 64, 64), 200, np.uint8)
    tifffile.imwrite("in/stack.tif", stack, photometric="minisblack", compression="zlib", rowsperstrip=64)
    with tifffile.TiffFile("in/stack.tif") as file:
        third = file.pages[2].aspage().dataoffsets[0]
    content = bytearray(Path("in/stack.tif").read_bytes())
    content[third : third + 10] = bytes(10)
    Path("in/stack.tif").write_bytes(content)
    draw("in/z.tif", stack)
    for batch in (1, 2, 4):
        binary.tiling = Tiling(batch=batch)
        told = failures("in", write="labels,probabilities", overwrite=True)
        assert told["in/stack.tif"].startswith("in/stack.tif page 2 cannot be read")
        assert files() == [
            *("failures.csv", "labels/a.png", "labels/z.tif", "probabilities/a.tif", "probabilities/z.tif")
        ]
        assert tifffile.imread("predictions/labels/z.tif").shape == (5, 64, 64)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        ("label", "--write label: label is unknown; known: labels,index,probabilities,foreground,overlay,objects"),
        ("labels;index", "labels;index is unknown"),
        ("labels,masks,png", "masks, png is unknown"),
        ("", "is unknown; known: labels"),
    ],
)
def test_an_unknown_kind_is_refused(binary: StubPredictor, write: str, told: str) -> None:
    draw("a.png")
    assert told in refusal("a.png", write=write)
    assert not Path("predictions").exists()


def test_the_command_line_reaches_the_function(binary: StubPredictor) -> None:
    draw("in/a.png")
    draw("b.png")
    arguments = ["in", "b.png", "--ckpt_path", "best.ckpt", "--out", "out", "--write", "index,labels"]
    assert main(["predict", *arguments, "--threshold", "0.3", "--device", "cpu"]) == 0
    assert files("out") == ["index/a.png", "index/b.png", "labels/a.png", "labels/b.png"]
    assert binary.loads == [(["best.ckpt"], "cpu", {"threshold": 0.3})]
    assert main(["predict", "in", "--ckpt_path", "best.ckpt"]) == 0
    assert binary.loads[1:] == [(["best.ckpt"], None, {})]


@pytest.mark.parametrize(
    "arguments",
    [
        ["in", "--ckpt_path", "best.ckpt", "--overwrite"],
        ["in", "--overwrite", "--ckpt_path", "best.ckpt"],
        ["--ckpt_path", "best.ckpt", "--overwrite", "in"],
        ["--ckpt_path", "best.ckpt", "--overwrite", "true", "in"],
        ["--ckpt_path=best.ckpt", "--overwrite=true", "in"],
    ],
)
def test_overwrite_is_a_bare_flag_too(binary: StubPredictor, arguments: list[str]) -> None:
    draw("in/a.png")
    assert main(["predict", "in", "--ckpt_path", "best.ckpt"]) == 0
    Path("predictions/labels/a.png").write_bytes(b"earlier")
    assert main(["predict", *arguments]) == 0
    assert read_values(Part(Path("predictions/labels/a.png"))).shape == (6, 8)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["in", "--ckpt_path", "best.ckpt", "--treshold", "0.3"], "unrecognized arguments: --treshold"),
        (["in"], "ckpt_path"),
        (["--ckpt_path", "best.ckpt"], "inputs"),
        (["absent", "--ckpt_path", "best.ckpt"], "no images in absent"),
        (["in", "--ckpt_path", "best.ckpt", "--overwrite", "false"], "1 results exist"),
    ],
)
def test_a_wrong_argument_is_one_line_and_status_1(
    binary: StubPredictor, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    draw("in/a.png")
    draw("predictions/labels/a.png")
    assert main(["predict", *arguments]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: ")
    assert told in err
    assert err.count("\n") == 1
    assert out == ""
    assert binary.loads == []


def test_a_checkpoint_and_an_exported_file_exclude_each_other(
    binary: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    draw("a.png")
    assert main(["predict", "a.png", "--ckpt_path", "best.ckpt", "--onnx", "model.onnx"]) == 1
    told = "error: give a checkpoint as --ckpt_path or an exported file as --onnx, "
    assert capsys.readouterr().err == f"{told}not both\n"
    assert main(["predict", "a.png"]) == 1
    assert capsys.readouterr().err == f"{told}one of the two\n"
    assert binary.loads == []


def test_a_missing_checkpoint_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    draw("a.png")
    assert main(["predict", "a.png", "--ckpt_path", "absent.ckpt"]) == 1
    assert capsys.readouterr().err.startswith(
        "error: the checkpoint absent.ckpt does not exist; give a .ckpt file, a run"
    )
    assert not Path("predictions").exists()


def test_earlier_results_below_the_input_folder_are_no_inputs(binary: StubPredictor) -> None:
    draw("a.png")
    predict(["."], ckpt_path="x", out=Path("out"))
    predict(["."], ckpt_path="x", out=Path("out"), overwrite=True)
    assert [path.name for path in Path("out/labels").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "checkpoints"),
    [
        (["in", "--ckpt_path", "a.ckpt", "b.ckpt", "--out", "out"], ["a.ckpt", "b.ckpt"]),
        (["--ckpt_path", "a.ckpt", "b.ckpt", "--out", "out", "in"], ["a.ckpt", "b.ckpt"]),
        (["--ckpt_path", "a.ckpt", "in"], ["a.ckpt"]),
        (["--ckpt_path=a.ckpt", "in"], "a.ckpt"),
        (["in", "--ckpt_path", '["a.ckpt", "b, c.ckpt"]'], ["a.ckpt", "b, c.ckpt"]),
    ],
)
def test_one_or_several_checkpoints(binary: StubPredictor, arguments: list[str], checkpoints: Any) -> None:
    draw("in/a.png")
    assert main(["predict", *arguments]) == 0
    assert binary.loads == [(checkpoints, None, {})]


def test_how_the_network_is_applied_reaches_it(binary: StubPredictor) -> None:
    draw("a.png")
    options = ["--tile", "512", "--overlap", "0.5", "--tta", "d4", "--tta_scales", "0.75", "1", "1.25"]
    options += ["--smallest_object", "0", "--largest_hole", "9", "--agglomeration", "0.6"]
    assert main(["predict", "a.png", "--ckpt_path", "a.ckpt", *options]) == 0
    applied = {
        "smallest_object": 0,
        "largest_hole": 9,
        "tile": 512,
        "overlap": 0.5,
        "tta": "d4",
        "tta_scales": [0.75, 1.0, 1.25],
        "agglomeration": 0.6,
    }
    assert binary.loads == [(["a.ckpt"], None, applied)]


def test_an_overlay_shows_the_page_itself_and_not_its_neighbours(binary: StubPredictor) -> None:
    binary.in_channels, binary.context = 3, 1
    stack = np.stack([np.full((6, 8), 40 * page, np.uint8) for page in range(4)])
    draw("stack.tif", stack)
    predict(["stack.tif"], ckpt_path="best.ckpt", write="overlay")
    shown = tifffile.imread("predictions/overlay/stack.tif")
    assert shown.shape == (4, 6, 8, 3)
    # the labels are of one class throughout, so that brightness tells the pages apart
    brightness = shown.astype(float).mean((1, 2, 3))
    assert (np.diff(brightness) > 10).all()
    np.testing.assert_allclose(np.diff(brightness), np.diff(brightness)[0], atol=2)


def test_the_pages_of_a_stack_ask_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    described = Description(Classes(("membrane", "cell")), 1, Intensity(), Decision(), agglomeration=0.6)
    predictor = Predictor([Grey(described)], neighbour_weight=0.5)
    monkeypatch.setattr("segmentation.model.predictor.load", lambda *_, **options: predictor)
    random = np.random.default_rng(0)
    stacks = {name: random.integers(0, 256, (3, 32, 40), np.uint8) for name in ("a", "b")}
    for name, pages in stacks.items():
        draw(f"in/{name}.tif", pages)
    draw("in/single.png", stacks["a"][0])
    assert main(["predict", "in", "--ckpt_path", "a.ckpt", "--write", "probabilities,labels"]) == 0
    for name, pages in stacks.items():
        expected = np.stack(list(predictor.stack(pages)))
        np.testing.assert_array_equal(tifffile.imread(f"predictions/labels/{name}.tif"), 255 * (expected[:, 1] > 0.5))
        assert (expected != np.stack([predictor.probabilities(page) for page in pages])).any()
    alone = predictor.labels(predictor.probabilities(stacks["a"][0]))
    np.testing.assert_array_equal(read_values(Part(Path("predictions/labels/single.png"))), 255 * alone)


def test_neighbours_that_no_input_has_are_told() -> None:
    for name in ("in/a.png", "in/b.png"):
        draw(name)
    assert "no input has several; save serial sections as one multi-page TIFF" in refusal("in", neighbour_weight=0.3)


def test_a_stack_with_a_broken_page_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    described = Description(Classes(("membrane", "cell")), 1, Intensity(), Decision(), agglomeration=0.6)
    predictor = Predictor([Grey(described)], neighbour_weight=0.5)
    monkeypatch.setattr("segmentation.model.predictor.load", lambda *_, **options: predictor)
    draw("in/a.tif", np.full((3, 16, 16), 9, np.uint16))  # 16 bits, where the network takes 8
    draw("in/b.tif", np.full((3, 16, 16), 9, np.uint8))
    assert "uint16" in failures("in")["in/a.tif"]
    assert files() == ["failures.csv", "index/b.tif", "labels/b.tif"]


def test_images_of_one_size_go_through_the_network_together(binary: StubPredictor) -> None:
    binary.tiling = Tiling(batch=3)
    sizes = {"a": (6, 8), "b": (6, 8), "c": (8, 6), "d": (6, 8), "e": (6, 8), "f": (6, 8), "g": (6, 8)}
    drawn = {name: np.random.default_rng(number).integers(0, 256, size, np.uint8) for number, (name, size) in
             enumerate(sizes.items())}  # fmt: skip
    for name, pixels in drawn.items():
        draw(f"in/{name}.png", pixels)
    predict(["in"], ckpt_path="best.ckpt", write="index")
    assert binary.batches == [2, 1, 3, 1]
    for name, pixels in drawn.items():
        np.testing.assert_array_equal(read_values(Part(Path(f"predictions/index/{name}.png"))), pixels > 127)


def test_what_an_overwriting_call_left_undone_is_missing(
    binary: StubPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else --resume would take the results of another network for those of this one."""
    for name in ("a", "b", "c"):
        draw(f"in/{name}.png")
    predict(["in"], ckpt_path="best.ckpt")
    answer = binary.bands

    def interrupted(images: Sequence[Pixels]) -> Iterator[tuple[int, Pixels]]:
        if len(binary.batches) == 4:
            raise KeyboardInterrupt
        yield from answer(images)

    monkeypatch.setattr(binary, "bands", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(["in"], ckpt_path="best.ckpt", overwrite=True)
    assert files() == ["index/a.png", "labels/a.png"]


def test_an_image_with_nan_is_refused_and_not_blanked(binary: StubPredictor) -> None:
    hole = np.full((6, 8), 0.5, np.float32)
    draw("whole.tif", hole)
    hole[2, 3] = np.nan
    draw("hole.tif", hole)
    told = failures("whole.tif", "hole.tif")
    assert told == {"hole.tif": "hole.tif holds pixels that are NaN or infinite; repair the image"}
    assert files() == ["failures.csv", "index/whole.png", "labels/whole.png"]


def test_names_that_are_no_text_are_listed_too(binary: StubPredictor) -> None:
    """As old archives leave them."""
    name = os.fsdecode(b"zelle\xe4.png")
    draw(name)
    predict([name], ckpt_path="best.ckpt", write="objects")
    assert os.fsdecode(b"zelle\xe4") in Path("predictions/objects.csv").read_text(errors="surrogateescape")


def test_ctrl_c_says_how_to_go_on(
    binary: StubPredictor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    draw("a.png")
    monkeypatch.setattr("segmentation.commands.predict._predict_all", stop)
    assert main(["predict", "a.png", "--ckpt_path", "best.ckpt"]) == 130
    assert capsys.readouterr().err.splitlines() == ["the same command with --resume does what is missing", "Stopped"]


def test_resume_does_what_is_missing(binary: StubPredictor, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        draw(f"in/{name}.png")
    draw("in/stack.tif", np.zeros((3, 6, 8), np.uint8))
    kinds = "labels,probabilities,objects"
    predict(["in"], ckpt_path="best.ckpt", write=kinds)
    for lost in ("labels/a.png", "objects/b.csv"):
        Path("predictions", lost).unlink()
    before = {name: Path("predictions", name).stat().st_mtime_ns for name in files()}
    binary.batches.clear()
    predict(["in"], ckpt_path="best.ckpt", write=kinds, resume=True)
    assert binary.batches == [1, 1]  # a and b
    assert "2 of 4 inputs have their results already" in capsys.readouterr().out
    assert len(files()) == 4 * 4 + 1  # objects.csv
    same = {name for name, time in before.items() if Path("predictions", name).stat().st_mtime_ns == time}
    assert same == {name for name in before if "/c." in name or "/stack." in name}
    predict(["in"], ckpt_path="best.ckpt", write=kinds, resume=True)
    assert binary.batches == [1, 1]


@pytest.mark.parametrize("name", ["failures.csv", "objects.csv"])
def test_a_folder_in_the_place_of_a_table_is_refused(binary: StubPredictor, name: str) -> None:
    draw("a.png")
    Path("predictions", name).mkdir(parents=True)
    for overwrite in (False, True):
        with pytest.raises(InputError, match=f"predictions/{name} is a folder"):
            predict(["a.png"], ckpt_path="best.ckpt", write="objects", overwrite=overwrite)
    assert binary.batches == []


@pytest.mark.parametrize("write", ["labels,index,probabilities,foreground,overlay,objects"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_large_image_gives_what_a_small_one_gives(
    binary: StubPredictor, monkeypatch: pytest.MonkeyPatch, write: str, dtype: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 280)).astype(dtype)
    pixels[20:60, 30:90], pixels[35, 40] = 200, 3
    tifffile.imwrite("a.tif", pixels, photometric="minisblack", tile=(64, 64), compression="zlib", resolution=(40, 40))
    binary.decision = Decision(0.6, smallest_object=5, largest_hole=4)
    predict(["a.tif"], ckpt_path="best.ckpt", write=write, out=Path("small"))
    monkeypatch.setattr("segmentation.commands.predict.LARGE", 64 * 64)
    predict(["a.tif"], ckpt_path="best.ckpt", write=write, out=Path("large"))
    assert files("large") == ["foreground/a.tif", "index/a.tif", "labels/a.tif", "objects.csv", "objects/a.csv",
                              "objects/a.tif", "overlay/a.tif", "probabilities/a.tif"]  # fmt: skip
    for kind in ("index", "labels", "overlay", "probabilities", "foreground", "objects"):
        suffix = ".tif" if kind in ("probabilities", "foreground", "objects") else ".png"
        expected = read_pixels(Part(Path(f"small/{kind}/a{suffix}"))) if suffix == ".png" else tifffile.imread(
            f"small/{kind}/a.tif")  # fmt: skip
        with tifffile.TiffFile(f"large/{kind}/a.tif") as file:
            page = file.pages[0].aspage()
            assert page.is_tiled
            assert page.tags.valueof(282) == (40, 1)
            found = file.asarray()
        np.testing.assert_array_equal(found, expected.reshape(found.shape))
    assert Path("large/objects/a.csv").read_text() == Path("small/objects/a.csv").read_text()


def test_a_georeferenced_image_gives_a_georeferenced_tiff(binary: StubPredictor) -> None:
    scale = (33550, 12, 3, (0.5, 0.5, 0.0), True)
    tifffile.imwrite("map.tif", np.zeros((6, 8), np.uint8), photometric="minisblack", extratags=[scale])
    predict(["map.tif"], ckpt_path="best.ckpt", write="labels,probabilities")
    assert files() == ["labels/map.tif", "probabilities/map.tif"]
    for name in files():
        with tifffile.TiffFile(f"predictions/{name}") as file:
            assert file.pages[0].aspage().tags.valueof(33550) == (0.5, 0.5, 0.0)


def test_the_resolution_of_a_png_is_kept(binary: StubPredictor) -> None:
    Image.fromarray(np.zeros((6, 8), np.uint8)).save("a.png", dpi=(300, 300))
    predict(["a.png"], ckpt_path="best.ckpt", write="labels,probabilities")
    with Image.open("predictions/labels/a.png") as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
    with tifffile.TiffFile("predictions/probabilities/a.tif") as file:
        across = file.pages[0].aspage().tags.valueof(282)
    assert across[0] / across[1] == pytest.approx(300, rel=1e-3)


def test_objects_are_numbered_and_measured(binary: StubPredictor) -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[1:3, 1:4], pixels[5, 7] = 200, 200
    draw("a.png", pixels)
    predict(["a.png"], ckpt_path="best.ckpt", write="objects")
    ids = tifffile.imread("predictions/objects/a.tif")
    assert ids.dtype == np.uint16
    expected = np.zeros((6, 8), np.uint16)
    expected[1:3, 1:4], expected[5, 7] = 1, 2
    np.testing.assert_array_equal(ids, expected)
    assert Path("predictions/objects/a.csv").read_text().splitlines() == [
        "id,class,area,centroid_y,centroid_x,y0,x0,y1,x1",
        "1,lesion,6,1.5,2.0,1,1,3,4",
        "2,lesion,1,5.0,7.0,5,7,6,8",
    ]


def test_objects_of_a_stack_name_their_page(binary: StubPredictor) -> None:
    stack = np.zeros((3, 6, 8), np.uint8)
    stack[0, 0, 0], stack[2, 1:3, 1], stack[2, 5, 7] = 255, 255, 255
    draw("stack.tif", stack)
    predict(["stack.tif"], ckpt_path="best.ckpt", write="objects")
    with Path("predictions/objects/stack.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["page"], row["id"], row["area"]) for row in rows] == [
        ("0", "1", "1"),
        ("2", "1", "2"),
        ("2", "2", "1"),
    ]
    assert tifffile.imread("predictions/objects/stack.tif").shape == (3, 6, 8)


def test_objects_of_all_images_are_counted_in_one_table(
    binary: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    """Images and pages without any are in it, those of an earlier call and of another network too."""
    spots, stack = np.zeros((6, 8), np.uint8), np.zeros((2, 6, 8), np.uint8)
    spots[1:3, 1:4], spots[5, 7], stack[1, 0, 0] = 200, 200, 255
    draw("in/plate.1/a.png", spots)
    draw("in/none.png", np.zeros((6, 8), np.uint8))
    predict(["in"], ckpt_path="best.ckpt", write="objects")
    earlier = Path("predictions/objects/none.csv")
    earlier.write_text(earlier.read_text() + "1,mole,4,0,0,0,0,2,2\n")
    Path("predictions/objects/notes.csv").write_text("a table of the user's\n1\n")
    draw("stack.tif", stack)
    predict(["stack.tif"], ckpt_path="best.ckpt", write="objects")
    assert "counted: predictions/objects.csv" in capsys.readouterr().out
    assert Path("predictions/objects.csv").read_text().splitlines() == [
        "file,page,class,objects,area,mean_area",
        "none,,lesion,0,0,",
        "none,,mole,1,4,4.0",
        "plate.1/a,,lesion,2,7,3.5",
        "stack,0,lesion,0,0,",
        "stack,1,lesion,1,1,1.0",
    ]


def test_objects_are_counted_though_nothing_is_left_to_predict(binary: StubPredictor) -> None:
    """As after an interruption, where the rest cannot be read or the last image was done before its table."""
    spots = np.zeros((6, 8), np.uint8)
    spots[1:3, 1:4] = 200
    draw("in/a.png", spots)
    predict(["in"], ckpt_path="best.ckpt", write="objects")
    counted = Path("predictions/objects.csv")
    expected = counted.read_text()
    assert ",1,6," in expected
    counted.unlink()
    predict(["in"], ckpt_path="best.ckpt", write="objects", resume=True)
    assert counted.read_text() == expected
    counted.unlink()
    Path("in/b.png").write_bytes(b"torn")
    with pytest.raises(InputError, match="1 of 1 inputs could not be predicted"):
        predict(["in"], ckpt_path="best.ckpt", write="objects", resume=True)
    assert counted.read_text() == expected


def test_the_watershed_parts_what_touches(binary: StubPredictor) -> None:
    """Two bright discs joined by a dimmer bridge."""
    rows, columns = np.indices((40, 80))
    pixels = np.full((40, 80), 20, np.uint8)
    pixels[18:22, 20:60] = 140
    for middle in (20, 60):
        pixels[(rows - 20) ** 2 + (columns - middle) ** 2 < 150] = 250
    draw("a.png", pixels)
    for method, count in (("components", 1), ("watershed", 2)):
        predict(["a.png"], ckpt_path="best.ckpt", write="objects", instances=method, overwrite=True)
        assert tifffile.imread("predictions/objects/a.tif").max() == count


def test_a_result_of_the_other_format_is_replaced(binary: StubPredictor) -> None:
    pixels = np.zeros((6, 8), np.uint8)
    draw("a.tif", np.stack([pixels, pixels]))
    predict(["a.tif"], ckpt_path="best.ckpt")
    assert files() == ["index/a.tif", "labels/a.tif"]
    draw("a.tif", pixels)
    assert "2 results exist, such as predictions/labels/a.tif" in refusal("a.tif")
    predict(["a.tif"], ckpt_path="best.ckpt", overwrite=True)
    assert files() == ["index/a.png", "labels/a.png"]


def test_a_network_sees_a_large_image_as_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = SegmentationModule({"names": ["a", "b", "c"]}, 3, encoder="tu-test_resnet.r160_in1k", tile=64)
    module.intensity = Intensity("uint16")
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, "a.ckpt")
    pixels = np.random.default_rng(0).integers(0, 2**16, (130, 100, 3), np.uint16)
    tifffile.imwrite("a.tif", pixels, photometric="rgb", tile=(32, 32), compression="zlib")
    arguments = ["predict", "a.tif", "--ckpt_path", "a.ckpt", "--device", "cpu", "--write", "index,probabilities"]
    assert main([*arguments, "--out", "small"]) == 0
    monkeypatch.setattr("segmentation.commands.predict.LARGE", 1000)
    assert main([*arguments, "--out", "large"]) == 0
    np.testing.assert_array_equal(tifffile.imread("large/index/a.tif"), read_values(Part(Path("small/index/a.png"))))
    found, expected = (tifffile.imread(f"{out}/probabilities/a.tif") for out in ("large", "small"))
    assert found.shape == (3, 130, 100)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("device", "providers"), [((), ["cpu"]), (("--device", "cuda"), ["cuda"])])
def test_the_device_of_an_onnx_file(
    monkeypatch: pytest.MonkeyPatch, device: tuple[str, ...], providers: list[str]
) -> None:
    seen: dict[str, Any] = {}

    def load(_paths: object, **options: Any) -> None:
        seen.update(options)
        raise InputError("enough")

    monkeypatch.setattr("segmentation.deployment.runtime.load", load)
    draw("a.png")
    assert main(["predict", "a.png", "--onnx", "m.onnx", *device]) == 1
    assert seen["providers"] == providers
