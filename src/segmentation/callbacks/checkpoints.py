"""best.ckpt and last.ckpt, written so that a kill at any moment leaves the one before whole."""

import errno
import os
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from segmentation.errors import InputError

FOLDER = "checkpoints"


class Checkpoints(ModelCheckpoint):
    """Keeps the best checkpoint by a validation score, and the last.

    Args:
        monitor: The score, such as val/iou, val/dice, val/v_rand or val/loss; higher is better unless it
            is a loss.
        every_n_steps: Write last.ckpt every n optimizer steps too, besides at every validation.
    """

    def __init__(self, monitor: str = "val/iou", every_n_steps: int | None = None) -> None:
        super().__init__(
            monitor=monitor,
            mode="min" if "loss" in monitor else "max",
            filename="best",
            auto_insert_metric_name=False,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        if every_n_steps is not None and every_n_steps < 1:
            raise InputError(f"checkpoint.every_n_steps is {every_n_steps}; give 1 or more, or null")
        self.every_n_steps = every_n_steps
        self._written = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write best.ckpt when the score improved, and last.ckpt."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._check_monitor(trainer)
        super().on_validation_end(trainer, pl_module)
        self._save_last(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write last.ckpt every n steps, and when the process is asked to stop (SIGTERM)."""
        stepped = trainer.global_step != self._written
        if self.every_n_steps and stepped and trainer.global_step % self.every_n_steps == 0:
            self._save_last(trainer)
        if trainer.received_sigterm and trainer.world_size == 1:
            # Lightning would go on to the end of the epoch, longer than most clusters wait
            self._save_last(trainer)
            raise SIGTERMException

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write last.ckpt of steps after the last validation, or of a fit too short for one."""
        if trainer.global_step != self._written:
            self._save_last(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        assert self.dirpath is not None
        self._written = trainer.global_step
        self.last_model_path = str(Path(self.dirpath, "last.ckpt"))
        trainer.save_checkpoint(self.last_model_path)

    def _check_monitor(self, trainer: Trainer) -> None:
        known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
        if self.monitor not in trainer.callback_metrics:
            raise InputError(f"checkpoint.monitor {self.monitor!r} is not logged; known: {', '.join(known)}")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames, so that the target is always whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            InputError: When the folder cannot be written or the disk is full; an earlier file stays.
        """
        target = Path(path)
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
            temporary.unlink(missing_ok=True)
            reason = "no space left on the disk" if _disk_full(error, target) else str(error).splitlines()[0]
            raise InputError(
                f"{target} cannot be written ({reason}); free space or set trainer.default_root_dir to another disk, "
                "then resume with --ckpt_path last"
            ) from error


def _disk_full(error: Exception, target: Path) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    try:
        status = os.statvfs(target.parent)
    except OSError:
        return False
    return status.f_bavail == 0
