"""A mixed draw has pixels of two draws, each with its own label."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from segmentation.data.augmentation import Augmentation
from segmentation.data.crops import ANYWHERE, Target
from segmentation.data.dataset import Item, Reader, TrainingDraws
from segmentation.data.mixing import UNMIXED, Mixing, objects, paste, rectangle

SourceOf = Callable[..., Any]
SIDE, PER_IMAGE = 24, 1000
MIXINGS = [Mixing(cutmix=1.0), Mixing(copy_paste=1.0, classes=(1, 2)), Mixing(0.5, 0.5, (1, 2))]


def marked(count: int = 4) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images whose pixels say of which image and place they are; two squares in each mask, and an ignored corner."""
    random, pairs = np.random.default_rng(0), {}
    for number in range(count):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for label in (1, 2):
            top, left = random.integers(0, SIDE - 6, 2)
            mask[top : top + 6, left : left + 6] = label
        mask[:3, :3] = 255
        pairs[str(number)] = number * PER_IMAGE + np.arange(SIDE * SIDE).reshape(SIDE, SIDE, 1), mask
    return pairs


def draws_of(source_of: SourceOf, mixing: Mixing, target: Target = ANYWHERE, crop: int | None = 16) -> TrainingDraws:
    source = source_of(marked(), names=("background", "cell", "vessel"))
    return TrainingDraws(Reader(source), source.samples(), 100, crop, Augmentation("none"), 0, target, mixing)


def content(item: Item) -> tuple[str, bytes, bytes]:
    return item["id"], item["image"].numpy().tobytes(), item["mask"].numpy().tobytes()


@pytest.mark.parametrize("crop", [16, 32, None])
@pytest.mark.parametrize("mixing", MIXINGS)
def test_every_pixel_is_of_one_of_two_draws_with_its_own_label(
    source_of: SourceOf, mixing: Mixing, crop: int | None
) -> None:
    truth = np.stack([mask.ravel() for _, mask in marked().values()])
    plain, mixed = draws_of(source_of, UNMIXED, crop=crop), draws_of(source_of, mixing, crop=crop)
    changed = 0
    for k in range(100):
        item, first = mixed[0, k], plain[0, k]
        values = item["image"][0].numpy()
        images, places = np.divmod(values, PER_IMAGE)
        np.testing.assert_array_equal(item["mask"].numpy(), truth[images, places])
        one, other = item["id"].split(" + ")
        assert one == first["id"]
        replaced = values != first["image"][0].numpy()
        assert (images[replaced] == int(other)).all()
        if mixing.copy_paste == 1:
            assert set(item["mask"].numpy()[replaced]) <= {1, 2}
        changed += replaced.any()
    assert changed > 40  # a rectangle without pixels, or a crop without objects, changes nothing


@pytest.mark.parametrize("mixing", MIXINGS)
def test_a_mixed_draw_is_a_function_of_seed_epoch_and_number(source_of: SourceOf, mixing: Mixing) -> None:
    places = [(epoch, k) for epoch in range(2) for k in range(20)]
    sought = Target(foreground=0.4, boundary=0.4, classes=(1, 2))
    first, second = draws_of(source_of, mixing, sought), draws_of(source_of, mixing, sought)
    forward = {place: content(first[place]) for place in places}
    assert {place: content(second[place]) for place in reversed(places)} == forward
    assert len(set(forward.values())) > 30


def test_shares_are_kept_and_the_other_draws_are_as_without(source_of: SourceOf) -> None:
    plain, mixed = draws_of(source_of, UNMIXED), draws_of(source_of, Mixing(0.3, 0.4, (1, 2)))
    names = [(plain[epoch, k], mixed[epoch, k]) for epoch in range(4) for k in range(100)]
    alone = [content(one) == content(other) for one, other in names if " + " not in other["id"]]
    assert all(alone)
    assert abs(len(alone) - 120) < 3.5 * 9.2  # binomial: deviation sqrt(400 * 0.3 * 0.7)


