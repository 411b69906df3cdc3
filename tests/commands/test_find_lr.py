"""find_lr: the rate by hand, and a config that fit takes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segmentation.commands.find_lr import of_each_step, steepest

Run = Callable[..., int]

RATES = np.logspace(-6, 0, 61)
"""Ten to a decade."""


def falling() -> np.ndarray:
    """A smooth step down around 1e-3."""
    return 1 / (1 + (RATES / 1e-3) ** 2)


def test_the_rate_is_where_the_loss_falls_fastest():
    best = steepest(RATES, falling() + np.where(RATES > 0.1, 10 * RATES, 0))
    assert best is not None
    assert RATES[best] == pytest.approx(1e-3, rel=0.01)


def test_noise_at_the_lowest_rates_is_no_slope():
    """Over the rate itself, a fall of 0.01 between 1.00e-6 and 1.26e-6 would be steeper than all others."""
    losses = falling()
    losses[2] -= 0.01
    assert np.gradient(losses, RATES).argmin() < 5
    best = steepest(RATES, losses)
    assert best is not None
    assert RATES[best] == pytest.approx(1e-3, rel=0.01)


NOISE = 0.01 * np.random.default_rng(0).normal(size=61)


@pytest.mark.parametrize("losses", [np.linspace(1, 2, 61), np.ones(61), 1 + NOISE, np.ones(1)])
def test_a_loss_that_never_falls_gives_no_rate(losses):
    assert steepest(RATES[: len(losses)], losses) is None


def test_the_losses_are_had_back_from_the_running_mean_of_lightning():
    losses, mean, shown = [1.0, 3.0, 2.0, np.nan, 1.0], 0.0, []
    for step, loss in enumerate(losses, start=1):  # as Lightning's callback has it
        mean = 0.98 * mean + 0.02 * loss
        shown.append(mean / (1 - 0.98 ** (step + 1)))
    assert shown[0] == pytest.approx(1 / 1.98)  # half of the first loss
    assert of_each_step(shown) == pytest.approx([1.0, 3.0, 2.0])  # as long as they were finite


def test_fit_takes_what_was_found(run: Run, synthetic, quick, capsys: pytest.CaptureFixture[str]) -> None:
    # less than an epoch for each of the user's two
    args = (*synthetic, *quick, "--data.samples_per_epoch", 8)
    assert run("find_lr", *args, "--out", "found/lr.yaml", "--steps", 40, "--lowest", 1e-5) == 0
    # nothing else is written: no run, no temporary checkpoint
    assert {str(path) for path in Path().rglob("*") if path.is_file()} == {"found/lr.yaml", "found/lr.png"}
    found = yaml.safe_load(Path("found/lr.yaml").read_text())
    rate = found["model"]["lr"]
    assert found == {"model": {"lr": rate}}
    assert 1e-5 < rate < 1
    assert f"Learning rate: {rate:g} (model.lr is 0.001)" in capsys.readouterr().out
    with Image.open("found/lr.png") as picture:
        assert picture.size == (700, 400)
    text = Path("found/lr.yaml").read_text()
    assert run("find_lr", *args, "--out", "found/lr.yaml", "--steps", 40, "--lowest", 1e-5) == 1
    assert "found/lr.yaml is there already; nothing overwritten" in capsys.readouterr().err
    assert run("find_lr", *args, "--out", "found/lr.yaml", "--steps", 40, "--lowest", 1e-5, "--overwrite") == 0
    assert Path("found/lr.yaml").read_text() == text  # seeds are fixed
    assert run("fit", *args, "--config", "found/lr.yaml", "--run_folder", "run") == 0
    assert yaml.safe_load(Path("run/config.yaml").read_text())["model"]["lr"] == rate


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--lowest", 1, "--highest", 0.1), "--lowest is 1.0 and --highest 0.1"),
        (("--steps", 5), "--steps is 5; give 20 or more"),
        (("--ckpt_path", "best"), "--ckpt_path is best, but no run is made or gone on with here; leave it out"),
        (("--model.lrr", 1), "--model.lrr"),
        (("--data.source.slices", 1), "data.folds is 3 for 1 samples"),
    ],
)
def test_wrong_arguments_are_refused(run: Run, synthetic, quick, capsys, args, message) -> None:
    assert run("find_lr", "--out", "lr.yaml", *synthetic, *quick, *args) == 1
    assert message in capsys.readouterr().err
    assert not list(Path().rglob("*"))


def test_the_result_is_a_yaml_file(run: Run, synthetic, quick, capsys) -> None:
    assert run("find_lr", "--out", "lr.png", *synthetic, *quick) == 1
    assert "--out is lr.png; give the name of a YAML file, such as lr.yaml" in capsys.readouterr().err
