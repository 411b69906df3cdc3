"""Training with a compiled network, as a choice that never ends a run."""

import time
from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from segmentation.model.module import SegmentationModule
from segmentation.model.networks.unused import gradients

Logits = Tensor | list[Tensor]


class CompiledTraining(Callback):
    """Trains with ``torch.compile`` of the network, or after one warning without it where that fails.

    Validation and prediction run the network as it is: their scores are those of ``validate`` to the last bit, and
    images of other sizes compile nothing. Parameters keep their names; a checkpoint knows nothing of it.

    To come before ``StepSeed``: a network with dropout draws when it is tried.

    Args:
        backend: Of ``torch.compile``.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self.backend = backend
        self._compiled: _Compiled | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Compile the network for the first batch, and try it."""
        assert isinstance(pl_module, SegmentationModule)
        if self._compiled is None:
            began = time.perf_counter()
            torch.compiler.reset()  # of an earlier fit in this process
            self._compiled = _Compiled(pl_module.network, self.backend)
            pl_module.network.forward = self._compiled  # type: ignore[method-assign] # its name is in no state
            try:
                _try(trainer, pl_module, batch["image"])
            except Exception as error:  # of any compiler
                self._compiled.give_up(error)
            if self._compiled.works:
                rank_zero_info(f"Network compiled in {time.perf_counter() - began:.0f} s")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the network as it was."""
        if self._compiled is not None:
            del self._compiled.network.forward
            self._compiled = None


class _Compiled:
    """The forward of a network: compiled in training mode, as long as that works."""

    def __init__(self, network: nn.Module, backend: str) -> None:
        self.network = network
        self.eager: Callable[[Tensor], Logits] = network.forward
        self.fast: Callable[[Tensor], Logits] = torch.compile(self.eager, backend=backend)
        self.works = True

    def __call__(self, image: Tensor) -> Logits:
        if not (self.works and self.network.training):
            return self.eager(image)
        try:
            return self.fast(image)
        except Exception as error:  # another size or mode compiles anew
            logits = self.eager(image)  # raises where it is the image that does not fit
            self.give_up(error)
            return logits

    def give_up(self, error: Exception) -> None:
        self.works = False
        reason = next(iter(str(error).strip().splitlines()), "")
        rank_zero_warn(
            f"torch.compile failed, and the network is trained as it is ({type(error).__name__}: {reason}). It needs a "
            "C++ compiler such as g++, on a GPU also Triton; leave --compile out to train without"
        )


def _try(trainer: Trainer, module: SegmentationModule, image: Tensor) -> None:
    """Forwards and backwards, which is compiled by itself and may fail alone."""

    def answer() -> Logits:
        with trainer.precision_plugin.train_step_context():
            logits: Logits = module(image)
            return logits

    gradients(module.network, answer)
