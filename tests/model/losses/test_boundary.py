"""The boundary loss: its number by hand, and what it is for."""

from math import log

import pytest
import torch

from segmentation.inference.classes import Classes
from segmentation.model.losses.loss import Loss


def test_boundary_by_hand(two, cost):
    # distances 1.5, 0.5, -0.5, -1.5 in units of 2; wrong by 1/4, 1/2, 1/4, 0; an ignored pixel
    mask = torch.tensor([[[0, 0, 1, 1, 255]]])
    logits = torch.tensor([-log(3), 0, log(3), 30, 5]).view(1, 1, 1, 5)
    loss = Loss({"boundary": 1}, two, None, {"boundary": {"reach": 2}})
    expected = (0.75 * 0.25 + 0.25 * 0.5 + 0.25 * 0.25 + 0) / 4
    assert float(cost(loss, logits, mask)) == pytest.approx(expected, abs=1e-6)


def test_boundary_of_several_classes_by_hand(three, cost):
    # road, tree: distances of road -0.5, 0.5, of tree 0.5, -0.5, of sky, which is nowhere, 1 and 1 at the reach
    mask = torch.tensor([[[0, 1]]])
    logits = torch.tensor([0, 0, log(2)]).view(1, 3, 1, 1).expand(1, 3, 1, 2)  # probabilities 1/4, 1/4, 1/2
    wrong = 0.125 * (3 / 4 + 1 / 4) * 2 + 1 * (1 / 2 + 1 / 2)
    loss = Loss({"boundary": 1}, three, None, {"boundary": {"reach": 4}})
    assert float(cost(loss, logits, mask)) == pytest.approx(wrong / 6)


def test_a_far_mistake_costs_more_than_a_near_one_up_to_the_reach(two, cost, sure):
    truth = torch.zeros(1, 8, 120, dtype=torch.int64)
    truth[..., :20] = 1
    loss, costs = Loss({"boundary": 1}, two), []
    for column in (20, 30, 52, 100):  # 32 pixels from the object it is as wrong as can be
        labels = truth.clone()
        labels[:, 4, column] = 1
        costs.append(float(cost(loss, sure(labels, two, 30), truth)))
    assert costs[0] < costs[1] < costs[2] == pytest.approx(costs[3]) == pytest.approx(1 / truth.numel())


def test_the_boundary_of_either_class_of_two_is_the_same(cost):
    random = torch.Generator().manual_seed(0)
    logits, mask = torch.randn(2, 1, 9, 11, generator=random), torch.randint(2, (2, 9, 11), generator=random)
    one, other = (Loss({"boundary": 1}, Classes(names)) for names in (("a", "b"), ("b", "a")))
    assert float(cost(one, logits, mask)) == pytest.approx(float(cost(other, -logits, 1 - mask)))
