"""A line for each validation: the progress bar shows the loss alone, and a log file has no bar."""

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from segmentation.callbacks.checkpoints import Checkpoints


class ValidationLine(Callback):
    """Says the score that chooses the best checkpoint, after each validation of ``fit``."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it."""
        checkpoints = trainer.checkpoint_callback
        if trainer.sanity_checking or trainer.state.fn != "fit" or not isinstance(checkpoints, Checkpoints):
            return
        name = checkpoints.monitor or ""
        if name in trainer.callback_metrics:
            newest = float(trainer.callback_metrics[name])
            before = checkpoints.best_model_score  # of the validations before this one: checkpoints are written last
            better = before is None or (newest < before if checkpoints.mode == "min" else newest > before)
            best = " (best so far)" if better else ""
            rank_zero_info(f"Epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: {name} {newest:.4f}{best}")
