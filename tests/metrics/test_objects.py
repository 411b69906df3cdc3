"""Counts of objects, by hand."""

import numpy as np
from skimage.measure import label

from segmentation.metrics.objects import ObjectCounts, match, overlaps


def rows(*lines: str) -> np.ndarray:
    """Ids drawn as digits; a dot is none."""
    return np.array([[0 if character == "." else int(character) for character in line] for line in lines])


def test_two_merged_one_split_one_missed_one_found_one_spurious_by_hand() -> None:
    truth = rows(
        "1111.2222.",
        "1111.2222.",
        "..........",
        "33333333..",
        "33333333..",
        "..........",
        "444.555...",
        "444.555...",
    )
    predicted = rows(
        "777777777.",  # covers both 1 and 2: 16 of 18 pixels, IoU 8/18 each
        "777777777.",
        "..........",
        "1111.222..",  # two halves of 3: IoU 8/16 and 6/16
        "1111.222..",
        "..........",
        "444.....33",
        "444.....33",
    )
    assert match(truth, predicted) == ObjectCounts(
        true=5, predicted=5, found=1, merged=2, split=1, missed=1, spurious=1
    )


def test_the_same_objects_under_other_numbers_are_all_found() -> None:
    truth = label(np.random.default_rng(0).random((40, 50)) > 0.6, connectivity=1)
    numbers = np.append(0, 7 + np.random.default_rng(1).permutation(int(truth.max())))
    count = int(truth.max())
    assert match(truth, numbers[truth]) == ObjectCounts(true=count, predicted=count, found=count)


def test_a_predicted_object_that_swallows_a_small_one_has_found_the_large_one() -> None:
    truth = rows("11111111.2")
    predicted = rows("1111111111")
    assert match(truth, predicted) == ObjectCounts(true=2, predicted=1, found=1, merged=1)


def test_half_is_not_enough_to_be_found() -> None:
    assert match(rows("1111"), rows("11..")) == ObjectCounts(true=1, predicted=1, missed=1, spurious=1)
    assert match(rows("1111"), rows("111.")) == ObjectCounts(true=1, predicted=1, found=1)


def test_half_of_two_objects_merges_nothing_and_half_of_a_piece_is_no_piece() -> None:
    # the predicted object covers exactly half of each of both
    assert match(rows("1111.2222"), rows("..33333..")) == ObjectCounts(true=2, predicted=1, missed=2, spurious=1)
    assert match(rows("1111.2222"), rows(".3333333.")) == ObjectCounts(true=2, predicted=1, merged=2)
    # both pieces lie with exactly half of their pixels outside of it
    assert match(rows("....1111...."), rows("..3333......")).split == 0
    assert match(rows("...11111111..."), rows("33333344444444")).split == 0
    assert match(rows("..11111111.."), rows("3333.....444")).missed == 1
    assert match(rows("1111111111"), rows("111..22222")).found == 0


def test_one_piece_of_many_is_a_miss_and_two_pieces_of_less_than_half_too() -> None:
    assert match(rows("11111111"), rows("11......")).missed == 1
    assert match(rows("11111111"), rows("11..33..")) == ObjectCounts(true=1, predicted=2, missed=1, spurious=2)
    assert match(rows("11111111"), rows("11..333.")) == ObjectCounts(true=1, predicted=2, split=1)


def test_an_object_far_too_large_is_a_miss_and_spurious() -> None:
    assert match(rows("11......"), rows("11111111")) == ObjectCounts(true=1, predicted=1, missed=1, spurious=1)


def test_nothing_true_and_nothing_predicted() -> None:
    none, some = rows("...."), rows("1.22")
    assert match(none, none) == ObjectCounts()
    assert match(none, some) == ObjectCounts(predicted=2, spurious=2)
    assert match(some, none) == ObjectCounts(true=2, missed=2)


def test_every_true_object_has_one_fate_and_counts_add_up() -> None:
    total = ObjectCounts()
    for seed in range(20):
        random = np.random.default_rng(seed)
        truth, predicted = (label(random.random((30, 30)) > limit, connectivity=1) for limit in (0.5, 0.45))
        counts = match(truth, predicted)
        assert counts.true == truth.max() == counts.found + counts.merged + counts.split + counts.missed
        assert counts.found <= counts.predicted - counts.spurious
        total += counts
    assert min(total.found, total.merged, total.split, total.missed, total.spurious) > 0


def test_overlaps_are_counted_pixel_by_pixel() -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 4, 500), random.integers(0, 3, 500)
    expected = {(a, b): int(((first == a) & (second == b)).sum()) for a in range(4) for b in range(3)}
    found = {(int(a), int(b)): int(count) for a, b, count in zip(*overlaps(first, second), strict=True)}
    assert found == expected
