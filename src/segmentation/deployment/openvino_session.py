"""OpenVINO in place of onnxruntime, for the same files; it need not be installed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from segmentation.errors import InputError


class Input(NamedTuple):
    """Of a graph: its name, and its type as onnxruntime calls it."""

    name: str
    type: str


class OpenvinoSession:
    """The methods of ``onnxruntime.InferenceSession`` that ``runtime.OnnxNetwork`` calls, computed by OpenVINO.

    Args:
        path: A file that ``export`` wrote, float32 or INT8.
        threads: Of the CPU.

    Raises:
        InputError: When OpenVINO is not installed.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            raise InputError("OpenVINO is not installed: pip install openvino") from error
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bf16 where the processor has it, which is another precision
        }
        self._compiled = openvino.Core().compile_model(path, "CPU", settings)

    def get_providers(self) -> list[str]:
        """What computes."""
        return ["OpenVINO"]

    def get_inputs(self) -> list[Input]:
        """The inputs of the graph."""
        types = {"u8": "tensor(uint8)", "f32": "tensor(float)"}
        return [
            Input(one.get_any_name(), types[one.get_element_type().get_type_name()]) for one in self._compiled.inputs
        ]

    def run(self, outputs: Sequence[str], feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Some outputs of the graph."""
        answers = self._compiled(feed)
        return [answers[name] for name in outputs]
