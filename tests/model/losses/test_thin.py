"""Losses of thin structures: a gap costs more than a thick place, and numbers by hand."""

from math import log

import pytest
import torch

from segmentation.inference.classes import Classes
from segmentation.model.losses.loss import Loss
from segmentation.model.losses.thin import soft_skeleton

EM = Classes(("membrane", "cell"))


def bar() -> torch.Tensor:
    """A lesion of 3 x 7 pixels, (1, 9, 11)."""
    mask = torch.zeros(1, 9, 11, dtype=torch.int64)
    mask[:, 3:6, 2:9] = 1
    return mask


def line(*columns: int) -> torch.Tensor:
    """These pixels of the middle row of the bar."""
    mask = torch.zeros(1, 9, 11, dtype=torch.int64)
    mask[:, 4, list(columns)] = 1
    return mask


def test_the_soft_skeleton_of_a_bar_is_its_middle_without_the_ends():
    # one erosion leaves the middle row without its ends, which no opening survives
    assert torch.equal(soft_skeleton(bar()[:, None].float(), 5)[:, 0], line(3, 4, 5, 6, 7).float())
    assert not soft_skeleton(bar()[:, None].float(), 0).any()
    assert torch.equal(soft_skeleton(line(3, 4, 5)[:, None].float(), 5)[:, 0], line(3, 4, 5).float())


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (range(2, 9), 0),  # thinner than the truth, but all of its centre line
        ((2, 3, 4, 6, 7, 8), 1 - 2 * (5 / 6) / (1 + 5 / 6)),  # a gap: sensitivity (4 + 1) / (5 + 1)
        (range(11), 1 - 2 * (8 / 12) / (8 / 12 + 1)),  # beyond both ends: precision (7 + 1) / (11 + 1)
    ],
)
def test_cldice_by_hand(two, sure, columns, expected):
    loss = Loss({"cldice": 1}, two, None, {"cldice": {"target": "lesion"}})
    assert float(loss(sure(line(*columns), two, 30), bar())) == pytest.approx(expected, abs=1e-6)


def test_a_bar_has_no_centre_line_for_cldice_before_it_is_eroded(two, sure):
    gap = sure(line(2, 3, 4, 6, 7, 8), two, 30)
    for iterations, expected in ((0, 0), (1, 1 - 2 * (5 / 6) / (1 + 5 / 6))):
        loss = Loss({"cldice": 1}, two, None, {"cldice": {"iterations": iterations}})
        assert float(loss(gap, bar())) == pytest.approx(expected, abs=1e-6)


def test_skeleton_recall_by_hand(two, three, cost):
    # probability 3/4 at four pixels of the line and 1/4 at three; what is beside it costs nothing
    mask = line(*range(2, 9))
    logits = torch.randn(1, 1, 9, 11, generator=torch.Generator().manual_seed(0))
    logits[..., 4, 2:9] = torch.tensor([log(3)] * 4 + [-log(3)] * 3)
    loss = Loss({"skeleton_recall": 1}, two, None, {"skeleton_recall": {"target": "lesion"}})
    assert float(cost(loss, logits, mask)) == pytest.approx(1 - (4 * 0.75 + 3 * 0.25) / 7)
    # of three classes with the probabilities 1/4, 1/4, 1/2 everywhere, of which sky is not there
    logits = torch.tensor([0, 0, log(2)]).view(1, 3, 1, 1).expand(1, 3, 9, 11)
    assert float(cost(Loss({"skeleton_recall": 1}, three), logits, mask)) == pytest.approx(1 - 1 / 4)
    assert float(cost(Loss({"skeleton_recall": 1}, three), logits, 2 * mask)) == pytest.approx(1 - 1 / 2)
    both = torch.cat([mask, 2 * mask])
    expected = 1 - (1 / 4 + 1 / 2) / 2
    assert float(cost(Loss({"skeleton_recall": 1}, three), logits.expand(2, 3, 9, 11), both)) == pytest.approx(expected)


def test_what_lies_beyond_the_tube_costs_nothing(two, cost, sure):
    mask = torch.zeros(1, 15, 40, dtype=torch.int64)
    mask[:, 4:11, 5:35] = 1  # 7 high: the middle is row 7
    found = mask.clone()
    found[:, [5, 9], 12:28] = 0  # two rows away from it

    def with_tube(tube):
        options = {"skeleton_recall": {"tube": tube}}
        return float(cost(Loss({"skeleton_recall": 1}, two, None, options), sure(found, two, 30), mask))

    assert with_tube(1) == pytest.approx(0, abs=1e-6)
    assert with_tube(2) > 0.1


@pytest.mark.parametrize(
    ("name", "options"),
    [("unet", {}), ("cldice", {"target": "membrane"}), ("skeleton_recall", {"target": "membrane"})],
)
def test_a_gap_in_a_membrane_costs_more_than_as_many_wrong_pixels_along_it(cost, sure, name, options):
    truth = torch.ones(1, 48, 48, dtype=torch.int64)
    truth[:, :, 20:25] = 0  # a membrane 5 pixels thick between two cells
    gap, thicker = truth.clone(), truth.clone()
    gap[:, 20:23, 20:25] = 1
    thicker[:, 15:30, 25] = 0
    assert (gap != truth).sum() == (thicker != truth).sum() == 15
    loss, plain = Loss({name: 1}, EM, None, {name: options}), Loss({"bce": 1}, EM)
    clean, with_gap, with_bulge = (float(cost(loss, sure(labels, EM, 8), truth)) for labels in (truth, gap, thicker))
    assert with_gap - clean > 2 * (with_bulge - clean)
    assert float(plain(sure(gap, EM), truth)) == pytest.approx(float(plain(sure(thicker, EM), truth)))


@pytest.mark.parametrize("name", ["cldice", "skeleton_recall"])
def test_without_a_target_it_is_the_mean_over_the_classes_but_the_first_that_are_there(two, cost, name):
    four = Classes(("road", "tree", "sky", "pole"))
    random = torch.Generator().manual_seed(0)
    logits, mask = torch.randn(2, 4, 9, 11, generator=random), torch.randint(3, (2, 9, 11), generator=random)
    each = [float(cost(Loss({name: 1}, four, None, {name: {"target": of}}), logits, mask)) for of in four.names]
    assert each[3] == 0  # no pole
    assert each[0] != 0
    assert float(cost(Loss({name: 1}, four), logits, mask)) == pytest.approx((each[1] + each[2]) / 2)
    lesion = Loss({name: 1}, two, None, {name: {"target": "lesion"}})
    logits, mask = logits[:, :1], mask.clamp_max(1)
    assert torch.equal(cost(Loss({name: 1}, two), logits, mask), cost(lesion, logits, mask))
