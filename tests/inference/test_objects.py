"""Objects: which pixels belong together, and what is measured of them."""

import numpy as np
import pytest

from segmentation.inference.objects import instances, measure


def two_discs(distance: float = 14.0, radius: float = 9.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of two discs that overlap, and probabilities that sink between their centres."""
    y, x = np.mgrid[:32, :48]
    away = np.minimum(np.hypot(y - 15, x - 15), np.hypot(y - 15, x - 15 - distance))
    cell = np.clip(1 - away / (2 * radius), 0, 1).astype(np.float32)
    probabilities = np.stack([1 - cell, cell])
    return (cell > 0.5).astype(np.uint8), probabilities


def test_components_touch_by_an_edge_and_have_one_class_by_hand() -> None:
    labels = np.array(
        [
            [0, 0, 2, 2, 1],
            [1, 0, 2, 1, 1],
            [0, 1, 0, 0, 1],
        ],
        np.uint8,
    )
    expected = [
        [0, 0, 1, 1, 2],
        [3, 0, 1, 2, 2],
        [0, 4, 0, 0, 2],
    ]
    ids = instances(labels)
    assert ids.tolist() == expected
    assert ids.dtype == np.int32
    assert instances((labels > 0).astype(np.uint8)).max() == 3  # without classes the first two are one


def test_watershed_parts_what_touches_where_the_probability_sinks() -> None:
    labels, probabilities = two_discs()
    assert instances(labels).max() == 1
    ids = instances(labels, probabilities, "watershed")
    assert ids.max() == 2
    assert ((ids > 0) == (labels > 0)).all()
    assert ids[15, 15] == 1
    assert ids[15, 29] == 2
    # the discs are alike, so the cut is in the middle: column 22 is as near to one as to the other
    assert set(ids[:, :22].ravel()) == {0, 1}
    assert set(ids[:, 23:].ravel()) == {0, 2}


def test_an_object_without_a_seed_stays_one() -> None:
    labels, probabilities = two_discs()
    probabilities[1, 25:28, 40:44], labels[25:28, 40:44] = 0.6, 1  # 0.6 is below the seeds' 0.75
    ids = instances(labels, probabilities, "watershed")
    assert ids.max() == 3
    assert (ids[25:28, 40:44] == 3).all()


def test_seeds_lie_halfway_between_threshold_and_1() -> None:
    labels, probabilities = two_discs()  # halfway between the centres the probability is 1 - 7/18 = 0.61
    assert instances(labels, probabilities, "watershed", threshold=0.2).max() == 1  # seeds above 0.6 are one
    assert instances(labels, probabilities, "watershed", threshold=0.3).max() == 2  # above 0.65 two


def test_watershed_keeps_classes_apart() -> None:
    labels, probabilities = two_discs()
    probabilities = np.stack([probabilities[0], probabilities[1], probabilities[1]])
    labels[:, 22:][labels[:, 22:] > 0] = 2
    ids = instances(labels, probabilities, "watershed")
    for number in range(1, ids.max() + 1):
        assert len(np.unique(labels[ids == number])) == 1
    assert {one.class_index for one in measure(ids, labels)} == {1, 2}


@pytest.mark.parametrize("method", ["components", "watershed"])
@pytest.mark.parametrize("classes", [2, 3])
def test_ids_come_in_the_order_of_their_first_pixels_and_cover_all_but_class_0(method: str, classes: int) -> None:
    random = np.random.default_rng(classes)
    probabilities = random.random((classes, 30, 40)).astype(np.float32)
    labels = probabilities.argmax(0).astype(np.uint8)
    ids = instances(labels, probabilities, method)
    numbers, first = np.unique(ids, return_index=True)
    assert numbers.tolist() == list(range(ids.max() + 1))
    assert (np.diff(first[1:]) > 0).all()
    assert ((ids > 0) == (labels > 0)).all()


@pytest.mark.parametrize("method", ["components", "watershed"])
def test_an_image_without_objects_has_no_ids(method: str) -> None:
    labels = np.zeros((4, 5), np.uint8)
    ids = instances(labels, np.stack([np.ones((4, 5)), np.zeros((4, 5))]), method)
    assert not ids.any()
    assert measure(ids, labels) == []


def test_watershed_without_probabilities_is_refused() -> None:
    with pytest.raises(ValueError, match="needs probabilities"):
        instances(np.zeros((4, 5), np.uint8), method="watershed")


def test_measurements_by_hand() -> None:
    labels = np.zeros((6, 8), np.uint8)
    labels[1:3, 2:6] = 2
    labels[4, 7] = labels[5, 6:8] = 1
    first, second = measure(instances(labels), labels)
    assert (first.id, first.class_index, first.area) == (1, 2, 8)
    assert first.centroid == (1.5, 3.5)
    assert first.box == (1, 2, 3, 6)
    assert (second.id, second.class_index, second.area) == (2, 1, 3)
    assert second.centroid == pytest.approx((14 / 3, 20 / 3))
    assert second.box == (4, 6, 6, 8)


def test_ids_with_gaps_are_measured_under_their_own_numbers() -> None:
    ids = np.array([[5, 5, 0, 9]], np.int32)
    assert [(one.id, one.area) for one in measure(ids, (ids > 0).astype(np.uint8))] == [(5, 2), (9, 1)]
