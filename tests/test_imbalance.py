"""A class of half a per cent of the pixels: its share is shown, weighed, and looked for."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segmentation.model.predictor import load_module

Run = Callable[..., int]
AUTO = ("--model.class_weights", "auto", "--model.loss", "{bce: 1}")
BALANCED = [0.13239, 1.86761]
"""By hand: 1 / sqrt(0.995) and 1 / sqrt(0.005), divided by their mean."""


@pytest.fixture
def rare_data(tmp_path: Path) -> tuple[object, ...]:
    """Six images 40x40 with a bright lesion of 2x4 pixels, 0.5 %, as arguments of ``fit``."""
    random = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "rare" / part).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((40, 40), np.uint8)
        top, left = random.integers(0, 36, 2)
        mask[top : top + 2, left : left + 4] = 1
        image = random.normal(80, 20, (40, 40)) + mask * 120.0
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(tmp_path / f"rare/images/{number}.png")
        Image.fromarray(mask).save(tmp_path / f"rare/masks/{number}.png")
    return (
        *("--data.source", "FolderSource", "--data.source.root", tmp_path / "rare"),
        *("--data.source.classes", "[background, lesion]", "--data.source.in_channels", 1),
    )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What ``fit`` says about data and weights."""
    lines: list[str] = []
    for module in ("segmentation.data.datamodule", "segmentation.model.module"):
        monkeypatch.setattr(f"{module}.rank_zero_info", lines.append)
    return lines


def fit(run: Run, *args: object) -> Path:
    before = set(Path("runs").glob("*/*"))
    assert run("fit", *args) == 0
    return next(iter(set(Path("runs").glob("*/*")) - before))


def weights_of(folder: Path) -> list[float]:
    weights = load_module(folder / "checkpoints/last.ckpt").loss.class_weights
    assert weights is not None
    return weights.tolist()


def test_fit_shows_and_balances_rare_classes(run: Run, quick, rare_data, told: list[str]) -> None:
    folder = fit(run, *rare_data, *quick, *AUTO, "--data.foreground_crops", 1.0, "--data.split_kind", "stratified")
    assert "Data: 4 train, 2 val, 0 test; training pixels: background 99.5%, lesion 0.5%" in told
    assert "Class weights: background 0.132, lesion 1.87" in told
    assert weights_of(folder) == pytest.approx(BALANCED, abs=1e-5)


def test_validation_masks_have_no_part_in_the_weights(run: Run, quick, rare_data, tmp_path: Path) -> None:
    for name in ("4", "5"):  # what folds 3, fold 2 validates on
        Image.fromarray(np.ones((40, 40), np.uint8)).save(tmp_path / f"rare/masks/{name}.png")
    assert weights_of(fit(run, *rare_data, *quick, *AUTO)) == pytest.approx(BALANCED, abs=1e-5)


def test_a_checkpoint_keeps_its_weights(run: Run, quick, rare_data, told: list[str], tmp_path: Path) -> None:
    folder = fit(run, *rare_data, *quick, *AUTO)
    checkpoint = folder / "checkpoints/last.ckpt"
    for path in (tmp_path / "rare/masks").iterdir():
        Image.fromarray(np.roll(np.eye(40, dtype=np.uint8), 3, 0)).save(path)  # 2.5 %
    told.clear()
    assert run("fit", *rare_data, *quick, *AUTO, "--ckpt_path", checkpoint, "--trainer.max_epochs", 3) == 0
    assert "Class weights: background 0.132, lesion 1.87" in told
    assert weights_of(folder) == pytest.approx(BALANCED, abs=1e-5)


def test_validate_scores_with_the_weights_of_fit(run: Run, quick, rare_data) -> None:
    folder = fit(run, *rare_data, *quick, *AUTO)
    module = load_module(folder / "checkpoints/last.ckpt")
    logits, mask = torch.tensor([[[[0.0, 2.0]]]]), torch.tensor([[[1, 0]]])
    expected = (BALANCED[1] * np.log(2) + BALANCED[0] * np.log1p(np.exp(2))) / sum(BALANCED)
    assert float(module.loss(logits, mask)) == pytest.approx(expected, abs=1e-5)
    losses = []
    # given by the user, they win over those of the checkpoint
    for given in ((), ("--model.class_weights", "null"), ("--model.class_weights", "[1, 1]")):
        before = set(folder.glob("validate-*"))
        assert run("validate", "--ckpt_path", folder / "checkpoints/last.ckpt", *given) == 0
        [made] = set(folder.glob("validate-*")) - before
        losses.append(json.loads((made / "scores.json").read_text())["loss"])
    assert losses[1] == losses[2] != pytest.approx(losses[0], rel=0.01)


def test_automatic_weights_are_refused_with_the_losses_that_take_them(
    run: Run, quick, rare_data, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", *rare_data, *quick, "--model.class_weights", "auto") == 1  # bce and dice
    assert "model.class_weights: dice takes none in a task of 2 classes" in capsys.readouterr().err
    assert not Path("runs").exists()
