"""Crops are windows at all places, or those that hold a pixel of a rare class or of a boundary."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from segmentation.data.augmentation import Augmentation
from segmentation.data.crops import Target, random_crop
from segmentation.data.dataset import Item, Reader, TrainingDraws
from segmentation.inference.edges import edges


def positions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose pixels say where they come from, and a mask that says the same modulo 251."""
    image = np.arange(height * width).reshape(height, width, 1)
    return image, (image[..., 0] % 251).astype(np.uint8)


def content(item: Item) -> tuple[str, bytes, bytes]:
    return item["id"], item["image"].numpy().tobytes(), item["mask"].numpy().tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (5, 300), (300, 5), (255, 257)])
def test_a_small_image_is_continued_by_reflection(shape: tuple[int, int]) -> None:
    image, mask = positions(*shape)
    height, width = shape
    for seed in range(5):
        cropped, labels = random_crop(image, mask, 256, np.random.default_rng(seed))
        assert (cropped.shape, labels.shape) == ((256, 256, 1), (256, 256))
        np.testing.assert_array_equal(labels, cropped[..., 0] % 251)
        rows, columns = np.divmod(cropped[..., 0], width)
        assert (rows == rows[:, :1]).all()
        assert (columns == columns[:1]).all()
        for length, places in ((height, rows[:, 0]), (width, columns[0])):
            assert set(np.abs(np.diff(places))) <= {0, 1}  # neighbours stay neighbours, also across a reflection
            assert set(places) == set(range(length)) or length > 256
            ends = np.flatnonzero(np.diff(places))
            assert length == 1 or np.diff(ends, prepend=-1, append=255).max() <= 2  # the rim is doubled, not drawn out


def test_the_places_of_reflected_images_vary() -> None:
    image, mask = positions(8, 8)
    first = {int(random_crop(image, mask, 20, np.random.default_rng(seed))[0][0, 0, 0]) for seed in range(60)}
    assert len(first) > 20


def test_crops_are_windows_at_all_places() -> None:
    image, mask = positions(5, 6)
    corners = set()
    for seed in range(60):
        cropped, labels = random_crop(image, mask, 4, np.random.default_rng(seed))
        top, left = divmod(int(cropped[0, 0, 0]), 6)
        np.testing.assert_array_equal(cropped, image[top : top + 4, left : left + 4])
        np.testing.assert_array_equal(labels, mask[top : top + 4, left : left + 4])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(2) for left in range(3)}


def test_plain_crops_are_those_of_every_earlier_release() -> None:
    """The digest was taken before crops could have a target; other crops would be other runs."""
    image, mask = positions(40, 50)
    digest = hashlib.blake2b(digest_size=8)
    for epoch in range(3):
        for k in range(8):
            random = np.random.default_rng([5, epoch, k])
            for size in (16, 45, 64):
                for values, kind in zip(random_crop(image, mask, size, random), ("<i8", "u1"), strict=True):
                    digest.update(values.astype(kind).tobytes())
            digest.update(str(int(random.integers(2**31))).encode())
    assert digest.hexdigest() == "2dcf9d8365f44020"


@pytest.mark.parametrize("target", [(0, 0), (4, 5), (2, 3)])
def test_crops_with_a_target_are_all_the_windows_that_hold_it(target: tuple[int, int]) -> None:
    image, mask = positions(5, 6)
    corners = {
        divmod(int(random_crop(image, mask, 3, np.random.default_rng(seed), target)[0][0, 0, 0]), 6)
        for seed in range(200)
    }
    holding = {
        (top, left)
        for top in range(3)
        for left in range(4)
        if top <= target[0] < top + 3 and left <= target[1] < left + 3
    }
    assert corners == holding


def test_a_target_stays_in_view_where_the_image_is_continued_by_reflection() -> None:
    image, mask = positions(4, 30)
    for seed in range(50):
        cropped, _ = random_crop(image, mask, 10, np.random.default_rng(seed), (3, 17))
        assert cropped.shape == (10, 10, 1)
        assert (cropped == 3 * 30 + 17).any()


def draws_of(source: Any, target: Target, seed: int = 0) -> TrainingDraws:
    """Crops of 8, not augmented."""
    return TrainingDraws(Reader(source), source.samples(), 400, 8, Augmentation("none"), seed, target)


def lesion_draws(source_of: Callable[..., Any], share: float, seed: int = 0) -> TrainingDraws:
    """Of an image 64x64 with a lesion of class 1 of 2x2 pixels, all different."""
    image, mask = positions(64, 64)[0], np.zeros((64, 64), np.uint8)
    mask[40:42, 7:9] = 1
    return draws_of(source_of({"a": (image, mask)}), Target(foreground=share, classes=(1,)), seed)


def test_with_foreground_crops_1_every_crop_holds_the_lesion(source_of: Callable[..., Any]) -> None:
    draws = lesion_draws(source_of, 1.0)
    masks = [draws[0, k]["mask"].numpy() for k in range(200)]
    assert all((mask == 1).any() for mask in masks)
    assert len({mask.tobytes() for mask in masks}) > 40  # at all places of the crop


