"""What a fit shows while it runs: a bar with the loss, and a line for each validation, as a log file has no bar."""

import math
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.utilities import rank_zero_info

from segmentation.callbacks.checkpoints import Checkpoints

SECONDS = 1.0
"""Between two readings of the loss, each of which waits for the device."""

RATE = 5
"""Drawings of the bar a second; Lightning's 100 keep Python from the training."""


class LossBar(RichProgressBar):
    """Lightning's bar with the loss of a step, read once a second."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=RATE)
        self._read_at = -math.inf
        self._shown: dict[str, Any] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the loss when it is time; move the bar."""
        now = time.monotonic()
        if self.is_enabled and now - self._read_at >= SECONDS:
            self._shown, self._read_at = {"train/loss": float(trainer.callback_metrics["train/loss"])}, now
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The loss as it was read."""
        return self._shown


class ValidationLine(Callback):
    """Says the score that chooses the best checkpoint, after each validation of ``fit``."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it."""
        checkpoints = Checkpoints.of(trainer)
        if trainer.sanity_checking or trainer.state.fn != "fit" or checkpoints.monitor not in trainer.callback_metrics:
            return
        score = f"{checkpoints.monitor} {float(trainer.callback_metrics[checkpoints.monitor]):.4f}"
        best = " (best so far)" if checkpoints.improved(trainer) else ""
        last = f" of {trainer.max_epochs}" if (trainer.max_epochs or 0) > 0 else ""  # else steps or time end it
        rank_zero_info(f"Epoch {trainer.current_epoch + 1}{last}: {score}{best}")
