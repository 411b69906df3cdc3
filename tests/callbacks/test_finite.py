"""A loss that is not finite stops the run and writes no checkpoint."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from segmentation.callbacks.finite import StopOnNonFiniteLoss
from segmentation.errors import InputError
from segmentation.model.losses.loss import Loss
from segmentation.model.module import SegmentationModule


def test_weights_that_are_not_finite_replace_no_checkpoint(
    run: Callable[..., int], synthetic, quick, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a finite loss whose gradient is not, as that of a root at 0; the next loss would be too late."""

    def spoil(self: SegmentationModule) -> None:
        if self.global_step == 3:  # the last one before the second validation
            next(self.network.parameters()).grad.fill_(torch.inf)

    monkeypatch.setattr(SegmentationModule, "on_after_backward", spoil)
    assert run("fit", *synthetic, *quick) == 1
    assert "a gradient made the weights NaN or infinite, although the loss was finite" in capsys.readouterr().err
    kept = [torch.load(path, weights_only=True) for path in Path("runs").rglob("*.ckpt")]
    assert [checkpoint["global_step"] for checkpoint in kept] == [2, 2]


@pytest.mark.parametrize("every", [1, 50])
def test_a_nan_loss_stops_and_names_the_samples(
    run: Callable[..., int],
    synthetic,
    quick,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    every: int,
) -> None:
    forward = Loss.forward
    calls = []

    def nan_at_the_third(self: Loss, logits: torch.Tensor, *rest: Any) -> torch.Tensor:
        calls.append(self.training)
        loss = forward(self, logits, *rest)
        return loss * torch.nan if sum(calls) == 3 and self.training else loss

    monkeypatch.setattr(Loss, "forward", nan_at_the_third)
    args = ("--checkpoint.every_n_steps", 1) if every == 1 else ()
    assert (
        run("fit", *synthetic, *quick, *args, "--data.samples_per_epoch", 8, "--trainer.log_every_n_steps", every) == 1
    )
    message = capsys.readouterr().err
    assert "the loss became NaN or infinite on one of these samples: slice-00" in message
    assert len(set(message.split("samples: ")[1].split(". No")[0].split(", "))) <= (2 if every == 1 else 4)
    steps = [torch.load(path, weights_only=True)["global_step"] for path in Path("runs").rglob("*.ckpt")]
    assert steps == ([2] if every == 1 else [])


def test_the_flag_is_read_in_time_and_once_set_stays() -> None:
    """Not in every step, since each reading waits for the device."""
    stop = StopOnNonFiniteLoss()
    trainer: Any = SimpleNamespace(log_every_n_steps=3)

    def step(place: int, loss: float) -> None:
        stop.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)}, {"id": ["a", f"b{place}"]}, place)

    for place in range(3):
        step(place, 1.0)  # read and forgotten
    step(3, float("inf"))
    step(4, 1.0)
    with pytest.raises(InputError, match="one of these samples: a, b3, b4, b5") as caught:
        step(5, 1.0)
    assert "b2" not in str(caught.value)