def test_the_share_of_foreground_crops_is_kept_and_the_others_are_as_without(source_of: Callable[..., Any]) -> None:
    plain, half = lesion_draws(source_of, 0.0), lesion_draws(source_of, 0.5)
    same = [content(plain[1, k]) == content(half[1, k]) for k in range(400)]
    assert abs(sum(same) - 200) < 3.5 * 10  # binomial: deviation sqrt(400 / 4) = 10
    assert all((half[1, k]["mask"] == 1).any() for k in range(400) if not same[k])


def test_foreground_crops_are_those_of_every_earlier_release(source_of: Callable[..., Any]) -> None:
    """The digest was taken before crops could look for a boundary."""
    draws = lesion_draws(source_of, 0.7, seed=3)
    digest = hashlib.blake2b(digest_size=8)
    for epoch in range(2):
        for k in range(20):
            digest.update(draws[epoch, k]["image"].numpy().astype("<i8").tobytes())
    assert digest.hexdigest() == "9e99afce6fb18d2d"


def test_targeted_crops_are_a_function_of_seed_epoch_and_number(source_of: Callable[..., Any]) -> None:
    source = source_of({"a": squares()}, names=("a", "b", "c"))
    target = Target(foreground=0.3, boundary=0.4, classes=(1, 2))
    first, again, other = (draws_of(source, target, seed) for seed in (0, 0, 1))
    forward = [content(first[epoch, k]) for epoch in range(2) for k in range(20)]
    backward = [content(again[epoch, k]) for epoch in reversed(range(2)) for k in reversed(range(20))]
    assert forward == backward[::-1]
    assert forward != [content(other[epoch, k]) for epoch in range(2) for k in range(20)]


def test_an_image_without_what_is_sought_is_cropped_plainly(source_of: Callable[..., Any]) -> None:
    image, mask = positions(20, 20)[0], np.full((20, 20), 1, np.uint8)
    mask[0, 0] = 255  # ignored is not looked for, and its rim is no boundary
    source = source_of({"a": (image, mask)})
    plain, sought = (draws_of(source, target) for target in (Target(), Target(0.5, 0.5, classes=(0,))))
    assert [content(plain[0, k]) for k in range(30)] == [content(sought[0, k]) for k in range(30)]


def test_classes_are_sought_alike_however_large_they_are(source_of: Callable[..., Any]) -> None:
    image, mask = positions(60, 60)[0], np.zeros((60, 60), np.uint8)
    mask[:10, :20] = 1
    mask[50, 50] = 2
    source = source_of({"a": (image, mask)}, names=("background", "lesion", "vessel"))
    draws = draws_of(source, Target(1.0, classes=(1, 2)))
    held = sum(bool((draws[0, k]["mask"] == 2).any()) for k in range(400))
    assert abs(held - 200) < 3.5 * 10


def squares() -> tuple[np.ndarray, np.ndarray]:
    """An image 48x64, all pixels different, with a square of class 1 that a square of class 2 touches."""
    image, mask = positions(48, 64)[0], np.zeros((48, 64), np.uint8)
    mask[10:20, 12:22] = 1
    mask[12:18, 22:28] = 2
    return image, mask


def test_with_boundary_crops_1_every_crop_holds_a_boundary(source_of: Callable[..., Any]) -> None:
    image, mask = squares()
    edge = image[..., 0][edges(mask, mask != 255)]
    draws = draws_of(source_of({"a": (image, mask)}, names=("a", "b", "c")), Target(boundary=1.0))
    drawn = [draws[0, k]["image"].numpy() for k in range(400)]
    assert all(np.isin(crop, edge).any() for crop in drawn)
    assert set(edge) <= {int(pixel) for crop in drawn for pixel in crop.ravel()}
    plain = draws_of(source_of({"a": (image, mask)}, names=("a", "b", "c")), Target())
    held = sum(np.isin(plain[0, k]["image"].numpy(), edge).any() for k in range(400))
    assert held < 130  # a fifth of all windows do


def test_every_boundary_pixel_is_sought_as_often_as_the_others() -> None:
    mask = squares()[1]
    target, random = Target(boundary=1.0), np.random.default_rng(0)
    found = [target(mask, random) for _ in range(8000)]
    counts = np.zeros(mask.shape, int)
    np.add.at(counts, tuple(np.transpose(found)), 1)
    edge = edges(mask, mask != 255)
    assert counts[~edge].sum() == 0
    expected = 8000 / edge.sum()
    assert ((counts[edge] - expected) ** 2 / expected).sum() < 1.5 * edge.sum()  # chi squared; its mean is about n


def test_shares_are_kept_and_the_other_crops_are_as_without(source_of: Callable[..., Any]) -> None:
    image, mask = squares()
    mask[:, 40:] = 3  # of class 3 nothing is sought
    source = source_of({"a": (image, mask)}, names=("a", "b", "c", "d"))
    target, random = Target(foreground=0.3, boundary=0.4, classes=(2,)), np.random.default_rng(0)
    found = [target(mask, random) for _ in range(1000)]
    assert abs(found.count(None) - 300) < 3.5 * 15  # deviation sqrt(1000 * 0.3 * 0.7) = 14.5
    inside = sum(at is not None and not edges(mask, mask != 255)[at] for at in found)  # 16 of the 36 pixels of class 2
    assert abs(inside - 300 * 16 / 36) < 3.5 * 11
    plain, mixed = draws_of(source, Target()), draws_of(source, target)
    same = sum(content(plain[0, k]) == content(mixed[0, k]) for k in range(400))
    assert abs(same - 120) < 3.5 * 10
