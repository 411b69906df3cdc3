"""When cuDNN may time its algorithms."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback

from segmentation import cli

Fit = Callable[..., Path]


class Flags(Callback):
    """Notes whether algorithms are timed, in training steps and in validation steps."""

    def __init__(self) -> None:
        self.training: set[bool] = set()
        self.validation: set[bool] = set()

    def on_train_batch_end(self, *_: Any) -> None:
        self.training.add(torch.backends.cudnn.benchmark)

    def on_validation_batch_end(self, *_: Any) -> None:
        self.validation.add(torch.backends.cudnn.benchmark)


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> Flags:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    kept = Flags()
    monkeypatch.setattr(cli, "WarnOneClass", lambda: kept)
    return kept


def test_crops_of_one_size_are_timed_and_validation_images_are_not(tiny_fit: Fit, flags: Flags) -> None:
    tiny_fit()
    assert (flags.training, flags.validation) == ({True}, {False})
    assert not torch.backends.cudnn.benchmark  # as before


@pytest.mark.parametrize("argument", [("--data.crop", "null"), ("--trainer.benchmark", "false")])
def test_whole_images_are_not_timed_and_the_user_has_the_last_word(tiny_fit: Fit, flags: Flags, argument) -> None:
    tiny_fit(*argument, "--trainer.max_epochs", 1)
    assert (flags.training, flags.validation) == ({False}, {False})


def test_a_fit_that_breaks_leaves_nothing_behind(tiny_fit: Fit, flags: Flags, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(flags, "on_train_batch_end", broken)
    with pytest.raises(RuntimeError, match="broken"):
        tiny_fit()
    assert not torch.backends.cudnn.benchmark
