"""Drawn slices: the same every time, truth that fits the picture, and no shortcut through the grey value."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.data.sources.synthetic import SyntheticSource, draw_slice
from segmentation.errors import InputError

Stack = tuple[NDArray[np.uint8], NDArray[np.uint8]]
SIDE = 256


@pytest.fixture(scope="module")
def stack() -> Stack:
    """Eleven neighbouring slices: images and masks (11, H, W)."""
    images, masks = zip(*(draw_slice(0, index, SIDE, SIDE) for index in range(11)), strict=True)
    return np.stack(images), np.stack(masks)


def test_source_declares_its_classes_and_samples() -> None:
    source = SyntheticSource(slices=2, size=16)
    assert source.classes.names == ("membrane", "cell")
    assert source.in_channels == 1
    assert source.lists() is None
    samples = source.samples()
    assert [sample.id for sample in samples] == ["slice-000", "slice-001"]
    assert [str(sample.masks[0]) for sample in samples] == ["synthetic page 0", "synthetic page 1"]


@pytest.mark.parametrize(("size", "shape"), [(8, (8, 8)), ([31, 40], (31, 40)), (64, (64, 64))])
def test_any_size(size: int | list[int], shape: tuple[int, int]) -> None:
    source = SyntheticSource(slices=3, size=size)
    for sample in source.samples():
        image, mask = source.read_image(sample), source.read_mask(sample)
        assert image.shape == (*shape, 1)
        assert mask.shape == shape
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}
        assert image.std() > 5


def test_a_slice_depends_on_neither_length_nor_order() -> None:
    short, long = SyntheticSource(slices=3, size=40), SyntheticSource(slices=7, size=40)
    forward = [draw_slice(0, index, 40, 40) for index in range(3)]
    for source in (short, long):
        for sample, (image, mask) in reversed(list(zip(source.samples(), forward, strict=False))):
            np.testing.assert_array_equal(source.read_mask(sample), mask)
            np.testing.assert_array_equal(source.read_image(sample)[..., 0], image)


def test_another_process_draws_the_same() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        image, mask = pool.submit(draw_slice, 3, 2, 40, 31).result()
    expected_image, expected_mask = draw_slice(3, 2, 40, 31)
    np.testing.assert_array_equal(image, expected_image)
    np.testing.assert_array_equal(mask, expected_mask)


def test_what_is_read_may_be_changed() -> None:
    source = SyntheticSource(slices=1, size=16)
    sample = source.samples()[0]
    image, mask = source.read_image(sample), source.read_mask(sample)
    source.read_image(sample)[:] = 0
    source.read_mask(sample)[:] = 7
    np.testing.assert_array_equal(source.read_image(sample), image)
    np.testing.assert_array_equal(source.read_mask(sample), mask)


def test_seeds_draw_different_tissue(stack: Stack) -> None:
    other = draw_slice(1, 0, SIDE, SIDE)[1]
    assert (other == stack[1][0]).mean() < 0.8


def test_neighbours_are_more_alike_than_distant_slices(stack: Stack) -> None:
    masks = stack[1]
    near = (masks[1:] == masks[:-1]).mean()
    far = (masks[10] == masks[0]).mean()
    assert far + 0.05 < near < 0.95


def test_membranes_cover_a_fifth_as_in_isbi(stack: Stack) -> None:
    shares = (stack[1] == 0).mean((1, 2))
    assert shares.min() > 0.15
    assert shares.max() < 0.27


def test_cells_are_many_and_closed(stack: Stack) -> None:
    for mask in stack[1]:
        labels, _ = ndimage.label(mask)
        areas = np.bincount(labels.ravel())[1:]
        assert (areas > 100).sum() >= 15
        assert areas.max() < 0.2 * mask.size  # cells that leak into each other would be one


def test_membranes_are_darker_than_cytoplasm(stack: Stack) -> None:
    for image, mask in zip(*stack, strict=True):
        assert image[mask == 0].mean() + 20 < image[mask == 1].mean()


def test_cells_hold_organelles_as_dark_as_membranes(stack: Stack) -> None:
    for image, mask in zip(*stack, strict=True):
        smooth = ndimage.gaussian_filter(image.astype(float), 1.5)
        deep = ndimage.binary_erosion(mask, iterations=4)
        assert (smooth[deep] < smooth[mask == 0].mean()).mean() > 0.01


def test_no_threshold_on_grey_values_solves_it(stack: Stack) -> None:
    best = max(_iou((image < level), mask == 0) for image, mask in [stack] for level in range(40, 180, 4))
    assert best < 0.5  # 0.43 on ISBI 2012


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SyntheticSource(slices=0), "slices is 0; .* at least 1"),
        (lambda: SyntheticSource(size=7), "size is 7; .* at least 8"),
        (lambda: SyntheticSource(size=[64, 4]), r"size is \[64, 4\]; .* at least 8"),
        (lambda: SyntheticSource(size=[64]), r"size is \[64\]; .*\[height, width\]"),
        (lambda: SyntheticSource(seed=-1), "seed is -1; give 0"),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def _iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((predicted & truth).sum() / (predicted | truth).sum())
