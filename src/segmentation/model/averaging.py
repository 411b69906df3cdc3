"""The exponential moving average of the weights, with which a run is validated and its best checkpoint written."""

from collections.abc import Callable
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from segmentation.errors import InputError


class AverageWeights(WeightAveraging):
    """Averages the weights after each optimizer step (Polyak & Juditsky 1992, doi 10.1137/0330046).

    ``average += (1 - d) * (weights - average)`` with ``d = min(decay, (1 + t) / (10 + t))`` after t steps, so that a
    short run does not average over its beginning. The running statistics of batch normalisation are averaged alike:
    they belong to weights of the same age.

    Validation, and with it the threshold and ``best.ckpt``, uses the average; training goes on with its own weights. A
    checkpoint holds the average as ``state_dict`` and the others as ``current_model_state``.

    Args:
        decay: The largest d, between 0 and 1.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=moving_average(decay))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the average what the module has got since it was copied: the normalisation, the class weights."""
        average = self._average()
        average.module.loss = pl_module.loss  # its weights are in no state of a checkpoint
        if average.n_averaged == 0:
            average.module.load_state_dict(pl_module.state_dict())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know the steps before a resumed run; from a state in the checkpoint, validate would miss this callback."""
        self._latest_update_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the weights as they are: a last.ckpt that is written now is one to go on from."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing; see ``on_train_start``."""
        return {}

    def _average(self) -> AveragedModel:
        assert self._average_model is not None
        return self._average_model


def moving_average(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """What brings a list of averages up to date in place, from the weights and the number of steps averaged."""

    @torch.no_grad()
    def update(averages: Any, weights: Any, steps: Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        for average, weight in zip(averages, weights, strict=True):
            if average.is_floating_point():
                average.lerp_(weight, share)
            else:  # the number of batches that batch normalisation has seen
                average.copy_(weight)

    return update


def check_average(decay: float | None) -> None:
    """Raise InputError for a decay that is none."""
    if decay is not None and not 0 < decay < 1:
        raise InputError(f"model.ema is {decay}; give a decay above 0 and below 1, such as 0.999, or null")
