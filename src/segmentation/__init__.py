"""Image segmentation with PyTorch Lightning.

``segmentation.load("best.ckpt")`` gives a function from raw pixels to labels. Everything else is at
the command line: ``python -m segmentation --help``.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmentation.errors import InputError as InputError
    from segmentation.inference.predictor import Predictor as Predictor
    from segmentation.model.predictor import load as load

__version__ = "0.1.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before its import, else onnxruntime reports on its use

_PUBLIC = {
    "InputError": "segmentation.errors",
    "Predictor": "segmentation.inference.predictor",
    "load": "segmentation.model.predictor",
}

__all__ = ["InputError", "Predictor", "load"]


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: torch alone takes seconds."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'segmentation' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
