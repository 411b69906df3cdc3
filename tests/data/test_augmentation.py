"""Augmentation is a function of its seed, moves image and mask alike, and invents no label."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import yaml

from segmentation.data.augmentation import Augmentation
from segmentation.data.presets import PRESETS, REFLECT
from segmentation.errors import InputError

SEEDS = range(25)
MOVES = {"HorizontalFlip", "VerticalFlip", "D4", "ElasticTransform", "CoarseElastic", "GridDistortion", "Affine"}


def image_of(dtype: str, channels: int, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    values = np.random.default_rng(channels).random((*size, channels))
    return (values * 255).astype(np.uint8) if dtype == "uint8" else values.astype(np.float32)


def mask_of(size: tuple[int, int] = (40, 56)) -> np.ndarray:
    """The labels 0, 1, 3 and 255 in patches of 8x8: between them lie values that only blending would give."""
    patches = np.random.default_rng(0).choice(np.array([0, 1, 3, 255], np.uint8), (size[0] // 8, size[1] // 8))
    return patches.repeat(8, 0).repeat(8, 1)


def refusal(steps: Any) -> str:
    with pytest.raises(InputError) as caught:
        Augmentation(steps)
    return str(caught.value)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_a_seed_gives_one_result_whatever_came_before(preset: str) -> None:
    image, mask = image_of("uint8", 1), mask_of()
    used, new = Augmentation(preset), Augmentation(preset)
    forward = {seed: used(image, mask, seed) for seed in SEEDS}
    for seed in reversed(SEEDS):
        again = new(image, mask, seed)
        np.testing.assert_array_equal(again[0], forward[seed][0])
        np.testing.assert_array_equal(again[1], forward[seed][1])


def test_a_result_does_not_depend_on_the_global_random_state() -> None:
    image, mask, augmentation = image_of("uint8", 1), mask_of(), Augmentation("em")
    results = []
    for state in (1, 2):
        np.random.seed(state)  # noqa: NPY002 - the state that must not matter
        results.append(augmentation(image, mask, 5)[0])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(("preset", "least"), [("flips", 4), ("em", 24), ("em_strong", 24), ("natural", 20)])
def test_other_seeds_give_other_results(preset: str, least: int) -> None:
    image, mask, augmentation = image_of("uint8", 1), mask_of(), Augmentation(preset)
    assert len({augmentation(image, mask, seed)[0].tobytes() for seed in SEEDS}) >= least


def test_transforms_are_drawn_independently() -> None:
    """A pipeline seeded as a whole by albumentations flips both ways or not at all."""
    image, mask, augmentation = image_of("uint8", 1), mask_of(), Augmentation("flips")
    flips = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
    drawn = [augmentation(image, mask, seed)[0] for seed in range(400)]
    counts = [sum(np.array_equal(result, flip) for result in drawn) for flip in flips]
    assert sum(counts) == 400
    assert min(counts) > 70  # 100 expected, standard deviation 8.7


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_preset_invents_no_label_and_keeps_type_and_channels(preset: str, dtype: str, channels: int) -> None:
    image, mask, augmentation = image_of(dtype, channels), mask_of(), Augmentation(preset)
    before = image.copy(), mask.copy()
    for seed in SEEDS:
        drawn, labels = augmentation(image, mask, seed)
        assert drawn.dtype == image.dtype
        assert labels.dtype == np.uint8
        assert drawn.shape == (*labels.shape, channels)
        assert sorted(labels.shape) == [40, 56]
        assert set(np.unique(labels)) <= {0, 1, 3, 255}
    np.testing.assert_array_equal(image, before[0])  # it may be the copy that is kept in memory
    np.testing.assert_array_equal(mask, before[1])


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_image_and_mask_move_together(preset: str) -> None:
    y, x = np.mgrid[:96, :96]
    mask = ((np.hypot(y - 30, x - 40) < 22) | (x > 80)).astype(np.uint8)
    image = mask[..., None] * np.uint8(200)
    steps = [step for step in PRESETS[preset] if MOVES & step.keys()]
    sure = [{name: {**options, "p": 1.0} for name, options in step.items()} for step in steps]
    augmentation = Augmentation(sure)
    unmoved = 0
    for seed in SEEDS:
        drawn, labels = augmentation(image, mask, seed)
        assert ((drawn[..., 0] > 100) == (labels == 1)).mean() > 0.97
        unmoved += np.array_equal(labels, mask)
    assert unmoved <= 2


def test_coarse_bends_are_as_strong_as_told_and_fold_nothing() -> None:
    bend = Augmentation([{"CoarseElastic": {"spacing": 64, "std": 6, "p": 1.0}}]).pipeline.transforms[0]
    y, x = np.indices((256, 192))
    shifts = []
    for _ in range(60):
        params = bend.get_params_dependent_on_data({"shape": (256, 192, 1)}, {})
        (xy, xx), (yy, yx) = np.gradient(params["map_x"]), np.gradient(params["map_y"])
        assert (xx * yy - xy * yx).min() > 0  # no place is seen twice
        shifts.append(np.stack([params["map_x"] - x, params["map_y"] - y]))
    spread = np.std(shifts, axis=0)
    assert spread[:, 64:-64, 64:-64].mean() == pytest.approx(5, abs=1)  # 6 at the points of the grid, less between them
    assert spread[:, [0, -1]].mean() < 7.5  # no stronger at the rim


def test_missing_pieces_are_missing_in_the_image_alone() -> None:
    dropout = next(step["CoarseDropout"] for step in PRESETS["em_strong"] if "CoarseDropout" in step)
    augmentation = Augmentation([{"CoarseDropout": {**dropout, "p": 1.0}}])
    for dtype in ("uint8", "float32"):
        image, mask = image_of(dtype, 1, (128, 128)), mask_of((128, 128))
        shares = []
        for seed in SEEDS:
            drawn, labels = augmentation(image, mask, seed)
            np.testing.assert_array_equal(labels, mask)
            shares.append((drawn != image).mean())
        assert min(shares) > 0 and max(shares) < 0.05  # of at most four pieces of a tenth by a tenth


def test_floats_beyond_0_to_1_are_not_clipped() -> None:
    """albumentations takes every float image for 0..1: CT numbers would become black and white."""
    image = np.linspace(-1000, 3000, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
    mask = np.zeros((64, 64), np.uint8)
    bright = [{"RandomBrightnessContrast": {"brightness_limit": 0, "contrast_limit": (-0.5, -0.5), "p": 1}}]
    drawn, _ = Augmentation(bright)(image, mask, 0)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn, image / 2 - 500, atol=0.01)  # half the range above the lowest value
    for seed in SEEDS:
        drawn, _ = Augmentation("em")(image, mask, seed)
        assert len(np.unique(drawn)) > 1000


def test_a_flat_float_image_stays_finite() -> None:
    flat = np.full((16, 16, 1), 7, np.float32)
    for seed in SEEDS:
        assert np.isfinite(Augmentation("em")(flat, np.zeros((16, 16), np.uint8), seed)[0]).all()


def test_a_list_of_transforms_is_applied() -> None:
    image, mask = image_of("uint8", 3), mask_of()
    drawn, labels = Augmentation([{"HorizontalFlip": {"p": 1}}, {"VerticalFlip": {"p": 1}}])(image, mask, 0)
    np.testing.assert_array_equal(drawn, image[::-1, ::-1])
    np.testing.assert_array_equal(labels, mask[::-1, ::-1])


def test_an_empty_list_and_none_change_nothing() -> None:
    image, mask = image_of("uint8", 1), mask_of()
    for steps in ([], "none"):
        drawn, labels = Augmentation(steps)(image, mask, 3)
        np.testing.assert_array_equal(drawn, image)
        np.testing.assert_array_equal(labels, mask)


def test_a_yaml_file_is_the_list_it_holds(tmp_path: Path) -> None:
    steps = [{"D4": {"p": 1.0}}, {"GaussNoise": {"p": 0.5}}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(steps))
    image, mask = image_of("uint8", 1), mask_of()
    stored, stated = Augmentation(str(tmp_path / "mine.yaml")), Augmentation(steps)
    for seed in SEEDS:
        np.testing.assert_array_equal(stored(image, mask, seed)[0], stated(image, mask, seed)[0])


def test_a_pipeline_saved_by_albumentations_is_applied_by_seed(tmp_path: Path) -> None:
    pipeline = A.Compose([A.OneOf([A.HorizontalFlip(p=1.0), A.VerticalFlip(p=1.0)], p=1.0), A.RandomGamma(p=1.0)])
    A.save(pipeline, tmp_path / "saved.yaml", data_format="yaml")
    image, mask = image_of("uint8", 1), mask_of()
    first, second = (Augmentation(str(tmp_path / "saved.yaml")) for _ in range(2))
    flips = set()
    for seed in SEEDS:
        drawn, labels = first(image, mask, seed)
        np.testing.assert_array_equal(drawn, second(image, mask, seed)[0])
        flips.add("left-right" if np.array_equal(labels, mask[:, ::-1]) else "up-down")
        assert np.array_equal(labels, mask[:, ::-1]) or np.array_equal(labels, mask[::-1])
    assert flips == {"left-right", "up-down"}


def test_a_single_saved_transform_is_a_pipeline_too(tmp_path: Path) -> None:
    A.save(A.HorizontalFlip(p=1.0), tmp_path / "flip.yaml", data_format="yaml")
    mask = mask_of()
    labels = Augmentation(str(tmp_path / "flip.yaml"))(image_of("uint8", 1), mask, 0)[1]
    np.testing.assert_array_equal(labels, mask[:, ::-1])


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ("flip", "data.augment is 'flip'; give a preset or a .yaml file; did you mean 'flips'?"),
        ([{"HorizontalFlop": {}}], "albumentations has no transform 'HorizontalFlop'; did you mean 'HorizontalFlip'"),
        ([{"Compose": {}}], "albumentations has no transform 'Compose'"),
        ([{"Affine": {"rotat": 10}}], "Affine has no argument 'rotat'; did you mean 'rotate'"),
        ([{"HorizontalFlip": {"p": "often"}}], "HorizontalFlip refuses {'p': 'often'}"),
        ([{"CoarseElastc": {}}], "has no transform 'CoarseElastc'; did you mean 'CoarseElastic'"),
        ([{"CoarseElastic": {"spacing": 30, "std": 6}}], "(std is at most a sixth of spacing, or the picture folds)"),
        ([{"HorizontalFlip": 0.5}], "HorizontalFlip is given 0.5; give its arguments, such as {p: 0.5}"),
        (["HorizontalFlip"], "data.augment is ['HorizontalFlip']; give a list of transforms such as"),
        ([{"HorizontalFlip": {}, "VerticalFlip": {}}], "give a list of transforms such as"),
        ("absent.yaml", "data.augment: absent.yaml cannot be read"),
    ],
)
def test_a_wrong_step_is_refused_with_the_nearest(steps: Any, told: str) -> None:
    assert told in refusal(steps)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "cannot be read"),
        ("", "data.augment is None; give a list of transforms"),
        ("HorizontalFlip: {p: 1}", "data.augment is {'HorizontalFlip': {'p': 1}}; give a list of transforms"),
        ("transform: 3", "is no pipeline of albumentations.save"),
        ("transform: {__class_fullname__: Bogus, p: 1}", "is no pipeline of albumentations.save"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert told in refusal(str(path))


def test_the_import_does_not_look_for_updates() -> None:
    """Without the environment variable, albumentations asks the package index in its import."""
    code = (
        "import sys; asked = []\n"
        "sys.addaudithook(lambda event, _: asked.append(event) if event in "
        "('socket.connect', 'socket.getaddrinfo', 'urllib.Request') else None)\n"
        "import segmentation.data.augmentation\n"
        "print('albumentations' in sys.modules, asked)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


def test_borders_are_reflected_as_opencv_names_it() -> None:
    import cv2

    assert REFLECT == cv2.BORDER_REFLECT_101


@pytest.mark.parametrize("name", ["Normalize", "ToFloat", "FromFloat", "ToTensorV2"])
@pytest.mark.parametrize("p", [1.0, 0.01])
def test_transforms_that_give_other_than_pixels_are_refused(name: str, p: float) -> None:
    message = refusal([{"HorizontalFlip": {}}, {name: {"p": p}}])
    assert message.startswith(f"data.augment: {name} makes ")
    assert "leave Normalize, ToFloat and ToTensorV2 out" in message


def test_a_saved_choice_of_transforms_is_looked_through(tmp_path: Path) -> None:
    A.save(A.Compose([A.OneOf([A.Transpose(), A.Normalize()])]), tmp_path / "saved.yaml", data_format="yaml")
    assert "data.augment: Normalize makes ndarray float32 of uint8" in refusal(str(tmp_path / "saved.yaml"))


def test_a_transform_for_other_images_than_the_trial_is_taken() -> None:
    steps = [{"RandomCrop": {"height": 100, "width": 100}}, {"ChannelDropout": {}}, {"HorizontalFlip": {"p": 1}}]
    image, mask = image_of("float32", 3, (120, 112)), mask_of((120, 112))
    assert Augmentation(steps)(image, mask, 0)[0].shape == (100, 100, 3)
