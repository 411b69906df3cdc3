"""A checkpoint file as a function from pixels to labels, without network access."""

import socket
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from lightning import Callback, Trainer
from PIL import Image

from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.sources.folder import FolderSource
from segmentation.errors import InputError
from segmentation.inference.agglomeration import close_gaps
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.inference.intensity import Intensity
from segmentation.inference.predictor import Predictor
from segmentation.model import precision
from segmentation.model.checkpoint import checkpoints_of
from segmentation.model.module import FORMAT, SegmentationModule
from segmentation.model.predictor import TorchNetwork, load, load_module

TINY = "tu-test_resnet.r160_in1k"
SIZES = [(1, 1), (8, 8), (387, 501)]


def module_of(classes: int = 2, channels: int = 1, dtype: str = "uint8", **arguments: object) -> SegmentationModule:
    """A module as after training on pixels of a type, with weights that give each class some pixels."""
    torch.manual_seed(0)
    names = [f"class {k}" for k in range(classes)]
    module = SegmentationModule({"names": names}, channels, **{"encoder": TINY} | arguments)
    module.intensity = Intensity(dtype)
    middle = 127.0 if dtype == "uint8" else 0.5
    module.mean.fill_(middle)
    module.std.fill_(middle / 2)
    head = module.network.network.segmentation_head[0]
    torch.nn.init.normal_(head.weight, std=0.5)
    return module


def checkpoint_of(module: SegmentationModule) -> dict[str, object]:
    """What Lightning writes of a module."""
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    return checkpoint


def saved(module: SegmentationModule, path: Path = Path("model.ckpt")) -> Path:
    torch.save(checkpoint_of(module), path)
    return path


