"""Scores of images, alone and together, against numbers by hand, what validation logs, and torchmetrics."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from segmentation.evaluation.curves import curves
from segmentation.evaluation.image_scores import ImageScores, _reliability, score_image
from segmentation.evaluation.scoring import intervals, per_image, pool, resampled
from segmentation.inference.classes import Classes
from segmentation.inference.decision import THRESHOLDS, Decision, confusions
from segmentation.metrics import em
from segmentation.metrics.region import region_scores
from segmentation.metrics.scores import Scores

CELLS = Classes(("membrane", "cell"))
ROADS = Classes(("road", "tree", "sky"))
IGNORED = 255
NOT_SCORES = ("loss", "threshold", "smallest_object", "largest_hole")


def noisy_cells(seed: int, size: tuple[int, int] = (24, 30), contrast: float = 0.15):
    """A noisy map (2, H, W) of cells parted by membranes, and their mask with ignored pixels."""
    random = np.random.default_rng(seed)
    inside = (np.arange(size[0]) % 8 > 1)[:, None] & (np.arange(size[1]) % (6 + seed % 3) > 0)[None]
    positive = np.clip(0.5 + contrast * (2 * inside - 1) + 0.17 * random.normal(size=size), 0, 1).astype(np.float32)
    mask = inside.astype(np.uint8)
    mask[:2, :3] = IGNORED
    return np.stack([1 - positive, positive]), mask


def noisy_roads(seed: int, size: tuple[int, int] = (15, 20)):
    """Random probabilities (3, H, W) that prefer the truth; every third image has no sky."""
    random = np.random.default_rng(seed)
    mask = random.integers(0, 2 if seed % 3 == 0 else 3, size).astype(np.uint8)
    logits = random.normal(size=(3, *size)) + 1.5 * (mask == np.arange(3)[:, None, None])
    probabilities = np.exp(logits) / np.exp(logits).sum(0)
    mask[random.random(size) < 0.1] = IGNORED
    return probabilities.astype(np.float32), mask


def scored(data, classes=CELLS, em=True, decision=Decision(0.437)):  # noqa: B008 - frozen
    return [
        score_image(str(number), None, probabilities, decision.labels(probabilities), mask, classes, em)
        for number, (probabilities, mask) in enumerate(data)
    ]


def logged(data, classes=CELLS, kinds=("region", "em"), decision=Decision(0.437)):  # noqa: B008 - frozen
    """What ``validate`` logs of the same images."""
    scores = Scores(classes, list(kinds), decision, "dice", None)
    for probabilities, mask in data:
        scores.update(torch.tensor(probabilities)[None], torch.tensor(mask)[None].long(), torch.ones(1))
    values = scores.compute()[1]
    return {name: value for name, value in values.items() if name not in NOT_SCORES}


def image_of(labels, mask, confidence=0.9, classes=CELLS, group=None, tolerance=1.0):
    """The scores of labels that are all predicted with the same confidence."""
    labels, mask = np.array(labels), np.array(mask, np.uint8)
    rest = (1 - confidence) / (len(classes) - 1)
    probabilities = np.where(labels == np.arange(len(classes))[:, None, None], confidence, rest).astype(np.float32)
    return score_image("image", group, probabilities, labels, mask, classes, False, tolerance)


def pixels_right(right: int, of: int = 10, group=None):
    """An image of one row whose truth is all class 1 and whose accuracy is ``right / of``."""
    return image_of([[1] * right + [0] * (of - right)], [[1] * of], group=group)


def test_the_digest_of_the_truth_is_of_classes_and_ignored_pixels_alone():
    labels = [[0, 1, 1]]
    truth = image_of(labels, [[0, 1, IGNORED]]).truth
    elsewhere = Classes(CELLS.names, ignore_index=9)
    assert image_of([[1, 1, 1]], [[0, 1, 9]], 0.7, elsewhere).truth == truth
    for changed in ([[1, 1, IGNORED]], [[0, 1, 0]], [[0], [1], [IGNORED]]):
        assert image_of(np.reshape(labels, np.shape(changed)), changed).truth != truth


def test_the_counts_of_an_image_by_hand():
    positive = np.array([[0.0, 1 / 256, 0.62], [0.95, 1.0, 0.3]], np.float32)
    mask = np.array([[0, 1, 1], [0, 1, IGNORED]], np.uint8)
    probabilities = np.stack([1 - positive, positive])
    image = score_image("a", "patient", probabilities, Decision(0.5).labels(probabilities), mask, CELLS)
    assert (image.id, image.group, image.size) == ("a", "patient", (2, 3))
    assert image.confusion.tolist() == [[1, 1], [1, 2]]
    # 0 and 1/256 are not greater than the first threshold; 0.62 = 158.7/256 and 0.95 = 243.2/256
    places = {(0, 0): 1, (0, 1): 1, (158, 1): 1, (243, 0): 1, (255, 1): 1}
    assert {(b, k): int(image.bins[b, k]) for b, k in np.argwhere(image.bins)} == places
    # confidences 1, 255/256, 0.62 = 9.3/15, 0.95 = 14.25/15, 1
    filled = image.reliability[image.reliability[:, 0] > 0]
    assert np.flatnonzero(image.reliability[:, 0]).tolist() == [9, 14]
    assert filled == pytest.approx(np.array([[1, 0.62, 1], [4, 1 + 255 / 256 + 0.95 + 1, 2]]))
    assert image.em is None
    assert image.confusion.dtype == image.bins.dtype == np.int64


@pytest.mark.parametrize("decision", [Decision(0.437), Decision(0.5), Decision(THRESHOLDS[200]), Decision(0.5, 12, 4)])
def test_the_pooled_scores_of_two_classes_are_those_that_validation_logs(decision):
    data = [noisy_cells(seed) for seed in range(4)]
    data.append((data[0][0], np.where(data[0][1] == 1, IGNORED, data[0][1])))  # a slice without cells
    data.append((data[0][0], np.full_like(data[0][1], IGNORED)))
    values = logged(data, decision=decision)
    pooled = pool(scored(data, decision=decision), CELLS)
    assert {"iou", "dice/cell", "iou_per_image", "v_rand", "v_info_at_threshold"} <= values.keys() <= pooled.keys()
    assert {name: pooled[name] for name in values} == pytest.approx(values, rel=1e-12, nan_ok=True)


def test_the_pooled_scores_of_several_classes_are_those_that_validation_logs():
    data = [noisy_roads(seed) for seed in range(5)]
    values = logged(data, ROADS, ["region"], Decision())
    images = scored(data, ROADS, em=False, decision=Decision())
    pooled = pool(images, ROADS)
    assert {name: pooled[name] for name in values} == pytest.approx(values, rel=1e-12, nan_ok=True)
    assert not any(name.startswith(("v_", "objects_")) for name in pooled)
    assert images[0].bins is None


def test_the_last_row_of_the_em_scores_is_that_of_the_labels():
    probabilities, mask = noisy_cells(0)
    labels = Decision(0.5, smallest_object=30).labels(probabilities)
    image = score_image("a", None, probabilities, labels, mask, CELLS, em=True)
    truth = em.true_segments(mask == 1)
    assert tuple(image.em[-1]) == em.v_scores(truth, labels == 1)
    assert tuple(image.em[5]) == em.v_scores(truth, probabilities[1] > 0.5)
    assert tuple(image.em[5]) != tuple(image.em[-1])


def test_the_official_v_rand_is_the_maximum_of_the_mean_and_not_the_mean_of_maxima():
    images = scored([noisy_cells(0), noisy_cells(1, contrast=0.05)])
    pooled = pool(images, CELLS)
    means = np.mean([image.em for image in images], axis=0)
    assert pooled["v_rand"] == pytest.approx(means[:-1, 0].max())
    assert pooled["v_info"] == pytest.approx(means[:-1, 1].max())
    each = np.mean([per_image(image, CELLS)["v_rand"] for image in images])
    assert pooled["v_rand"] < each - 1e-4, "the two differ on these data"


def test_the_labels_are_no_threshold_of_the_official_score():
    probabilities, mask = noisy_cells(0, contrast=0.05)
    image = score_image("a", None, probabilities, (mask == 1).astype(int), mask, CELLS, em=True)
    scores = per_image(image, CELLS)
    assert scores["v_rand_at_threshold"] == scores["v_info_at_threshold"] == 1
    assert scores["v_rand"] < 0.99 and scores["v_info"] < 0.99


def test_the_scores_of_an_image_have_the_names_of_the_pooled_ones():
    images = scored([noisy_cells(0), noisy_cells(1)])
    alone, pooled = per_image(images[0], CELLS), pool(images, CELLS)
    assert alone.keys() == pooled.keys() - {"iou_per_image"}
    assert alone["iou"] == region_scores(images[0].confusion, CELLS.names)["iou"]
    mean = np.mean([per_image(image, CELLS)["iou"] for image in images])
    assert pooled["iou_per_image"] == pytest.approx(mean)


def test_the_order_of_the_images_changes_no_pooled_score():
    images = scored([noisy_cells(seed) for seed in range(3)])
    assert pool(images[::-1], CELLS) == pytest.approx(pool(images, CELLS), nan_ok=True)


def test_an_image_that_is_ignored_whole_changes_no_pooled_score_and_has_none_itself():
    images = scored([noisy_cells(0), noisy_cells(1)])
    probabilities, mask = noisy_cells(2)
    (nothing,) = scored([(probabilities, np.full_like(mask, IGNORED))])
    assert pool([*images, nothing], CELLS) == pool(images, CELLS)
    assert all(math.isnan(value) for value in per_image(nothing, CELLS).values())


def test_the_calibration_error_by_hand():
    """Bin (0.8, 0.867]: 4 pixels of confidence 0.85, 2 right; bin (0.867, 0.933]: 6 of 0.9, all right."""
    unsure = image_of([[1, 1, 0, 0]], [[1, 0, 0, 1]], confidence=0.85)
    sure = image_of([[1, 1, 0, 0, 0, 0]], [[1, 1, 0, 0, 0, 0]], confidence=0.9)
    assert per_image(unsure, CELLS)["ece"] == pytest.approx(0.35)
    assert per_image(sure, CELLS)["ece"] == pytest.approx(0.1)
    assert pool([unsure, sure], CELLS)["ece"] == pytest.approx((4 * 0.35 + 6 * 0.1) / 10)
    reliability = curves([unsure, sure], CELLS).reliability
    assert reliability["confidence"][12:14] == pytest.approx([0.85, 0.9])
    assert reliability["accuracy"][12:14] == pytest.approx([0.5, 1])
    assert reliability["share"][12:14] == pytest.approx([0.4, 0.6])
    assert np.isnan(reliability["accuracy"][:12]).all()
    assert reliability["share"].sum() == pytest.approx(1)


def test_the_calibration_error_is_one_of_probabilities_and_does_not_depend_on_the_decision():
    data = [noisy_cells(0)]
    at = [pool(scored(data, em=False, decision=Decision(threshold)), CELLS) for threshold in (0.2, 0.8)]
    assert at[0]["ece"] == at[1]["ece"]
    assert at[0]["accuracy"] != at[1]["accuracy"]


def test_the_calibration_error_is_that_of_torchmetrics():
    data = [noisy_roads(seed) for seed in range(3)]
    metric = MulticlassCalibrationError(3, n_bins=15, norm="l1", ignore_index=IGNORED)
    for probabilities, mask in data:
        metric.update(torch.tensor(probabilities)[None], torch.tensor(mask)[None].long())
    pooled = pool(scored(data, ROADS, em=False, decision=Decision()), ROADS)
    assert pooled["ece"] == pytest.approx(float(metric.compute()), abs=1e-6)


def test_boundary_scores_are_means_over_the_images_that_have_the_class():
    one_off = image_of([[0, 0, 0, 1, 1, 1, 1]], [[0, 0, 1, 1, 1, 1, 1]])
    four_off = image_of([[0, 0, 0, 0, 0, 0, 1]], [[0, 0, 1, 1, 1, 1, 1]])
    without = image_of([[0, 0]], [[0, 0]])
    scores = pool([one_off, four_off, without], CELLS)
    assert scores["hd95/membrane"] == scores["hd95/cell"] == scores["hd95"] == (1 + 4) / 2
    assert scores["surface_dice"] == (1 + 0) / 2  # within the tolerance of one pixel


def test_a_boundary_that_only_one_of_both_has_is_as_far_off_as_the_image_is_long():
    found = image_of([[0] * 4] * 3, [[0, 0, 1, 1]] * 3)
    assert np.isinf(found.hd95).all()
    scores = per_image(found, CELLS)
    assert scores["hd95"] == scores["hd95/cell"] == 5  # 3x4 pixels
    assert scores["surface_dice/cell"] == 0


def test_objects_are_shares_of_those_of_all_images():
    truth = [[1, 1, 0, 1, 1, 0, 1, 1]]
    one_missed = image_of([[1, 1, 0, 1, 1, 0, 0, 0]], truth)
    all_found = image_of(truth, truth)
    assert pool([one_missed, all_found], CELLS)["objects_found"] == pytest.approx(5 / 6)
    assert pool([one_missed, all_found], CELLS)["objects_missed"] == pytest.approx(1 / 6)
    one_spurious = image_of([[1, 1, 0, 1]], [[1, 1, 0, 0]])
    assert pool([all_found, one_spurious], CELLS)["objects_spurious"] == pytest.approx(1 / 5)  # of 4 true ones
    assert (one_missed.objects.true, one_missed.objects.predicted, one_missed.objects.found) == (3, 2, 2)


def test_every_pooled_score_has_an_interval_that_holds_it():
    images = scored([noisy_cells(seed, contrast=0.05 + 0.02 * seed) for seed in range(6)])
    pooled, found = pool(images, CELLS), intervals(images, CELLS, resamples=300)
    assert found.keys() == pooled.keys()
    outside = {name: (found[name], value) for name, value in pooled.items() if not holds(found[name], value)}
    assert outside == {}
    assert found["iou"][0] < pooled["iou"] < found["iou"][1]


def holds(interval, value) -> bool:
    return interval[0] - 1e-12 <= value <= interval[1] + 1e-12


def test_the_interval_of_two_images_reaches_from_one_to_the_other():
    """A quarter of the resamples is twice the first image, and a quarter twice the second."""
    images = scored([noisy_cells(0, contrast=0.05), noisy_cells(1, contrast=0.2)])
    first, second = (pool([image], CELLS) for image in images)
    found = intervals(images, CELLS, resamples=200)
    for name in ("iou", "dice/cell", "iou_per_image", "v_rand", "v_info_at_threshold", "surface_dice"):
        assert found[name] == pytest.approx((min(first[name], second[name]), max(first[name], second[name]))), name


def test_groups_are_drawn_whole_where_there_are_at_least_two():
    rights = [9, 9, 8, 2, 1, 1]
    groups = ["a", "a", "a", "b", "b", "b"]
    images = [pixels_right(right, group=group) for right, group in zip(rights, groups, strict=True)]
    assert resampled(images) == "groups"
    assert intervals(images, CELLS)["accuracy"] == pytest.approx((4 / 30, 26 / 30))
    one_group = [dataclasses.replace(image, group="a") for image in images]
    assert resampled(one_group) == "images"
    low, high = intervals(one_group, CELLS)["accuracy"]
    assert 4 / 30 < low < high < 26 / 30


def test_an_image_without_a_group_is_drawn_by_itself():
    def interval(*groups):
        rights = [9, 7, 3, 1]
        images = [pixels_right(right, group=group) for right, group in zip(rights, groups, strict=True)]
        return intervals(images, CELLS)["accuracy"]

    assert interval("a", "b", None, None) == interval("a", "b", "c", "d")
    assert interval("a", "b", None, None) != interval("a", "b", "c", "c")


def test_the_seed_decides():
    images = scored([noisy_cells(seed, contrast=0.05 + 0.02 * seed) for seed in range(6)], em=False)
    first = intervals(images, CELLS, resamples=200, seed=1)
    assert intervals(images, CELLS, resamples=200, seed=1) == first
    assert intervals(images, CELLS, resamples=200, seed=2) != first


def test_a_single_image_has_no_interval():
    found = intervals(scored([noisy_cells(0)]), CELLS)
    assert "v_rand" in found
    assert all(math.isnan(low) and math.isnan(high) for low, high in found.values())


def test_a_class_that_few_images_have_is_scored_on_the_resamples_that_draw_one():
    images = [image_of([[0, 1, 2, 2]], [[0, 1, 2, 1]], classes=ROADS)]
    images += [image_of([[0, 1, 1, 1]], [[0, 1, 1, 1]], classes=ROADS)] * 3
    assert intervals(images, ROADS)["iou/sky"] == (0.5, 0.5)
    never = intervals(images[1:], ROADS)["iou/sky"]
    assert all(math.isnan(end) for end in never)


def test_intervals_hold_the_true_score_about_as_often_as_they_say():
    """Images of accuracies between 0.5 and 1, 40 at a time: the mean 0.75 is to lie inside 95 of 100 times."""
    random = np.random.default_rng(0)
    kinds = [pixels_right(right, of=20) for right in range(10, 21)]
    inside = []
    for trial in range(150):
        images = [kinds[kind] for kind in random.integers(0, len(kinds), 40)]
        low, high = intervals(images, CELLS, resamples=300, seed=trial)["accuracy"]
        inside.append(low <= 0.75 <= high)
    assert 0.88 <= np.mean(inside) <= 0.99


def test_the_threshold_curve_has_the_scores_of_the_labels_at_each_threshold():
    data = [noisy_cells(0), noisy_cells(1)]
    curve = curves(scored(data, em=False), CELLS).threshold
    assert curve["threshold"].tolist() == list(THRESHOLDS)
    for place in (10, 127, 200):
        at = pool(scored(data, em=False, decision=Decision(THRESHOLDS[place])), CELLS)
        for name in ("dice", "iou", "precision", "recall"):
            assert curve[name][place] == pytest.approx(at[f"{name}/cell"]), name
    of_membrane = curves(scored(data, em=False), CELLS, "membrane").threshold
    assert of_membrane["iou"][127] == pytest.approx(pool(scored(data, decision=Decision(0.5)), CELLS)["iou/membrane"])


@pytest.mark.parametrize("target", ["cell", "membrane"])
def test_precision_recall_ends_where_everything_is_predicted(target):
    images = scored([noisy_cells(0)], em=False)
    curve = curves(images, CELLS, target).precision_recall
    assert (np.diff(curve["recall"]) >= 0).all()
    assert not np.isnan(curve["precision"]).any()
    confusion = confusions(images[0].bins)[0]
    assert curve["recall"][-1] == 1
    assert curve["precision"][-1] == pytest.approx(confusion[CELLS.names.index(target)].sum() / confusion.sum())
    assert curve["precision"][0] > curve["precision"][-1]


def test_the_em_curve_is_the_mean_over_slices_with_cells():
    data = [noisy_cells(0), noisy_cells(1)]
    data.append((data[0][0], np.zeros_like(data[0][1])))
    images = scored(data)
    curve = curves(images, CELLS).em
    assert curve["threshold"].tolist() == list(em.THRESHOLDS)
    assert curve["v_rand"] == pytest.approx((images[0].em[:-1, 0] + images[1].em[:-1, 0]) / 2)
    assert curve["v_info"].max() == pytest.approx(pool(images, CELLS)["v_info"])


def test_several_classes_have_a_reliability_curve_alone():
    found = curves(scored([noisy_roads(0)], ROADS, em=False, decision=Decision()), ROADS)
    assert found.threshold is found.precision_recall is found.em is None
    assert found.reliability["share"].sum() == pytest.approx(1)


def test_a_missing_class_costs_each_image_its_own_diagonal() -> None:
    cells = Classes(("membrane", "cell"))

    def only_true(height: int, width: int) -> ImageScores:
        mask, labels = np.zeros((2, height, width), np.uint8)
        mask[0, 0] = 1
        probabilities = np.stack([1 - labels, labels]).astype(np.float32)
        return score_image("a", None, probabilities, labels, mask, cells)

    assert pool([only_true(3, 4), only_true(6, 8)], cells)["hd95/cell"] == pytest.approx((5 + 10) / 2)


def test_the_upper_end_of_a_bin_of_confidence_is_in_it() -> None:
    found = _reliability(np.array([8 / 15, 0.8, 1.0], np.float32), np.array([True, False, True]))
    assert np.flatnonzero(found[:, 0]).tolist() == [7, 11, 14]
