"""A loss or a weight that is NaN or infinite stops the run before it reaches a checkpoint."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from segmentation.errors import InputError

CURE = (
    "No checkpoint was written; those of before are kept. "
    "Lower model.lr, set trainer.gradient_clip_val: 1.0 or trainer.precision: 32-true"
)


class StopOnNonFiniteLoss(Callback):
    """Keeps a flag on the device and reads it seldom, since each reading waits for the device."""

    def __init__(self) -> None:
        self._bad: Tensor | None = None
        self._ids: list[str] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the flag; read it every ``log_every_n_steps`` batches."""
        bad = ~torch.isfinite(outputs["loss"].detach())
        self._bad = bad if self._bad is None else self._bad | bad
        self._ids += batch["id"]
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined] # set where mypy does not see it
        if (batch_idx + 1) % every == 0:
            self._read()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Read the flag before anything is written; a finite loss may have had a gradient that is not."""
        self._read()
        weights = (value for value in checkpoint["state_dict"].values() if value.is_floating_point())
        if not all(bool(torch.isfinite(value).all()) for value in weights):
            raise InputError(f"a gradient made the weights NaN or infinite, although the loss was finite. {CURE}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the flag."""
        self._read()

    def _read(self) -> None:
        ids, self._ids = self._ids, []
        bad, self._bad = self._bad, None
        if bad is not None and bool(bad):
            shown = ", ".join(dict.fromkeys(ids))
            raise InputError(
                f"the loss became NaN or infinite on one of these samples: {shown}. {CURE}, and look at these samples"
            )
