"""INT8: an exported file whose convolutions and matrix products multiply 8-bit integers.

Static quantization by onnxruntime: the file keeps its operators, with a QuantizeLinear and a DequantizeLinear around each
tensor that has 8 bits (QDQ), from which every runtime makes its own integer kernels. Weights are int8 with a scale for
each output channel, activations uint8 with one scale and zero point for a tensor (Jacob et al. 2018, arXiv 1712.05877).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from segmentation.deployment.metadata import PIXELS, PROBABILITIES
from segmentation.errors import InputError

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators whose weights get 8 bits. ConvTranspose does not: onnxruntime has no integer kernel for it."""

BETWEEN = ("Add", "Relu", "Clip", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize")
"""Operators that take and give 8 bits, so that nothing becomes float between two layers."""

LIMIT = 0.002
"""Mean change of the probabilities by the whole file, above which the most sensitive layers stay in float."""


@dataclass(frozen=True)
class Quantization:
    """What became 8 bits, and what that did.

    Attributes:
        change: Mean change of the probabilities by the file.
        outermost: Layers that stay in float because of where they are.
        sensitive: Layers that stay in float because of what 8 bits do to them.
        changes: Layer -> mean change of the probabilities when it alone is quantized, largest first; empty when there was
            no need to look.
    """

    change: float
    outermost: tuple[str, ...]
    sensitive: tuple[str, ...] = ()
    changes: dict[str, float] = field(default_factory=dict)


def quantize(
    source: Path,
    out: Path,
    calibration: Sequence[NDArray[Any]],
    validation: Sequence[NDArray[Any]],
    limit: float = LIMIT,
) -> Quantization:
    """Write the INT8 file of an exported float32 file.

    The ranges of the activations are those that the calibration images reach. The layers that give the logits stay in
    float, and so do those that take the pixels where these have more than 8 bits. When all others together change the
    probabilities by more than the limit, each is quantized alone and run on the validation images: that is the sensitivity
    scan. The change of probabilities p to q at a pixel is sum over classes of |p - q| / 2, so 0..1. Errors of layers add
    up like independent ones, as the root of the sum of their squares, so the most sensitive layers are left in float
    until the root for the others is within the limit.

    Args:
        source: ONNX file with float32 weights, an input ``pixels`` and an output ``probabilities``.
        out: The file to write; its metadata are to be written anew.
        calibration: Batches of ``pixels`` (B, C, H, W) made of training images.
        validation: The same of images that are not trained on.
        limit: Of the change.

    Raises:
        InputError: When no layer can be quantized, or without any images.
    """
    if not calibration or not validation:
        raise InputError("INT8 needs training images for its ranges and validation images to try it on")
    with TemporaryDirectory() as folder:
        prepared, trial, ranges = (Path(folder) / name for name in ("prepared.onnx", "trial.onnx", "ranges.json"))
        # folds batch normalisation into convolutions; without symbolic shapes, of which types are enough here
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        for place, node in enumerate(model.graph.node):
            node.name = f"{node.op_type}_{place}"  # by which the quantizer is told what to quantize
        onnx.save(model, prepared)
        layers = layers_of(model.graph)
        outermost = outermost_of(model.graph)
        inner = [name for name in layers if name not in outermost]
        expected = list(_probabilities(source, validation))

        def written(path: Path, quantized: Sequence[str]) -> float:
            """Write a file in which these layers have 8 bits; its mean change of the probabilities."""
            quantize_static(
                prepared,
                path,
                _Batches(calibration),
                op_types_to_quantize=[*LAYERS, *BETWEEN],
                nodes_to_quantize=[node for name in quantized for node in layers[name]],
                per_channel=True,
                activation_type=QuantType.QUInt8,  # with int8, onnxruntime computes half of the layers in float
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
                calibration_cache_path=ranges,  # written by the first call, read by the others
            )
            return _change(expected, _probabilities(path, validation))

        change = written(out, inner) if inner else math.inf
        if change <= limit:
            return Quantization(change, tuple(outermost))
        changes = {name: written(trial, [name]) for name in inner}
        kept = within(changes, limit)
        if not kept:
            out.unlink(missing_ok=True)
            raise InputError(
                f"no layer of {source.name} can have 8 bits: {len(outermost)} of its {len(layers)} layers are at an end of "
                f"the network, and each of the others changes the probabilities by more than {limit:g}; use float32"
            )
        return Quantization(
            written(out, [name for name in inner if name in kept]),
            tuple(outermost),
            tuple(name for name in inner if name not in kept),
            dict(sorted(changes.items(), key=lambda entry: -entry[1])),
        )


def within(changes: dict[str, float], limit: float) -> set[str]:
    """As many layers as possible whose changes, added up as independent errors, are within a limit."""
    kept: set[str] = set()
    total = 0.0
    for name, change in sorted(changes.items(), key=lambda entry: entry[1]):
        total += change**2
        if math.sqrt(total) > limit:
            break
        kept.add(name)
    return kept


def layers_of(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """The layers of a graph.

    Args:
        graph: In topological order, each node with a name of its own.

    Returns:
        Layer, by the name of its weight -> names of its nodes: itself, and the nodes of ``BETWEEN`` that follow it in the
        order of the graph up to the next layer. What no layer leads to, or what leads to none, is in no layer.
    """
    weighted = _weighted(graph)
    inside = _reached(graph.node, weighted, "input", "output")
    inside &= _reached(reversed(graph.node), weighted, "output", "input")
    layers: dict[str, list[str]] = {}
    name = ""
    for node in graph.node:
        if node.name in weighted:
            name = weighted[node.name]
        elif node.op_type not in BETWEEN or node.name not in inside:
            continue
        layers.setdefault(name, []).append(node.name)
    return layers


def outermost_of(graph: onnx.GraphProto) -> list[str]:
    """Layers that reach the output through no other; and that are reached from the image so, unless it has 8 bits.

    8 bits hold all that a uint8 pixel says, and none of what a deeper one says beyond them.
    """
    weighted = _weighted(graph)
    last = weighted.keys() - _reached(reversed(graph.node), weighted, "output", "input")
    deep = graph.input[0].type.tensor_type.elem_type != onnx.TensorProto.UINT8
    first = weighted.keys() - _reached(graph.node, weighted, "input", "output") if deep else set()
    return list(dict.fromkeys(name for node, name in weighted.items() if node in first | last))


def _weighted(graph: onnx.GraphProto) -> dict[str, str]:
    """Node -> layer, in the order of the graph: the nodes of ``LAYERS`` that have a weight."""
    stored = {initializer.name for initializer in graph.initializer}
    nodes = (node for node in graph.node if node.op_type in LAYERS and node.input[1] in stored)
    return {node.name: _layer_name(node.input[1]) for node in nodes}


def _layer_name(weight: str) -> str:
    """``module.network.network.encoder.conv1.weight`` -> ``encoder.conv1``; a fused weight has a prefix."""
    return weight.removeprefix("ConvBnFusion_W_").removeprefix("module.network.network.").removesuffix(".weight")


def _reached(nodes: Iterable[onnx.NodeProto], layers: Iterable[str], takes: str, gives: str) -> set[str]:
    """Names of the nodes that a layer comes before, in the order and direction in which they are given."""
    tensors: set[str] = set()
    reached: set[str] = set()
    for node in nodes:
        if not tensors.isdisjoint(getattr(node, takes)):
            reached.add(node.name)
        if node.name in reached or node.name in layers:
            tensors.update(getattr(node, gives))
    return reached


class _Batches(CalibrationDataReader):  # type: ignore[misc] # onnxruntime ships no types
    """Batches of ``pixels``, as onnxruntime asks for them."""

    def __init__(self, batches: Iterable[NDArray[Any]]) -> None:
        self._rest = iter(batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch; None after the last."""
        batch = next(self._rest, None)
        return None if batch is None else {PIXELS: batch}


def _probabilities(path: Path, batches: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in batches:
        yield session.run([PROBABILITIES], {PIXELS: batch})[0]


def _change(before: Iterable[NDArray[np.float32]], after: Iterable[NDArray[np.float32]]) -> float:
    """Mean over all pixels of half the sum over classes of the differences."""
    changes = [np.abs(p - q).sum(1, dtype=np.float64).ravel() / 2 for p, q in zip(before, after, strict=True)]
    return float(np.concatenate(changes).mean())
