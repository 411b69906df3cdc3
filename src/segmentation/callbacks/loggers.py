"""Where the loggers of a run write, and which notes of libraries are not shown."""

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from jsonargparse import Namespace


def place_logger(logger: Namespace, folder: Path) -> None:
    """Let a logger write into the run folder, and W&B continue the run it began there.

    Args:
        logger: Its ``class_path`` and ``init_args``, changed in place; what the user gave stays.
        folder: Of the run.
    """
    arguments = logger.init_args
    if arguments.get("save_dir") in (None, "."):
        arguments.save_dir = str(folder.absolute())  # W&B's service keeps the working folder of its start
    if not logger.class_path.endswith("WandbLogger"):
        return
    timed = re.fullmatch(r"\d{8}-\d{6}(-\d+)?", folder.name) is not None
    name = "-".join(folder.absolute().parts[-2 if timed else -3 :])
    begun = [re.sub(r"^(offline-)?run-\d+_\d+-", "", path.name) for path in sorted(folder.glob("wandb/*run-*_*-*"))]
    # a folder that the user named may be deleted and named again, and W&B would take the new run for the old one
    fresh = name if timed else f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    arguments.name = arguments.name or name
    arguments.id = arguments.id or (begun[-1] if begun else fresh)


@contextmanager
def without_wandb() -> Iterator[None]:
    """Within it ``import wandb`` fails: timm imports it where it is installed, for a log that nothing here writes."""
    if "wandb" in sys.modules:
        yield
        return
    sys.modules["wandb"] = None  # type: ignore[assignment] # how Python spells a module that is not to be found
    try:
        yield
    finally:
        del sys.modules["wandb"]


def quieten() -> None:
    """Silence what says nothing to a user: notes of libraries about each other, and advertisements."""
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning calls jsonargparse's older names
    for message in (
        ".*isinstance.treespec, LeafSpec.*",  # Lightning calls torch's older name
        "Precision bf16-mixed is not supported by the model summary",  # the number of parameters is right
        ".*does not have many workers",  # data in memory need none
        "Checkpoint directory .* exists and is not empty",  # a resumed run goes on in its folder
        "It is recommended to use `self.log\\('(val|test)/.*sync_dist=True",  # scores are of all processes already
        "You requested to overfit but enabled",  # each epoch has the draws of the first one, as it should
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.trainer.connectors.checkpoint_connector").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in ("litlogger", "TPU available", "Loading `train_dataloader`"))