def test_the_second_draw_is_of_any_sample_and_looks_for_what_the_first_does(source_of: SourceOf) -> None:
    sought = Target(foreground=1.0, classes=(1, 2))
    mixed = draws_of(source_of, Mixing(copy_paste=1.0, classes=(1, 2)), sought)
    pairs = set()
    for k in range(100):
        item = mixed[0, k]
        one, other = item["id"].split(" + ")
        pairs.add((one, other))
        assert (item["image"].numpy() // PER_IMAGE == int(other)).any()  # an object was there to be pasted
    assert len(pairs) == 16


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pasting_keeps_type_and_channels_and_leaves_its_arguments_alone(dtype: str, channels: int) -> None:
    random = np.random.default_rng(0)
    pairs = [
        ((random.random((9, 7, channels)) * 255).astype(dtype), random.integers(0, 3, (9, 7), np.uint8))
        for _ in range(2)
    ]
    before = [(image.copy(), mask.copy()) for image, mask in pairs]  # they may be views of what is kept in memory
    replaced = random.random((9, 7)) < 0.5
    image, mask = paste(*pairs, replaced)
    assert (image.dtype, mask.dtype) == (dtype, np.uint8)
    for result, first, second in zip((image, mask), *pairs, strict=True):
        np.testing.assert_array_equal(result[replaced], second[replaced])
        np.testing.assert_array_equal(result[~replaced], first[~replaced])
    for pair, copies in zip(pairs, before, strict=True):
        for array, copy in zip(pair, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_images_of_other_sizes_are_mixed_where_both_have_pixels() -> None:
    first = np.zeros((4, 6, 1), np.uint8), np.zeros((4, 6), np.uint8)
    second = np.ones((5, 3, 1), np.uint8), np.ones((5, 3), np.uint8)
    image, mask = paste(first, second, np.ones((5, 3), bool))
    expected = np.zeros((4, 6), np.uint8)
    expected[:, :3] = 1
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(image[..., 0], expected)


def test_rectangles_are_of_the_size_and_at_the_places_of_cutmix() -> None:
    """A side of s, its centre uniform in 0..1, keeps s - s^2 / 4 on average.

    So with s^2 = u uniform in 0..1 the mean area is that of u - u^1.5 / 2 + u^2 / 16: 1/2 - 1/5 + 1/48 = 0.3208.
    """
    random = np.random.default_rng(0)
    drawn = [rectangle((200, 300), random) for _ in range(600)]
    assert np.mean([replaced.mean() for replaced in drawn]) == pytest.approx(0.3208, abs=0.02)
    for replaced in drawn[:200]:
        rows, columns = replaced.any(1), replaced.any(0)
        np.testing.assert_array_equal(replaced, rows[:, None] & columns)
        for side in (rows, columns):
            assert np.abs(np.diff(side.astype(int), prepend=0, append=0)).sum() in (0, 2)  # in one piece
    assert np.mean(drawn, 0).min() > 0.05  # every place is reached


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3)])
def test_a_tiny_picture_has_rectangles_too(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    assert {rectangle(shape, random).shape for _ in range(20)} == {shape}


def test_objects_are_whole_and_any_number_of_them_is_as_likely() -> None:
    mask = np.array([[1, 1, 0, 2], [0, 0, 1, 2], [1, 255, 3, 3]], np.uint8)
    # class 2 is none here; the pixel of class 1 in the middle touches the first two at a corner only
    parts = [[(0, 0), (0, 1)], [(1, 2)], [(2, 0)], [(2, 2), (2, 3)]]
    random = np.random.default_rng(0)
    counts = np.zeros(5, int)
    for _ in range(400):
        taken = objects(mask, (1, 3), random)
        whole = [[bool(taken[at]) for at in part] for part in parts]
        assert all(len(set(part)) == 1 for part in whole)
        assert taken.sum() == sum(map(sum, whole))  # and nothing else
        counts[sum(part[0] for part in whole)] += 1
    assert counts[0] == 0
    assert np.abs(counts[1:] - 100).max() < 3.5 * 8.7  # binomial: deviation sqrt(400 * 3 / 16)


def test_without_objects_nothing_is_taken() -> None:
    mask = np.array([[0, 255], [2, 0]], np.uint8)
    for classes in ((1,), ()):
        assert not objects(mask, classes, np.random.default_rng(0)).any()


def test_fit_mixes_what_it_is_told_to(tiny_fit: Callable[..., Path]) -> None:
    options = {"cutmix": 0.5, "copy_paste": 0.5, "boundary_crops": 0.5}
    folder = tiny_fit(*(part for name, share in options.items() for part in (f"--data.{name}", share)))
    stored = yaml.safe_load((folder / "config.yaml").read_text())["data"]
    assert {name: stored[name] for name in options} == options
    assert (folder / "pictures/augmentation.png").exists()
