"""Losses: their order, their numbers by hand, and that ignored pixels have no part in them."""

from math import log

import pytest
import torch
import torch.nn.functional as F

from segmentation.errors import InputError
from segmentation.inference.classes import Classes
from segmentation.model.losses import Loss, balanced_weights

TWO = Classes(("background", "lesion"))
THREE = Classes(("road", "tree", "sky"))

CASES = [
    pytest.param(name, classes, id=f"{name}-{len(classes)}")
    for classes in (TWO, THREE)
    for name in ("bce", "ce", "dice", "jaccard", "tversky", "focal", "lovasz")
    if not (name == "bce" and classes is THREE)
]


def logits_of(labels: torch.Tensor, classes: Classes, sure: float = 4.0) -> torch.Tensor:
    """Logits that are for the labels and against the rest."""
    planes = labels[:, None] if classes.binary else F.one_hot(labels, len(classes)).movedim(-1, 1)
    return (planes.float() * 2 - 1) * sure


def example(classes: Classes, seed: int = 0):
    """Random logits (2, K, 5, 6), and a mask with every class and a third ignored."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, len(classes), (2, 5, 6), generator=random)
    mask[torch.rand(mask.shape, generator=random) < 0.33] = 255
    logits = torch.randn(2, 1 if classes.binary else len(classes), 5, 6, generator=random)
    return logits, mask


def value_and_gradient(loss: Loss, logits: torch.Tensor, mask: torch.Tensor):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, mask)
    value.backward()
    return value.detach(), leaf.grad


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_a_good_prediction_costs_less_than_a_poor_one_and_a_perfect_one_next_to_nothing(name, classes):
    truth = torch.arange(2 * 6 * 6).reshape(2, 6, 6) % len(classes)
    poor = truth.clone()
    poor[:, :3] = (poor[:, :3] + 1) % len(classes)
    wrong = (truth + 1) % len(classes)
    loss = Loss({name: 1}, classes)
    costs = [float(loss(logits_of(labels, classes), truth)) for labels in (truth, poor, wrong)]
    assert costs[0] < costs[1] < costs[2]
    assert float(loss(logits_of(truth, classes, sure=30), truth)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_a_step_down_the_gradient_lowers_the_loss(name, classes):
    logits, mask = example(classes)
    loss = Loss({name: 1}, classes)
    value, gradient = value_and_gradient(loss, logits, mask)
    assert float(loss(logits - 0.1 * gradient / gradient.norm(), mask)) < float(value)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_logits_at_ignored_pixels_change_neither_value_nor_gradient(name, classes):
    logits, mask = example(classes)
    ignored = (mask == 255)[:, None].expand_as(logits)
    other = torch.where(ignored, 50 - 100 * torch.rand(logits.shape, generator=torch.Generator()), logits)
    loss = Loss({name: 1}, classes)
    value, gradient = value_and_gradient(loss, logits, mask)
    value_again, gradient_again = value_and_gradient(loss, other, mask)
    assert value == value_again
    assert torch.equal(gradient, gradient_again)
    assert not gradient[ignored].any()
    assert gradient[~ignored].any()


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_with_every_pixel_ignored_the_loss_is_exactly_0_and_so_is_its_gradient(name, classes):
    logits, mask = example(classes)
    value, gradient = value_and_gradient(Loss({name: 1}, classes), logits, torch.full_like(mask, 255))
    assert value == 0
    assert value.shape == ()
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("ignore_index", [0, 254])
@pytest.mark.parametrize(("name", "classes"), CASES)
def test_the_ignored_value_is_the_one_that_the_classes_name(name, classes, ignore_index):
    logits, mask = example(classes)
    mask[mask == 0] = 1  # so that 0 can be the ignored value
    renamed = Classes(classes.names, ignore_index=ignore_index)
    expected = Loss({name: 1}, classes)(logits, mask)
    assert Loss({name: 1}, renamed)(logits, torch.where(mask == 255, ignore_index, mask)) == expected


def test_bce_by_hand():
    # probabilities 1/2 and 3/4 of class 1; the third pixel is ignored
    logits = torch.tensor([0.0, log(3), -7.0]).view(1, 1, 1, 3)
    mask = torch.tensor([1, 0, 255]).view(1, 1, 3)
    assert float(Loss({"bce": 1}, TWO)(logits, mask)) == pytest.approx((log(2) + log(4)) / 2)
    assert float(Loss({"ce": 1}, TWO)(logits, mask)) == pytest.approx((log(2) + log(4)) / 2)
    # a weight per pixel by its class, and the mean over the weights
    weighted = Loss({"bce": 1}, TWO, class_weights=[1, 3])(logits, mask)
    assert float(weighted) == pytest.approx((3 * log(2) + 1 * log(4)) / 4)
    assert float(Loss({"ce": 1}, TWO, class_weights=[1, 3])(logits, mask)) == float(weighted)


def test_ce_by_hand():
    # probabilities (1/4, 1/4, 1/2) and (1/10, 3/10, 6/10); the third pixel is ignored
    logits = torch.tensor([[0, 0, log(2)], [0, log(3), log(6)], [9, -9, 0]]).T.reshape(1, 3, 1, 3)
    mask = torch.tensor([0, 2, 255]).view(1, 1, 3)
    assert float(Loss({"ce": 1}, THREE)(logits, mask)) == pytest.approx((log(4) + log(10 / 6)) / 2)
    weighted = Loss({"ce": 1}, THREE, class_weights=[2, 5, 1])(logits, mask)
    assert float(weighted) == pytest.approx((2 * log(4) + 1 * log(10 / 6)) / 3)


def test_region_losses_by_hand():
    # probabilities 3/4, 1/2, 1/4 of class 1, which the first two are; intersection 5/4, sums 3/2 and 2
    logits = torch.tensor([log(3), 0, -log(3), 12]).view(1, 1, 2, 2)
    mask = torch.tensor([1, 1, 0, 255]).view(1, 2, 2)
    assert float(Loss({"dice": 1}, TWO)(logits, mask)) == pytest.approx(1 - 2 * 1.25 / 3.5)
    assert float(Loss({"jaccard": 1}, TWO)(logits, mask)) == pytest.approx(1 - 1.25 / (3.5 - 1.25))
    # TP 5/4, FP 1/4, FN 3/4
    assert float(Loss({"tversky": 1}, TWO)(logits, mask)) == pytest.approx(1 - 1.25 / (1.25 + 0.5 * 0.25 + 0.5 * 0.75))


def test_dice_of_several_classes_by_hand():
    # probabilities of (road, tree, sky): road (1/2, 1/4, 1/4), tree (1/8, 3/4, 1/8); nothing is sky, which costs nothing
    logits = torch.tensor([[log(2), 0, 0], [0, log(6), 0]]).T.reshape(1, 3, 1, 2)
    mask = torch.tensor([0, 1]).view(1, 1, 2)
    road, tree = 1 - 2 * 0.5 / (0.625 + 1), 1 - 2 * 0.75 / (1 + 1)
    assert float(Loss({"dice": 1}, THREE)(logits, mask)) == pytest.approx((road + tree + 0) / 3)
    weighted = Loss({"dice": 1}, THREE, class_weights=[1, 4, 1])(logits, mask)
    assert float(weighted) == pytest.approx((road + 4 * tree + 0) / 6)


def test_focal_by_hand():
    # probabilities 1/2 and 3/4 of the true class: (1 - p)^2 * -log p
    logits = torch.tensor([0.0, -log(3), 5.0]).view(1, 1, 1, 3)
    mask = torch.tensor([1, 0, 255]).view(1, 1, 3)
    expected = (log(2) / 4 + log(4 / 3) / 16) / 2
    assert float(Loss({"focal": 1}, TWO)(logits, mask)) == pytest.approx(expected)


def test_lovasz_of_one_pixel_is_the_hinge():
    assert float(Loss({"lovasz": 1}, TWO)(torch.tensor([[[[0.25]]]]), torch.tensor([[[1]]]))) == pytest.approx(0.75)


@pytest.mark.parametrize("name", ["ce", "dice", "jaccard", "tversky", "focal"])
def test_a_weight_makes_the_errors_of_its_class_cost_more(name):
    truth = torch.arange(36).reshape(1, 6, 6) % 3
    wrong_sky = torch.where(truth == 2, 0, truth)
    logits = logits_of(wrong_sky, THREE)
    plain, heavy, light = (
        float(Loss({name: 1}, THREE, weights)(logits, truth)) for weights in (None, [1, 1, 5], [1, 1, 0.2])
    )
    assert light < plain < heavy
    assert float(Loss({name: 1}, THREE, [2, 2, 2])(logits, truth)) == pytest.approx(plain)


def test_losses_add_with_their_shares():
    logits, mask = example(TWO)
    parts = {name: float(Loss({name: 1}, TWO)(logits, mask)) for name in ("bce", "dice", "lovasz")}
    whole = Loss({"bce": 0.5, "dice": 2, "lovasz": 0}, TWO)(logits, mask)
    assert float(whole) == pytest.approx(0.5 * parts["bce"] + 2 * parts["dice"])


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("name", "classes"), CASES)
def test_bf16_logits_give_the_float32_loss_of_the_rounded_logits(name, classes, autocast):
    logits, mask = example(classes)
    rounded = logits.bfloat16()
    loss = Loss({name: 1}, classes)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value = loss(rounded, mask)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(rounded.float(), mask))


def test_an_unknown_loss_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="model.loss 'dise' is unknown; did you mean 'dice'"):
        Loss({"dise": 1}, TWO)


def test_bce_of_several_classes_is_refused_with_the_cure():
    with pytest.raises(InputError, match="bce is for two classes and there are 3; use ce"):
        Loss({"bce": 1}, THREE)


@pytest.mark.parametrize("weights", [{}, {"dice": 0}, {"dice": 1, "ce": -0.5}])
def test_shares_that_make_no_loss_are_refused_with_an_example(weights):
    with pytest.raises(InputError, match="give shares such as {bce: 1, dice: 1}"):
        Loss(weights, TWO)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "focal", "lovasz"])
def test_class_weights_of_two_classes_are_refused_where_they_would_do_nothing(name):
    with pytest.raises(InputError, match=f"{name} takes none in a task of 2 classes; losses that do: bce, ce"):
        Loss({"bce": 1, name: 1}, TWO, [1, 2])


def test_class_weights_of_several_classes_are_refused_by_lovasz_alone():
    with pytest.raises(InputError, match="lovasz takes none in a task of 3 classes; losses that do: bce, ce, dice"):
        Loss({"ce": 1, "lovasz": 1}, THREE, [1, 2, 3])


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [1, -1], [0, 0]])
def test_class_weights_that_do_not_fit_are_refused_with_the_classes(weights):
    with pytest.raises(InputError, match=r"do not fit the 2 classes \['background', 'lesion'\]"):
        Loss({"bce": 1}, TWO, weights)


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


def test_automatic_weights_are_1_until_they_are_given_and_then_as_if_given_at_once():
    for name in ("ce", "dice", "jaccard", "tversky", "focal"):
        logits, mask = example(THREE)
        loss = Loss({name: 1}, THREE, "auto")
        assert float(loss(logits, mask)) == pytest.approx(float(Loss({name: 1}, THREE)(logits, mask)))
        loss.weigh([0.5, 2, 0.5])
        assert torch.equal(loss(logits, mask), Loss({name: 1}, THREE, [0.5, 2, 0.5])(logits, mask))
        assert loss.state_dict() == {}


def test_automatic_weights_are_refused_where_given_ones_are():
    with pytest.raises(InputError, match="dice takes none in a task of 2 classes; losses that do: bce, ce"):
        Loss({"bce": 1, "dice": 1}, TWO, "auto")


def test_class_weights_move_with_the_module_but_are_no_part_of_a_checkpoint():
    loss = Loss({"ce": 1}, THREE, [1, 2, 3])
    assert loss.state_dict() == {}
    assert loss.double().class_weights.dtype == torch.float64
