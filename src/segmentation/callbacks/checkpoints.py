"""best.ckpt and last.ckpt, written so that a kill at any moment leaves the one before whole."""

import errno
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from segmentation.callbacks.interrupt import StopRequest
from segmentation.data.replacing import UNFINISHED, replaced
from segmentation.errors import InputError
from segmentation.metrics.direction import lower_is_better

FOLDER = "checkpoints"

AGREED = 10
"""Steps after which several processes ask each other whether one was told to stop, for which they wait."""

AFTER_VALIDATION = "train/iou"
"""The score that an epoch of training has when its last validation has ended."""


class Checkpoints(ModelCheckpoint):
    """Keeps the best checkpoint by a validation score, and the last.

    SIGTERM or Ctrl-C to any process stops all of them after the same step or validation, with a ``last.ckpt`` of it; several
    processes within ``AGREED`` steps.
    ``trainer.fast_dev_run`` writes nothing.

    Args:
        monitor: The score, such as val/iou, val/dice, val/v_rand or val/loss; higher is better unless it
            is a loss.
        every_n_steps: Write last.ckpt every n optimizer steps too, besides at every validation.
    """

    def __init__(self, monitor: str = "val/iou", every_n_steps: int | None = None) -> None:
        super().__init__(
            monitor=monitor,
            mode="min" if lower_is_better(monitor) else "max",
            filename="best",
            auto_insert_metric_name=False,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        if monitor == AFTER_VALIDATION:
            raise InputError(
                f"checkpoint.monitor is {monitor}, which is not known yet when best.ckpt is written, at the end of a "
                "validation; give a score of the validation, such as val/iou"
            )
        if every_n_steps is not None and every_n_steps < 1:
            raise InputError(f"checkpoint.every_n_steps is {every_n_steps}; give 1 or more, or null")
        self.every_n_steps = every_n_steps
        self._written = 0
        self._step = 0
        self._stop = StopRequest()

    @classmethod
    def of(cls, trainer: Trainer) -> "Checkpoints":
        """Those of a trainer, to which a user may have given a ModelCheckpoint of his own."""
        return next(one for one in trainer.checkpoint_callbacks if isinstance(one, cls))

    @property
    def stopped_by(self) -> int:
        """The number of the signal that stopped this process or, by default SIGTERM, one of the others."""
        return self._stop.number or signal.SIGTERM

    def improved(self, trainer: Trainer) -> bool:
        """Whether the validation that ends is the best so far; for callbacks, which come before best.ckpt is written.

        False where best.ckpt is not written: of one optimizer step it is written once. Every process must ask, as they
        agree on the answer.
        """
        if self._should_skip_saving_checkpoint(trainer):
            return False
        return self.check_monitor_top_k(trainer, trainer.callback_metrics.get(str(self.monitor)))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know the best checkpoint again, if it lies here; the run may have been moved or copied."""
        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: self._here(state_dict[name]) for name in names}
        if Path(moved["best_model_path"]).is_file():
            scores = {self._here(path): score for path, score in state_dict["best_k_models"].items()}
            super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath, "best_k_models": scores})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen for SIGTERM and Ctrl-C; remove what an earlier process of the run could not write to its end."""
        super().on_train_start(trainer, pl_module)
        if trainer.is_global_zero and self.dirpath is not None:
            for unfinished in Path(self.dirpath).glob(UNFINISHED):
                unfinished.unlink()
        self._step = trainer.global_step
        self._stop.listen()
        self._stop.number = signal.SIGTERM if trainer.received_sigterm else None  # while the sanity check ran

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write best.ckpt when the score improved, and last.ckpt."""
        if trainer.state.fn != "fit":
            return
        self._check_monitors(trainer)  # in the sanity check too, so that a wrong name is told before any step
        if trainer.sanity_checking:
            return
        super().on_validation_end(trainer, pl_module)
        self._save_last(trainer)
        if self._shall_stop(trainer):
            raise SIGTERMException

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write last.ckpt every n steps, and when the run is asked to stop."""
        if trainer.global_step == self._step:  # the gradients that are being accumulated are in no checkpoint
            return
        self._step = trainer.global_step
        asked = trainer.world_size == 1 or trainer.global_step % AGREED == 0
        stop = asked and self._shall_stop(trainer)
        if stop or (self.every_n_steps and trainer.global_step % self.every_n_steps == 0):
            self._save_last(trainer)
        if stop:
            raise SIGTERMException

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write last.ckpt of steps after the last validation, or of a fit too short for one."""
        if trainer.global_step != self._written:
            self._save_last(trainer)

    def _shall_stop(self, trainer: Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(self._stop.number is not None, all=False)

    def _here(self, path: str) -> str:
        assert self.dirpath is not None
        return str(Path(self.dirpath, Path(path).name)) if path else ""

    def _save_last(self, trainer: Trainer) -> None:
        if vars(trainer)["fast_dev_run"]:
            return
        self._written = trainer.global_step
        self.last_model_path = self._here("last.ckpt")
        trainer.save_checkpoint(self.last_model_path)

    def _check_monitors(self, trainer: Trainer) -> None:
        known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
        watched = [("checkpoint.monitor", str(self.monitor))]
        for stopping in trainer.early_stopping_callbacks:
            option = f"the monitor of {type(stopping).__name__}"
            if stopping.monitor != AFTER_VALIDATION:
                watched.append((option, stopping.monitor))
            elif not stopping._check_on_train_epoch_end:  # Lightning's own choice too, where None was given
                raise InputError(
                    f"{option}, {AFTER_VALIDATION!r}, is not known yet when a validation ends; give it "
                    "check_on_train_epoch_end: true, or a score of the validation, such as val/iou"
                )
        for option, name in watched:
            if name in trainer.callback_metrics or (trainer.sanity_checking and name.startswith("train/")):
                continue
            if not trainer.sanity_checking:  # the training has begun without a check
                self._save_last(trainer)
            raise InputError(f"{option}, {name!r}, is not logged; known: {', '.join(known)}")


def check_accumulation(interval: float | None, accumulated: int, batches: int, over_epochs: bool) -> None:
    """Raise InputError when a validation would come between two steps: its checkpoint had lost the gradients so far.

    Args:
        interval: ``trainer.val_check_interval``: batches, as float a share of an epoch; None for a time.
        accumulated: ``trainer.accumulate_grad_batches``.
        batches: Of an epoch, whose last one is always followed by a step.
        over_epochs: Whether the interval is counted on over the ends of epochs.
    """
    every = max(1, int(batches * interval)) if isinstance(interval, float) else interval or 1
    apart = math.gcd(every, batches) if over_epochs else every  # multiples of it are where validations come in an epoch
    if apart >= batches or apart % accumulated == 0:
        return
    fitting = batches if over_epochs and batches % accumulated else accumulated
    following = math.ceil(every / fitting) * fitting
    shown = "a time" if interval is None else f"{interval} ({every} batches)" if interval != every else interval
    raise InputError(
        f"trainer.val_check_interval is {shown} and trainer.accumulate_grad_batches {accumulated}, so that a validation "
        "would come in the middle of a step, whose gradients are in no checkpoint; set trainer.val_check_interval: "
        f"{following if over_epochs else min(following, batches)}"
    )


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that the target is always whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            InputError: When the folder cannot be written or the disk is full; an earlier file stays.
        """
        target = Path(path)
        try:
            with replaced(target) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            reason = "no space left on the disk" if _disk_full(error, target) else str(error).splitlines()[0]
            raise InputError(
                f"{target} cannot be written ({reason}); free space or set trainer.default_root_dir to another disk, "
                "then resume with --ckpt_path last"
            ) from error


def _disk_full(error: Exception, target: Path) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    try:
        return shutil.disk_usage(target.parent).free == 0
    except OSError:
        return False
