"""Labels from probabilities, confusion matrices at many thresholds, and the threshold that is chosen from them."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.morphology import remove_small_holes, remove_small_objects

from segmentation.errors import InputError
from segmentation.inference.decision import THRESHOLDS, Decision, choose_threshold, class_mean, confusions, dice, iou


def bins_of(*pixels: tuple[int, int, int]) -> np.ndarray:
    """(256, 2) bins from (bin, negatives, positives)."""
    bins = np.zeros((256, 2), np.int64)
    for place, negatives, positives in pixels:
        bins[place] = negatives, positives
    return bins


def two_planes(positive: np.ndarray) -> np.ndarray:
    return np.stack([1 - positive, positive], axis=-3)


@pytest.mark.parametrize("threshold", [*(step / 10 for step in range(11)), *THRESHOLDS[::50]])
def test_numpy_and_torch_label_alike_and_a_probability_equal_to_the_threshold_is_class_0(threshold):
    exact = np.float32(threshold)
    above, below = np.nextafter(exact, np.float32(2)), np.nextafter(exact, np.float32(-1))
    probabilities = two_planes(np.array([[below, exact, above]], np.float32))
    decision = Decision(threshold)
    labels = decision.labels(probabilities)
    assert labels.tolist() == [[0, 0, 1]]
    assert labels.dtype == np.int64
    tensor = decision.labels(torch.from_numpy(probabilities))
    assert tensor.tolist() == [[0, 0, 1]]
    assert tensor.dtype == torch.int64


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_numpy_and_torch_label_batches_alike(classes):
    logits = np.random.default_rng(classes).normal(size=(3, classes, 9, 11))
    probabilities = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    labels = Decision(0.3).labels(probabilities)
    assert labels.shape == (3, 9, 11)
    np.testing.assert_array_equal(labels, Decision(0.3).labels(torch.from_numpy(probabilities)).numpy())
    np.testing.assert_array_equal(labels[1], Decision(0.3).labels(probabilities[1]))


def test_the_most_probable_of_several_classes_is_taken_whatever_the_threshold():
    probabilities = np.array([[[0.2]], [[0.41]], [[0.39]]], np.float32)
    assert Decision(0.9).labels(probabilities).tolist() == [[1]]


def test_the_first_of_equally_probable_classes_is_taken_by_numpy_and_torch():
    probabilities = np.array([[[0.2]], [[0.4]], [[0.4]]], np.float32)
    assert Decision().labels(probabilities).tolist() == [[1]]
    assert Decision().labels(torch.from_numpy(probabilities)).tolist() == [[1]]


def test_a_decision_becomes_plain_values_and_back():
    values = Decision(0.25, 4, 9).to_dict()
    assert values == {"threshold": 0.25, "smallest_object": 4, "largest_hole": 9}
    assert Decision(**values) == Decision(0.25, 4, 9)


def smooth(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities (K, H, W) in lumps and specks of all sizes."""
    random = np.random.default_rng(seed)
    scores = ndimage.gaussian_filter(random.normal(size=shape), (0, 1.2, 1.2)) * 8
    scores += random.normal(size=shape)
    return (np.exp(scores) / np.exp(scores).sum(0)).astype(np.float32)


SIZED = [(0, 0), (9, 0), (0, 9), (12, 30), (40, 6), (1000, 1000)]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("sizes", SIZED)
@pytest.mark.parametrize("height", [1, 7, 32, 200])
def test_a_stream_of_any_band_height_gives_the_labels_of_the_whole(classes, sizes, height):
    for seed in range(3):
        probabilities = smooth(seed, (classes, 90, 40))
        decision = Decision(0.45, *sizes)
        bands = [probabilities[:, start : start + height] for start in range(0, 90, height)]
        found = list(decision.stream(bands))
        np.testing.assert_array_equal(np.concatenate(found), decision.labels(probabilities))
        assert {block.dtype for block in found} == {np.dtype(np.uint8)}


