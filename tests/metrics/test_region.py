"""Region scores against a table by hand, torchmetrics, and plain loops."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from segmentation.inference.decision import THRESHOLDS, Decision, confusions
from segmentation.metrics import em
from segmentation.metrics.region import (
    JaccardIndex,
    RegionScores,
    ThresholdBins,
    count_pairs,
    region_scores,
    region_scores_of_each,
)

IGNORED = 255


def random_labels(classes: int, images: int = 8, present: int | None = None, seed: int = 0):
    """Labels and masks (B, 13, 17) with a tenth of the mask ignored; classes from ``present`` on do not occur."""
    random = torch.Generator().manual_seed(seed)
    shape = (images, 13, 17)
    labels = torch.randint(0, present or classes, shape, generator=random)
    mask = torch.randint(0, present or classes, shape, generator=random)
    mask = torch.where(torch.rand(shape, generator=random) < 0.6, labels, mask)
    mask[torch.rand(shape, generator=random) < 0.1] = IGNORED
    return labels, mask


def random_probabilities(images: int = 8, seed: int = 0):
    """Probabilities (B, 2, 13, 17), some exactly on a threshold, 0 or 1, and a mask with ignored pixels."""
    _, mask = random_labels(2, images, seed=seed)
    random = torch.Generator().manual_seed(seed)
    positive = torch.rand(mask.shape, generator=random)
    exact = torch.tensor([*THRESHOLDS, *em.THRESHOLDS])
    chosen = exact[torch.randint(0, len(exact), mask.shape, generator=random)]
    positive = torch.where(torch.rand(mask.shape, generator=random) < 0.5, chosen, positive)
    positive[:, 0, :4] = torch.tensor([0.0, 1.0, 0.5, math.nextafter(0.5, 0)])
    return torch.stack([1 - positive, positive], 1), mask


def counted_directly(labels, mask, classes: int) -> np.ndarray:
    """(K, K) counts [truth, predicted], pixel by pixel."""
    counts = np.zeros((classes, classes), np.int64)
    for label, truth in zip(labels.flatten().tolist(), mask.flatten().tolist(), strict=True):
        if truth != IGNORED:
            counts[truth, label] += 1
    return counts


def mean_iou(confusion: np.ndarray) -> float:
    """Mean IoU over the classes that occur, NaN of none."""
    values = []
    for k in range(len(confusion)):
        union = confusion[k].sum() + confusion[:, k].sum() - confusion[k, k]
        if union:
            values.append(confusion[k, k] / union)
    return sum(values) / len(values) if values else math.nan


def test_a_table_by_hand_with_an_absent_class_that_is_left_out_of_every_mean():
    #                      predicted: road tree sky
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    scores = region_scores(confusion, ("road", "tree", "sky"))
    expected = {
        "iou/road": 6 / 9, "iou/tree": 3 / 6, "iou/sky": math.nan, "iou": (6 / 9 + 3 / 6) / 2,
        "dice/road": 12 / 15, "dice/tree": 6 / 9, "dice/sky": math.nan, "dice": (12 / 15 + 6 / 9) / 2,
        "precision/road": 6 / 7, "precision/tree": 3 / 5, "precision/sky": math.nan, "precision": (6 / 7 + 3 / 5) / 2,
        "recall/road": 6 / 8, "recall/tree": 3 / 4, "recall/sky": math.nan, "recall": 3 / 4,
        "accuracy": 9 / 12,
        "mean_accuracy": 3 / 4,
        "frequency_weighted_iou": (8 * 6 / 9 + 4 * 3 / 6) / 12,
    }  # fmt: skip
    assert scores == pytest.approx(expected, nan_ok=True)


def test_a_class_that_is_predicted_but_never_true_scores_0_and_counts_in_the_mean():
    scores = region_scores(np.array([[8, 2], [0, 0]]), ("a", "b"))
    assert scores["iou/b"] == scores["dice/b"] == scores["precision/b"] == 0
    assert math.isnan(scores["recall/b"])
    assert scores["iou"] == pytest.approx((0.8 + 0) / 2)
    assert scores["frequency_weighted_iou"] == pytest.approx(0.8)


def test_a_class_that_is_never_predicted_has_precision_0():
    scores = region_scores(np.array([[9, 0], [1, 0]]), ("a", "b"))
    assert (scores["precision/a"], scores["precision/b"], scores["precision"]) == pytest.approx((0.9, 0, 0.45))


def test_a_perfect_prediction_scores_1_everywhere():
    scores = region_scores(np.diag([5, 1, 3]), ("a", "b", "c"))
    assert set(scores.values()) == {1.0}


def test_without_any_pixel_every_score_is_nan_and_nothing_warns():
    scores = region_scores(np.zeros((3, 3), np.int64), ("a", "b", "c"))
    assert len(scores) == 4 + 3 + 4 * 3
    assert all(math.isnan(value) for value in scores.values())


def test_many_tables_at_once_score_as_each_alone():
    names = ("a", "b", "c")
    tables = np.random.default_rng(0).integers(0, 9, (4, 2, 3, 3))
    tables[1, 0, :, 1] = tables[1, 0, 1] = 0  # without b
    tables[2, 1] = 0
    together = region_scores_of_each(tables, names)
    for place in np.ndindex(4, 2):
        alone = region_scores(tables[place], names)
        assert {name: float(values[place]) for name, values in together.items()} == pytest.approx(alone, nan_ok=True)


@pytest.mark.parametrize(("classes", "present"), [(2, 2), (3, 3), (5, 3), (21, 21)])
def test_fixed_labels_count_like_torchmetrics(classes, present):
    ours, mean = RegionScores(classes, IGNORED), JaccardIndex(classes, IGNORED)
    theirs = MulticlassConfusionMatrix(classes, ignore_index=IGNORED)
    their_mean = MulticlassJaccardIndex(classes, ignore_index=IGNORED)
    for seed in range(3):
        labels, mask = random_labels(classes, present=present, seed=seed)
        for metric in (ours, mean, theirs, their_mean):
            metric.update(labels, mask)
    confusion, _ = ours.compute()
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, theirs.compute().numpy())
    assert float(mean.compute()) == pytest.approx(float(their_mean.compute()))
    assert region_scores(confusion, tuple(map(str, range(classes))))["iou"] == pytest.approx(float(mean.compute()))


def test_fixed_labels_count_like_a_loop_over_pixels():
    labels, mask = random_labels(4)
    metric = RegionScores(4, IGNORED)
    metric.update(labels, mask)
    np.testing.assert_array_equal(metric.compute()[0], counted_directly(labels, mask, 4))


def test_the_iou_per_image_is_the_mean_over_images_of_the_iou_of_each():
    labels, mask = random_labels(4)
    labels[3][labels[3] == 2] = 1  # an image without class 2
    mask[3][mask[3] == 2] = 1
    metric = RegionScores(4, IGNORED)
    metric.update(labels, mask)
    each = [mean_iou(counted_directly(image, truth, 4)) for image, truth in zip(labels, mask, strict=True)]
    _, per_image = metric.compute()
    assert per_image == pytest.approx(sum(each) / 8)
    over_all = mean_iou(counted_directly(labels, mask, 4))
    assert per_image != pytest.approx(over_all, abs=1e-4), "the two scores differ on these data"


@pytest.mark.parametrize("sizes", [[8], [1] * 8, [3, 5], [7, 1]])
def test_fixed_labels_score_alike_whatever_the_batch_size(sizes):
    labels, mask = random_labels(3)
    metric = RegionScores(3, IGNORED)
    for part, truth in zip(labels.split(sizes), mask.split(sizes), strict=True):
        metric.update(part, truth)
    confusion, per_image = metric.compute()
    once = RegionScores(3, IGNORED)
    once.update(labels, mask)
    np.testing.assert_array_equal(confusion, once.compute()[0])
    assert per_image == pytest.approx(once.compute()[1], rel=1e-12)


@pytest.mark.parametrize("sizes", [[8], [1] * 8, [3, 5]])
def test_thresholds_score_alike_whatever_the_batch_size(sizes):
    probabilities, mask = random_probabilities()
    metric, once = ThresholdBins(IGNORED, THRESHOLDS), ThresholdBins(IGNORED, THRESHOLDS)
    for part, truth in zip(probabilities.split(sizes), mask.split(sizes), strict=True):
        metric.update(part, truth)
    once.update(probabilities, mask)
    np.testing.assert_array_equal(metric.compute()[0], once.compute()[0])
    np.testing.assert_allclose(metric.compute()[1], once.compute()[1], rtol=1e-12)


def test_the_states_of_two_processes_add_up_to_those_of_one():
    labels, mask = random_labels(3)
    probabilities, truth = random_probabilities()
    whole, first, second = (RegionScores(3, IGNORED) for _ in range(3))
    whole_bins, first_bins, second_bins = (ThresholdBins(IGNORED, em.THRESHOLDS) for _ in range(3))
    whole.update(labels, mask)
    whole_bins.update(probabilities, truth)
    for rank, (fixed, bins) in enumerate([(first, first_bins), (second, second_bins)]):
        fixed.update(labels[rank::2], mask[rank::2])
        bins.update(probabilities[rank::2], truth[rank::2])
    first.merge_state(second)
    first_bins.merge_state(second_bins)
    np.testing.assert_array_equal(first.compute()[0], whole.compute()[0])
    assert first.compute()[1] == pytest.approx(whole.compute()[1], rel=1e-12)
    np.testing.assert_array_equal(first_bins.compute()[0], whole_bins.compute()[0])
    np.testing.assert_allclose(first_bins.compute()[1], whole_bins.compute()[1], rtol=1e-12)


@pytest.mark.parametrize("thresholds", [THRESHOLDS, em.THRESHOLDS], ids=["256 bins", "em"])
def test_the_confusion_at_each_threshold_is_that_of_the_labels_greater_than_it(thresholds):
    probabilities, mask = random_probabilities()
    metric = ThresholdBins(IGNORED, thresholds)
    metric.update(probabilities, mask)
    bins, per_image = metric.compute()
    assert bins.shape == (len(thresholds) + 1, 2)
    matrices = confusions(bins)
    for place, threshold in enumerate(thresholds):
        labels = (probabilities[:, 1] > threshold).long()
        fixed = RegionScores(2, IGNORED)
        fixed.update(labels, mask)
        np.testing.assert_array_equal(matrices[place], fixed.compute()[0], err_msg=str(threshold))
        assert per_image[place] == pytest.approx(fixed.compute()[1], rel=1e-12)
        assert torch.equal(labels, Decision(threshold).labels(probabilities))


def test_the_iou_per_image_at_a_threshold_is_that_of_a_loop():
    probabilities, mask = random_probabilities(images=3)
    metric = ThresholdBins(IGNORED, (0.25, 0.5))
    metric.update(probabilities, mask)
    each = [
        mean_iou(counted_directly((image[1] > 0.25).long(), truth, 2))
        for image, truth in zip(probabilities, mask, strict=True)
    ]
    assert metric.compute()[1][0] == pytest.approx(sum(each) / 3)


def test_an_image_that_is_ignored_whole_adds_nothing():
    labels, mask = random_labels(3)
    probabilities, truth = random_probabilities()
    fixed, bins = RegionScores(3, IGNORED), ThresholdBins(IGNORED, THRESHOLDS)
    fixed.update(labels, mask)
    bins.update(probabilities, truth)
    before = fixed.compute(), bins.compute()
    fixed.update(labels[:2], torch.full_like(mask[:2], IGNORED))
    bins.update(probabilities[:2], torch.full_like(truth[:2], IGNORED))
    np.testing.assert_array_equal(fixed.compute()[0], before[0][0])
    assert fixed.compute()[1] == before[0][1]
    np.testing.assert_array_equal(bins.compute()[0], before[1][0])
    np.testing.assert_array_equal(bins.compute()[1], before[1][1])
    assert fixed.images == bins.images == 8


def test_images_that_are_all_ignored_have_no_score():
    fixed, bins = RegionScores(3, IGNORED), ThresholdBins(IGNORED, THRESHOLDS)
    nothing = torch.full((1, 2, 2), IGNORED)
    fixed.update(torch.zeros(1, 2, 2, dtype=torch.long), nothing)
    bins.update(torch.full((1, 2, 2, 2), 0.5), nothing)
    assert not fixed.compute()[0].any()
    assert math.isnan(fixed.compute()[1])
    assert np.isnan(bins.compute()[1]).all()


def test_pairs_are_counted_by_image():
    rows = torch.tensor([[[0, 1, 3]], [[2, 2, 2]]])
    mask = torch.tensor([[[0, 1, 254]], [[1, 1, 0]]])
    counts = count_pairs(rows, mask, num_rows=4, num_classes=2, ignore_index=254)
    assert counts.tolist() == [[[1, 0], [0, 1], [0, 0], [0, 0]], [[0, 0], [0, 0], [1, 2], [0, 0]]]
    assert counts.dtype == torch.long
