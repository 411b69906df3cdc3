"""Maps of a mask: against brute force, and by hand."""

from functools import partial
from math import exp

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.measure import label

from segmentation.model.losses.maps import signed_distances, tubed_skeleton, two_nearest, unet_weights

UNET = partial(unet_weights, background=0, ignore_index=255, w0=10.0, sigma=5.0)


def cells(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A mask of irregular objects (1) with narrow gaps."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2)
    return (noise > np.quantile(noise, 0.4)).astype(np.uint8)


def by_brute_force(labels: np.ndarray) -> np.ndarray:
    """Distances to the two nearest objects, (2, H, W)."""
    distances = [distance_transform_edt(labels != number) for number in range(1, labels.max() + 1)]
    return np.sort([*distances, np.full(labels.shape, np.inf), np.full(labels.shape, np.inf)], axis=0)[:2]


def test_the_two_nearest_objects_in_one_row_by_hand():
    nearest, second = two_nearest(np.array([[1, 0, 0, 0, 2, 0, 3]]), 20)
    assert nearest.tolist() == [[0, 1, 2, 1, 0, 1, 0]]
    assert second.tolist() == [[4, 3, 2, 3, 2, 1, 2]]


@pytest.mark.parametrize("size", [(70, 91), (1, 60), (60, 1), (5, 5)])
@pytest.mark.parametrize("reach", [3, 20, 200])
def test_the_two_nearest_objects_are_those_of_brute_force(size, reach):
    labels = label(cells(*size), connectivity=1)
    found, expected = np.array(two_nearest(labels, reach)), by_brute_force(labels)
    within = expected <= reach
    np.testing.assert_allclose(found[within], expected[within], rtol=1e-6)
    assert (found[~within] >= expected[~within] * (1 - 1e-6)).all()


def test_unet_weights_are_those_of_brute_force():
    mask = cells(80, 64, seed=3)
    labels = label(mask, connectivity=1)
    gap = by_brute_force(labels).sum(0)
    expected = np.where((labels == 0) & (gap <= 20 + 1e-6), 10 * np.exp(-(gap**2) / 50), 0)
    assert (expected > 5).any()
    np.testing.assert_allclose(UNET(mask), expected, rtol=1e-5, atol=1e-6)


def test_unet_weights_by_hand():
    # objects touch at a corner only: two of them, with one pixel on each side at distance 1 from both
    assert UNET(np.array([[1, 0], [0, 1]], np.uint8)) == pytest.approx(np.array([[0, 1], [1, 0]]) * 10 * exp(-4 / 50))
    # objects of two classes that touch are two; an ignored pixel is of none
    mask = np.array([[1, 2, 0, 255, 3]], np.uint8)
    assert UNET(mask)[0, [0, 1, 2, 4]] == pytest.approx([0, 0, 10 * exp(-((1 + 2) ** 2) / 50), 0])
    # one object alone, none, and nothing but it
    for mask in ([[0, 1, 0]], [[0, 0, 0]], [[1, 1, 1]], [[255, 255, 255]]):
        assert not UNET(np.array(mask, np.uint8)).any()


def test_the_tubed_skeleton_of_a_bar_is_its_middle_thickened():
    mask = np.zeros((15, 40), np.uint8)
    mask[4:11, 5:35] = 1  # 7 high: the middle is row 7
    middle = slice(12, 28)  # away from the ends, where a skeleton forks
    tube = tubed_skeleton(mask, indices=[1], tube=1)
    assert np.flatnonzero(tube[:, 20]).tolist() == [6, 7, 8]
    assert (tube[:, middle] == tube[:, [20]]).all()
    assert np.flatnonzero(tubed_skeleton(mask, indices=[1], tube=2)[:, 20]).tolist() == [5, 6, 7, 8, 9]
    # no thicker than the class
    thick = tubed_skeleton(mask, indices=[1], tube=9)
    np.testing.assert_array_equal(thick, mask)


def test_the_tubes_of_classes_do_not_reach_into_each_other():
    mask = np.zeros((9, 30), np.uint8)
    mask[3], mask[4] = 1, 2  # two lines, side by side
    tube = tubed_skeleton(mask, indices=[1, 2], tube=2)
    assert tube[[3, 4], 5:25].all()
    assert not tube[mask == 0].any()
    only_second = tubed_skeleton(mask, indices=[2], tube=2)
    assert not only_second[mask != 2].any()
    assert only_second[4, 5:25].all()


def test_signed_distances_by_hand():
    mask = np.array([[0, 0, 1, 1, 1, 255]], np.uint8)
    planes = signed_distances(mask, indices=[0, 1], ignore_index=255, reach=2)
    assert planes[1].tolist() == [[0.75, 0.25, -0.25, -0.75, -1, 0]]  # halves of 1.5, 0.5, -0.5, -1.5, -2.5
    assert (planes[0] == -planes[1]).all()


def test_an_absent_class_is_infinitely_far_and_a_full_one_infinitely_deep():
    planes = signed_distances(np.full((3, 4), 2, np.uint8), indices=[0, 2], ignore_index=255, reach=5)
    assert (planes[0] == 1).all()
    assert (planes[1] == -1).all()
    assert not signed_distances(np.full((3, 4), 255, np.uint8), indices=[0, 1], ignore_index=255, reach=5).any()


@pytest.mark.parametrize(
    "make",
    [
        UNET,
        partial(tubed_skeleton, indices=[0, 1], tube=2),
        partial(signed_distances, indices=[0, 1], ignore_index=255, reach=8),
    ],
)
def test_maps_are_float32_of_the_size_of_the_mask_and_the_same_for_a_view(make):
    mask = cells(30, 50)
    view = mask[::-1, ::-2].T  # as augmentation may leave it
    assert make(mask).dtype == np.float32
    assert make(view).shape[-2:] == (25, 30)
    np.testing.assert_array_equal(make(view), make(np.ascontiguousarray(view)))
