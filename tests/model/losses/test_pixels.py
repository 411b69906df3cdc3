"""Losses of pixels: their numbers by hand."""

from math import exp, log

import pytest
import torch

from segmentation.errors import InputError
from segmentation.inference.classes import Classes
from segmentation.model.losses.loss import Loss


def test_bce_by_hand(two):
    # probabilities 1/2 and 3/4 of class 1; the third pixel is ignored
    logits = torch.tensor([0.0, log(3), -7.0]).view(1, 1, 1, 3)
    mask = torch.tensor([1, 0, 255]).view(1, 1, 3)
    assert float(Loss({"bce": 1}, two)(logits, mask)) == pytest.approx((log(2) + log(4)) / 2)
    assert float(Loss({"ce": 1}, two)(logits, mask)) == pytest.approx((log(2) + log(4)) / 2)
    # a weight per pixel by its class, and the mean over the weights
    weighted = Loss({"bce": 1}, two, class_weights=[1, 3])(logits, mask)
    assert float(weighted) == pytest.approx((3 * log(2) + 1 * log(4)) / 4)
    assert float(Loss({"ce": 1}, two, class_weights=[1, 3])(logits, mask)) == float(weighted)


def test_ce_by_hand(three):
    # probabilities (1/4, 1/4, 1/2) and (1/10, 3/10, 6/10); the third pixel is ignored
    logits = torch.tensor([[0, 0, log(2)], [0, log(3), log(6)], [9, -9, 0]]).T.reshape(1, 3, 1, 3)
    mask = torch.tensor([0, 2, 255]).view(1, 1, 3)
    assert float(Loss({"ce": 1}, three)(logits, mask)) == pytest.approx((log(4) + log(10 / 6)) / 2)
    weighted = Loss({"ce": 1}, three, class_weights=[2, 5, 1])(logits, mask)
    assert float(weighted) == pytest.approx((2 * log(4) + 1 * log(10 / 6)) / 3)


def test_label_smoothing_by_hand(two, three):
    smooth = {"label_smoothing": 0.3}
    # probability 3/4 of the truth, which now is 0.85 to 0.15
    logits, mask = torch.tensor([[[[log(3)]]]]), torch.tensor([[[1]]])
    expected = 0.85 * log(4 / 3) + 0.15 * log(4)
    assert float(Loss({"bce": 1}, two, None, {"bce": smooth})(logits, mask)) == pytest.approx(expected)
    assert float(Loss({"ce": 1}, two, None, {"ce": smooth})(logits, mask)) == pytest.approx(expected)
    # probabilities 1/4, 1/4, 1/2 of truths 0.8, 0.1, 0.1
    logits, mask = torch.tensor([0, 0, log(2)]).view(1, 3, 1, 1), torch.tensor([[[0]]])
    assert float(Loss({"ce": 1}, three, None, {"ce": smooth})(logits, mask)) == pytest.approx(
        0.9 * log(4) + 0.1 * log(2)
    )


def test_focal_by_hand(two):
    # probabilities 1/2 and 3/4 of the true class: (1 - p)^2 * -log p
    logits = torch.tensor([0.0, -log(3), 5.0]).view(1, 1, 1, 3)
    mask = torch.tensor([1, 0, 255]).view(1, 1, 3)
    assert float(Loss({"focal": 1}, two)(logits, mask)) == pytest.approx((log(2) / 4 + log(4 / 3) / 16) / 2)
    options = {"focal": {"gamma": 3, "alpha": 0.9}}
    expected = (0.9 * log(2) / 8 + 0.1 * log(4 / 3) / 64) / 2
    assert float(Loss({"focal": 1}, two, None, options)(logits, mask)) == pytest.approx(expected)
    root = (log(2) * 0.5**0.5 + log(4 / 3) * 0.5) / 2
    assert float(Loss({"focal": 1}, two, None, {"focal": {"gamma": 0.5}})(logits, mask)) == pytest.approx(root)
    plain = (log(2) + log(4 / 3)) / 2
    assert float(Loss({"focal": 1}, two, None, {"focal": {"gamma": 0}})(logits, mask)) == pytest.approx(plain)


def test_focal_of_several_classes_by_hand(three):
    # softmax gives the truth 1/4 and 6/10
    logits = torch.tensor([[0, 0, log(2)], [0, log(3), log(6)], [9, -9, 0]]).T.reshape(1, 3, 1, 3)
    mask = torch.tensor([0, 2, 255]).view(1, 1, 3)
    first, second = 9 / 16 * log(4), 16 / 100 * log(10 / 6)
    assert float(Loss({"focal": 1}, three)(logits, mask)) == pytest.approx((first + second) / 2)
    weighted = Loss({"focal": 1}, three, class_weights=[2, 5, 1])(logits, mask)
    assert float(weighted) == pytest.approx((2 * first + second) / 3)
    with pytest.raises(
        InputError, match="focal refuses {'alpha': 0.25}: alpha is for two classes; give more of them mod"
    ):
        Loss({"focal": 1}, three, None, {"focal": {"alpha": 0.25}})