def answers_of(module: SegmentationModule, image: np.ndarray) -> np.ndarray:
    """The probabilities of a module that was not stored."""
    return Predictor([TorchNetwork(module)]).probabilities(image)


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Patches of random brightness: pixels (H, W) or (H, W, C)."""
    random = np.random.default_rng(seed)
    coarse = random.random([length // 8 + 1 if axis < 2 else length for axis, length in enumerate(shape)])
    fine = coarse.repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]]
    return (fine * (np.iinfo(dtype).max if dtype.startswith("uint") else 1)).astype(dtype)


@pytest.fixture
def _no_network(monkeypatch):
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("classes", "tail"), [(2, ()), (2, (1,)), (4, (3,))])
def test_pixels_of_any_size_become_labels_and_probabilities_without_a_network(classes, tail, size):
    module = module_of(classes, channels=tail[0] if tail else 1)
    predictor = load(saved(module))
    image = noise(*size, *tail)
    probabilities, labels = predictor.probabilities(image), predictor(image)
    assert probabilities.shape == (classes, *size)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-6)
    assert probabilities.min() >= 0
    assert labels.shape == size
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, predictor.labels(probabilities))
    assert len(np.unique(labels)) > 1 or size != SIZES[-1], "an image of one class alone would hide mistakes"


def test_the_loaded_module_answers_as_the_saved_one():
    module = module_of(3, channels=3).eval()
    image = noise(40, 50, 3)
    with torch.inference_mode():
        batch = torch.from_numpy(image).permute(2, 0, 1)[None]
        expected = module.probabilities(module(batch))[0].numpy()
    np.testing.assert_array_equal(load(saved(module)).probabilities(image), expected)


def test_a_checkpoint_is_complete():
    module = module_of(3, channels=2, dtype="uint16")
    module.trained_on = {"a.png": "abc"}
    module.precision = "bf16-mixed"
    loaded = load_module(saved(module))
    assert loaded.classes == Classes(("class 0", "class 1", "class 2"))
    assert loaded.intensity == Intensity("uint16")
    assert loaded.trained_on == {"a.png": "abc"}
    assert loaded.precision == "bf16-mixed"
    assert torch.equal(loaded.mean, module.mean)
    assert torch.equal(loaded.std, module.std)
    assert (load("model.ckpt").in_channels, len(load("model.ckpt").classes)) == (2, 3)


def test_hyperparameters_are_plain_values_without_the_pretrained_weights():
    module = module_of(network_options={"decoder_channels": [16, 8, 8, 4, 4]}, loss={"bce": 1, "lovasz": 1})
    checkpoint = torch.load(saved(module), weights_only=True)
    assert "encoder_weights" not in checkpoint["hyper_parameters"]
    assert checkpoint["hyper_parameters"]["network_options"] == {"decoder_channels": [16, 8, 8, 4, 4]}
    assert checkpoint["segmentation"]["format"] == FORMAT


def test_no_code_in_a_checkpoint_is_run():
    class Trap:
        def __reduce__(self):
            return Path.touch, (Path("sprung"),)

    torch.save(checkpoint_of(module_of()) | {"trap": Trap()}, "trap.ckpt")
    with pytest.raises(InputError, match="trap.ckpt cannot be read as a checkpoint"):
        load("trap.ckpt")
    assert not Path("sprung").exists()


def test_grey_images_from_pil_are_taken_without_a_warning():
    predictor = load(saved(module_of()))
    image = Image.fromarray(noise(20, 30))
    assert not np.asarray(image).flags.writeable
    assert predictor(image).shape == (20, 30)
    np.testing.assert_array_equal(predictor(np.asarray(image)), predictor(np.array(image)[..., None]))


def test_the_image_is_not_changed():
    image = noise(20, 30)
    before = image.copy()
    load(saved(module_of()))(image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_network_of_deeper_pixels_takes_them(dtype):
    predictor = load(saved(module_of(dtype=dtype)))
    image = noise(40, 56, dtype=dtype)
    probabilities = predictor.probabilities(image)
    with torch.inference_mode():
        scaled = torch.from_numpy(image / np.float32(65535 if dtype == "uint16" else 1))[None, None]
        expected = predictor.networks[0].module.predict_tile(scaled)[0].numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert probabilities[1].std() > 0.01


class Watcher(Callback):
    """Keeps the probabilities of a validation by sample id."""

    def __init__(self):
        self.seen = {}

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, *_):
        self.seen |= {key: planes.numpy() for key, planes in zip(batch["id"], outputs["probabilities"], strict=True)}


def deep_folder(root: Path, dtype: str) -> Path:
    """Six images with values of 100 to 1500, of which the last two, which validate, are twice as bright."""
    for number in range(6):
        image = (100 + noise(40, 48, dtype="float64", seed=number) * 700) * (2 if number > 3 else 1)
        for folder, array in (("images", image.astype(dtype)), ("masks", (image > 400).astype(np.uint8))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / folder / f"{number}.tif", array)
    return root


def trainer_of(*callbacks: Callback) -> Trainer:
    return Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
    )


@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # Lightning's advice for large data
@pytest.mark.parametrize("dtype", ["uint16", "float32", "uint8"])
@pytest.mark.parametrize("rule", [None, "max"])
def test_a_loaded_checkpoint_sees_deep_pixels_as_training_and_validation_did(dtype, rule):
    root = deep_folder(Path("data"), dtype if dtype != "uint8" else "uint16")
    if dtype == "uint8":
        for path in (root / "images").iterdir():
            tifffile.imwrite(path, (tifffile.imread(path) // 8).astype(np.uint8))
    source = FolderSource(root, in_channels=1)
    options = {"folds": 3, "fold": 2, "crop": 32, "batch_size": 2, "workers": 0, "intensity": rule}
    module = SegmentationModule(source.classes.to_dict(), 1, encoder=TINY)
    trainer = trainer_of()
    data = SegmentationDataModule(source, **options)
    trainer.fit(module, data)
    trainer.save_checkpoint("deep.ckpt")
    stored = torch.load("deep.ckpt", weights_only=True)["segmentation"]["intensity"]
    assert stored == module.intensity.to_dict() == data.intensity.to_dict()
    assert stored["rule"] == (rule or ("range" if dtype == "uint8" else "percentile"))
    if stored["rule"] == "percentile":
        training = np.stack([tifffile.imread(root / "images" / f"{number}.tif") for number in range(4)])
        assert stored["low"][0] == pytest.approx(np.percentile(training, 0.5), abs=20)
        assert stored["high"][0] == pytest.approx(np.percentile(training, 99.5), abs=20)
    watcher = Watcher()
    fresh = SegmentationModule(source.classes.to_dict(), 1, encoder=TINY)
    # the other fold, so that a rule fitted anew would be another one
    other = SegmentationDataModule(source, **options | {"fold": 0})
    trainer_of(watcher).validate(fresh, other, ckpt_path="deep.ckpt", weights_only=True, verbose=False)
    assert fresh.intensity == module.intensity
    predictor = load("deep.ckpt")
    assert sorted(watcher.seen) == ["0", "1"]
    for key, probabilities in watcher.seen.items():
        np.testing.assert_array_equal(
            predictor.probabilities(tifffile.imread(root / "images" / f"{key}.tif")), probabilities
        )
        assert probabilities[1].std() > 1e-4


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_images_of_another_pixel_type_are_refused_before_validation():
    module = module_of(dtype="uint8")
    data = SegmentationDataModule(FolderSource(deep_folder(Path("data"), "uint16"), in_channels=1), workers=0)
    with pytest.raises(InputError, match="the images are uint16, the checkpoint was trained on uint8; convert"):
        trainer_of().validate(module, data, verbose=False)


def test_an_older_checkpoint_holds_the_pixel_type_alone():
    checkpoint = checkpoint_of(module_of(dtype="uint16"))
    checkpoint["segmentation"]["intensity"] = "uint16"
    torch.save(checkpoint, "old.ckpt")
    assert load_module("old.ckpt").intensity == Intensity("uint16", "range")


def test_an_image_in_a_batch_is_labelled_as_alone():
    module = module_of(channels=3).eval()
    batch = torch.stack([torch.from_numpy(noise(33, 47, 3, seed=seed)).permute(2, 0, 1) for seed in range(3)])
    with torch.inference_mode():
        together = module(batch)
        alone = torch.cat([module(image[None]) for image in batch])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_tiles_change_little_and_their_size_is_kept_in_the_checkpoint():
    image = noise(150, 170)
    module = module_of(tile=96, overlap=0.5)
    whole, tiled = load(saved(module), tile=1024), load(saved(module))
    assert (tiled.tiling.tile, whole.tiling.tile) == (96, 1024)
    assert len(list(tiled.bands([image[..., None]]))) > 1
    assert len(list(whole.bands([image[..., None]]))) == 1
    difference = np.abs(tiled.probabilities(image) - whole.probabilities(image))
    assert 0 < difference.mean() < 0.05


def test_a_memory_map_is_labelled_as_the_array():
    np.save("image.npy", noise(200, 90, 3))
    predictor = load(saved(module_of(channels=3)), tile=64)
    mapped = np.load("image.npy", mmap_mode="r")
    np.testing.assert_array_equal(predictor(mapped), predictor(np.array(mapped)))
    np.testing.assert_array_equal(predictor(mapped), predictor.labels(predictor.probabilities(mapped)))


def test_images_of_one_size_in_one_call_are_labelled_as_alone():
    predictor = load(saved(module_of()), tile=64)
    images = [noise(100, 80, 1, seed=seed) for seed in range(3)]
    together = np.concatenate([block for _, block in predictor.bands(images)], axis=2)
    for place, image in enumerate(images):
        np.testing.assert_allclose(together[place], predictor.probabilities(image), atol=1e-5)


def folds(count: int) -> Path:
    """Folds as crossval leaves them: networks of different weights, thresholds and pixel scales."""
    for fold in range(count):
        module = module_of()
        module.intensity = Intensity("uint8", "max", (0.0,), (100.0 + fold,))
        module.mean.fill_(1.0 + fold / 4)
        module.std.fill_(0.5)
        module.decision = Decision((fold + 1) / 10)
        Path(f"cv/fold{fold}/checkpoints").mkdir(parents=True)
        saved(module, Path(f"cv/fold{fold}/checkpoints/best.ckpt"))
    return Path("cv")


def test_an_ensemble_is_the_mean_of_its_members_each_with_its_own_pixel_scale():
    image = noise(40, 56)
    members = [load(path) for path in sorted(folds(3).iterdir())]
    ensemble = load("cv")
    assert ensemble.decision.threshold == pytest.approx(0.2)
    answers = [member.probabilities(image) for member in members]
    assert np.abs(answers[0] - answers[2]).max() > 0.01
    np.testing.assert_allclose(ensemble.probabilities(image), np.mean(answers, axis=0), atol=1e-6)
    both = load(["cv/fold0", "cv/fold2/checkpoints/best.ckpt"])
    np.testing.assert_allclose(both.probabilities(image), (answers[0] + answers[2]) / 2, atol=1e-6)


def test_checkpoints_of_different_classes_are_no_ensemble():
    saved(module_of(2), Path("two.ckpt"))
    saved(module_of(3), Path("three.ckpt"))
    with pytest.raises(InputError, match="do not belong together.*class 2"):
        load(["two.ckpt", "three.ckpt"])
    with pytest.raises(InputError, match="holds no run .*no runs .*no folds"):
        load(".")


def test_a_folder_of_runs_is_its_newest_run_with_a_best_checkpoint():
    for number, name in enumerate(("20261120-235959", "20261121-000000", "20261121-000000-2", "crossval/fold0"), 1):
        Path(f"runs/mine/{name}/checkpoints").mkdir(parents=True)
        module = module_of()
        module.decision = Decision(number / 10)
        saved(module, Path(f"runs/mine/{name}/checkpoints/best.ckpt"))
    Path("runs/mine/20261122-000000/checkpoints").mkdir(parents=True)  # stopped before its first validation
    assert checkpoints_of("runs/mine") == [Path("runs/mine/20261121-000000-2/checkpoints/best.ckpt")]
    assert load("runs/mine").decision.threshold == 0.3
    assert load("runs/mine/crossval").decision.threshold == 0.4


@pytest.mark.parametrize("classes", [2, 3])
def test_test_time_augmentation_makes_the_answer_to_a_mirror_image_its_mirror_image(classes):
    image = noise(64, 96)
    plain, augmented = load(saved(module_of(classes))), load("model.ckpt", tta="d4")

    def asymmetry(predictor):
        return np.abs(predictor.probabilities(image[:, ::-1])[..., ::-1] - predictor.probabilities(image)).max()

    assert asymmetry(augmented) < 1e-5 < 1e-3 < asymmetry(plain)


def test_scales_are_averaged():
    image = noise(64, 96)
    module = module_of().eval()
    pixels = torch.from_numpy(image)[None, None].float()
    small = torch.nn.functional.interpolate(pixels, size=(32, 48), mode="bilinear", antialias=True)
    with torch.inference_mode():
        up = torch.nn.functional.interpolate(module.predict_tile(small), size=(64, 96), mode="bilinear")
        expected = (module.predict_tile(pixels) + up) / 2
    found = load(saved(module), tta_scales=[1, 0.5]).probabilities(image)
    np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"tta": "d8"}, "model.tta 'd8' is unknown; did you mean 'd4'"),
        ({"tta_scales": [0.5, 0]}, "model.tta_scales is .*greater than 0"),
        ({"tile": 0}, "the tile is 0 pixels; give 1 or more"),
        ({"overlap": 1.0}, "the overlap of tiles is 1.0"),
        ({"threshold": 1.5}, "model.threshold is 1.5; give a probability from 0 to 1"),
    ],
)
def test_impossible_options_are_refused_with_the_value(option, message):
    with pytest.raises(InputError, match=message):
        load(saved(module_of()), **option)


def test_a_transformer_of_one_size_is_tiled_at_that_size_and_says_so():
    module = module_of(
        channels=3,
        encoder="tu-swin_tiny_patch4_window7_224",
        network_options={"encoder_depth": 4, "decoder_channels": [16, 8, 8, 4]},
    )
    assert module.application.tiling.tile == module.network.fixed == 224
    predictor = load(saved(module))
    assert predictor.probabilities(noise(100, 300, 3)).shape == (2, 100, 300)
    with pytest.raises(InputError, match="224x224 pixels only, this one is 225x10; set data.crop: 224"):
        module(torch.zeros(1, 3, 225, 10))
    with pytest.raises(InputError, match="takes images of 224 pixels only; leave it out"):
        load("model.ckpt", tta_scales=[0.5])


def test_the_memory_format_changes_speed_and_not_the_answer():
    last, first = module_of(channels_last=True), module_of(channels_last=False)
    first.load_state_dict(last.state_dict())
    image = noise(70, 50)
    np.testing.assert_allclose(answers_of(last, image), answers_of(first, image), atol=1e-5)


def test_a_transposed_image_in_memory_is_read_by_its_axes():
    predictor = load(saved(module_of(channels=3)))
    image = noise(30, 40, 3)
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    np.testing.assert_array_equal(predictor(planes.transpose(1, 2, 0)), predictor(image))


def test_the_stored_decision_is_used_unless_another_threshold_is_given():
    module = module_of()
    image = noise(64, 64)
    middle = float(np.median(answers_of(module, image)[1]))
    module.decision = Decision(middle)
    path = saved(module)
    stored = load(path)
    assert stored.decision == Decision(middle)
    assert load(path, smallest_object=9, largest_hole=4).decision == Decision(middle, 9, 4)
    assert 0.4 < stored(image).mean() < 0.6
    assert load(path, threshold=0)(image).all()
    assert not load(path, threshold=1)(image).any()


def test_a_threshold_among_the_arguments_of_training_wins_over_the_chosen_one():
    module = module_of(threshold=0.3)
    module.decision = Decision(0.8)
    assert load(saved(module)).decision == Decision(0.3)


@pytest.mark.parametrize("threshold", [-0.1, 1.5])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(InputError, match=f"model.threshold is {threshold}; give a probability from 0 to 1"):
        load(saved(module_of()), threshold=threshold)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_the_precision_of_training_is_used_where_the_machine_has_it(monkeypatch, has_bf16):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda _device: has_bf16)
    module = module_of()
    exact = answers_of(module, noise(40, 40))
    module.precision = "bf16-mixed"
    predictor = load(saved(module))
    probabilities = predictor.probabilities(noise(40, 40))
    assert probabilities.dtype == np.float32
    assert np.array_equal(probabilities, exact) == (not has_bf16)
    np.testing.assert_allclose(probabilities, exact, atol=0.05)


@pytest.mark.parametrize(
    ("channels", "shape", "wanted"),
    [
        (1, (5, 5, 3), r"\(H, W\) or \(H, W, 1\)"),
        (3, (5, 5), r"\(H, W, 3\)"),
        (3, (5, 5, 4), r"\(H, W, 3\)"),
        (1, (2, 5, 5, 1), r"\(H, W\) or \(H, W, 1\)"),
        (1, (0, 5), r"\(H, W\) or \(H, W, 1\)"),
    ],
)
def test_an_image_of_another_shape_is_refused_with_both_shapes(channels, shape, wanted):
    predictor = load(saved(module_of(channels=channels)))
    given = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InputError, match=f"the image has the shape {given}; the network takes {wanted}"):
        predictor(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("trained", "given"), [("uint8", "uint16"), ("uint16", "uint8"), ("uint8", "float64")])
def test_pixels_of_another_type_are_refused_with_both_types(trained, given):
    predictor = load(saved(module_of(dtype=trained)))
    with pytest.raises(InputError, match=f"the image is {given}, the network was trained on {trained}"):
        predictor(np.zeros((4, 4), given))


def test_an_exported_file_is_no_checkpoint_and_the_message_says_what_takes_it():
    Path("model.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"model.onnx is an exported network.*deployment.runtime.load.*--onnx"):
        load("model.onnx")


def test_a_missing_checkpoint_is_named():
    with pytest.raises(InputError, match="the checkpoint runs/none.ckpt does not exist"):
        load("runs/none.ckpt")


@pytest.mark.parametrize("kept", [0, 10, 1000, 0.5, -1])
def test_a_truncated_checkpoint_is_named(kept):
    content = saved(module_of()).read_bytes()
    Path("cut.ckpt").write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match=r"cut.ckpt cannot be read as a checkpoint \(.*\); it may be cut"):
        load("cut.ckpt")


@pytest.mark.parametrize("place", [0.0001, 0.3, 0.5, 0.9])
def test_a_checkpoint_with_a_wrong_byte_is_refused_even_in_the_weights(place):
    content = bytearray(saved(module_of()).read_bytes())
    content[int(place * len(content))] ^= 0xFF
    Path("bad.ckpt").write_bytes(content)
    with pytest.raises(InputError, match="bad.ckpt cannot be read as a checkpoint"):
        load("bad.ckpt")


@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04" + b"\0" * 40])
def test_a_file_of_another_kind_is_named(content):
    Path("photo.png").write_bytes(content)
    with pytest.raises(InputError, match="photo.png cannot be read as a checkpoint"):
        load("photo.png")


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(3), {"segmentation": 3}, {"segmentation": {}}])
def test_a_torch_file_of_another_shape_is_named(content):
    torch.save(content, "other.pt")
    with pytest.raises(InputError, match="other.pt cannot be read as a checkpoint"):
        load("other.pt")


def test_a_checkpoint_of_another_program_says_so():
    torch.save({"state_dict": {}, "hyper_parameters": {}}, "other.ckpt")
    with pytest.raises(InputError, match="other.ckpt: the checkpoint was not written by this program"):
        load("other.ckpt")


def test_a_newer_format_is_refused_with_both_numbers():
    checkpoint = checkpoint_of(module_of())
    checkpoint["segmentation"]["format"] = FORMAT + 1
    torch.save(checkpoint, "new.ckpt")
    with pytest.raises(InputError, match=f"new.ckpt: .* has format {FORMAT + 1}, this program reads up to {FORMAT}"):
        load("new.ckpt")


@pytest.mark.parametrize(
    "changed",
    [
        {"state_dict": {}},
        {"hyper_parameters": {}},
        {"segmentation": {"format": FORMAT}},
    ],
)
def test_a_checkpoint_that_lacks_what_this_version_needs_is_named(changed):
    torch.save(checkpoint_of(module_of()) | changed, "odd.ckpt")
    with pytest.raises(InputError, match="odd.ckpt does not fit this version of the program"):
        load("odd.ckpt")


@pytest.mark.parametrize(("network", "told"), [("Gone", "Gone"), ("gone_file.Net", "No module named 'gone_file'")])
def test_a_checkpoint_whose_network_is_not_here_says_which(network, told):
    settings = {"classes": {"names": ["a", "b"]}, "in_channels": 1, "network": network}
    torch.save(checkpoint_of(module_of()) | {"hyper_parameters": settings}, "odd.ckpt")
    with pytest.raises(InputError, match=f"odd.ckpt cannot be loaded here: .*{told}") as caught:
        load("odd.ckpt")
    assert "version" not in str(caught.value)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="the device 'gpu' cannot be used"):
        load(saved(module_of()), device="gpu")


def test_a_threshold_for_many_classes_is_refused():
    with pytest.raises(InputError, match="this checkpoint has 3"):
        load(saved(module_of(classes=3)), threshold=0.3)


def test_gaps_are_closed_in_the_whole_image_whatever_the_tiles() -> None:
    image = noise(90, 120)
    module = module_of()
    head = [layer for layer in module.network.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    head.bias.data += 0.7  # so that there are objects
    plain = load(saved(module))
    probabilities = plain.probabilities(image)
    closed = load("model.ckpt", agglomeration=0.3).probabilities(image)
    np.testing.assert_array_equal(closed[1], close_gaps(probabilities[1], 0.3))
    assert (closed != probabilities).any()
    np.testing.assert_allclose(closed.sum(0), 1, atol=1e-6)
    tiled = load("model.ckpt", agglomeration=0.3, tile=64)
    np.testing.assert_array_equal(
        tiled.probabilities(image)[1], close_gaps(load("model.ckpt", tile=64).probabilities(image)[1], 0.3)
    )
    np.testing.assert_array_equal(tiled(image), tiled.labels(tiled.probabilities(image)))
    with pytest.raises(InputError, match="agglomeration is 0.6 with 3 classes"):
        load(saved(module_of(classes=3)), agglomeration=0.6)
