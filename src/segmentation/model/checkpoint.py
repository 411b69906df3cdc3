"""A checkpoint as a file: where it lies, how it is read, what is in it beside the weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from lightning.pytorch.utilities import rank_zero_info

from segmentation.errors import InputError
from segmentation.inference.classes import Classes

FORMAT = 1
"""Of ``checkpoint["segmentation"]``; raised when an older program could misread it."""

BEST = "checkpoints/best.ckpt"
"""In a run folder."""

RUN = "[0-9]*-[0-9]*"
"""Names of the run folders of a config: the time when they began."""


def checkpoints_of(path: str | Path) -> list[Path]:
    """The files behind a checkpoint: a file, or a folder.

    Args:
        path: A ``.ckpt`` file, a run folder (its best), a folder of runs such as ``runs/isbi`` (the best of the newest
            run that has one), or a folder of ``crossval`` (the best of each fold).

    Raises:
        InputError: When there is none.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    if (path / BEST).is_file():
        return [path / BEST]
    folds, runs = (sorted(path.glob(f"{folder}/{BEST}")) for folder in ("fold*", RUN))
    if runs and not folds:
        rank_zero_info(f"{path}: its newest run, {runs[-1]}")
    found = folds or runs[-1:]
    if not found:
        raise InputError(f"{path} holds no run ({BEST}), no runs (TIME/{BEST}) and no folds (fold0/{BEST}, ...)")
    return found


def checkpoint_of(path: str | Path) -> Path:
    """The one file behind a checkpoint, a run folder or a folder of runs; InputError where there are several or none."""
    files = checkpoints_of(path)
    if len(files) > 1:
        raise InputError(f"{path} holds {len(files)} checkpoints; give one, such as {files[0]}")
    return files[0]


def read_checkpoint(ckpt_path: str | Path) -> dict[str, Any]:
    """The dictionary of a checkpoint file, read without running any code in it.

    Raises:
        InputError: When the file is missing, damaged, or not a checkpoint of this program.
    """
    path = Path(ckpt_path)
    if path.suffix == ".onnx":
        raise InputError(
            f"{path} is an exported network, not a checkpoint; segmentation.deployment.runtime.load loads it, and "
            "predict takes it as --onnx"
        )
    if not path.is_file():
        raise InputError(
            f"the checkpoint {path} does not exist; give a .ckpt file, a run, or a folder of runs such as runs/isbi"
        )
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        read_extras(checkpoint)
        with ZipFile(path) as parts:  # torch does not look at the checksums of the weights
            damaged = parts.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            f"{path} cannot be read as a checkpoint ({first_sentence(error)}); it may be cut or of another program"
        ) from error
    return checkpoint


def read_extras(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """``checkpoint["segmentation"]``.

    Raises:
        InputError: When it is missing, so that the file is of another program, or of a newer format.
    """
    extras: dict[str, Any] | None = checkpoint.get("segmentation")
    if extras is None:
        raise InputError("the checkpoint was not written by this program: it has no entry 'segmentation'")
    if extras["format"] > FORMAT:
        raise InputError(f"the checkpoint has format {extras['format']}, this program reads up to {FORMAT}; update it")
    return extras


def check_data(checkpoint: Mapping[str, Any], classes: Classes, in_channels: int) -> None:
    """Refuse weights for other data.

    Args:
        checkpoint: As ``read_checkpoint`` gives it.
        classes: Of the data.
        in_channels: Of their images.

    Raises:
        InputError: With what the checkpoint was trained on.
    """
    stored = checkpoint["hyper_parameters"]
    names = stored["classes"]["names"]
    if list(names) != list(classes.names):
        raise InputError(
            f"the checkpoint was trained on {len(names)} classes {list(names)}, the data have "
            f"{len(classes)}: {list(classes.names)}; use the data it was trained for or train anew"
        )
    if stored["in_channels"] != in_channels:
        raise InputError(
            f"the checkpoint was trained on images of {stored['in_channels']} channels, the data have "
            f"{in_channels}; set data.source.in_channels: {stored['in_channels']} if the files hold that many"
        )


def first_sentence(error: Exception) -> str:
    """What a library's exception says, short enough for a message in parentheses."""
    return f"{type(error).__name__}: {error}".splitlines()[0].split(". ")[0]
