"""Options of the Trainer and of the schedule, by what they do to the weights and the rate."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Callback

from segmentation import cli

Fit = Callable[..., Path]

ADDITIVE = (
    *("--model.encoder", "tu-test_convnext2.r160_in1k", "--model.network_options", "{decoder_use_norm: false}"),
    *("--model.loss", "{bce: 1}", "--model.optimizer", "sgd", "--model.lr", 0.1, "--data.samples_per_epoch", 8),
)
"""Without batch normalisation and dice, the gradient of a batch is the mean of those of its parts."""


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def rates(folder: Path, name: str = "lr-AdamW") -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_two_batches_of_two_are_one_of_four(tiny_fit: Fit) -> None:
    at_once = tiny_fit(*ADDITIVE, "--data.batch_size", 4)
    in_parts = tiny_fit(*ADDITIVE, "--data.batch_size", 2, "--trainer.accumulate_grad_batches", 2)
    first, second = last(at_once), last(in_parts)
    assert first["global_step"] == second["global_step"] == 4
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(second["state_dict"][name], value, rtol=1e-4, atol=1e-6, msg=name)
    # the schedule counts steps of the optimizer, not batches
    (one,), (two,) = first["lr_schedulers"], second["lr_schedulers"]
    assert one["last_epoch"] == two["last_epoch"] == 4
    assert one["_last_lr"] == two["_last_lr"] == [pytest.approx(0)]  # the end of the cosine
    assert set(rates(at_once, "lr-SGD")) == set(rates(in_parts, "lr-SGD"))


class Start(Callback):
    """Keeps the weights that a training starts from."""

    def __init__(self, kept: dict[str, torch.Tensor]) -> None:
        self.kept = kept

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.kept.update({name: value.detach().clone() for name, value in module.named_parameters()})


def test_a_clipped_step_is_as_long_as_it_may_be(tiny_fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    start: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(cli, "WarnOneClass", lambda: Start(start))

    def length(*args: object) -> float:
        step = ("--model.lr", 1, "--model.weight_decay", 0, "--model.schedule", "constant", "--trainer.max_steps", 1)
        after = last(tiny_fit(*ADDITIVE, *step, *args))["state_dict"]
        return float(sum((after[name] - value).square().sum() for name, value in start.items()).sqrt())

    assert length() > 0.02
    assert length("--trainer.gradient_clip_val", 0.01) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.filterwarnings("ignore:3 validations in a row")  # at these rates nothing is learned
@pytest.mark.parametrize(("every", "expected"), [(1, [1.0, 1.0, 0.5, 0.25, 0.125]), (2, [1.0, 1.0, 1.0, 1.0, 0.5])])
@pytest.mark.parametrize(("monitor", "threshold"), [("val/loss", 0.999), ("val/iou", 1e6)])
def test_a_plateau_lowers_the_rate_after_a_validation(tiny_fit: Fit, every, expected, monitor, threshold) -> None:
    """No score gains so much: each validation but the first is one too many."""
    options = f"{{monitor: {monitor}, patience: 0, threshold: {threshold}, factor: 0.5}}"
    folder = tiny_fit(
        *("--model.schedule", "plateau", "--model.schedule_options", options, "--model.lr", 1e-3),
        *("--trainer.max_epochs", 5, "--trainer.check_val_every_n_epoch", every),
    )
    assert rates(folder) == pytest.approx([1e-3 * factor for factor in expected])


def test_a_plateau_of_an_unknown_score_is_refused_before_the_first_step(
    run: Callable[..., int], synthetic, quick, capsys
) -> None:
    args = ("--model.schedule", "plateau", "--model.schedule_options", "{monitor: val/dise}")
    assert run("fit", *synthetic, *quick, *args) == 1
    assert "monitor 'val/dise' is no score of a validation; did you mean 'val/dice'" in capsys.readouterr().err
    assert not list(Path("runs").rglob("*.ckpt"))


def test_sizes_that_were_given_count_in_every_validation(run: Callable[..., int], folder_data: Path, quick) -> None:
    """Nothing is chosen with three classes, so that the scores of a validation are those of its checkpoint."""
    source = ("--data.source", "FolderSource", "--data.source.root", folder_data)
    sizes = ("--model.smallest_object", 10_000, "--model.largest_hole", 0)
    classes = ("--data.source.classes", "[ground, square, ring]")
    assert run("fit", *source, *classes, *sizes, *quick, "--run_folder", "run") == 0
    with Path("run/metrics.csv").open() as file:
        seen = [float(row["val/recall/square"]) for row in csv.DictReader(file) if row["val/iou"]]
    assert seen == [0, 0]  # which is smaller than that


def test_one_device_trains_unless_more_are_asked_for(trained: Path) -> None:
    """Lightning's own default is every GPU, with which a batch would be as many times as large."""
    assert yaml.safe_load((trained / "config.yaml").read_text())["trainer"]["devices"] == 1


def test_gradients_of_a_fused_optimizer_that_cannot_be_clipped_are_refused(
    run: Callable[..., int], synthetic, quick, capsys: pytest.CaptureFixture[str]
) -> None:
    fused = ("--model.optimizer_options", "{fused: true}", "--trainer.gradient_clip_val", 1)
    assert run("fit", *synthetic, *quick, *fused, "--trainer.precision", "bf16-mixed") == 1
    assert "trainer.gradient_clip_val clips no gradients of a fused optimizer" in capsys.readouterr().err


class Fails(Callback):
    """As a GPU does at the first batch."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def on_train_batch_start(self, *_: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nand more lines"),
            "error: the memory of the GPU is full: give a smaller data.batch_size",
        ),
        (
            RuntimeError(
                "cumsum_cuda_kernel does not have a deterministic implementation, but you set ...\nand more lines"
            ),
            "error: trainer.deterministic: true is more than this network and loss can on a GPU; give warn",
        ),
    ],
)
def test_what_a_gpu_refuses_is_told_with_the_cure(
    run: Callable[..., int],
    synthetic,
    quick,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    told: str,
) -> None:
    monkeypatch.setattr(cli, "WarnOneClass", lambda: Fails(error))
    assert run("fit", *synthetic, *quick) == 1
    message = capsys.readouterr().err
    assert told in message and f"({str(error).splitlines()[0]})" in message and "more lines" not in message
