"""How many parameters an ONNX file has, and how many multiply-accumulates an image takes."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import onnx
import onnxruntime


class Cost(NamedTuple):
    """Of a network.

    Attributes:
        parameters: Weights and biases.
        multiplications: Multiply-accumulates of convolutions and matrix products for one image.
    """

    parameters: int
    multiplications: int


def cost_of(path: Path, size: int) -> Cost:
    """Count the layers of an exported file, in whatever number format.

    Args:
        path: The file.
        size: H and W of the image in pixels; a file of one size is counted at that.
    """
    graph = _of_one_size(path, size).graph
    stored = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    # in QDQ files the weights are 8 bits that a node makes float
    stored |= {
        node.output[0]: stored[node.input[0]]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }
    shapes = stored | {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    weights: dict[str, int] = {}  # by name, as two layers may share one
    multiplications = 0
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        inner, kernel, outer = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
        if node.op_type == "Conv":
            multiplications += math.prod(outer) * math.prod(kernel[1:])
        elif node.op_type == "ConvTranspose":
            multiplications += math.prod(inner) * math.prod(kernel[1:])
        else:
            multiplications += math.prod(outer) * inner[-1]
        weights |= {name: math.prod(stored[name]) for name in node.input[1:] if name in stored}
    return Cost(sum(weights.values()), multiplications)


def _of_one_size(path: Path, size: int) -> onnx.ModelProto:
    """The file for one square image: the shapes of all tensors are numbers."""
    model = onnx.load(path)
    for dim, length in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 0, size, size), strict=True):
        if dim.dim_param:
            dim.dim_value = length
    with TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"
        options = onnxruntime.SessionOptions()
        # folds what is computed from shapes, into which onnx cannot look, and keeps the operators
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.shape_inference.infer_shapes(onnx.load(folded))
