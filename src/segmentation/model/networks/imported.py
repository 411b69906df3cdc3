"""Networks of the user's own, by import path."""

import sys
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segmentation.errors import InputError, nearest
from segmentation.model.networks.any_size import AnySize


def imported_network(path: str, in_channels: int, out_channels: int, options: dict[str, Any]) -> AnySize:
    """A network from a class, or a function, outside this package.

    It is called with ``in_channels=``, ``classes=`` and the options, and answers images (B, C, H, W) with logits
    (B, K, H, W). Its attribute ``stride`` says what H and W must be divisible by; 32 where it has none.

    Args:
        path: ``package.file.Class``, as Python imports it from the working folder.
        in_channels: C.
        out_channels: K.
        options: Further arguments of the class.

    Raises:
        InputError: When it cannot be imported or built, or answers with another shape.
    """
    build = _import(path)
    try:
        network = build(in_channels=in_channels, classes=out_channels, **options)
    except Exception as error:
        known = list(signature(build).parameters) if "unexpected keyword" in str(error) else list(options)
        unknown = "".join(nearest(name, known) for name in options if name not in known)
        arguments = {"in_channels": in_channels, "classes": out_channels} | options
        raise InputError(
            f"model.network {path} cannot be built with {arguments} ({first_line(error)}){unknown}"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(f"model.network {path} makes a {type(network).__name__}; give a torch.nn.Module")
    stride = getattr(network, "stride", 32)
    cure = "its class attribute stride says what height and width must be divisible by, 32 where it has none"
    check_answer(path, network, (in_channels, 2 * stride, 3 * stride), out_channels, cure)
    return AnySize(network, stride, 2 * stride)


def check_answer(name: str, network: nn.Module, size: tuple[int, int, int], out_channels: int, cure: str) -> None:
    """Raise InputError when the network, which is called ``name``, answers an image (C, H, W) with another shape."""
    image, wanted = torch.zeros(1, *size), (1, out_channels, *size[1:])
    training = network.training
    try:
        with torch.no_grad():
            answer = network.eval()(image)
    except Exception as error:
        raise InputError(
            f"model.network {name} fails on an image of shape {tuple(image.shape)} ({first_line(error)}); {cure}"
        ) from error
    network.train(training)
    shape = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    if shape != wanted:
        raise InputError(
            f"model.network {name} answers an image of shape {tuple(image.shape)} with {shape}; "
            f"it must be logits of shape {wanted}"
        )


def first_line(error: Exception) -> str:
    """Type and first line of an error, for a message of one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _import(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    folder = str(Path.cwd())
    if folder not in sys.path:  # python -m has it there, the installed command has not
        sys.path.append(folder)
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except Exception as error:  # a user's file may raise anything
        raise InputError(
            f"model.network {path} cannot be imported ({first_line(error)}); give FILE.CLASS or FOLDER.FILE.CLASS as seen "
            f"from the working folder {folder}"
        ) from error
    return found
