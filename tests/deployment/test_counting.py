"""Parameters and operations of an ONNX file, by hand."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from segmentation.deployment.counting import cost_of


def test_every_kind_of_layer_is_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel", "bias"], ["half"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("ConvTranspose", ["half", "up"], ["whole"], strides=[2, 2], kernel_shape=[2, 2]),
        # shared with nothing, and sizes that are computed from the image
        helper.make_node("Shape", ["whole"], ["shape"], start=2),
        helper.make_node("Concat", ["two", "shape"], ["sizes"], axis=0),
        helper.make_node("Resize", ["whole", "", "", "sizes"], ["resized"], mode="nearest"),
        helper.make_node("Transpose", ["resized"], ["tokens"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["tokens", "linear"], ["probabilities"]),
    ]
    weights = {
        "kernel": np.ones((4, 1, 3, 3), np.float32),
        "bias": np.ones(4, np.float32),
        "up": np.ones((4, 6, 2, 2), np.float32),
        "linear": np.ones((6, 5), np.float32),
        "two": np.array([1, 6], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, "height", "width"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "a.onnx")
    parameters, multiplications = cost_of(tmp_path / "a.onnx", 16)
    assert parameters == 4 * 9 + 4 + 4 * 6 * 4 + 6 * 5
    assert multiplications == 8 * 8 * 4 * 9 + 8 * 8 * 4 * 6 * 4 + 16 * 16 * 6 * 5


def test_a_kernel_that_two_layers_share_is_stored_once_and_used_twice(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", [before, "kernel"], [after], pads=[1] * 4, name=after)
        for before, after in (("pixels", "one"), ("one", "probabilities"))
    ]
    graph = helper.make_graph(
        nodes,
        "shared",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["b", 2, "h", "w"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((2, 2, 3, 3), np.float32), "kernel")],
    )
    path = tmp_path / "shared.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    assert cost_of(path, 8) == (36, 2 * 8 * 8 * 2 * 2 * 9)
