"""Exported files without torch: the answers of the checkpoint, and nothing heavy is imported."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tifffile
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import segmentation
from segmentation.__main__ import main
from segmentation.data.reading import read_pixels
from segmentation.data.sample import Part
from segmentation.deployment import metadata
from segmentation.deployment.export import export
from segmentation.deployment.runtime import OnnxNetwork, _usable_threads, load
from segmentation.errors import InputError
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.inference.intensity import Intensity
from segmentation.inference.predictor import Description
from segmentation.model.predictor import load_module
from segmentation.model.resizing import resized

KERNEL = (np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3) - 3) / 9
"""Of the drawn files: no flip leaves its answer as it is."""

PLAIN = Description(Classes(("membrane", "cell")), 1, Intensity("float32", "none"), Decision())


def network(pixels: torch.Tensor) -> torch.Tensor:
    """What the drawn files compute."""
    one = F.conv2d(pixels.float(), torch.from_numpy(KERNEL), padding=1).sigmoid()
    return torch.cat([1 - one, one], dim=1)


def drawn(path: str, described: Description = PLAIN, operator: str = "Sigmoid", **changed: Any) -> str:
    """A file of one convolution, made without torch's exporter; ``changed`` are entries of its metadata."""
    kind = TensorProto.UINT8 if described.intensity.network_dtype == "uint8" else TensorProto.FLOAT
    sides = [described.fixed or "height", described.fixed or "width"]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["numbers", "kernel"], ["logits"], pads=[1, 1, 1, 1]),
            helper.make_node(operator, ["logits"], ["one"]),
            helper.make_node("Sub", ["unit", "one"], ["zero"]),
            helper.make_node("Concat", ["zero", "one"], ["probabilities"], axis=1),
        ],
        "drawn",
        [helper.make_tensor_value_info("pixels", kind, ["batch", 1, *sides])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2, *sides])],
        [numpy_helper.from_array(KERNEL, "kernel"), numpy_helper.from_array(np.ones(1, np.float32), "unit")],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    metadata.write(model, {"version": "1", "precision": "float32", "dtype": "float32"} | described.to_dict() | changed)
    onnx.save(model, path)
    return path


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of fit and its file."""
    ckpt_path, path = trained / "checkpoints/best.ckpt", tmp_path_factory.mktemp("exported") / "model.onnx"
    export(load_module(ckpt_path), path)
    return ckpt_path, path


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({}, 1e-4),
        ({"tile": 40, "overlap": 0.5}, 1e-4),
        ({"tta": "d4", "threshold": 0.3, "smallest_object": 5, "largest_hole": 0}, 1e-4),
        ({"tta_scales": [0.75, 1.0]}, 0.02),  # 8-bit pixels of another size are rounded
    ],
)
def test_a_file_answers_as_its_checkpoint(
    exported: tuple[Path, Path], options: dict[str, Any], difference: float
) -> None:
    expected, found = segmentation.load(exported[0], "cpu", **options), load(exported[1], **options)
    for size in ((64, 64), (91, 53), (8, 8)):
        image = (noise(*size) * 255).astype(np.uint8)
        np.testing.assert_allclose(found.probabilities(image), expected.probabilities(image), atol=difference)
    assert (found.decision, found.classes, found.in_channels, found.trained_on, found.tiling) == (
        *(expected.decision, expected.classes, expected.in_channels, expected.trained_on, expected.tiling),
    )


def test_every_result_of_predict_is_that_of_the_checkpoint(exported: tuple[Path, Path]) -> None:
    stack = (noise(3, 70, 60) * 255).astype(np.uint8)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    Image.fromarray(stack[0]).save("one.png")
    kinds = "labels,index,probabilities,foreground,overlay,objects"
    for option, path in zip(("ckpt_path", "onnx"), exported, strict=True):
        arguments = ["stack.tif", "one.png", f"--{option}", str(path), "--write", kinds, "--out", option]
        assert main(["predict", *arguments, "--device", "cpu"]) == 0
    written = sorted(path.relative_to("ckpt_path") for path in Path("ckpt_path").rglob("*.*"))
    assert len(written) == 15
    for name in written:
        expected, found = Path("ckpt_path", name), Path("onnx", name)
        if name.suffix == ".csv":
            assert found.read_text() == expected.read_text()
        elif name.parts[0] in ("probabilities", "foreground"):
            rounded = 1e-3 if name.parts[0] == "probabilities" else 0  # to float16
            np.testing.assert_allclose(tifffile.imread(found), tifffile.imread(expected), atol=1e-4 + rounded)
        elif name.suffix == ".tif":
            np.testing.assert_array_equal(tifffile.imread(found), tifffile.imread(expected))
        else:
            np.testing.assert_array_equal(read_pixels(Part(found)), read_pixels(Part(expected)))


def test_numpy_and_onnxruntime_are_enough() -> None:
    drawn("model.onnx", Description(PLAIN.classes, 1, Intensity(), Decision(0.4)))
    Image.fromarray((noise(6, 8) * 255).astype(np.uint8)).save("a.png")
    heavy = ("torch", "lightning", "scipy", "skimage", "cv2", "albumentations", "matplotlib", "onnx", "pandas")
    code = (
        "import sys, numpy\n"
        "from segmentation.deployment.runtime import load\n"
        "labels = load('model.onnx')(numpy.zeros((6, 8), numpy.uint8))\n"
        f"print(labels.shape, [name for name in {(*heavy, 'PIL', 'tifffile', 'rich')} if name in sys.modules])\n"
        "from segmentation.__main__ import main\n"
        "status = main(['predict', 'a.png', '--onnx', 'model.onnx', '--write', 'labels,probabilities,overlay'])\n"
        f"print(status, [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[0], done.stdout.splitlines()[-1]) == ("(6, 8) []", "0 []")
    assert done.stderr == ""


@pytest.mark.parametrize("options", [{}, {"tta": "d4"}, {"tta_scales": [0.5, 1.0, 1.5]}])
def test_views_and_scales_of_float_pixels_are_those_of_torch(options: dict[str, Any]) -> None:
    predictor, image = load(drawn("model.onnx"), **options), noise(30, 22)
    expected = predictor.networks[0].description.application.averaged(
        network, resized, torch.from_numpy(image)[None, None]
    )
    np.testing.assert_allclose(predictor.probabilities(image), expected[0].numpy(), atol=1e-5)


def test_a_network_of_one_size_gets_it() -> None:
    predictor = load(drawn("model.onnx", Description(PLAIN.classes, 1, PLAIN.intensity, Decision(), fixed=16)))
    small = noise(9, 13)
    padded = F.pad(torch.from_numpy(small)[None, None], [0, 3, 0, 7], mode="replicate")
    np.testing.assert_allclose(predictor.probabilities(small), network(padded)[0, :, :9, :13].numpy(), atol=1e-6)
    assert predictor(noise(40, 50)).shape == (40, 50)


def test_several_files_are_averaged() -> None:
    doubled = Intensity("float32", "max", (0.0,), (0.5,))
    first, second = drawn("a.onnx"), drawn("b.onnx", Description(PLAIN.classes, 1, doubled, Decision(0.1)))
    image = noise(20, 30)
    one, other, both = (load(path).probabilities(image) for path in (first, second, [first, second]))
    assert np.abs(one - other).max() > 0.1
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-6)
    assert load([first, second]).decision == Decision(0.3)
    tifffile.imwrite("image.tif", image)
    arguments = ["predict", "image.tif", "--onnx", first, second, "--write", "foreground"]
    assert main(arguments) == 0
    np.testing.assert_allclose(tifffile.imread("predictions/foreground/image.tif"), both[1], atol=1e-6)


def test_the_rule_of_the_pixels_is_applied_and_other_pixels_are_refused() -> None:
    scaled = Intensity("uint16", "percentile", (100.0,), (300.0,))
    predictor = load(drawn("model.onnx", Description(PLAIN.classes, 1, scaled, Decision())))
    image = (noise(12, 14) * 400).astype(np.uint16)
    seen = ((image.astype(np.float32) - 100) / 200).clip(0, 1)
    expected = network(torch.from_numpy(seen)[None, None])[0].numpy()
    np.testing.assert_allclose(predictor.probabilities(image), expected, atol=1e-6)
    with pytest.raises(InputError, match="the image is uint8, the network was trained on uint16"):
        predictor(image.astype(np.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads is 0; give 1 or more"),
        ({"providers": ["gpu"]}, "onnxruntime has no provider gpu here; it has .*CPUExecutionProvider"),
        ({"providers": []}, "onnxruntime has no provider without a name here"),
        ({"threshold": 1.5}, "the threshold is 1.5; give a probability from 0 to 1"),
        ({"smallest_object": -1}, "smallest_object is -1 pixels; give 0 or more"),
        ({"tile": 0}, "the tile is 0 pixels"),
        ({"tta_scales": [0.0]}, "tta_scales is .*greater than 0"),
        ({"agglomeration": 2.0}, "agglomeration is 2.0 with 2 classes"),
    ],
)
def test_impossible_options_are_refused_with_the_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(drawn("model.onnx"), **options)


def test_one_thread_and_a_provider_by_its_full_name() -> None:
    path, image = drawn("model.onnx"), noise(20, 20)
    found = load(path, threads=1, providers=["CPUExecutionProvider"]).probabilities(image)
    np.testing.assert_allclose(found, load(path).probabilities(image), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")  # onnxruntime's own, before it goes on
def test_a_provider_that_cannot_start_is_told_instead_of_taking_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    with pytest.raises(InputError, match="provider CUDAExecutionProvider of onnxruntime cannot start.*take cpu"):
        load(drawn("model.onnx"), providers=["cuda"])


def test_a_threshold_for_many_classes_is_refused() -> None:
    described = Description(Classes(("sky", "road", "car")), 1, PLAIN.intensity, Decision())
    with pytest.raises(InputError, match="this file has 3, leave it out"):
        load(drawn("model.onnx", described), threshold=0.3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"decision": {"level": 3}}, "model.onnx does not fit this version of the program .TypeError"),
        ({"classes": ["a", "b"]}, "model.onnx does not fit this version of the program"),
        ({"tile": "large"}, "model.onnx does not fit this version of the program"),
        ({"intensity": {"rule": "cube"}}, "intensity rule 'cube' is unknown"),
        ({"in_channels": 3}, "model.onnx takes .*pixels of 3 channels and probabilities are expected"),
        ({"operator": "Nothing"}, "model.onnx cannot be run by onnxruntime"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_the_cure(changed: dict[str, Any], message: str) -> None:
    drawn("model.onnx", **changed)
    with pytest.raises(InputError, match=f"{message}.*[Ee]xport the checkpoint anew"):
        load("model.onnx")


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((6, 8), np.uint8)).save("a.png")
    assert main(["predict", "a.png", "--onnx", "absent.onnx"]) == 1
    assert "absent.onnx does not exist" in capsys.readouterr().err
    assert not Path("predictions").exists()


def test_onnxruntime_is_told_not_to_report_on_its_use() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_resized_8_bit_pixels_are_rounded() -> None:
    seen: list[NDArray[Any]] = []

    def answer(_names: list[str], feed: dict[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        seen.append(feed["pixels"])
        return [np.zeros((1, 2, *feed["pixels"].shape[2:]), np.float32)]

    session: Any = SimpleNamespace(
        run=answer,
        get_providers=lambda: ["CPUExecutionProvider"],
        get_inputs=lambda: [SimpleNamespace(type="tensor(uint8)")],
    )
    described = Description(Classes(("a", "b")), 1, Intensity(), Decision(), tta_scales=(2.0,))
    OnnxNetwork(session, described)(np.array([[[[0, 3]]]], np.uint8))
    assert seen[0].dtype == np.uint8
    assert seen[0][0, 0].tolist() == [[0, 1, 2, 3]] * 2  # 0.75 and 2.25 between


def test_the_threads_are_those_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    used, made = [], onnxruntime.InferenceSession

    def session(content: bytes, options: onnxruntime.SessionOptions, **others: Any) -> onnxruntime.InferenceSession:
        used.append(options.intra_op_num_threads)
        return made(content, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr("segmentation.deployment.runtime._usable_threads", lambda: 0)
    for threads in (1, 3, None):
        load(drawn("model.onnx"), threads=threads)
    assert used == [1, 3, 0]


@pytest.mark.parametrize(("cores", "threads"), [({0, 1}, 2), ({0, 1, 2, 3}, 0)])
def test_a_process_with_some_of_the_cores_says_so(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], threads: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: cores, raising=False)
    assert _usable_threads() == threads
