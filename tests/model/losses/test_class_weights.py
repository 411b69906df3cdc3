"""Class weights that are chosen from the shares of the classes."""

import pytest

from segmentation.model.losses.class_weights import balanced_weights


def test_balanced_weights_by_hand():
    # shares 0.64, 0.32, 0.04: 1 / sqrt = 1.25, 1.7678, 5; mean 2.6726
    mean = (1.25 + 1 / 0.32**0.5 + 5) / 3
    assert balanced_weights([64, 32, 4]) == pytest.approx([1.25 / mean, 1 / 0.32**0.5 / mean, 5 / mean])
    # 0.5 % foreground: 1 / sqrt(0.995) = 1.0025 and 1 / sqrt(0.005) = 14.142
    assert balanced_weights([199, 1]) == pytest.approx([0.13239, 1.86761], abs=1e-5)
    assert balanced_weights([5, 5]) == [1, 1]


def test_a_class_without_pixels_weighs_1_and_the_others_as_without_it():
    assert balanced_weights([64, 0, 36]) == pytest.approx([6 / 7, 1, 8 / 7])
    assert balanced_weights([0, 0]) == [1, 1]
    assert balanced_weights([7, 0]) == [1, 1]


def test_no_balanced_weight_is_above_10():
    weights = balanced_weights([10**6] * 19 + [1])
    assert weights[-1] == 10
    assert max(weights[:-1]) < 0.1
