"""INT8 of graphs that are small enough to know what must happen in them."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from segmentation.deployment.counting import cost_of
from segmentation.deployment.quantization import layers_of, outermost_of, quantize, within
from segmentation.errors import InputError

PIXELS = [np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), np.full((2, 1, 8, 24), 77, np.uint8)]

Step = tuple[str, str, Sequence[str]]
"""Operator, name of its output (and of its weight), inputs."""


def write(path: Path, steps: Sequence[Step], weights: dict[str, NDArray[np.float32]]) -> Path:
    """``pixels`` / 255 is ``x``; of the two channels of ``logit``, the probabilities are sigmoids."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["x"]),
    ]
    for kind, name, inputs in steps:
        options = {
            "Conv": {"pads": [weights[name].shape[-1] // 2] * 4} if name in weights else {},
            "MaxPool": {"kernel_shape": [2, 2], "strides": [2, 2]},
            "Resize": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            "Concat": {"axis": 1},
        }.get(kind, {})
        more = {"Conv": [f"{name}.weight"], "Resize": ["", "twice"]}.get(kind, [])
        nodes.append(helper.make_node(kind, [*inputs, *more], [name], **options))
    nodes.append(helper.make_node("Sigmoid", ["logit"], ["probabilities"]))
    stored = {f"{name}.weight": values for name, values in weights.items()}
    stored |= {"scale": np.float32([1 / 255]), "twice": np.float32([1, 1, 2, 2])}
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", 1, "height", "width"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2, "height", "width"])],
        [numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in stored.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def chain(path: Path) -> Path:
    """Layers one after the other; between ``loud`` and ``deaf`` one channel is 10,000 times the other, which counts."""
    kernels = {
        "first": [[1], [1]],
        "loud": [[1e4, 0], [0, 1]],
        "deaf": [[0, 1], [0, 1]],
        "plain": [[1, 0], [0, 1]],
        "logit": [[4, 4], [-4, -4]],
    }
    weights = {name: np.float32(kernel)[:, :, None, None] for name, kernel in kernels.items()}
    names = ["x", "first", "loud", "deaf", "plain"]
    steps: list[Step] = []
    for before, name in pairwise(names):
        steps += [("Conv", name, [before if before == "x" else f"{before}.relu"]), ("Relu", f"{name}.relu", [name])]
    return write(path, [*steps, ("Conv", "logit", ["plain.relu"])], weights)


def probabilities(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"pixels": pixels})[0]


def of_eight_bits(path: Path) -> set[str]:
    found = [
        one for one in onnx.load(path).graph.initializer if one.data_type == TensorProto.INT8 and len(one.dims) == 4
    ]
    return {one.name.split(".")[0] for one in found}


def test_the_scan_finds_the_layers_that_8_bits_are_too_few_for(tmp_path: Path) -> None:
    source, out = chain(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    found = quantize(source, out, PIXELS, PIXELS)
    assert found.outermost == ("logit",) and found.sensitive == ("loud", "deaf")
    assert set(list(found.changes)[:2]) == {"loud", "deaf"} and set(found.changes) == {"first", "loud", "deaf", "plain"}
    assert (
        min(found.changes["loud"], found.changes["deaf"])
        > 0.1
        > 100 * max(found.changes["first"], found.changes["plain"])
    )
    assert of_eight_bits(out) == {"first", "plain"}
    for pixels in PIXELS:
        before, after = probabilities(source, pixels), probabilities(out, pixels)
        assert after.shape == before.shape and np.abs(after - before).max() < 0.01
    mean = np.concatenate(
        [np.abs(probabilities(source, one) - probabilities(out, one)).sum(1).ravel() for one in PIXELS]
    )
    assert found.change == pytest.approx(mean.mean() / 2)


def test_within_the_limit_there_is_no_scan(tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    found = quantize(chain(tmp_path / "float.onnx"), out, PIXELS, PIXELS, limit=1)
    assert found.sensitive == () and found.changes == {} and 0.1 < found.change < 1
    assert of_eight_bits(out) == {"first", "loud", "deaf", "plain"}
    assert probabilities(out, PIXELS[0])[0, 0].std() < 0.01, "the channel that counts is lost, as the scan says"


def test_changes_add_up_as_independent_errors() -> None:
    changes = {"a": 0.3, "b": 0.4, "c": 0.1, "d": 0.0}
    assert within(changes, 0.49) == {"a", "c", "d"}
    assert within(changes, 0.52) == {"a", "b", "c", "d"}, "0.51 is the root of 0.09 + 0.16 + 0.01"
    assert within(changes, 0.05) == {"d"} and within({"a": 0.3}, 0.2) == set()


def test_what_cannot_be_quantized_is_refused(tmp_path: Path) -> None:
    source, out = chain(tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    with pytest.raises(InputError, match=r"no layer of float.onnx can have 8 bits: 1 of its 5 layers are at an end"):
        quantize(source, out, PIXELS, PIXELS, limit=-1)
    with pytest.raises(InputError, match="needs training images"):
        quantize(source, out, [], PIXELS)
    assert not out.exists()


def test_nothing_becomes_float_between_two_layers(tmp_path: Path) -> None:
    """As a U-Net does it: pooling, an upsampled map beside the one from above, and a sum."""
    random = np.random.default_rng(0)
    shapes = {"first": (4, 1), "down": (4, 4), "up": (8, 8), "side": (8, 8), "joined": (8, 8), "logit": (2, 8)}
    weights = {name: np.float32(random.normal(0, 0.3, (*shape, 3, 3))) for name, shape in shapes.items()}
    steps: list[Step] = [
        *(("Conv", "first", ["x"]), ("Relu", "first.relu", ["first"]), ("MaxPool", "half", ["first.relu"])),
        *(("Conv", "down", ["half"]), ("Relu", "down.relu", ["down"]), ("Resize", "double", ["down.relu"])),
        *(("Concat", "both", ["double", "first.relu"]), ("Conv", "up", ["both"]), ("Relu", "up.relu", ["up"])),
        *(("Conv", "side", ["up.relu"]), ("Add", "sum", ["side", "up.relu"]), ("Relu", "sum.relu", ["sum"])),
        *(("Conv", "joined", ["sum.relu"]), ("Relu", "joined.relu", ["joined"]), ("Conv", "logit", ["joined.relu"])),
    ]
    source, out = write(tmp_path / "float.onnx", steps, weights), tmp_path / "int8.onnx"
    assert quantize(source, out, PIXELS[:1], PIXELS[:1], limit=1).outermost == ("logit",)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(out, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node]
    assert kinds.count("QLinearConv") == 5 and {"QLinearConcat", "QLinearAdd", "MaxPool", "Resize"} <= set(kinds)
    assert (kinds.count("QuantizeLinear"), kinds.count("DequantizeLinear")) == (1, 1), (
        "the image, and before the last layer"
    )
    assert cost_of(out, 16) == cost_of(source, 16), "weights and operations are the same, in another format"


def test_layers_of_two_encoders_and_of_a_head_with_two_ends() -> None:
    parts = ["a = Conv(p, wa)", "ra = Relu(a)", "b = Conv(p, wb)", "j = Concat<axis=1>(ra, b)"]
    parts += ["c = Conv(j, wc)", "s = Shape(c)", "d = Conv(c, wd)", "e = Conv(c, we)", "o = Add(d, e)"]
    shapes = {"wa": 1, "wb": 1, "wc": 2, "wd": 1, "we": 1}
    image = "<ir_version: 10, opset_import: ['' : 18]> g (float[1,1,4,4] p) => (float[1,1,4,4] o)".replace("'", '"')
    graph = onnx.parser.parse_model(f"{image} {{ {' '.join(parts)} }}").graph
    for place, node in enumerate(graph.node):
        node.name = f"{node.op_type}{place}"
    stored = {name: np.ones((1, channels, 1, 1), np.float32) for name, channels in shapes.items()}
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in stored.items())
    assert layers_of(graph) == {
        "wa": ["Conv0", "Relu1"],
        "wb": ["Conv2", "Concat3"],
        "wc": ["Conv4"],
        "wd": ["Conv6"],
        "we": ["Conv7"],
    }
    assert outermost_of(graph) == ["wa", "wb", "wd", "we"], "both see the image, both give the answer"
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    assert outermost_of(graph) == ["wd", "we"], "8 bits hold an image of 8 bits"
