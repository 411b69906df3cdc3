"""Damaged and mislabelled data sets: check never breaks, and what it passes can be trained on.

``FUZZ_EXAMPLES=500 python -m pytest tests/test_fuzz.py`` tries more of them.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tifffile
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image

Run = Callable[..., int]
Damage = Callable[[Path, np.random.Generator], None]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
TINY = "tu-test_resnet.r160_in1k"


def write(root: Path, layout: str, values: tuple[int, ...], depth: str, random: np.random.Generator) -> None:
    """Six pairs of 24x28 pixels."""
    for number in range(6):
        pixels = random.integers(0, 256, (24, 28, 3), np.uint8)
        image = Image.fromarray(pixels if depth == "rgb" else pixels[..., 0])
        if depth == "deep":
            image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 16)
        mask = Image.fromarray(random.choice(np.array(values, np.uint8), (24, 28)))
        places = {
            "folders": (f"images/{number}.png", f"masks/{number}.png"),
            "suffix": (f"{number}.png", f"{number}_mask.png"),
            "splits": tuple(
                f"{['train', 'val', 'test'][number % 3]}/{part}/{number}.png" for part in ("image", "label")
            ),
        }[layout]
        for place, picture in zip(places, (image, mask), strict=True):
            path = root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)


def _pick(root: Path, random: np.random.Generator) -> Path:
    return sorted(path for path in root.rglob("*") if path.is_file())[random.integers(6)]


def delete(root: Path, random: np.random.Generator) -> None:
    _pick(root, random).unlink()


def cut(root: Path, random: np.random.Generator) -> None:
    path = _pick(root, random)
    path.write_bytes(path.read_bytes()[: random.integers(0, 200)])


def noise(root: Path, random: np.random.Generator) -> None:
    _pick(root, random).write_bytes(random.bytes(300))


def flip_bytes(root: Path, random: np.random.Generator) -> None:
    path = _pick(root, random)
    held = bytearray(path.read_bytes())
    for place in random.integers(8, max(9, len(held)), 5):
        held[min(place, len(held) - 1)] ^= 255
    path.write_bytes(bytes(held))


def resize(root: Path, random: np.random.Generator) -> None:
    _replace(_pick(root, random), random.integers(0, 2, (7, 5), np.uint8))


def recolor(root: Path, random: np.random.Generator) -> None:
    _replace(_pick(root, random), random.integers(0, 256, (24, 28, 3), np.uint8))


def deepen(root: Path, random: np.random.Generator) -> None:
    _replace(_pick(root, random), random.integers(0, 60000, (24, 28), np.uint16))


def add_alpha(root: Path, random: np.random.Generator) -> None:
    _replace(_pick(root, random), random.integers(0, 256, (24, 28, 4), np.uint8))


def flatten(root: Path, random: np.random.Generator) -> None:
    _replace(_pick(root, random), np.full((24, 28), random.integers(256), np.uint8))


def rename(root: Path, random: np.random.Generator) -> None:
    path = _pick(root, random)
    path.rename(path.with_name(f"x{path.name}"))


def change_suffix(root: Path, random: np.random.Generator) -> None:
    path = _pick(root, random)
    path.rename(path.with_suffix(str(random.choice([".PNG", ".jpg", ".tif", ".txt", ".npy"]))))


def copy(root: Path, random: np.random.Generator) -> None:
    path = _pick(root, random)
    path.with_name(f"copy_{path.name}").write_bytes(path.read_bytes())


def as_jpeg(root: Path, random: np.random.Generator) -> None:
    path = _pick(root, random)
    try:
        Image.open(path).convert("L").save(path.with_suffix(".jpg"))
    except (OSError, ValueError, SyntaxError):
        return
    path.unlink()


def nan(root: Path, random: np.random.Generator) -> None:
    path = _pick(root, random)
    tifffile.imwrite(path.with_suffix(".tif"), np.full((24, 28), np.nan, np.float32))
    path.unlink()


def stray_files(root: Path, random: np.random.Generator) -> None:
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "data.json", "classes.txt", "labelmap.txt", "split.csv"):
        (root / name).write_bytes(random.bytes(40))


def odd_tables(root: Path, random: np.random.Generator) -> None:
    (root / "classes.txt").write_text(str(random.choice(["cell\n", "a\nb\n", "a\nb\nc\nd\n", "a\na\n", ""])))


def broken_annotations(root: Path, random: np.random.Generator) -> None:
    texts = [
        "{",
        "[]",
        json.dumps({"images": [], "annotations": [], "categories": []}),
        json.dumps({"shapes": [], "imagePath": 3}),
    ]
    (root / "annotations.json").write_text(texts[random.integers(len(texts))])


def empty_folder(root: Path, random: np.random.Generator) -> None:
    (root / str(random.choice(["masks", "labels", "depth", "val"]))).mkdir(exist_ok=True)


def _replace(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path, format="PNG")


DAMAGES: list[Damage] = [
    *(delete, cut, noise, flip_bytes, resize, recolor, deepen, add_alpha, flatten, rename, change_suffix, copy),
    *(as_jpeg, nan, stray_files, odd_tables, broken_annotations, empty_folder),
]


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    layout=st.sampled_from(["folders", "suffix", "splits"]),
    values=st.sampled_from([(0, 1), (0, 255), (0, 1, 2), (0, 1, 255), (0, 50, 100), (0,), (1, 2), tuple(range(40))]),
    depth=st.sampled_from(["rgb", "grey", "deep"]),
    damages=st.lists(st.sampled_from(DAMAGES), max_size=3),
    seed=st.integers(0, 2**16),
)
def test_check_never_breaks_and_what_it_passes_is_trained(
    run: Run, layout: str, values: tuple[int, ...], depth: str, damages: list[Damage], seed: int
) -> None:
    random = np.random.default_rng(seed)
    with TemporaryDirectory() as folder:
        root, out = Path(folder, "data"), Path(folder, "out")
        write(root, layout, values, depth, random)
        for damage in damages:
            if sum(path.is_file() for path in root.rglob("*")) > 6:
                damage(root, random)
        status = run("check", "--root", root, "--out", out)
        assert status in (0, 1)
        event(f"check ends with {status}")
        if status == 0:
            train_an_epoch(out / "config.yaml")


def train_an_epoch(path: Path) -> None:
    """Every batch of the config's first epoch through the network, the loss and back; then the validation images."""
    import torch
    from jsonargparse import ArgumentParser

    import segmentation.cli  # noqa: F401 - names the sources
    from segmentation.data.datamodule import SegmentationDataModule
    from segmentation.model.module import SegmentationModule

    config = yaml.safe_load(path.read_text())
    parser = ArgumentParser()
    parser.add_class_arguments(SegmentationDataModule, "data")
    config["data"] |= {"workers": 0, "samples_per_epoch": 8, "crop": 32, "batch_size": 4}
    data = parser.instantiate(parser.parse_object({"data": config["data"]})).data
    data.setup("fit")
    weights = config["model"].get("class_weights")
    model = SegmentationModule(
        data.classes,
        data.in_channels,
        encoder=TINY,
        loss=config["model"]["loss"],
        class_weights=None if weights == "auto" else weights,
    )
    for batch in data.train_dataloader():
        loss = model.loss(model(batch["image"]), batch["mask"].long())
        loss.backward()
        assert torch.isfinite(loss)
    model.eval()
    for batch in data.val_dataloader():
        with torch.inference_mode():
            assert model(batch["image"]).shape[-2:] == batch["mask"].shape[-2:]
