"""Boundary scores against numbers by hand and a plain loop over pixels."""

import math

import numpy as np
import pytest

from segmentation.inference.classes import Classes
from segmentation.metrics.boundary import boundary_scores

CELLS = Classes(("background", "cell"))
ROADS = Classes(("road", "tree", "sky"))


def square(top: int, left: int, side: int = 4, size: int = 12) -> np.ndarray:
    labels = np.zeros((size, size), np.uint8)
    labels[top : top + side, left : left + side] = 1
    return labels


def brute_force(labels, mask, classes, tolerance):
    """Both scores of every class, pixel by pixel and pair by pair."""
    known = mask != classes.ignore_index

    def boundary(of, k):
        found = []
        for y, x in np.ndindex(of.shape):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [n for n in around if 0 <= n[0] < of.shape[0] and 0 <= n[1] < of.shape[1]]
            if known[y, x] and of[y, x] == k and any(known[n] and of[n] != k for n in inside):
                found.append((y, x))
        return found

    scores = []
    for k in range(len(classes)):
        truth, found = boundary(mask, k), boundary(labels, k)
        if not truth or not found:
            scores.append((math.inf, 0.0) if truth or found else (math.nan, math.nan))
            continue
        there = [min(math.dist(a, b) for b in found) for a in truth]
        back = [min(math.dist(a, b) for b in truth) for a in found]
        within = sum(d <= tolerance for d in there + back)
        scores.append((max(np.percentile(there, 95), np.percentile(back, 95)), within / len(there + back)))
    return np.array(scores).T


def test_an_edge_that_is_two_pixels_off_lies_two_pixels_off():
    mask, labels = np.zeros((6, 12), np.uint8), np.zeros((6, 12), np.uint8)
    mask[:, 4:] = 1
    labels[:, 6:] = 1
    for tolerance, share in ((0, 0), (1.9, 0), (2, 1), (3, 1)):
        hd95, surface_dice = boundary_scores(labels, mask, CELLS, tolerance)
        assert hd95.tolist() == [2, 2]
        assert surface_dice.tolist() == [share, share]
        assert hd95.dtype == surface_dice.dtype == np.float64


def test_a_square_that_is_one_pixel_off():
    """Of the ring of 12 pixels the 6 of rows 2 and 5 that overlap are at 0, all else is 1 pixel off.

    Around it the background has 16 boundary pixels: above and below 6 overlap.
    """
    hd95, surface_dice = boundary_scores(square(2, 3), square(2, 2), CELLS, 0)
    assert hd95.tolist() == [1, 1]
    assert surface_dice.tolist() == [6 / 16, 6 / 12]
    assert boundary_scores(square(2, 3), square(2, 2), CELLS, 1)[1].tolist() == [1, 1]


def test_a_speck_far_off_moves_the_95th_percentile_by_its_share():
    """Class 1: 11 distances, ten 0 and one 10: rank 9.5 of 0..10 is halfway between 0 and 10.

    Class 0: 14 distances, ten 0 and 8, 9, 9, 10: rank 12.35 of 0..13 is 0.35 of the way from 9 to 10.
    """
    mask = np.zeros((20, 10), np.uint8)
    mask[15:] = 1
    labels = mask.copy()
    labels[5, 4] = 1
    hd95, surface_dice = boundary_scores(labels, mask, CELLS, 2)
    assert hd95 == pytest.approx([9.35, 5])
    assert surface_dice == pytest.approx([20 / 24, 20 / 21])


def test_a_speck_among_a_hundred_boundary_pixels_does_not_move_it_but_costs_surface_dice():
    mask = np.zeros((20, 100), np.uint8)
    mask[15:] = 1
    labels = mask.copy()
    labels[5, 4] = 1
    hd95, surface_dice = boundary_scores(labels, mask, CELLS, 2)
    assert hd95[1] == 0
    assert surface_dice[1] == pytest.approx(200 / 201)


def test_prediction_and_truth_may_change_places():
    one, other = square(2, 2), square(3, 5, side=6)
    there, back = boundary_scores(one, other, CELLS, 1), boundary_scores(other, one, CELLS, 1)
    np.testing.assert_array_equal(there, back)


def test_a_perfect_prediction_is_at_no_distance():
    hd95, surface_dice = boundary_scores(square(2, 2), square(2, 2), CELLS, 0)
    assert hd95.tolist() == [0, 0]
    assert surface_dice.tolist() == [1, 1]


def test_a_class_without_a_boundary_in_both_is_undefined_and_in_one_infinitely_far():
    mask = np.zeros((8, 8), np.uint8)
    mask[4:] = 1
    labels = mask.copy()
    labels[0, 0] = 2
    hd95, surface_dice = boundary_scores(mask, mask, ROADS, 1)
    assert np.isnan([hd95[2], surface_dice[2]]).all()
    for pair in ((labels, mask), (mask, labels)):
        hd95, surface_dice = boundary_scores(*pair, ROADS, 1)
        assert (hd95[2], surface_dice[2]) == (math.inf, 0)
        assert hd95[1] == 0


def test_the_image_border_is_no_boundary():
    whole = np.ones((5, 5), np.uint8)
    assert np.isnan(boundary_scores(whole, whole, CELLS, 1)).all()


def test_what_lies_under_ignored_pixels_changes_nothing_and_their_rim_is_no_boundary():
    mask = square(2, 2, side=3, size=16)
    mask[8:, :] = CELLS.ignore_index
    labels = square(2, 2, side=3, size=16)
    other = labels.copy()
    other[9:13, 4:9] = 1
    for found in (labels, other):
        hd95, surface_dice = boundary_scores(found, mask, CELLS, 0)
        assert hd95.tolist() == [0, 0]
        assert surface_dice.tolist() == [1, 1]


def test_where_all_is_ignored_nothing_is_defined():
    mask = np.full((4, 4), CELLS.ignore_index, np.uint8)
    assert np.isnan(boundary_scores(square(0, 0, 2, 4), mask, CELLS, 1)).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(9, 14), (1, 12), (13, 1)])
def test_a_loop_over_pixels_gives_the_same(seed, shape):
    random = np.random.default_rng(seed)
    mask = random.integers(0, 3, shape, dtype=np.uint8)
    labels = np.where(random.random(shape) < 0.8, mask, random.integers(0, 3, shape)).astype(np.int64)
    mask[random.random(shape) < 0.15] = ROADS.ignore_index
    for tolerance in (0, 1, 1.5):
        found, expected = boundary_scores(labels, mask, ROADS, tolerance), brute_force(labels, mask, ROADS, tolerance)
        np.testing.assert_allclose(found, expected)
