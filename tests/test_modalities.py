"""A class that only depth shows: a source of two parts learns it, one of RGB alone does not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., int]


def draw(root: Path, count: int = 12) -> None:
    """Colour is noise; the square of class 1 lies 300 units nearer than the rest."""
    random = np.random.default_rng(0)
    for folder in ("rgb", "depth", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        truth = np.zeros((32, 32), bool)
        top, left = random.integers(0, 16, 2)
        truth[top : top + 16, left : left + 16] = True
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(root / "rgb" / f"{number}.png")
        depth = random.normal(2000, 20, (32, 32)) - 300 * truth
        Image.fromarray(depth.astype(np.uint16)).save(root / "depth" / f"{number}.png")
        Image.fromarray(truth.astype(np.uint8)).save(root / "masks" / f"{number}.png")


def iou(run: Run, quick: tuple[object, ...], *images: object) -> float:
    before = set(Path("runs").glob("*/*"))
    options = ("--trainer.max_epochs", 6, "--data.samples_per_epoch", 32, "--data.batch_size", 4, "--model.lr", 1e-2)
    assert run("fit", "--data.source", "FolderSource", "--data.source.root", "data", *images, *quick, *options) == 0
    (folder,) = set(Path("runs").glob("*/*")) - before
    scores: dict[str, float] = json.loads((folder / "scores.json").read_text())
    return scores["iou/foreground"]


def test_depth_shows_what_colour_does_not(run: Run, quick: tuple[object, ...]) -> None:
    draw(Path("data"))
    both = iou(run, quick, "--data.source.images", "[rgb, depth]", "--data.source.in_channels", 4)
    colour = iou(run, quick, "--data.source.images", "rgb")
    assert both > 0.8
    assert colour < 0.6


def test_an_encoder_for_each_modality_learns_it_too(
    run: Run, quick: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    draw(Path("data"))
    images = ("--data.source.images", "[rgb, depth]", "--data.source.in_channels", 4)
    assert iou(run, quick, *images, "--model.modalities", "[3, 1]") > 0.8
    (checkpoint,) = Path("runs").glob("*/*/checkpoints/best.ckpt")
    assert run("validate", "--ckpt_path", checkpoint) == 0
    assert run("validate", "--ckpt_path", checkpoint, "--model.modalities", "[1, 3]") == 1
    assert "model.modalities is [1, 3]" in capsys.readouterr().err
