"""What every test shares: one thread, no network, a tiny data set on disk."""

import os
from pathlib import Path

os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", NO_ALBUMENTATIONS_UPDATE="1", CUDA_VISIBLE_DEVICES="")

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"

TINY = "tu-test_resnet.r160_in1k"
"""timm's smallest encoder: a step takes milliseconds."""


@pytest.fixture(autouse=True, scope="session")
def _two_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in a folder of its own, so that no run folder lands in the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGMENTATION_RUN_FOLDER", raising=False)


@pytest.fixture
def shared_data() -> Path:
    """The real data sets, where they lie beside the checkout."""
    if not DATA.is_dir():
        pytest.skip(f"the real data sets are not at {DATA}")
    return DATA


@pytest.fixture
def folder_data(tmp_path: Path) -> Path:
    """``images/`` and ``masks/`` of six RGB images 40x48 with a bright square of class 1."""
    return write_folder(tmp_path / "folder")


def write_folder(
    root: Path, count: int = 6, size: tuple[int, int] = (40, 48), values: tuple[int, int] = (0, 1)
) -> Path:
    """Draw a data set that a network learns in seconds: a bright square on noise."""
    random = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(count):
        height, width = size
        top, left = random.integers(0, height // 2), random.integers(0, width // 2)
        truth = np.zeros(size, bool)
        truth[top : top + height // 2, left : left + width // 2] = True
        image = random.normal(80, 20, (*size, 3)) + truth[..., None] * 90
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(root / "images" / f"{number:02d}.png")
        mask = np.where(truth, values[1], values[0]).astype(np.uint8)
        Image.fromarray(mask).save(root / "masks" / f"{number:02d}.png")
    return root