def test_small_objects_go_before_holes_are_filled_by_hand():
    cell = np.zeros((7, 9), np.float32)
    cell[1:6, 1:6] = 1
    cell[2:5, 2:5] = 0  # a hole of 9 pixels
    cell[3, 3] = 1  # with an object of 1 in it
    cell[3, 8] = 1
    labels = Decision(0.5, smallest_object=2, largest_hole=9).labels(two_planes(cell))
    expected = np.zeros((7, 9), np.int64)
    expected[1:6, 1:6] = 1  # without its object the hole has 9 pixels and is filled
    assert labels.tolist() == expected.tolist()
    kept = Decision(0.5, smallest_object=1, largest_hole=7).labels(two_planes(cell))
    assert kept.tolist() == cell.tolist()  # an object of 1 is not smaller than 1, nor a hole of 8 as small as 7


@pytest.mark.parametrize("classes", [2, 3])
def test_sizes_treat_numpy_and_torch_and_batches_alike(classes):
    batch = np.stack([smooth(seed, (classes, 30, 40)) for seed in range(3)])
    decision = Decision(0.5, 20, 20)
    labels = decision.labels(batch)
    assert labels.dtype == np.int64
    tensor = decision.labels(torch.from_numpy(batch))
    assert tensor.dtype == torch.int64
    np.testing.assert_array_equal(labels, tensor.numpy())
    np.testing.assert_array_equal(labels[1], decision.labels(batch[1]))
    assert (labels != Decision().labels(batch)).any()


def test_the_sizes_of_scikit_image_are_these_for_two_classes():
    cell = smooth(0, (2, 60, 60))[1] > 0.5
    kept = remove_small_holes(remove_small_objects(cell, max_size=11, connectivity=1), max_size=15, connectivity=1)
    labels = Decision(0.5, smallest_object=12, largest_hole=15).labels(two_planes(cell.astype(np.float32)))
    np.testing.assert_array_equal(labels == 1, kept)
    assert (kept != cell).any()


@pytest.mark.parametrize("threshold", [-0.1, 1.5, math.nan])
def test_a_threshold_outside_the_range_is_refused(threshold):
    with pytest.raises(InputError, match="from 0 to 1"):
        Decision(threshold)


def test_negative_sizes_are_refused():
    with pytest.raises(InputError, match="largest_hole is -3 pixels; give 0 or more"):
        Decision(largest_hole=-3)


def test_the_decision_of_an_old_checkpoint_has_no_sizes():
    assert Decision(**{"threshold": 0.3}) == Decision(0.3, 0, 0)


def test_scores_of_a_confusion_matrix_are_those_computed_by_hand():
    # class 0: TP 4, FN 1 + 1, FP 2; class 1: TP 3, FN 2, FP 1; class 2: neither in the truth nor predicted
    confusion = np.array([[4, 1, 0], [2, 3, 0], [0, 0, 0]])
    np.testing.assert_allclose(iou(confusion), [4 / 7, 3 / 6, np.nan])
    np.testing.assert_allclose(dice(confusion), [8 / 11, 6 / 9, np.nan])


def test_a_class_that_is_only_predicted_or_only_true_scores_0_and_not_nan():
    np.testing.assert_array_equal(iou(np.array([[0, 3], [0, 0]])), [0, 0])
    np.testing.assert_array_equal(dice(np.array([[0, 3], [0, 0]])), [0, 0])


def test_scores_of_a_stack_of_matrices_are_the_scores_of_each():
    stack = np.random.default_rng(0).integers(0, 9, (2, 5, 3, 3))
    assert iou(stack).shape == dice(stack).shape == (2, 5, 3)
    np.testing.assert_array_equal(iou(stack)[1, 4], iou(stack[1, 4]))
    np.testing.assert_array_equal(dice(stack)[0, 2], dice(stack[0, 2]))


def test_class_mean_leaves_out_nan_and_is_nan_of_nothing():
    scores = np.array([[0.5, np.nan, 1.0], [np.nan, np.nan, np.nan], [0.0, 0.3, 0.6]])
    np.testing.assert_allclose(class_mean(scores), [0.75, np.nan, 0.3])


def test_confusions_are_those_counted_pixel_by_pixel():
    random = np.random.default_rng(1)
    bins = random.integers(0, 5, (3, 6, 2))  # three images, five thresholds
    expected = np.zeros((3, 5, 2, 2), np.int64)
    for image in range(3):
        for threshold in range(5):
            for place in range(6):
                for truth in range(2):
                    # bin b lies above the first b thresholds, numbers 0 to b - 1
                    predicted = int(place > threshold)
                    expected[image, threshold, truth, predicted] += bins[image, place, truth]
    np.testing.assert_array_equal(confusions(bins), expected)


