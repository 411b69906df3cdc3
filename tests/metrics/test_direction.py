"""Which scores are better when they are lower."""

import pytest

from segmentation.metrics.direction import is_loss, lower_is_better

FATES = ("missed", "merged", "split", "spurious")


@pytest.mark.parametrize("score", ["val/loss", "train/loss", "loss", "val/distillation_loss", "val/loss_dice"])
def test_less_of_a_loss_is_better(score: str) -> None:
    assert is_loss(score) and lower_is_better(score)


@pytest.mark.parametrize(
    "score", ["hd95", "hd95/cell", "val/hd95", "ece", "test/ece", *(f"objects_{fate}" for fate in FATES)]
)
def test_less_of_a_distance_or_an_error_is_better_and_it_is_no_loss(score: str) -> None:
    assert lower_is_better(score) and not is_loss(score)


@pytest.mark.parametrize(
    "score",
    ["val/iou", "val/iou/blossom", "iou/loss", "val/dice/hair loss", "val/recall/ece", "val/v_rand", "objects_found"],
)
def test_more_of_all_others_is_better_whatever_a_class_is_called(score: str) -> None:
    assert not lower_is_better(score) and not is_loss(score)
