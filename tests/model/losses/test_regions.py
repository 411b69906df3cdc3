"""Losses of regions: their numbers by hand."""

from math import log

import pytest
import torch

from segmentation.model.losses.loss import Loss


def test_region_losses_by_hand(two):
    # probabilities 3/4, 1/2, 1/4 of class 1, which the first two are; intersection 5/4, sums 3/2 and 2
    logits = torch.tensor([log(3), 0, -log(3), 12]).view(1, 1, 2, 2)
    mask = torch.tensor([1, 1, 0, 255]).view(1, 2, 2)
    assert float(Loss({"dice": 1}, two)(logits, mask)) == pytest.approx(1 - 2 * 1.25 / 3.5)
    assert float(Loss({"jaccard": 1}, two)(logits, mask)) == pytest.approx(1 - 1.25 / (3.5 - 1.25))
    # TP 5/4, FP 1/4, FN 3/4
    assert float(Loss({"tversky": 1}, two)(logits, mask)) == pytest.approx(1 - 1.25 / (1.25 + 0.5 * 0.25 + 0.5 * 0.75))


def test_options_of_region_losses_by_hand(two):
    logits = torch.tensor([log(3), 0, -log(3), 12]).view(1, 1, 2, 2)
    mask = torch.tensor([1, 1, 0, 255]).view(1, 2, 2)

    def with_options(name, **options):
        return float(Loss({name: 1}, two, None, {name: options})(logits, mask))

    assert with_options("dice", log_loss=True) == pytest.approx(-log(2 * 1.25 / 3.5))
    # SMP adds it to numerator and denominator of the index of Tversky: (TP + 1) / (TP + (FP + FN) / 2 + 1)
    assert with_options("dice", smooth=1) == pytest.approx(1 - 2.25 / (1.25 + 0.5 + 1))
    assert with_options("jaccard", log_loss=True) == pytest.approx(-log(1.25 / 2.25))
    assert with_options("jaccard", smooth=1) == pytest.approx(1 - 2.25 / 3.25)
    tversky = 1 - 1.25 / (1.25 + 0.3 * 0.25 + 0.7 * 0.75)
    assert with_options("tversky", alpha=0.3, beta=0.7) == pytest.approx(tversky)
    assert with_options("tversky", alpha=0.3, beta=0.7, gamma=2) == pytest.approx(tversky**2)
    assert with_options("tversky", alpha=0.3, beta=0.7, gamma=0.75) == pytest.approx(tversky**0.75)
    smoothed = 1 - 2.25 / (1.25 + 0.3 * 0.25 + 0.7 * 0.75 + 1)
    assert with_options("tversky", alpha=0.3, beta=0.7, smooth=1) == pytest.approx(smoothed)


def test_dice_of_several_classes_by_hand(three):
    # probabilities of (road, tree, sky): road (1/2, 1/4, 1/4), tree (1/8, 3/4, 1/8); nothing is sky, which costs nothing
    logits = torch.tensor([[log(2), 0, 0], [0, log(6), 0]]).T.reshape(1, 3, 1, 2)
    mask = torch.tensor([0, 1]).view(1, 1, 2)
    road, tree = 1 - 2 * 0.5 / (0.625 + 1), 1 - 2 * 0.75 / (1 + 1)
    assert float(Loss({"dice": 1}, three)(logits, mask)) == pytest.approx((road + tree + 0) / 3)
    weighted = Loss({"dice": 1}, three, class_weights=[1, 4, 1])(logits, mask)
    assert float(weighted) == pytest.approx((road + 4 * tree + 0) / 6)


def test_lovasz_of_one_pixel_is_the_hinge(two):
    assert float(Loss({"lovasz": 1}, two)(torch.tensor([[[[0.25]]]]), torch.tensor([[[1]]]))) == pytest.approx(0.75)
