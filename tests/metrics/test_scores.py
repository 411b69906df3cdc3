"""The scores of a pass: the threshold they choose, and that they are the scores at it."""

import math

import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from segmentation.errors import InputError
from segmentation.inference.classes import Classes
from segmentation.inference.decision import THRESHOLDS, Decision
from segmentation.metrics import em
from segmentation.metrics.scores import Scores

CELLS = Classes(("membrane", "cell"))
ROADS = Classes(("road", "tree", "sky"))


def cells(images: int = 4, seed: int = 0):
    """Noisy maps (B, 2, 24, 24) of round cells parted by membranes, masks with ignored pixels, a loss per image."""
    random = torch.Generator().manual_seed(seed)
    grid = torch.arange(24)
    inside = (grid % 8 > 1)[:, None] & (grid % 6 > 0)[None]
    mask = inside.long().repeat(images, 1, 1)
    mask[:, :2, :3] = 255
    positive = torch.where(inside, 0.62, 0.33) + 0.17 * torch.randn(images, 24, 24, generator=random)
    positive = positive.clamp(0, 1)
    return torch.stack([1 - positive, positive], 1), mask, torch.rand(images, generator=random)


def scores_of(data, classes=CELLS, kinds=("region", "em"), decision=None, criterion="dice", target=None, batch=1):
    scores = Scores(classes, list(kinds), decision, criterion, target)
    for parts in zip(*(part.split(batch) for part in data), strict=True):
        scores.update(*parts)
    return scores.compute()


