"""A trained network in every way that it can be run on a CPU: what ``benchmark`` measures side by side.

torch is imported only for checkpoints, so that the memory of a process with an exported file is that of its runtime.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import InputError
from segmentation.inference import tiling
from segmentation.inference.arrays import to_numpy
from segmentation.inference.predictor import Description, Predictor


@dataclass(frozen=True)
class Variant:
    """A file, and a way to run it.

    Attributes:
        path: A checkpoint, or a file that ``export`` wrote.
        way: Of ``TORCH_WAYS`` or ``ONNX_WAYS``.
    """

    path: Path
    way: str

    def load(self, threads: int) -> Predictor:
        """What predicts that way.

        Args:
            threads: On which it computes.

        Raises:
            InputError: Where the file is not what it should be, or this machine has not what the way needs.
        """
        return ways_of(self.path)[self.way](self.path, threads)


def ways_of(path: Path) -> Mapping[str, Callable[[Path, int], Predictor]]:
    """The ways to run a file, by name."""
    return ONNX_WAYS if path.suffix == ".onnx" else TORCH_WAYS


def pixels(predictor: Predictor, size: int, batch: int) -> NDArray[Any]:
    """Noise that a network takes: (batch, C, size, size) as after the intensity rule, the same for the same shape."""
    random = np.random.default_rng(0)
    shape = (batch, predictor.in_channels, size, size)
    if predictor.networks[0].description.intensity.network_dtype == "uint8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.random(shape, dtype=np.float32)


def run(predictor: Predictor, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Probabilities (B, K, H, W) of a batch of ``pixels``: in tiles where it is larger than one, gaps not closed."""
    probabilities: NDArray[np.float32] = to_numpy(tiling.run(predictor.networks[0], batch, predictor.tiling))
    return probabilities


@dataclass(frozen=True)
class _Torch:
    """PyTorch in a precision and a memory format, eager or compiled."""

    precision: str
    channels_last: bool
    compiled: bool = False

    def __call__(self, path: Path, threads: int) -> Predictor:
        import torch

        from segmentation.model.precision import has_fast_bf16
        from segmentation.model.predictor import TorchNetwork, load_module

        if self.precision == "bf16-mixed" and not has_fast_bf16("cpu"):
            raise InputError("this processor has no bf16 arithmetic (avx512_bf16 or amx_bf16)")
        torch.set_num_threads(threads)
        module = load_module(path)
        module.precision = self.precision
        module.memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        module.network.to(memory_format=module.memory_format)
        if self.compiled:
            module.network.compile()
        return Predictor([TorchNetwork(module, "cpu")])


def _onnxruntime(path: Path, threads: int) -> Predictor:
    from segmentation.deployment import runtime

    return runtime.load(path, threads=threads)


def _openvino(path: Path, threads: int) -> Predictor:
    from segmentation.deployment import metadata, runtime
    from segmentation.deployment.openvino_session import OpenvinoSession

    _, stored = metadata.read(path)
    session = OpenvinoSession(path, threads)
    return Predictor([runtime.OnnxNetwork(session, Description.from_dict(stored))])


TORCH_WAYS: Mapping[str, Callable[[Path, int], Predictor]] = {
    "eager": _Torch("32-true", channels_last=False),
    "channels_last": _Torch("32-true", channels_last=True),
    "bf16": _Torch("bf16-mixed", channels_last=True),
    "compiled": _Torch("32-true", channels_last=True, compiled=True),
}
"""Of a checkpoint: eager and float32 unless said otherwise; bf16 and compiled in channels_last."""

ONNX_WAYS: Mapping[str, Callable[[Path, int], Predictor]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}
"""Of an exported file, in its precision."""
