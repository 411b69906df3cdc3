"""Which number format this machine computes fastest in, and how it is switched on."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from segmentation.errors import InputError

_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def chosen_precision(stated: Any, device: str, trained: str | None = None) -> Any:
    """The precision of a Trainer: the stated one, else that of the checkpoint that is scored, else the fastest.

    Args:
        stated: ``trainer.precision``; None where the user left it open.
        device: ``cpu``, ``cuda``, ...
        trained: That of the checkpoint; None for a training.

    Raises:
        InputError: For those that round the weights themselves.
    """
    if stated in ("bf16-true", "16-true"):
        raise InputError(
            f"trainer.precision is {stated}, which rounds the weights themselves, so that small steps are lost; "
            f"set {stated.replace('true', 'mixed')}"
        )
    if stated is not None:
        return stated
    return default_precision(device) if trained is None else usable_precision(trained, device)


def default_precision(device: str) -> str:
    """``bf16-mixed`` where the device multiplies bf16 natively, else ``32-true``.

    Args:
        device: ``cpu``, ``cuda``, ...
    """
    return "bf16-mixed" if has_fast_bf16(device) else "32-true"


def has_fast_bf16(device: str) -> bool:
    """Whether the device has bf16 arithmetic: AMX or AVX512-BF16 on a CPU, Ampere or newer on a GPU."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    if device == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")) or _checks_say_bf16()
    return False


def usable_precision(wanted: str, device: str) -> str:
    """The precision a checkpoint was trained in where this machine has it, else ``32-true``."""
    if wanted == "bf16-mixed" and has_fast_bf16(device):
        return wanted
    if wanted == "16-mixed" and device == "cuda":
        return wanted
    return "32-true"


def autocast(precision: str, device: str) -> AbstractContextManager[object]:
    """The context in which a forward pass runs at a precision."""
    dtype = _AUTOCAST.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device, dtype)


def _checks_say_bf16() -> bool:
    # private in torch up to the version that has get_capabilities
    checks = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check() for check in checks if check is not None)
