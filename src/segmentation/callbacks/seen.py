"""A checkpoint is not scored on what it trained on."""

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from segmentation.errors import InputError
from segmentation.model.module import SegmentationModule


class RefuseSeen(Callback):
    """Compares the samples to be scored with those in the checkpoint, by id and pixels.

    Args:
        allow: Score them all the same, and log ``<stage>/seen_samples`` beside the scores.
    """

    def __init__(self, allow: bool) -> None:
        self.allow = allow

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before ``validate``; a ``fit`` checks what it resumed from."""
        self._check(trainer, pl_module, "validate")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before ``test``."""
        self._check(trainer, pl_module, "test")

    def _check(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, SegmentationModule)
        evaluated: dict[str, str] = trainer.datamodule.evaluated(stage)  # type: ignore[attr-defined] # set by the CLI
        trained = pl_module.trained_on
        # one id in two data sets is no overlap: the pixels must agree too, where they are known
        seen = [key for key, digest in evaluated.items() if key in trained and _same(digest, trained[key])]
        if not seen:
            return
        message = f"{len(seen)} of {len(evaluated)} samples to be scored were trained on: {', '.join(seen[:5])}"
        if not self.allow:
            raise InputError(f"{message}; use the split of the run (data.split_file), or --allow_seen to score them")
        rank_zero_warn(f"{message}. The scores say nothing about new images.")
        pl_module.log(f"{'val' if stage == 'validate' else 'test'}/seen_samples", float(len(seen)))


def _same(first: str, second: str) -> bool:
    return not first or not second or first == second
