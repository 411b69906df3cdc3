"""Every part of a stratified split has its share of every class."""

import numpy as np
import pytest

from segmentation.data.stratification import stratified


def content(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of four classes in images of 10,000, from in every image to in one of ten; (U, K) twice."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((count, 4), np.int64)
    for k, often in ((1, 0.7), (2, 0.3), (3, 0.1)):
        pixels[:, k] = (random.random(count) < often) * random.lognormal(5, 1, count).astype(int)
    pixels[:, 0] = 10_000 - pixels.sum(1)
    return (pixels > 0).astype(np.int64), pixels


def unevenness(bins: list[list[int]], counts: np.ndarray) -> float:
    """Mean over bins and classes of how far a bin's share of a class is from its share of the units."""
    total = sum(len(bin_) for bin_ in bins)
    shares = np.array([counts[bin_].sum(0) / counts.sum(0) - len(bin_) / total for bin_ in bins])
    return float(np.abs(shares).mean())


def at_random(sizes: list[int], seed: int) -> list[list[int]]:
    order = np.random.default_rng(seed).permutation(sum(sizes))
    return [part.tolist() for part in np.split(order, np.cumsum(sizes)[:-1])]


@pytest.mark.parametrize("sizes", [[10] * 5, [11, 11, 11, 10, 10], [10, 40], [5, 45], [1, 1], [0, 7]])
def test_every_unit_is_in_one_bin_and_bins_have_their_sizes(sizes: list[int]) -> None:
    bins = stratified(*content(0, sum(sizes)), sizes)
    assert [len(bin_) for bin_ in bins] == sizes
    assert sorted(unit for bin_ in bins for unit in bin_) == list(range(sum(sizes)))


@pytest.mark.parametrize("holders", range(5, 11))
@pytest.mark.parametrize("seed", range(4))
def test_a_class_in_as_many_images_as_folds_is_in_every_fold(holders: int, seed: int) -> None:
    images, pixels = content(seed, 53)
    pixels[:, 3] = 0
    rare = np.random.default_rng(seed).permutation(53)[:holders]
    pixels[rare, 3] = 4 ** np.arange(holders)  # from a pixel to most of an image
    images = (pixels > 0).astype(np.int64)
    bins = stratified(images, pixels, [11, 11, 11, 10, 10])
    held = [int(images[bin_, 3].sum()) for bin_ in bins]
    assert (min(held), max(held)) == (holders // 5, -(-holders // 5))


@pytest.mark.parametrize("sizes", [[20] * 5, [20, 80]])
def test_shares_of_images_and_pixels_are_nearer_than_at_random(sizes: list[int]) -> None:
    for seed in range(5):
        images, pixels = content(seed, 100)
        bins = stratified(images, pixels, sizes)
        drawn = [at_random(sizes, number) for number in range(20)]
        for counts in (images, pixels):
            assert unevenness(bins, counts) < 0.6 * np.mean([unevenness(other, counts) for other in drawn])


@pytest.mark.parametrize(("holders", "held_out"), [(1, 0), (2, 1), (3, 1), (10, 2)])
def test_what_trains_comes_first_where_a_class_is_in_one_image(holders: int, held_out: int) -> None:
    pixels = np.full((50, 2), 100)
    pixels[holders:, 1] = 0
    bins = stratified((pixels > 0).astype(np.int64), pixels, [10, 40])
    assert sum(unit < holders for unit in bins[0]) == held_out


def test_equal_images_are_shared_by_their_pixels() -> None:
    """4 + 1 and 3 + 2, not 4 + 3 and 2 + 1."""
    pixels = np.array([[10, 4], [10, 3], [10, 2], [10, 1]])
    bins = stratified(np.ones((4, 2), np.int64), pixels, [2, 2])
    assert [pixels[bin_, 1].sum() for bin_ in bins] == [5, 5]


def test_the_same_content_is_dealt_alike() -> None:
    assert stratified(*content(3, 40), [8] * 5) == stratified(*content(3, 40), [8] * 5)
