"""Which device a training computes on."""

import warnings
from typing import Any

import torch

from segmentation.errors import InputError


def accelerator_of(chosen: Any) -> Any:
    """That of ``trainer``, by the name of the device that the precision is chosen for.

    Raises:
        InputError: For Apple's GPUs, which Lightning takes for ``auto`` and ``gpu``.
    """
    if chosen.accelerator == "mps":
        raise InputError(
            "trainer.accelerator is mps; scores are summed in float64, which Apple's GPUs lack. Leave it out, "
            "which computes on the CPU"
        )
    if chosen.accelerator == "auto":
        warnings.filterwarnings("ignore", message="GPU available but not used")  # Apple's
    return device_of(chosen.accelerator) if isinstance(chosen.accelerator, str) else chosen.accelerator


def device_of(accelerator: str) -> str:
    """The device behind the name of an accelerator: ``auto`` is ``cuda`` or ``cpu``, ``gpu`` is ``cuda``."""
    if accelerator in ("cuda", "gpu") or (accelerator == "auto" and torch.cuda.is_available()):
        return "cuda"
    return "cpu" if accelerator in ("auto", "cpu") else accelerator
