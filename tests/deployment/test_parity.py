"""The gate: what answers as the checkpoint passes, what does not is refused with the place."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from segmentation.deployment import metadata, parity
from segmentation.deployment.export import export, middle, tile_of
from segmentation.deployment.parity import Example, check, views_of
from segmentation.errors import InputError
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.inference.intensity import Intensity
from segmentation.inference.predictor import Description
from segmentation.model.module import SegmentationModule

SETTINGS = {"scores": ["region", "em"], "tta": "flips", "agglomeration": 0.5, "tile": 48, "smallest_object": 3}


@pytest.fixture(scope="module")
def module() -> SegmentationModule:
    """As after training, with everything that prediction does to an image."""
    torch.manual_seed(0)
    names = {"names": ["membrane", "cell"]}
    module = SegmentationModule(names, 1, network="PlainUnet", network_options={"width": 4}, **SETTINGS).eval()
    module.intensity = Intensity("uint8")
    module.mean.fill_(120)
    module.std.fill_(60)
    module.precision = "bf16-mixed"
    with torch.inference_mode():
        logits = module(torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8))
    head = [layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    with torch.no_grad():  # both classes are predicted
        head.weight.mul_(2 / logits.std())
        head.bias.sub_(logits.mean()).mul_(2 / logits.std())
    return module


@pytest.fixture(scope="module")
def file(module: SegmentationModule, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    written = export(module, path)
    assert (written.bytes, written.dtype) == (path.stat().st_size, "uint8")
    return path


@pytest.fixture
def examples() -> list[Example]:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 60, 70, 1), dtype=np.uint8)
    mask = np.ones((60, 70), np.uint8)
    mask[:, ::10] = 0
    return [Example("first", images[0], mask), Example("second", images[1], mask)]


def changed(file: Path, out: Path, precision: str, offset: float) -> Path:
    """The same file with another mean of the pixels: a normalisation that is not the checkpoint's."""
    model = onnx.load(file)
    (mean,) = (tensor for tensor in model.graph.initializer if tensor.name.endswith("mean"))
    mean.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(mean) + np.float32(offset), mean.name))
    metadata.write(model, metadata.read(file)[1] | {"precision": precision})
    onnx.save(model, out)
    return out


def test_a_file_that_answers_as_its_checkpoint_passes(file, module, examples):
    done = []
    parity = check(file, module, examples, lambda: done.append(1))
    assert len(done) == 2
    assert [(view.name, view.kind, view.size) for view in parity.views[:3]] == [
        ("first", "whole", (60, 70)),
        ("first", "odd", (45, 69)),
        ("first", "8x8", (8, 8)),
    ]
    assert len(parity.views) == 6
    assert max(view.difference for view in parity.views) < 1e-5
    assert {"iou", "dice/cell", "v_rand", "v_info_at_threshold"} <= set(parity.scores)
    assert not {"loss", "threshold", "smallest_object"} & set(parity.scores)
    for before, after in parity.scores.values():
        assert before == pytest.approx(after, abs=1e-3, nan_ok=True)
    assert module.precision == "bf16-mixed" and module.hparams["tta"] == "flips", "the module stays as it is"


def test_the_description_has_what_prediction_needs(file, module):
    stored = metadata.read(file)[1]
    assert (stored["precision"], stored["dtype"]) == ("float32", "uint8")
    description = Description.from_dict(stored)
    assert (description.tta, description.agglomeration, description.tile) == ("flips", 0.5, 48)
    assert (description.decision, description.classes) == (module.decision, module.classes)


def test_a_broken_export_is_refused_with_the_image_and_the_place(file, module, examples):
    broken = changed(file, Path("broken.onnx"), "float32", 10)
    message = r"the float32 file does not answer as the checkpoint: at (first|second) \((whole|odd|8x8), \d+x\d+\), "
    with pytest.raises(
        InputError, match=message + r"row \d+, column \d+, a probability differs by 0\.\d+ \(at most (1e-04|0\.0001)\)"
    ):
        check(broken, module, examples)


def test_a_file_of_fewer_bits_is_judged_by_its_scores(file, module, examples):
    slightly = changed(file, Path("slightly.onnx"), "int8", 0.5)
    assert max(view.difference for view in check(slightly, module, examples).views) > 1e-4
    broken = changed(file, Path("broken.onnx"), "int8", 60)
    with pytest.raises(InputError, match=r"the int8 file changes \S+ from 0\.\d+ to 0\.\d+ \(at most by 0\.005\)"):
        check(broken, module, examples)


def test_a_file_that_gives_no_numbers_is_refused(file, module, examples):
    broken = changed(file, Path("broken.onnx"), "int8", np.nan)
    with pytest.raises(InputError, match="differs by inf"):
        check(broken, module, examples)


def test_a_file_that_fails_on_an_image_is_refused_with_its_name(file, module, examples, monkeypatch):
    class Failing:
        def probabilities(self, image):
            if image.shape[0] == 8:
                raise RuntimeError("indices element out of data bounds\nin a kernel")
            return np.full((2, *image.shape[:2]), 0.5, np.float32)

    monkeypatch.setattr(parity, "_file", lambda path: Failing())
    with pytest.raises(InputError, match=r"does not run on first \(8x8, 8x8\): indices element out of data bounds; it"):
        check(file, module, examples)


def test_labels_at_another_threshold_are_refused(file, module, examples):
    module.decision, before = Decision(0.9), module.decision
    try:
        with pytest.raises(InputError, match=r"not those of its probabilities at first, row \d+, column \d+"):
            check(file, module, examples)
    finally:
        module.decision = before


def test_without_masks_the_labels_of_the_checkpoint_are_the_truth(file, module, examples):
    parity = check(file, module, [example._replace(mask=None) for example in examples])
    assert parity.scores["iou"] == (1, 1)
    with pytest.raises(InputError, match="--images"):
        check(file, module, [])


def test_the_views_of_an_image():
    sizes = {name: tuple(part.stop - part.start for part in parts) for name, parts in views_of((512, 512)).items()}
    assert sizes == {"whole": (512, 512), "odd": (387, 501), "8x8": (8, 8)}
    for size in [(1, 1), (2, 3), (7, 9), (10, 4000), (3001, 8)]:
        for name, parts in views_of(size).items():
            for part, length in zip(parts, size, strict=True):
                assert 0 <= part.start < part.stop <= length
                assert name != "odd" or (part.stop - part.start) % 2 == 1
                assert part.stop - part.start <= 2048
    assert middle((10, 11), (4, 20)) == (slice(3, 7), slice(0, 11))


def description_of(dtype: str, fixed: int | None = None) -> Description:
    intensity = Intensity(dtype, "max", (0.0,), (1000.0,)) if dtype == "uint16" else Intensity(dtype)
    return Description(Classes(("a", "b")), 1, intensity, Decision(), tile=32, fixed=fixed)


def test_the_tile_of_an_image_is_what_the_network_sees():
    image = np.arange(50 * 40, dtype=np.uint16).reshape(50, 40, 1)
    tile = tile_of(image, description_of("uint16"))
    np.testing.assert_allclose(tile[0, 0], image[9:41, 4:36, 0] / np.float32(1000), rtol=1e-6)
    assert tile.dtype == np.float32
    assert tile_of(image.astype(np.uint8), description_of("uint8"), 16).shape == (1, 1, 16, 16)
    padded = tile_of(image[:20, :70].astype(np.uint8), description_of("uint8", fixed=64))
    assert padded.shape == (1, 1, 64, 64)
    assert (padded[0, 0, 20:] == padded[0, 0, 19]).all()
