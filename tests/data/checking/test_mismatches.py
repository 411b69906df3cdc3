"""Masks beside the wrong images are found, and nothing is said where they are right."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.data.checking.detect import describe
from segmentation.data.checking.mismatches import (
    SIDE,
    Thumbnail,
    explained,
    mismatches,
    thumbnail,
)

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def discs(count: int, channels: int = 1, seed: int = 0, size: tuple[int, int] = (90, 120)) -> list[Pair]:
    """Noisy images of a bright disc each, at places of their own."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    pairs = []
    for _ in range(count):
        top, left = random.integers(20, size[0] - 20), random.integers(20, size[1] - 20)
        mask = ((rows - top) ** 2 + (columns - left) ** 2 < 15**2).astype(np.uint8)
        image = random.normal(100, 30, (*size, channels)) + 40 * mask[..., None]
        pairs.append((image.clip(0, 255).astype(np.uint8), mask))
    return pairs


def small(pairs: list[Pair]) -> dict[str, Thumbnail]:
    return {f"{number}.png": thumbnail(*pair) for number, pair in enumerate(pairs)}


def exchanged(pairs: list[Pair], order: list[int]) -> list[Pair]:
    return [(image, pairs[order[number]][1]) for number, (image, _) in enumerate(pairs)]


def test_the_share_explained_is_that_of_a_regression() -> None:
    """One image of 64x64 pixels, whose cells are its pixels: R squared of a linear model of the two classes."""
    image, mask = discs(1, size=(SIDE, SIDE))[0]
    one = thumbnail(image, mask)
    values = image[..., 0].astype(np.float64)
    means = np.where(mask == 1, values[mask == 1].mean(), values[mask == 0].mean())
    expected = 1 - ((values - means) ** 2).sum() / ((values - values.mean()) ** 2).sum()
    assert explained([one])[0, 0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (130, 70), (5, 9), (64, 1)])
def test_cells_are_means_of_their_pixels(size: tuple[int, int]) -> None:
    """A mask that is its image explains all of it, whatever the size; a constant channel explains nothing."""
    random = np.random.default_rng(0)
    mask = random.integers(0, 3, size).astype(np.uint8)
    image = np.stack([mask * 50.0, np.full(size, 7.0)], axis=-1)
    one = thumbnail(image, mask)
    assert one.image.shape == (SIDE * SIDE, 2)
    assert explained([one])[0, 0] == pytest.approx(0.5, abs=1e-4)
    np.testing.assert_allclose(one.regions.T @ one.regions, np.eye(one.regions.shape[1]), atol=1e-4)


def test_a_mask_of_one_class_says_nothing() -> None:
    image, mask = discs(1)[0]
    for value in (0, 255):
        one = thumbnail(image, np.full_like(mask, value))
        assert one.regions.shape == (SIDE * SIDE, 0)
        assert mismatches(small(discs(20)) | {"blank.png": one}) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_right_masks_and_exchanged_ones(channels: int) -> None:
    pairs = discs(20, channels)
    assert mismatches(small(pairs)) == []
    order = list(range(20))
    order[3], order[11] = 11, 3
    (problem,) = mismatches(small(exchanged(pairs, order)))
    assert problem.files == ("3.png and 11.png",)
    assert "may be swapped" in problem.fault
    (problem,) = mismatches(small(exchanged(pairs, [*range(7, 20), *range(7)])))
    assert "may belong to other images" in problem.fault
    assert problem.files == ()


def test_nothing_is_said_without_evidence() -> None:
    pairs = discs(7)
    assert mismatches(small(exchanged(pairs, [*range(1, 7), 0]))) == []  # too few
    alike = [(image, pairs[0][1]) for image, _ in discs(12, seed=1)]
    assert mismatches(small(alike)) == []  # any order of these masks is as right


@pytest.mark.parametrize("root", ["isbi2012", "camvid-mini", "isic2018"])
def test_on_real_data(shared_data: Path, root: str) -> None:
    source = describe(shared_data / root).source
    pairs = [(source.read_image(one), source.read_mask(one)) for one in source.samples() if one.masks][:60]
    right = small(pairs)
    assert mismatches(right) == []
    random = np.random.default_rng(0)
    wrong, found = exchanged(pairs, random.permutation(len(pairs)).tolist()), 0
    assert "may belong to other images" in mismatches(small(wrong))[0].fault
    names = list(right)
    for one, other in random.permutation(len(names))[:20].reshape(10, 2):
        first, second = sorted((names[one], names[other]), key=names.index)
        swapped = dict(right)
        swapped[first] = Thumbnail(right[first].image, right[second].regions)
        swapped[second] = Thumbnail(right[second].image, right[first].regions)
        problems = mismatches(swapped)
        assert {file for problem in problems for file in problem.files} <= {f"{first} and {second}"}
        found += bool(problems)
    assert found >= 7
