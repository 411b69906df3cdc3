"""Every layout of FolderSource, each through fit, test and predict, and the sources made of it (trained by test_configs)."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmentation.data.sources.camvid import CamVidSource
from segmentation.data.sources.cityscapes import CityscapesSource
from segmentation.data.sources.folder import FolderSource
from segmentation.data.sources.tiff_stack import TiffStackSource
from segmentation.data.sources.voc import VOCSource
from segmentation.errors import InputError
from segmentation.model.predictor import load

Run = Callable[..., int]
RANDOM = np.random.default_rng(0)
SIZE = (32, 40)


def image(channels: int = 3) -> np.ndarray:
    return RANDOM.integers(0, 256, (*SIZE, channels), np.uint8).squeeze()


def mask(*values: int) -> np.ndarray:
    """Columns of the values, each in one block."""
    return np.repeat(np.array(values, np.uint8), -(-SIZE[1] // len(values)))[None, : SIZE[1]].repeat(SIZE[0], 0)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        Image.fromarray(pixels).save(path)
    return path


def ids(source: FolderSource) -> list[str]:
    return [sample.id for sample in source.samples()]


def two_folders(root: Path) -> dict[str, Any]:
    for name in "abcdef":
        save(root / "photos" / f"{name}.jpg", image())
        save(root / "labels" / f"{name}_mask.png", mask(0, 255))
    return {"images": "photos", "masks": "labels/{stem}_mask", "mask_values": {0: 0, 255: 1}}


def one_folder(root: Path) -> dict[str, Any]:
    for name in "abcdef":
        save(root / f"{name}.jpg", image())
        save(root / f"{name}_mask.png", mask(0, 1))
    return {"images": "{stem}", "masks": "{stem}_mask"}


def split_folders(root: Path) -> dict[str, Any]:
    for folder in ("Training", "valid", "test"):
        for name in "ab":
            save(root / folder / "image" / f"{name}.png", image())
            save(root / folder / "label" / f"{name}.png", mask(0, 1))
    return {"images": "{split}/image", "masks": "{split}/label"}


def numbered(root: Path) -> dict[str, Any]:
    for number in range(6):
        save(root / "images" / f"t{number:02d}.tif", RANDOM.integers(0, 4000, SIZE, np.uint16))
        save(root / "masks" / f"man_seg{number:02d}.tif", mask(0, 7, 9).astype(np.uint16) * 100)
    return {"images": "images/t{stem}", "masks": "masks/man_seg{stem}", "mask_values": "objects", "in_channels": 1}


def regular_expression(root: Path) -> dict[str, Any]:
    for number in range(6):
        save(root / "images" / f"scan-{number}-left.png", image())
        save(root / "masks" / f"{number}.seg.png", mask(0, 1))
    return {"images": r"images/scan-(?P<stem>\d+)-.*", "masks": "masks/{stem}.seg"}


def parts(root: Path) -> dict[str, Any]:
    for name in "abcdef":
        save(root / "rgb" / f"{name}.jpg", image())
        save(root / "depth" / f"{name}.png", image(1).astype(np.uint16) * 100)
        save(root / "masks" / f"{name}.png", mask(0, 1))
    return {"images": ["rgb", "depth"], "in_channels": 4}


def channel_files(root: Path) -> dict[str, Any]:
    for name in ("case_1", "case_2", "case_3", "case_4"):
        for channel in range(2):
            save(root / "imagesTr" / f"{name}_{channel:04d}.png", image(1))
        save(root / "labelsTr" / f"{name}.png", mask(0, 1))
    return {
        "images": ["imagesTr/{stem}_0000", "imagesTr/{stem}_0001"],
        "masks": "labelsTr/{stem}",
        "in_channels": 2,
    }


def class_folders(root: Path) -> dict[str, Any]:
    for name in "abcdef":
        save(root / "images" / f"{name}.png", image())
        save(root / "masks" / "nucleus" / f"{name}.png", mask(0, 0, 255, 255))
        save(root / "masks" / "mitosis" / f"{name}.png", mask(0, 255, 255, 0))
    return {"masks": "masks/{class}/{stem}", "classes": ["background", "nucleus", "mitosis"]}


def lists(root: Path) -> dict[str, Any]:
    for name in "abcdef":
        save(root / "images" / f"{name}.png", image())
        save(root / "masks" / f"{name}.png", mask(0, 1))
    for name, lines in {"train": "a\nb\nc\n", "val": "images/d.png masks/d.png\n", "test": "e\n"}.items():
        (root / f"{name}.txt").write_text(lines)
    return {"lists": "{split}.txt"}


def colored(root: Path) -> dict[str, Any]:
    palette = np.array([[0, 0, 0], [64, 0, 128], [128, 64, 0]], np.uint8)
    for name in "abcdef":
        save(root / "images" / f"{name}.png", image())
        save(root / "masks" / f"{name}.png", palette[mask(0, 1, 2)])
    (root / "class_dict.csv").write_text("name,r,g,b\nsky,0,0,0\ncar,64,0,128\nroad,128,64,0\n")
    return {"classes": "class_dict.csv"}


def test_pixels_that_one_class_ignores_are_ignored_unless_another_has_them(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", image())
    for name, values in (("nucleus", (0, 128, 128, 255)), ("mitosis", (0, 0, 255, 128))):
        save(tmp_path / "masks" / name / "a.png", np.repeat(np.array([values], np.uint8), 2, axis=0))
    for ignore_index in (255, 254):
        source = FolderSource(
            tmp_path,
            masks="masks/{class}/{stem}",
            classes=["background", "nucleus", "mitosis"],
            mask_values={0: 0, 128: ignore_index, 255: 1},
            ignore_index=ignore_index,
        )
        assert source.read_mask(source.samples()[0])[0].tolist() == [0, ignore_index, 2, 1]


@pytest.mark.parametrize(
    "layout",
    [
        *(two_folders, one_folder, split_folders, numbered, regular_expression, parts, channel_files, class_folders),
        *(lists, colored),
    ],
)
def test_a_layout_goes_through_fit_test_and_predict(
    layout: Callable[[Path], dict[str, Any]], tmp_path: Path, run: Run, quick: tuple[object, ...]
) -> None:
    arguments = layout(tmp_path / "data")
    given = [word for name, value in arguments.items() for word in (f"--data.source.{name}", _written(value))]
    single = ("--data.folds", "null", "--data.fold", "null", "--trainer.max_epochs", 1)
    assert (
        run("fit", "--data.source", "FolderSource", "--data.source.root", tmp_path / "data", *given, *quick, *single)
        == 0
    )
    best = next(Path("runs").glob("*/*/checkpoints/best.ckpt"))
    assert run("test", "--ckpt_path", best, "--trainer.enable_progress_bar", "false") == 0
    source = FolderSource(tmp_path / "data", **arguments)
    if len(source.images) == 1:
        path = source.samples()[0].images[0].path
        assert run("predict", path, "--ckpt_path", best, "--out", "out", "--write", "index") == 0
        labels = np.asarray(Image.open(next(Path("out/index").glob("*.png"))))
        assert labels.shape == SIZE and labels.max() < len(source.classes)


def _written(value: Any) -> str:
    import json

    return value if isinstance(value, str) else "{0: 0, 255: 1}" if isinstance(value, dict) else json.dumps(value)


def test_split_folders_give_the_lists(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, **split_folders(tmp_path))
    assert source.lists() == {
        "train": ["train/a", "train/b"],
        "val": ["val/a", "val/b"],
        "test": ["test/a", "test/b"],
    }


def test_the_links_of_the_documentation_make_one_folder_of_patients(tmp_path: Path) -> None:
    for patient in ("P 00", "P 01"):
        save(tmp_path / "mine" / patient / "images" / "0.png", image())
        save(tmp_path / "mine" / patient / "masks" / "0.png", mask(0, 1))
    docs = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
    commands = next(block for block in docs.split("```bash\n")[1:] if block.startswith("for patient")).split("```")[0]
    subprocess.run(["bash", "-c", commands], cwd=tmp_path / "mine", check=True)
    assert [sample.id for sample in FolderSource(tmp_path / "linked").samples()] == ["P 00/0", "P 01/0"]


def test_list_files_may_hold_names_or_paths(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, **lists(tmp_path))
    assert source.lists() == {"train": ["a", "b", "c"], "val": ["d"], "test": ["e"]}
    (tmp_path / "val.txt").write_text("d\nnobody\n")
    with pytest.raises(InputError, match="'nobody'"):
        FolderSource(tmp_path, lists="{split}.txt").lists()


def test_a_line_with_another_folder_names_no_sample(tmp_path: Path) -> None:
    for name in ("train/1", "train/2", "val/1"):
        save(tmp_path / "images" / f"{name}.png", image())
        save(tmp_path / "masks" / f"{name}.png", mask(0, 1))
    source = FolderSource(tmp_path, lists="{split}.txt")
    (tmp_path / "train.txt").write_text("/home/her/set/images/train/1.png\n2\n")
    (tmp_path / "val.txt").write_text("val/1\n")
    assert source.lists() == {"train": ["train/1", "train/2"], "val": ["val/1"]}
    for wrong in ("val/2", "images/val/2.png", "/home/her/set/images/val/2.png"):
        (tmp_path / "val.txt").write_text(f"val/1\n{wrong}\n")
        with pytest.raises(InputError, match=f"1 lines of .*val.txt name no sample, such as '{wrong}'"):
            source.lists()


def test_a_path_of_another_machine_names_its_sample(tmp_path: Path) -> None:
    source = FolderSource(tmp_path, **split_folders(tmp_path), lists="{split}.txt")
    image = source.samples()[0].images[0].path.relative_to(tmp_path)
    (tmp_path / "train.txt").write_text(f"/home/her/set/{image}\n")
    assert source.lists() == {"train": [source.samples()[0].id]}


def test_parts_are_stacked_in_their_order(tmp_path: Path) -> None:
    arguments = parts(tmp_path)
    source = FolderSource(tmp_path, **arguments)
    stacked = source.read_image(source.samples()[0])
    depth = np.asarray(Image.open(tmp_path / "depth" / "a.png"))
    assert stacked.shape == (*SIZE, 4)
    np.testing.assert_array_equal(stacked[..., 3], depth)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    arguments = parts(tmp_path)
    (tmp_path / "depth" / "b.png").unlink()
    with pytest.raises(InputError, match=r"rgb/b\.jpg: image without its other parts"):
        FolderSource(tmp_path, **arguments).samples()


def test_later_classes_lie_over_earlier_ones(tmp_path: Path) -> None:
    arguments = class_folders(tmp_path)
    source = FolderSource(tmp_path, **arguments)
    np.testing.assert_array_equal(source.read_mask(source.samples()[0]), mask(0, 2, 2, 1))
    turned = FolderSource(tmp_path, **(arguments | {"classes": ["background", "mitosis", "nucleus"]}))
    np.testing.assert_array_equal(turned.read_mask(turned.samples()[0]), mask(0, 1, 2, 2))


def test_a_folder_that_is_no_class_is_named(tmp_path: Path) -> None:
    arguments = class_folders(tmp_path) | {"classes": ["background", "nucleus"]}
    with pytest.raises(InputError, match=r"no class \(mitosis\).*classes: \[background, mitosis, nucleus\]"):
        FolderSource(tmp_path, **arguments).samples()


def test_unlabelled_images_are_left_out_when_asked(tmp_path: Path) -> None:
    arguments = one_folder(tmp_path)
    (tmp_path / "b_mask.png").unlink()
    with pytest.raises(InputError, match="unlabelled: true"):
        FolderSource(tmp_path, **arguments).samples()
    samples = FolderSource(tmp_path, **arguments, unlabelled=True).samples()
    assert [sample.id for sample in samples if not sample.masks] == ["b"]


def stacks(root: Path, *names: str, pages: int = 6) -> None:
    for name in names:
        volume = RANDOM.integers(0, 256, (pages, *SIZE), np.uint8)
        save(root / f"{name}-volume.tif", volume)
        save(root / f"{name}-labels.tif", np.stack([mask(0, 255)] * pages))


def test_pages_that_are_called_channels_are_slices_of_a_stack(tmp_path: Path) -> None:
    for name in ("volume", "labels"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((3, *SIZE), np.uint8), imagej=True)
    source = TiffStackSource(tmp_path, images="volume.tif", masks="labels.tif")
    assert [sample.id for sample in source.samples()] == ["volume-000", "volume-001", "volume-002"]


def test_stacks_with_too_few_labels_are_one_problem(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}-volume.tif", np.zeros((2, *SIZE), np.uint8))
        save(tmp_path / f"{name}-labels.tif", mask(0, 1))
    source = TiffStackSource(tmp_path, images="{stem}-volume", masks="{stem}-labels")
    with pytest.raises(InputError) as caught:
        source.samples()
    assert str(caught.value).startswith("2 files: 2 pages, its labels have 1: ")
    assert "save channels of one image as (H, W, C)" in str(caught.value)


def test_a_stack_goes_through_fit_test_and_predict(tmp_path: Path, run: Run, quick: tuple[object, ...]) -> None:
    stacks(tmp_path, "train")
    options = ("--data.source.images", "train-volume.tif", "--data.source.masks", "train-labels.tif")
    values = ("--data.source.mask_values", "{0: 0, 255: 1}", "--trainer.max_epochs", 1)
    assert (
        run("fit", "--data.source", "TiffStackSource", "--data.source.root", tmp_path, *options, *values, *quick) == 0
    )
    best = next(Path("runs").glob("*/*/checkpoints/best.ckpt"))
    assert run("test", "--ckpt_path", best, "--trainer.enable_progress_bar", "false") == 0
    assert run("predict", tmp_path / "train-volume.tif", "--ckpt_path", best, "--out", "out") == 0
    assert tifffile.imread("out/labels/train-volume.tif").shape == (6, *SIZE)


def test_slices_of_one_stack_are_contiguous_and_of_several_grouped(tmp_path: Path) -> None:
    stacks(tmp_path, "a", pages=3)
    one = TiffStackSource(tmp_path, images="{stem}-volume", masks="{stem}-labels")
    assert ids(one) == ["a-000", "a-001", "a-002"]
    assert {sample.group for sample in one.samples()} == {None}
    stacks(tmp_path, "b", pages=3)
    two = TiffStackSource(tmp_path, images="{stem}-volume", masks="{stem}-labels")
    assert [sample.group for sample in two.samples()] == ["a"] * 3 + ["b"] * 3


def test_neighbouring_slices_become_channels(tmp_path: Path) -> None:
    volume = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((3, *SIZE), np.uint8)
    save(tmp_path / "v.tif", volume)
    save(tmp_path / "l.tif", volume * 0)
    source = TiffStackSource(tmp_path, images="v.tif", masks="l.tif", context=1)
    assert source.in_channels == 3
    assert [source.read_image(sample)[0, 0].tolist() for sample in source.samples()] == [
        [0, 0, 1],
        [0, 1, 2],
        [1, 2, 2],
    ]


def test_stacks_of_different_length_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "v.tif", np.zeros((3, *SIZE), np.uint8))
    save(tmp_path / "l.tif", np.zeros((2, *SIZE), np.uint8))
    with pytest.raises(InputError, match=r"3 pages.*have 2"):
        TiffStackSource(tmp_path, images="v.tif", masks="l.tif").samples()


def voc(root: Path) -> Path:
    for name in "abcd":
        save(root / "JPEGImages" / f"{name}.jpg", image())
    for name in "abc":
        picture = Image.fromarray(mask(0, 15, 255), mode="P")
        picture.putpalette([value for value in range(256) for _ in range(3)])
        (root / "SegmentationClass").mkdir(exist_ok=True)
        picture.save(root / "SegmentationClass" / f"{name}.png")
    return root


def test_voc(tmp_path: Path) -> None:
    source = VOCSource(voc(tmp_path))
    assert [bool(sample.masks) for sample in source.samples()] == [True, True, True, False]
    assert np.unique(source.read_mask(source.samples()[0])).tolist() == [0, 15, 255]
    assert source.classes.names[15] == "person" and source.classes.colors[15] == (192, 128, 128)
    assert source.lists() is None
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("a\nb\n")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("c\n")
    assert VOCSource(tmp_path).lists() == {"train": ["a", "b"], "val": ["c"]}


def test_camvid(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in "ab":
            save(tmp_path / split / f"{name}.png", image())
            save(tmp_path / f"{split}annot" / f"{name}.png", mask(0, 4, 11))
    source = CamVidSource(tmp_path)
    assert len(source.classes) == 11 and source.classes.ignore_index == 11
    assert np.unique(source.read_mask(source.samples()[0])).tolist() == [0, 4, 11]
    assert source.lists() == {name: [f"{name}/a", f"{name}/b"] for name in ("test", "train", "val")}


def test_cityscapes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for number in range(2):
            name = f"aachen/aachen_00000{number}_000019"
            save(tmp_path / "leftImg8bit" / split / f"{name}_leftImg8bit.png", image())
            save(tmp_path / "gtFine" / split / f"{name}_gtFine_labelIds.png", mask(0, 7, 26, 33, 4))
            save(tmp_path / "gtFine" / split / f"{name}_gtFine_color.png", image())
    source = CityscapesSource(tmp_path)
    assert [sample.id.split("/")[0] for sample in source.samples()] == ["train", "train", "val", "val"]
    np.testing.assert_array_equal(source.read_mask(source.samples()[0]), mask(255, 0, 13, 18, 255))


def test_a_network_of_neighbouring_slices_predicts_stacks(tmp_path: Path, run: Run, quick: tuple[object, ...]) -> None:
    volume = RANDOM.integers(0, 256, (6, 40, 48), np.uint8)
    save(tmp_path / "v.tif", volume)
    save(tmp_path / "l.tif", (volume > 128).astype(np.uint8))
    source = ("--data.source", "TiffStackSource", "--data.source.root", tmp_path, "--data.source.context", 1)
    named = ("--data.source.images", "v.tif", "--data.source.masks", "l.tif", "--model.loss", "{bce: 1}")
    assert run("fit", *source, *named, *quick, "--run_folder", "run", "--trainer.max_epochs", 1) == 0
    write = ("--write", "foreground,overlay")
    assert run("predict", tmp_path / "v.tif", "--ckpt_path", "run", "--out", "out", *write) == 0
    around = np.concatenate([volume[:1], volume, volume[-1:]])
    pages = [around[page : page + 3].transpose(1, 2, 0) for page in range(6)]
    predictor = load("run")
    assert predictor.context == 1
    expected = np.stack([predictor.probabilities(page)[1] for page in pages])
    np.testing.assert_allclose(tifffile.imread("out/foreground/v.tif"), expected, atol=1e-5)
    overlay = tifffile.imread("out/overlay/v.tif").astype(int)
    cell = overlay[expected <= predictor.decision.threshold]  # painted less, and of the page itself
    grey = volume[expected <= predictor.decision.threshold]
    assert np.corrcoef(cell.mean(-1), grey)[0, 1] > 0.9
    Image.fromarray(volume[0]).save("one.png")
    assert run("predict", "one.png", "--ckpt_path", "run", "--out", "out", "--write", "foreground") == 0
    alone = predictor.probabilities(np.repeat(volume[0][..., None], 3, axis=2))[1]
    np.testing.assert_allclose(tifffile.imread("out/foreground/one.tif"), alone, atol=1e-5)


def test_lists_spell_umlauts_as_another_system_does(tmp_path: Path) -> None:
    """macOS takes letters apart; a list that was written elsewhere does not."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for name in ("Ma\u0308use", "Fu\u0308sse"):
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / part / f"{name}.png")
    (tmp_path / "train.txt").write_text("M\u00e4use\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("images/F\u00fcsse.png\n", encoding="utf-8")
    lists = FolderSource(tmp_path, lists="{split}.txt", in_channels=1).lists()
    assert lists == {"train": ["Ma\u0308use"], "val": ["Fu\u0308sse"]}
