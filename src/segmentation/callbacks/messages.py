"""What a command of the Trainer says of its run: the network, and what there is when it ends or is stopped."""

import os
import shlex
from pathlib import Path

import torch
from lightning import LightningModule, Trainer

from segmentation.callbacks.checkpoints import FOLDER, Checkpoints
from segmentation.typed import predicting, typed


def network(model: LightningModule) -> str:
    """The network with its encoder, if it has one to choose, and its size."""
    from segmentation.model.networks.build import usual_encoder  # loads slowly

    settings = model.hparams
    encoder = f" with encoder {settings['encoder']}" if usual_encoder(settings["network"]) else ""
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return f"Network: {settings['network']}{encoder}, {millions:.1f} million parameters"


def nothing_left(trainer: Trainer) -> str:
    """Why a resumed run made no step."""
    limit = "max_steps" if trainer.max_steps >= 0 else "max_epochs"
    return (
        f"Nothing was left to train: trainer.{limit} is {getattr(trainer, limit)}, which the run has reached; "
        "give more to go on"
    )


def finished(folder: Path, checkpoints: Checkpoints, counts: bool) -> str:
    """Where the pictures and the checkpoint of a run are, and the commands that go on with it; nothing without one.

    Args:
        folder: Of the run.
        checkpoints: Of the run.
        counts: Whether the masks number objects.
    """
    kind, path = (
        ("Best", checkpoints.best_model_path) if checkpoints.best_model_path else ("Last", checkpoints.last_model_path)
    )
    if not path:
        return ""
    shown = os.path.relpath(path)
    return "\n".join(
        [
            f"Pictures: {os.path.relpath(folder)}/pictures",
            f"{kind} checkpoint: {shown}",
            f"  {typed('test', ckpt_path=shown)}",
            f"  {predicting(shown, counts)}",
        ]
    )


def cure_of(error: BaseException, command: str) -> str | None:
    """What helps against an error of torch on a GPU; None where it is another's.

    Args:
        error: What ended the command.
        command: fit, validate or test.
    """
    if isinstance(error, torch.OutOfMemoryError):
        smaller = "data.batch_size, with trainer.accumulate_grad_batches for the same effect, or a smaller data.crop"
        return f"the memory of the GPU is full: give a smaller {smaller if command == 'fit' else 'model.tile'}"
    if isinstance(error, RuntimeError) and "does not have a deterministic implementation" in str(error):
        return "trainer.deterministic: true is more than this network and loss can on a GPU; give warn, or leave it out"
    return None


def stopped(command: str, folder: Path) -> str:
    """What a command that was stopped leaves.

    Args:
        command: fit, validate or test.
        folder: Of the run, for fit.
    """
    if command != "fit":
        return "Stopped; no scores were written"
    last = os.path.relpath(folder / FOLDER / "last.ckpt")
    if not Path(last).is_file():
        return "Stopped; nothing was learned yet"
    return f"Stopped; what was learned is in {last}. Go on with the same command and --ckpt_path {shlex.quote(last)}"
