"""``predict``: which files are inputs, what is written where, and what is never overwritten.

A stub stands for the network: it takes brightness for probability, or grey values for classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segmentation.__main__ import main
from segmentation.commands.predict import find_jobs, predict
from segmentation.data.reading import Part, read_pixels, read_values
from segmentation.errors import InputError
from segmentation.inference.classes import Classes, overlay

BINARY = Classes(("background", "lesion"))
THREE = Classes(("sky", "road", "car"), ((10, 20, 30), (200, 0, 0), (0, 0, 250)))
Pixels = NDArray[Any]


class StubPredictor:
    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.loads: list[tuple[Any, ...]] = []

    def probabilities(self, image: Pixels) -> Pixels:
        if image.shape[2] != 1:
            raise InputError(f"the image has the shape {image.shape}; the network takes (H, W) or (H, W, 1)")
        values = image[..., 0].astype(np.float32)
        if self.classes.binary:
            return np.stack([1 - values / 255, values / 255])
        return np.stack([(values == index).astype(np.float32) for index in range(len(self.classes))])

    def labels(self, probabilities: Pixels) -> NDArray[np.uint8]:
        return probabilities.argmax(0).astype(np.uint8)

    def load(self, *args: Any) -> "StubPredictor":
        self.loads.append(args)
        return self


def stub(monkeypatch: pytest.MonkeyPatch, classes: Classes) -> StubPredictor:
    predictor = StubPredictor(classes)
    monkeypatch.setattr("segmentation.commands.predict.load", predictor.load)
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
    assert names("in", "in/p1/a.png", "./in/p1/*.png") == {"in/p1/a.png": "p1/a"}


def test_pages_of_stacks_are_counted() -> None:
    draw("in/stack.tif", np.zeros((5, 6, 8), np.uint8))
    draw("in/single.tif", np.zeros((6, 8), np.uint8))
    draw("in/a.png")
    assert {job.path.name: job.pages for job in find_jobs(["in"], Path("out"))} == {
        "stack.tif": 5,
        "single.tif": 1,
        "a.png": 1,
    }


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


def test_labels_of_two_classes_are_black_and_white(binary: StubPredictor, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = draw("in/p1/a.png")
    predict(["in"], ckpt_path="best.ckpt")
    assert files() == ["labels/p1/a.png"]
    with Image.open("predictions/labels/p1/a.png") as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.array(picture), np.where(pixels > 127, 255, 0))
    assert "1 labels: predictions/labels\n" in capsys.readouterr().out


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
    told = refusal("pyramid.tif")
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
    for inputs in (["run/labels"], ["run"], [str(Path("run/labels/a.png").absolute())]):
        if inputs == ["run"]:
            draw("run/a.png")  # its result would be labels/a.png, which is an input too
        told = refusal(*inputs, out=Path("run"), overwrite=True)
        assert "labels/a.png is an input and would be overwritten; give another --out" in told
    assert Path("run/labels/a.png").read_bytes() == before


def test_a_file_in_the_place_of_the_folder_is_refused(binary: StubPredictor) -> None:
    draw("a.png")
    assert refusal("a.png", out=Path("a.png")) == "a.png is a file; give a folder as --out"
    assert binary.loads == []
    Path("predictions").mkdir()
    Path("predictions/labels").write_text("in the way")
    assert "predictions/labels/a.png cannot be written" in refusal("a.png")


def test_an_unreadable_file_is_named_and_leaves_no_half_result(binary: StubPredictor) -> None:
    draw("in/a.png")
    draw("in/b.png")
    Path("in/b.png").write_bytes(Path("in/b.png").read_bytes()[:50])
    told = refusal("in")
    assert told.startswith("in/b.png cannot be read")
    assert files() == ["labels/a.png"]


def test_a_file_that_is_no_image_is_named(binary: StubPredictor) -> None:
    Path("notes.txt").write_text("no pixels")
    assert refusal("notes.txt").startswith("notes.txt cannot be read")
    Path("torn.tif").write_bytes(b"II*\0")
    assert refusal("torn.tif").startswith("torn.tif cannot be read")


def test_what_the_network_refuses_is_told_with_the_file(binary: StubPredictor) -> None:
    draw("in/rgb.png", np.zeros((6, 8, 3), np.uint8))
    assert refusal("in") == ("in/rgb.png: the image has the shape (6, 8, 3); the network takes (H, W) or (H, W, 1)")


@pytest.mark.parametrize(
    ("write", "told"),
    [
        ("label", "--write label: label is unknown; known: labels,index,probabilities,overlay"),
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
    assert binary.loads == [("best.ckpt", "cpu", 0.3)]
    assert main(["predict", "in", "--ckpt_path", "best.ckpt"]) == 0
    assert binary.loads[1:] == [("best.ckpt", None, None)]


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


def test_a_missing_checkpoint_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    draw("a.png")
    assert main(["predict", "a.png", "--ckpt_path", "absent.ckpt"]) == 1
    assert capsys.readouterr().err == "error: the checkpoint absent.ckpt does not exist\n"
    assert not Path("predictions").exists()


def test_earlier_results_below_the_input_folder_are_no_inputs(binary: StubPredictor) -> None:
    draw("a.png")
    predict(["."], ckpt_path="x", out=Path("out"))
    predict(["."], ckpt_path="x", out=Path("out"), overwrite=True)
    assert [path.name for path in Path("out/labels").iterdir()] == ["a.png"]