def test_the_threshold_with_the_best_dice_of_the_target_class_is_chosen_by_hand():
    # probabilities in bin 50: 4 negatives, 1 positive; bin 150: 1 negative, 4 positives
    bins = bins_of((50, 4, 1), (150, 1, 4))
    # up to threshold number 49 all 10 are class 1: dice 2*5 / (5+10); 50 to 149: 2*4 / (5+5) = 0.8; above: none, 0
    assert choose_threshold(bins, "dice", target_class=1) == THRESHOLDS[100]


def test_the_means_of_dice_and_of_iou_choose_differently_where_they_disagree_by_hand():
    bins = bins_of((10, 5, 3), (20, 6, 5), (30, 2, 3))
    # from 10 to 20: TN 5, FN 3, FP 8, TP 8: dice (10/21 + 16/27) / 2 = 0.534, iou (5/16 + 8/19) / 2 = 0.367
    # from 20 to 30: TN 11, FN 8, FP 2, TP 3: dice (22/32 + 6/16) / 2 = 0.531, iou (11/21 + 3/13) / 2 = 0.377
    assert choose_threshold(bins, "dice") == THRESHOLDS[15]
    assert choose_threshold(bins, "iou") == THRESHOLDS[25]


@pytest.mark.parametrize("criterion", ["dice", "iou"])
@pytest.mark.parametrize("target", [None, 0, 1])
def test_no_other_threshold_scores_better_than_the_chosen_one(criterion, target):
    random = np.random.default_rng(3)
    for _ in range(5):
        bins = random.integers(0, 50, (256, 2)) * (random.random((256, 1)) < 0.2)
        bins[:, 1] += np.arange(256) // 40
        bins[:, 0] += np.arange(256)[::-1] // 40
        values = []
        for threshold in range(255):
            hit, miss = bins[threshold + 1 :, 1].sum(), bins[: threshold + 1, 1].sum()
            false, right = bins[threshold + 1 :, 0].sum(), bins[: threshold + 1, 0].sum()
            wrong = miss + false
            two = [right / (right + wrong), hit / (hit + wrong)]
            if criterion == "dice":
                two = [2 * right / (2 * right + wrong), 2 * hit / (2 * hit + wrong)]
            values.append(sum(two) / 2 if target is None else two[target])
        assert choose_threshold(bins, criterion, target) == THRESHOLDS[int(np.argmax(values))]


def test_the_two_classes_choose_differently_by_hand():
    bins = bins_of((10, 100, 2), (200, 12, 8), (220, 0, 2))
    # dice of class 0 below 10, to 200, to 220, above: 0, 200/214, 224/234, 224/236
    assert choose_threshold(bins, "dice", target_class=0) == THRESHOLDS[210]
    # of class 1: 24/136, 20/34, 4/14, 0
    assert choose_threshold(bins, "dice", target_class=1) == THRESHOLDS[105]


def test_of_equally_good_thresholds_the_middle_one_is_chosen():
    # everything from threshold number 3 to number 9 separates perfectly
    assert choose_threshold(bins_of((3, 5, 0), (10, 0, 5))) == THRESHOLDS[6]
    assert choose_threshold(bins_of((0, 5, 0), (255, 0, 5))) == THRESHOLDS[127] == 0.5


def test_without_any_pixel_the_threshold_is_half():
    assert choose_threshold(bins_of()) == 0.5
    assert choose_threshold(bins_of(), "iou", target_class=1) == 0.5


def test_where_the_target_class_is_never_true_the_threshold_is_half():
    # where it is predicted it scores 0 and elsewhere it has no score, so that the best score would predict it
    assert choose_threshold(bins_of((100, 9, 0)), "dice", target_class=1) == 0.5
    assert choose_threshold(bins_of((100, 0, 9)), "iou", target_class=0) == 0.5


def test_the_mean_over_classes_predicts_no_class_that_is_never_true():
    assert choose_threshold(bins_of((100, 9, 0))) > THRESHOLDS[99]
