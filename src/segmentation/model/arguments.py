"""Whose arguments of the module count when there is a checkpoint: its own or the user's."""

import shlex
from typing import Any

from jsonargparse import Namespace

from segmentation.errors import InputError

ARCHITECTURE = ("network", "encoder", "network_options", "modalities", "widths", "in_channels")
"""Hyperparameters that the weights depend on: the checkpoint's are used, others are refused."""

OPTIMIZER = ("optimizer", "lr", "weight_decay", "optimizer_options", "layer_decay")
"""Arguments of the model that are part of the optimizer's state."""


def merge_hyperparameters(config: Namespace, given: Namespace, stored: dict[str, Any], ckpt_path: str) -> None:
    """Fill a model config from a checkpoint, in place.

    Args:
        config: The model's resolved arguments.
        given: Those that the user gave, on the command line or in a config.
        stored: The checkpoint's hyperparameters.
        ckpt_path: For the message.

    Raises:
        InputError: When the user asks for another architecture than the checkpoint's.
    """
    for name, value in (dict.fromkeys(ARCHITECTURE) | stored).items():  # older checkpoints lack newer arguments
        if name not in config:
            continue  # linked from the data and compared when the weights are loaded
        asked = name in given and not (name == "widths" and given[name] is None)  # the null of every config.yaml
        if name in ARCHITECTURE and asked and (given[name] or None) != (value or None):
            raise InputError(
                f"model.{name} is {given[name]!r}, but {ckpt_path} was trained with {value!r}; "
                f"leave model.{name} out, or fit anew without --ckpt_path"
            )
        if name not in given or name in ARCHITECTURE:
            config[name] = value
    config.encoder_weights = None  # the checkpoint holds the weights


def check_optimizer_kept(given: Namespace, stored: dict[str, Any], ckpt_path: str) -> None:
    """Refuse what a resumed optimizer would not take: its state holds the rates and options that it began with.

    Args:
        given: The model's arguments that the user gave, on the command line or in a config.
        stored: The checkpoint's hyperparameters.
        ckpt_path: For the message.

    Raises:
        InputError: Naming what differs.
    """
    schedules = [stored.get("schedule"), *([given["schedule"]] if "schedule" in given else [])]
    # a plateau knows its best score and what it lowers the rate by, the others only how many steps were made
    names = [*OPTIMIZER, *(["schedule", "schedule_options"] if "plateau" in schedules else [])]
    if given.get("ema", 0) is None:  # the weights of the checkpoint may be the average
        names.append("ema")
    different = [
        f"model.{name} is {given[name]!r} instead of {stored.get(name)!r}"
        for name in names
        if name in given and (given[name] or None) != (stored.get(name) or None)
    ]
    if different:
        raise InputError(
            f"{', '.join(different)}, but a training that goes on keeps its optimizer and average; leave it out, or start a new training "
            f"from these weights: --initial_weights {shlex.quote(str(ckpt_path))} without --ckpt_path"
        )
