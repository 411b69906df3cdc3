"""The exponential moving average of the weights, with which a run is validated and its best checkpoint written."""

from collections.abc import Callable, Sequence
from itertools import chain
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
        super().__init__()
        self._move = moving_average(decay)
        self._steps = 0  # as n_averaged; to read that in every step would be to wait for a GPU

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the average what the module has got since it was copied: the device, the normalisation, class weights."""
        average = self._average()
        average.to(pl_module.device)
        average.module.loss = pl_module.loss  # its weights are in no state of a checkpoint
        if average.n_averaged == 0:
            average.module.load_state_dict(pl_module.state_dict())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know the steps before a resumed run; from a state in the checkpoint, validate would miss this callback."""
        self._latest_update_step = trainer.global_step
        self._steps = int(self._average().n_averaged)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Bring the average up to date after an optimizer step."""
        if trainer.global_step == self._latest_update_step:
            return
        average = self._average()
        # by name: validations give the module buffers that the average has not
        values, current = (
            {name: value.detach() for name, value in chain(module.named_parameters(), module.named_buffers())}
            for module in (average.module, pl_module)
        )
        averages, weights = list(values.values()), [current[name] for name in values]
        if self._steps == 0:
            torch._foreach_copy_(averages, weights)
        else:
            self._move(averages, weights, self._steps)
        average.n_averaged += 1
        self._steps += 1
        self._latest_update_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the weights as they are: a last.ckpt that is written now is one to go on from."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing; see ``on_train_start``."""
        return {}

    def _average(self) -> AveragedModel:
        assert self._average_model is not None
        return self._average_model


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], int], None]:
    """What brings a list of averages up to date in place, from the weights and the number of steps averaged."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], steps: int) -> None:
        share = 1 - min(decay, (1 + steps) / (10 + steps))
        pairs = list(zip(averages, weights, strict=True))
        real = [pair for pair in pairs if pair[0].is_floating_point()]
        if real:
            torch._foreach_lerp_([average for average, _ in real], [weight for _, weight in real], share)
        for average, weight in pairs:
            if not average.is_floating_point():  # the number of batches that batch normalisation has seen
                average.copy_(weight)

    return update


def check_average(decay: float | None) -> None:
    """Raise InputError for a decay that is none."""
    if decay is not None and not 0 < decay < 1:
        raise InputError(f"model.ema is {decay}; give a decay above 0 and below 1, such as 0.999, or null")
