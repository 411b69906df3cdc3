"""What docs/recipes.md tells a user to type is typed here, on made-up images in the folders it shows."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image

from segmentation.data.sources.folder import FolderSource
from segmentation.inference.intensity import Intensity
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import load

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "recipes.md").read_text()
NEEDS_NO_LAYOUT = ("IsbiSource", "SyntheticSource", None)  # tests/test_configs.py runs those
TINY = (
    *("--data.crop", 32, "--data.batch_size", 2, "--data.samples_per_epoch", 4, "--data.workers", 0),
    *("--model.encoder", "tu-test_resnet.r160_in1k", "--model.encoder_weights", "null"),  # nothing is downloaded
    *("--trainer.max_epochs", 1, "--trainer.check_val_every_n_epoch", 1, "--trainer.precision", "32-true"),
    *("--trainer.enable_progress_bar", "false"),
)
RANDOM = np.random.default_rng(0)
SIZE = (40, 48)
Counts = dict[str, int]
Run = Callable[..., int]


def save(path: str | Path, pixels: np.ndarray | None = None) -> None:
    """An image file; noise in colours where no pixels are given."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RANDOM.integers(0, 256, (*SIZE, 3), np.uint8) if pixels is None else pixels).save(path)


def mask(*values: int) -> np.ndarray:
    """Columns of the values."""
    return np.repeat(np.array(values, np.uint8), -(-SIZE[1] // len(values)))[None, : SIZE[1]].repeat(SIZE[0], 0)


def isic() -> Counts:
    for part, numbers in {"Training": range(5), "Validation": range(5, 7), "Test": range(7, 9)}.items():
        for number in numbers:
            name = f"ISIC_{number:07d}"
            save(f"data/isic2018_full/ISIC2018_Task1-2_{part}_Input/{name}.jpg")
            save(f"data/isic2018_full/ISIC2018_Task1_{part}_GroundTruth/{name}_segmentation.png", mask(0, 255))
    code = re.search(r"```python\n(.*?)```", section("isic"), re.DOTALL)
    assert code is not None
    exec(code[1])
    assert np.asarray(Image.open("data/isic2018/ISIC2018_Task1-2_Test_Input/ISIC_0000007.jpg")).shape == (512, 512, 3)
    return {"train": 4, "val": 1, "test": 0}


def camvid() -> Counts:
    for part in ("train", "val", "test"):
        for name in "ab":
            save(f"data/camvid/{part}/{name}.png")
            save(f"data/camvid/{part}annot/{name}.png", mask(0, 4, 11))
    return {"train": 2, "val": 2, "test": 2}


def voc() -> Counts:
    root = Path("data/VOCdevkit/VOC2012")
    for name in "abcde":
        save(root / f"JPEGImages/{name}.jpg")
    for name in "abcd":  # e is one of those without a mask
        save(root / f"SegmentationClass/{name}.png", mask(0, 15, 255))
    for name, lines in {"train": "a\nb\nc\n", "val": "d\n"}.items():
        (root / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Segmentation/{name}.txt").write_text(lines)
    return {"train": 3, "val": 1, "test": 0}


def cityscapes() -> Counts:
    for part in ("train", "val", "test"):
        for number in range(2):
            name = f"aachen/aachen_00000{number}_000019"
            save(f"data/cityscapes/leftImg8bit/{part}/{name}_leftImg8bit.png")
            if part != "test":
                save(f"data/cityscapes/gtFine/{part}/{name}_gtFine_labelIds.png", mask(0, 7, 26))
    return {"train": 2, "val": 2, "test": 0}


def coco() -> Counts:
    config = yaml.safe_load((ROOT / "configs/coco.yaml").read_text())
    names = [*config["data"]["source"]["init_args"]["classes"], "pizza"]
    for part in ("train", "val"):
        write_instances(Path(f"data/coco/annotations/instances_{part}2017.json"), f"data/coco/images/{part}2017", names)
    write_instances(Path("my_coco/annotations.json"), "my_coco/images", ["cell", "nucleus"])
    return {"train": 3, "val": 3, "test": 0}


def coco_stuff() -> Counts:
    for part in ("train", "val"):
        for name in ("000000000009", "000000000025"):
            save(f"data/coco/images/{part}2017/{name}.jpg")
            save(f"data/coco/stuffthingmaps/{part}2017/{name}.png", mask(0, 90, 181, 255))
    Path("labels.txt").write_text("0: unlabeled\n" + "".join(f"{number}: thing {number}\n" for number in range(1, 183)))
    extract = next(line for line in section("coco_stuff").splitlines() if line.startswith("sed "))
    subprocess.run(extract, shell=True, check=True)
    assert Path("data/coco/classes.txt").read_text().splitlines()[::181] == ["thing 1", "thing 182"]
    return {"train": 2, "val": 2, "test": 0}


def write_instances(path: Path, images: str, names: list[str]) -> None:
    """Three images with an outline of each category."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    for number in range(3):
        save(f"{images}/{number:012d}.jpg")
        size = {"height": SIZE[0], "width": SIZE[1]}
        content["images"].append({"id": number, "file_name": f"{number:012d}.jpg", **size})
        for place in range(len(names)):
            left = 2 * place
            outline = {"segmentation": [[left, 0, left + 2, 0, left + 2, 30, left, 30]], "iscrowd": 0}
            ids = {"id": 100 * number + place, "image_id": number, "category_id": place + 1}
            content["annotations"].append(ids | outline)
    path.write_text(json.dumps(content))


LAYOUTS: dict[str, Callable[[], Counts]] = {
    layout.__name__: layout for layout in (isic, camvid, voc, cityscapes, coco, coco_stuff)
}


def source_of(config: Path) -> str | None:
    data = yaml.safe_load(config.read_text()).get("data")
    return None if data is None else data["source"]["class_path"]


RECIPES = [path.stem for path in sorted((ROOT / "configs").glob("*.yaml")) if source_of(path) not in NEEDS_NO_LAYOUT]


def section(name: str) -> str:
    """The part of docs/recipes.md that trains a config."""
    return next(part for part in TEXT.split("\n## ") if f"fit --config configs/{name}.yaml" in part)


def commands(text: str) -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[3:] for line in lines if line.startswith("python -m segmentation")]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_as_it_is_written(name: str, run: Run) -> None:
    Path("configs").symlink_to(ROOT / "configs")
    save("photos/a.jpg")
    counts = LAYOUTS[name]()
    typed = commands(section(name))
    assert [line[0] for line in typed[:3]] == ["fit", "test", "predict"]
    for line in typed:
        assert run(*line, *(TINY if line[0] == "fit" else ())) == 0, line
    folder = sorted(Path(f"runs/{name}").iterdir())[0]
    split = json.loads((folder / "split.json").read_text())
    assert {part: len(split[part]) for part in counts} == counts
    scores = json.loads(next(folder.glob("test-*/scores.json")).read_text())
    assert 0 <= scores["iou"] <= 1
    assert ("selected_on_these_data" in scores) == (name not in ("isic", "camvid"))  # those have a test set
    inputs = {path.stem for path in Path(typed[2][1]).rglob("*.*")}
    assert {path.stem for path in Path(f"predictions/{name}/labels").rglob("*.png")} == inputs != set()


def test_the_images_of_isic_may_lie_in_folders_of_ones_own() -> None:
    isic()
    for number in (3, 4):
        save(f"flat/images/ISIC_{number:07d}.jpg")
        save(f"flat/masks/ISIC_{number:07d}_segmentation.png", mask(0, 255))
    arguments = yaml.safe_load((ROOT / "configs/isic.yaml").read_text())["data"]["source"]["init_args"]
    official, flat = (FolderSource(**arguments | {"root": root}) for root in ("data/isic2018", "flat"))
    assert [sample.id for sample in official.samples()] == [f"ISIC_{number:07d}" for number in range(5)]
    assert [sample.id for sample in flat.samples()] == ["ISIC_0000003", "ISIC_0000004"]
    assert np.unique(flat.read_mask(flat.samples()[0])).tolist() == [0, 1]


def test_the_isic_config_reads_the_sample(shared_data: Path) -> None:
    arguments = yaml.safe_load((ROOT / "configs/isic.yaml").read_text())["data"]["source"]["init_args"]
    samples = FolderSource(**arguments | {"root": shared_data / "isic2018"}).samples()
    assert len(samples) == 60 and all(sample.masks for sample in samples)


def test_the_submission_has_the_form_of_the_isbi_challenge(run: Run) -> None:
    torch.manual_seed(0)
    module = SegmentationModule({"names": ["membrane", "cell"]}, 1, encoder="tu-test_resnet.r160_in1k")
    module.intensity = Intensity("uint8")
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    folder = Path("runs/isbi/20261121-101500/checkpoints")
    folder.mkdir(parents=True)
    torch.save(checkpoint, folder / "best.ckpt")
    stack = RANDOM.integers(0, 256, (4, 64, 64), np.uint8)
    Path("data/isbi2012").mkdir(parents=True)
    tifffile.imwrite("data/isbi2012/test-volume.tif", stack, photometric="minisblack")

    [predict] = commands(TEXT.split("\n## ISBI 2012: the submission\n")[1])
    assert run(*predict) == 0

    with tifffile.TiffFile("submission/foreground/test-volume.tif") as file:
        assert [(page.shape, page.dtype) for page in file.pages] == [((64, 64), np.float32)] * 4
        submitted = file.asarray()
    predictor = load(folder.parent, agglomeration=0.6, neighbour_weight=0.3)
    cell = predictor.classes.names.index("cell")
    np.testing.assert_array_equal(submitted, [page[cell] for page in predictor.stack(stack)])
    assert 0 <= submitted.min() < submitted.max() <= 1
