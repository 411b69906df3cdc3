"""The moving average of the weights: by hand, and in a run that is validated with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from segmentation import cli
from segmentation.errors import InputError
from segmentation.model.averaging import check_average, moving_average

DECAY = 0.3

Fit = Callable[..., Path]
Weights = dict[str, torch.Tensor]


class Recorder(Callback):
    """Keeps the state of the module after each optimizer step, before Lightning's callbacks change it."""

    def __init__(self, kept: list[Weights]) -> None:
        self.kept = kept

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        if trainer.global_step > len(self.kept):
            self.kept.append({name: value.clone() for name, value in module.state_dict().items()})


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Weights]:
    """The states after each step of the next ``fit``."""
    kept: list[Weights] = []
    monkeypatch.setattr(cli, "WarnOneClass", lambda: Recorder(kept))
    return kept


def stored(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def test_a_step_by_hand():
    averages, weights = [torch.tensor([2.0]), torch.tensor([5.0])], [torch.tensor([4.0]), torch.tensor([5.0])]
    moving_average(0.9)(averages, weights, 1)
    assert averages[0].item() == pytest.approx(2 + (4 - 2) * (1 - 2 / 11))  # (1 + 1) / (10 + 1) is less than 0.9
    assert averages[1].item() == 5  # what does not change stays exactly
    averages = [torch.tensor([2.0])]
    moving_average(0.9)(averages, [torch.tensor([4.0])], 100)
    assert averages[0].item() == pytest.approx(2.2)


def test_a_count_is_taken_over():
    counts = [torch.tensor(3)]
    moving_average(0.9)(counts, [torch.tensor(8)], 5)
    assert counts[0].item() == 8


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 2.0])
def test_a_decay_out_of_range_is_refused(decay):
    check_average(None)
    with pytest.raises(InputError, match=f"model.ema is {decay}; give a decay above 0 and below 1"):
        check_average(decay)


def test_the_checkpoint_has_the_average_of_the_run(tiny_fit: Fit, recorded: list[Weights]) -> None:
    """By hand from the weights after each step, statistics of batch normalisation included."""
    folder = tiny_fit("--model.ema", DECAY, "--data.samples_per_epoch", 6)
    last = stored(folder / "checkpoints/last.ckpt")
    assert len(recorded) == last["global_step"] == 6
    averages = {name: value.double() for name, value in recorded[0].items()}
    for steps, weights in enumerate(recorded[1:], start=1):
        share = 1 - min(DECAY, (1 + steps) / (10 + steps))
        for name, average in averages.items():
            averages[name] = average + share * (weights[name].double() - average)
    normalised = [name for name in averages if name.endswith("running_var")]
    assert normalised and not torch.equal(last["state_dict"][normalised[0]], recorded[-1][normalised[0]])
    for name, average in averages.items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(last["state_dict"][name], average.float(), msg=name)
    assert all(torch.equal(value, recorded[-1][name]) for name, value in last["current_model_state"].items())
    assert last["averaging_state"]["n_averaged"] == 6


def test_training_itself_is_that_without_an_average(tiny_fit: Fit) -> None:
    averaged, plain = (stored(tiny_fit(*args) / "checkpoints/last.ckpt") for args in (("--model.ema", 0.9), ()))
    assert all(torch.equal(value, plain["state_dict"][name]) for name, value in averaged["current_model_state"].items())
    assert "current_model_state" not in plain


def test_validate_reproduces_the_scores_of_the_average(tiny_fit: Fit, run: Callable[..., int]) -> None:
    folder = tiny_fit("--model.ema", 0.9, "--model.loss", "{bce: 1}", "--model.class_weights", "auto")
    assert run("validate", "--ckpt_path", folder / "checkpoints/best.ckpt") == 0
    fitted, validated = (
        json.loads((place / "scores.json").read_text()) for place in (folder, next(folder.glob("validate-*")))
    )
    del fitted["epoch"], fitted["scored"], validated["scored"]
    assert fitted == validated


def test_steps_after_the_last_validation_leave_weights_to_go_on_from(
    tiny_fit: Fit, run: Callable[..., int], recorded: list[Weights]
) -> None:
    """The last epoch is not validated, and its last.ckpt is written when training has ended."""
    folder = tiny_fit("--model.ema", 0.9, "--trainer.check_val_every_n_epoch", 2, "--trainer.max_epochs", 3)
    last = stored(folder / "checkpoints/last.ckpt")
    assert last["global_step"] == len(recorded) == 6
    assert all(torch.equal(value, recorded[-1][name]) for name, value in last["current_model_state"].items())
    differing = [name for name, value in last["state_dict"].items() if not torch.equal(value, recorded[-1][name])]
    assert differing
