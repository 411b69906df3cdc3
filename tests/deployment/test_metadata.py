"""What an exported file says about itself, and what is refused before it is run."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from segmentation.deployment import metadata
from segmentation.deployment.protobuf import parts
from segmentation.errors import InputError

DESCRIPTION = {
    "version": "0.1.0",
    "precision": "float32",
    "dtype": "uint8",
    "classes": {"names": ["Grund", "Läsion"]},
    "decision": {"threshold": 0.34765625},
    "trained_on": {"a.png": "0af3"},
}


def model_of(*initializers: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    """Pixels times a weight, and what is given."""
    shape = ["batch", 3, "height", 4]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["pixels", "weight"], ["probabilities"]), *nodes],
        "graph",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "weight"), *initializers],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="test")


def saved(model: onnx.ModelProto, path: Path = Path("model.onnx"), **changes: object) -> Path:
    metadata.write(model, DESCRIPTION | changes)
    path.write_bytes(model.SerializeToString())
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        metadata.read(path)
    message = str(error.value)
    assert str(path) in message
    assert "export" in message or "update" in message, "the cure"
    return message


def test_a_file_gives_back_what_was_written_and_its_own_bytes() -> None:
    model = model_of()
    helper.set_model_props(model, {"segmentation": "of an earlier export", "other": "1"})
    path = saved(model)
    content, description = metadata.read(path)
    assert content == path.read_bytes()
    assert description == DESCRIPTION | {"format": metadata.FORMAT}
    assert [entry.key for entry in onnx.load(path).metadata_props] == ["segmentation"]
    onnx.checker.check_model(onnx.load(path))


def test_the_parts_are_those_that_onnx_finds() -> None:
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["inner"], value=numpy_helper.from_array(np.ones(70_000, np.float32)))],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model = model_of(nodes=(helper.make_node("If", ["weight"], ["chosen"], then_branch=branch, else_branch=branch),))
    found = [kind for kind, _ in parts(model.SerializeToString())]
    assert {kind: found.count(kind) for kind in found} == {
        **{"model": 1, "graph": 3, "node": 4, "tensor": 3},
        "attribute": 4,  # both branches, and a value in each
    }


@pytest.mark.parametrize("content", [b"", b"not a model\n" * 40, b"\xff" * 64, b"\x0b\x0c"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    Path("model.onnx").write_bytes(content)
    refused(Path("model.onnx"))


def test_pictures_folders_and_nothing_are_refused() -> None:
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save("picture.onnx", format="PNG")
    Path("folder.onnx").mkdir()
    for name in ("picture.onnx", "folder.onnx", "nothing.onnx"):
        refused(Path(name))


def test_a_model_of_another_program_is_told_apart_from_a_damaged_one() -> None:
    Path("other.onnx").write_bytes(model_of().SerializeToString())
    assert "not written by this program" in refused(Path("other.onnx"))


def test_a_newer_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(model_of(), format=metadata.FORMAT + 1)
    with pytest.raises(InputError, match=r"has the format 2, this program reads up to 1; update it"):
        metadata.read(path)
    monkeypatch.setattr(metadata, "FORMAT", metadata.FORMAT + 1)
    assert metadata.read(path)[1]["version"] == "0.1.0"


def test_no_cut_and_no_flipped_bit_goes_unnoticed() -> None:
    path = saved(model_of())
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)
    for place in range(len(whole)):
        for flipped in (1, 8, 128, 255):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flipped]) + whole[place + 1 :])
            refused(path)


def test_a_graph_that_was_changed_later_is_refused() -> None:
    path = saved(model_of())
    changed = onnx.load(path)
    changed.graph.initializer[0].raw_data = bytes(64)
    path.write_bytes(changed.SerializeToString())
    assert "its checksum is wrong" in refused(path)


@pytest.mark.parametrize("value", ["{", "[1, 2]", "3", "null", "[" * 100_000, '{"format": "1"}', '{"format": null}'])
def test_metadata_that_are_no_description_are_refused(value: str) -> None:
    model = model_of()
    helper.set_model_props(model, {"segmentation": value})
    Path("model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="model.onnx"):
        metadata.read("model.onnx")


def external(name: str, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "weights.bin", "*/_ORT_MEM_ADDR_/*"])
@pytest.mark.parametrize("hidden", [False, True])
def test_weights_in_another_place_are_never_opened(location: str, hidden: bool) -> None:
    tensor = external("other", location)
    if not hidden:
        model = model_of(tensor)
    else:
        inner = helper.make_node("Constant", [], ["inner"], value=tensor)
        branch = helper.make_graph([inner], "branch", [], [])
        model = model_of(nodes=(helper.make_node("If", ["weight"], ["x"], then_branch=branch, else_branch=branch),))
    message = refused(saved(model))
    assert location in message


def test_a_tensor_larger_than_what_the_file_holds_of_it_is_refused() -> None:
    huge = TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[1_000_000, 1_000_000], raw_data=b"1234")
    assert "declares a tensor 'huge' of 1,000,000,000,000 elements" in refused(saved(model_of(huge)))
    negative = TensorProto(name="negative", data_type=TensorProto.FLOAT, dims=[-1], raw_data=b"1234")
    assert "declares" in refused(saved(model_of(negative)))


def test_small_and_empty_tensors_of_every_kind_are_taken() -> None:
    tensors = [
        numpy_helper.from_array(np.array(3, np.int64), "scalar"),
        numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty"),
        helper.make_tensor("listed", TensorProto.INT64, [70], range(70)),
        helper.make_tensor("text", TensorProto.STRING, [2], [b"a", b""]),
    ]
    assert metadata.read(saved(model_of(*tensors)))[1]["dtype"] == "uint8"


def test_a_sparse_tensor_is_refused() -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "sparse")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    model = model_of()
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**9]))
    assert "a sparse tensor" in refused(saved(model))


def test_operators_of_strangers_are_refused_and_those_that_the_file_explains_are_not() -> None:
    model = model_of(nodes=(helper.make_node("Delete", ["pixels"], ["y"], domain="evil.example"),))
    assert "the operator Delete of 'evil.example'" in refused(saved(model))
    own = helper.make_function(
        "own", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 18)]
    )
    explained = model_of(nodes=(helper.make_node("Twice", ["pixels"], ["y"], domain="own"),))
    explained.functions.append(own)
    assert metadata.read(saved(explained))[1]["version"] == "0.1.0"


def test_graphs_in_graphs_without_end_are_refused() -> None:
    message = b""
    for _ in range(2000):
        for number in (6, 5, 1):  # a graph in an attribute in a node in a graph
            message = bytes([number << 3 | 2]) + varint(len(message)) + message
    Path("deep.onnx").write_bytes(b"\x3a" + varint(len(message)) + message)
    refused(Path("deep.onnx"))


def varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def test_a_description_is_plain_json() -> None:
    entry = next(entry.value for entry in onnx.load(saved(model_of())).metadata_props)
    assert json.loads(entry)["classes"]["names"] == ["Grund", "Läsion"]
    with pytest.raises(TypeError):
        metadata.write(model_of(), {"threshold": np.float32(0.5)})


def test_weights_in_another_place_are_refused_though_it_is_not_said_where() -> None:
    marked = numpy_helper.from_array(np.ones(2, np.float32), "marked")
    marked.data_location = TensorProto.EXTERNAL
    assert "weights in another place (not said)" in refused(saved(model_of(marked)))
