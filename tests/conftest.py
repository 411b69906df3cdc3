"""What every test shares: one thread, no network, a tiny data set on disk."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", NO_ALBUMENTATIONS_UPDATE="1", CUDA_VISIBLE_DEVICES="")

import lightning.pytorch  # noqa: F401 - its log handler keeps the stderr of the moment of import
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
    shared = "PYTEST_XDIST_WORKER" in os.environ  # the cores with other processes of the suite
    torch.set_num_threads(1 if shared else min(2, torch.get_num_threads()))


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


@pytest.fixture
def run() -> Callable[..., int]:
    """The command line in this process: ``run("fit", "--config", ...)`` gives the exit status."""
    from segmentation.__main__ import main

    def call(*args: object) -> int:
        return main([str(arg) for arg in args])

    return call


@pytest.fixture
def disk_full(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``disk_full(words)``: from now on a text with these words is cut while it is written."""
    write = Path.write_text

    def fill(words: str) -> None:
        def cut(self: Path, text: str, *args: Any, **options: Any) -> int:
            if words not in text:
                return write(self, text, *args, **options)
            write(self, text[: len(text) // 2], *args, **options)
            raise OSError(errno.ENOSPC, "No space left on device", str(self))

        monkeypatch.setattr(Path, "write_text", cut)

    return fill


@pytest.fixture
def tiny_fit(run: Callable[..., int]) -> Callable[..., Path]:
    """Train for seconds on drawn slices; gives the run folder."""

    def fit(*args: object) -> Path:
        before = set(Path("runs").glob("*/*"))
        assert run("fit", *SYNTHETIC, *QUICK, *args) == 0
        return next(iter(set(Path("runs").glob("*/*")) - before))

    return fit


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with region and EM scores, trained once; for tests that read a run and leave it as it is."""
    from segmentation.__main__ import main

    folder = tmp_path_factory.mktemp("runs") / "trained"
    arguments = (*SYNTHETIC, *QUICK, "--model.scores", "[region, em]", "--run_folder", folder)
    assert main(["fit", *map(str, arguments)]) == 0
    return folder


SYNTHETIC = ("--data.source", "SyntheticSource", "--data.source.slices", 6, "--data.source.size", 64)
"""A data set in no file; with folds 3 and fold 2 it trains on slices 0-3 and validates on 4-5."""

QUICK = (
    *("--data.folds", 3, "--data.fold", 2, "--data.crop", 32, "--data.batch_size", 2, "--data.workers", 0),
    *("--model.encoder", TINY, "--trainer.max_epochs", 2, "--trainer.log_every_n_steps", 1),
    *("--trainer.precision", "32-true", "--trainer.enable_progress_bar", "false"),
    *("--trainer.enable_model_summary", "false"),
)
"""Arguments that make any run small."""


@pytest.fixture
def quick() -> tuple[object, ...]:
    """Arguments that make any run small, for a data set of the caller's."""
    return QUICK


@pytest.fixture
def synthetic() -> tuple[object, ...]:
    """Arguments of a data set in no file."""
    return SYNTHETIC