def test_unet_by_hand(two, cost):
    # object, two pixels of background with d1 + d2 = 3, object, an ignored pixel
    mask = torch.tensor([[[1, 0, 0, 1, 255]]])
    logits = torch.tensor([0, log(3), -log(3), 0, 9]).view(1, 1, 1, 5)
    gap = 1 + 10 * exp(-9 / 50)
    expected = (log(2) + gap * log(4) + gap * log(4 / 3) + log(2)) / (2 + 2 * gap)
    assert float(cost(Loss({"unet": 1}, two), logits, mask)) == pytest.approx(expected, rel=1e-6)
    gap = 2 + 3 * exp(-9 / 8)
    weighted = Loss({"unet": 1}, two, [2, 1], {"unet": {"w0": 3, "sigma": 2}})
    expected = (log(2) + gap * log(4) + gap * log(4 / 3) + log(2)) / (2 + 2 * gap)
    assert float(cost(weighted, logits, mask)) == pytest.approx(expected, rel=1e-6)


def test_unet_without_gaps_is_cross_entropy(two, cost):
    mask = torch.zeros(1, 6, 6, dtype=torch.int64)
    mask[0, :3] = 1
    logits = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cost(Loss({"unet": 1}, two), logits, mask), Loss({"ce": 1}, two)(logits, mask))


def test_the_background_of_unet_can_be_named(cost):
    mask = torch.tensor([[[0, 1, 1, 0]]])
    logits = torch.zeros(1, 1, 1, 4)
    logits[..., 1:3] = 5
    named = Loss({"unet": 1}, Classes(("cell", "membrane")), None, {"unet": {"background": "membrane"}})
    turned = Loss({"unet": 1}, Classes(("membrane", "cell")))
    assert float(cost(named, logits, mask)) == pytest.approx(float(cost(turned, -logits, 1 - mask)))
    assert float(cost(named, logits, mask)) != pytest.approx(float(cost(turned, logits, mask)))


def test_ohem_is_the_mean_over_the_hardest_pixels(two, three):
    # losses log 2, log 4, log(4/3), log(4/3) and an ignored one: the hardest quarter is one pixel, 0.3 are two
    logits = torch.tensor([0, -log(3), log(3), log(3), -99]).view(1, 1, 1, 5)
    mask = torch.tensor([1, 1, 1, 1, 255]).view(1, 1, 5)
    assert float(Loss({"ohem": 1}, two)(logits, mask)) == pytest.approx(log(4))
    some = Loss({"ohem": 1}, two, None, {"ohem": {"share": 0.3}})
    assert float(some(logits, mask)) == pytest.approx((log(4) + log(2)) / 2)
    logits, mask = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    all_ = Loss({"ohem": 1}, three, None, {"ohem": {"share": 1}})
    assert float(all_(logits, mask)) == pytest.approx(float(Loss({"ce": 1}, three)(logits, mask)))


def test_scnp_takes_the_worst_neighbour_of_the_same_class(two, three):
    # the third pixel of class 1 is doubtful, and so its neighbour is; the first is too far away
    logits = torch.tensor([log(7), log(7), 0, -log(7), -log(3)]).view(1, 1, 1, 5)
    mask = torch.tensor([1, 1, 1, 0, 0]).view(1, 1, 5)
    expected = (log(8 / 7) + log(2) + log(2) + log(4 / 3) + log(4 / 3)) / 5
    assert float(Loss({"scnp": 1}, two)(logits, mask)) == pytest.approx(expected)
    further = Loss({"scnp": 1}, two, None, {"scnp": {"reach": 2}})
    assert float(further(logits, mask)) == pytest.approx((3 * log(2) + 2 * log(4 / 3)) / 5)
    # with probabilities (1/6, 2/6, 3/6) and (2/8, 1/8, 5/8) the pixels of sky get its smallest, and of the others their
    # largest one: 2/8, 2/6 and 3/6
    logits = torch.tensor([[0, log(2), log(3)], [log(2), 0, log(5)]]).T.reshape(1, 3, 1, 2)
    mask = torch.tensor([[[2, 2]]])
    assert float(Loss({"scnp": 1}, three)(logits, mask)) == pytest.approx(log((6 + 8 + 12) / 12))


def test_ignored_pixels_are_nobodys_neighbours(two):
    mask = torch.tensor([[[1, 255, 0]]])
    logits = torch.tensor([log(3), -50, -log(3)]).view(1, 1, 1, 3)
    assert float(Loss({"scnp": 1}, two)(logits, mask)) == pytest.approx(log(4 / 3))
