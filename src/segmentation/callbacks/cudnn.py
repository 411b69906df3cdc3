"""cuDNN times its algorithms for a convolution where one size comes again and again."""

import torch
from lightning import Callback, LightningModule, Trainer


class CudnnBenchmark(Callback):
    """Lets cuDNN take the fastest algorithm for training crops, which are of one size.

    Not for validation images: each new size would be timed anew.
    """

    def __init__(self) -> None:
        self._before = torch.backends.cudnn.benchmark

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Time them."""
        torch.backends.cudnn.benchmark = True

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As it was before ``fit``."""
        torch.backends.cudnn.benchmark = self._before

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Time them again."""
        torch.backends.cudnn.benchmark = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """As it was before ``fit``."""
        torch.backends.cudnn.benchmark = self._before

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """As it was before ``fit``."""
        torch.backends.cudnn.benchmark = self._before