def equal(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize(
    ("criterion", "target"), [("dice", None), ("iou", None), ("dice", "cell"), ("iou", "membrane"), ("v_rand", None)]
)
def test_the_scores_at_a_chosen_threshold_are_exactly_those_of_that_decision_given(criterion, target):
    data = cells()
    decision, chosen = scores_of(data, criterion=criterion, target=target)
    again, fixed = scores_of(data, decision=decision, criterion=criterion, target=target)
    assert again == decision
    assert chosen.keys() <= fixed.keys()
    assert {"loss", "iou", "dice/cell", "iou_per_image", "threshold", "v_rand", "v_info"} <= chosen.keys()
    different = {key: (chosen[key], fixed[key]) for key in chosen if not equal(chosen[key], fixed[key])}
    assert different == {}


@pytest.mark.parametrize("criterion", ["dice", "iou"])
@pytest.mark.parametrize("target", [None, "membrane", "cell"])
def test_no_other_threshold_has_a_better_score_of_the_criterion(criterion, target):
    data = cells(images=2)
    key = criterion if target is None else f"{criterion}/{target}"
    decision, chosen = scores_of(data, kinds=["region"], criterion=criterion, target=target)
    others = [scores_of(data, kinds=["region"], decision=Decision(other))[1][key] for other in THRESHOLDS[::10]]
    assert decision.threshold in THRESHOLDS
    assert chosen[key] >= max(others)
    assert chosen[key] > min(others)


def test_v_rand_chooses_the_threshold_of_the_official_score():
    decision, values = scores_of(cells(), criterion="v_rand")
    assert decision.threshold in em.THRESHOLDS
    assert values["v_rand_at_threshold"] == values["v_rand"]
    others = [
        scores_of(cells(), decision=Decision(other), criterion="v_rand")[1]["v_rand_at_threshold"]
        for other in em.THRESHOLDS
    ]
    assert values["v_rand"] == max(others)
    assert min(others) < max(others)


def test_em_scores_are_given_at_any_fixed_threshold():
    _, values = scores_of(cells(), decision=Decision(0.437))
    assert 0 < values["v_rand_at_threshold"] <= 1
    assert 0 < values["v_info_at_threshold"] <= 1
    assert values["threshold"] == 0.437


def test_the_scores_are_those_of_the_labels_with_their_sizes() -> None:
    probabilities, mask, losses = cells(images=3)
    decision = Decision(0.45, smallest_object=6, largest_hole=4)
    _, values = scores_of((probabilities, mask, losses), decision=decision)
    labels = decision.labels(probabilities)
    assert (labels != Decision(0.45).labels(probabilities)).any()
    fixed = torch.stack([1 - labels, labels], 1).float()  # what is left to decide is nothing
    _, same = scores_of((fixed, mask, losses), decision=Decision(0.5))
    assert (values["smallest_object"], values["largest_hole"], values["threshold"]) == (6, 4, 0.45)
    assert "smallest_object" not in same
    scored = {"iou", "dice/cell", "accuracy", "iou_per_image", "v_rand_at_threshold", "v_info_at_threshold"}
    assert {name: values[name] for name in scored} == {name: same[name] for name in scored}


def test_region_scores_alone_hold_no_em_scores():
    _, values = scores_of(cells(), kinds=["region"])
    assert not any(name.startswith("v_") for name in values)


@pytest.mark.parametrize("decision", [None, Decision(0.4)])
def test_the_scores_do_not_depend_on_the_batch_size(decision):
    data = cells(images=8)
    whole, values = scores_of(data, kinds=["region"], decision=decision, batch=8)
    for batch in (1, 3):
        part, others = scores_of(data, kinds=["region"], decision=decision, batch=batch)
        assert part == whole
        assert others == pytest.approx(values)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_loss_is_the_mean_over_images_whatever_the_batch_size_without_those_ignored_whole(batch):
    probabilities, mask, losses = cells(images=8)
    mask[2] = 255
    losses[2] = 1000
    _, values = scores_of((probabilities, mask, losses), kinds=["region"], batch=batch)
    kept = losses[torch.arange(8) != 2]
    assert values["loss"] == pytest.approx(float(kept.mean()))


def test_images_that_are_ignored_whole_change_no_score():
    data = cells(images=3)
    more = cells(images=5)
    more[1][3:] = 255
    more = tuple(torch.cat([some, extra[3:]]) for some, extra in zip(data, more, strict=True))
    assert scores_of(more) == scores_of(data)


def test_with_nothing_but_ignored_pixels_the_threshold_stays_half_and_no_score_is_a_number():
    probabilities, mask, losses = cells(images=1)
    for criterion in ("dice", "v_rand"):
        decision, values = scores_of((probabilities, torch.full_like(mask, 255), losses), criterion=criterion)
        assert decision == Decision(0.5)
        assert values.pop("threshold") == 0.5
        assert all(math.isnan(value) for value in values.values())


@pytest.mark.parametrize("decision", [None, Decision(0.5)])
def test_several_classes_score_the_most_probable_one_and_have_no_threshold(decision):
    random = torch.Generator().manual_seed(0)
    probabilities = torch.randn(4, 3, 9, 11, generator=random).softmax(1)
    mask = torch.randint(0, 2, (4, 9, 11), generator=random)  # no sky
    mask[:, 0] = 255
    given, values = scores_of((probabilities, mask, torch.ones(4)), ROADS, ["region"], decision)
    assert given == Decision(0.5)
    assert "threshold" not in values
    reference = MulticlassJaccardIndex(3, ignore_index=255)
    reference.update(probabilities, mask)
    assert values["iou"] == pytest.approx(float(reference.compute()))
    assert values["iou/sky"] == 0


def test_em_scores_of_several_classes_are_refused():
    with pytest.raises(InputError, match="em compares cells parted by membranes; this task has 3 classes"):
        Scores(ROADS, ["region", "em"], None, "dice", None)


def test_v_rand_without_em_scores_is_refused_with_the_cure():
    with pytest.raises(InputError, match=r"set model.scores: \[region, em\]"):
        Scores(CELLS, ["region"], None, "v_rand", None)


def test_an_unknown_target_class_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="model.target_class 'cel' is unknown; did you mean 'cell'"):
        Scores(CELLS, ["region"], None, "dice", "cel")


def test_unknown_scores_and_criteria_are_refused_with_the_nearest():
    with pytest.raises(InputError, match="model.scores 'regions' is unknown; did you mean 'region'"):
        Scores(CELLS, ["regions"], None, "dice", None)
    with pytest.raises(InputError, match="model.criterion 'dise' is unknown; did you mean 'dice'"):
        Scores(CELLS, ["region"], None, "dise", None)


def test_an_image_whose_loss_is_nan_is_not_left_out_of_the_mean() -> None:
    probabilities, mask, losses = cells(2)
    losses[0] = torch.nan
    _, values = scores_of((probabilities, mask, losses))
    assert math.isnan(values["loss"])
