"""True objects are those that masks number; predicted ones touch, or are parted."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.sample import Sample
from segmentation.evaluation.objects_of import predicted_objects, true_objects
from segmentation.evaluation.scored import Prediction
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.metrics.objects import ObjectCounts, match

CLASSES = Classes(("background", "cell"))

NUMBERS = np.array([[7, 7, 7, 2, 2, 2, 0, 9]], np.int32)
"""Two cells that touch, and one in a pixel that does not count."""

MASK = np.array([[1, 1, 1, 1, 1, 1, 0, 255]], np.uint8)


def prediction(numbers: NDArray[np.int32] | None, instances: str = "components") -> Prediction:
    probability = np.array([[0.95, 0.95, 0.6, 0.6, 0.95, 0.95, 0.1, 0.95]], np.float32)
    scored: Any = SimpleNamespace(
        data=SimpleNamespace(source=SimpleNamespace(read_objects=lambda _: numbers)),
        predictor=SimpleNamespace(classes=CLASSES, decision=Decision(0.5)),
        instances=instances,
    )
    probabilities = np.stack([1 - probability, probability])
    labels = (probability > 0.5).astype(np.uint8)
    return Prediction(scored, Sample("a", ()), MASK[..., None], MASK, probabilities, labels)


def test_cells_that_touch_are_those_that_the_mask_numbers() -> None:
    assert true_objects(prediction(NUMBERS)).tolist() == [[7, 7, 7, 2, 2, 2, 0, 0]]
    assert true_objects(prediction(None)).tolist() == [[1, 1, 1, 1, 1, 1, 0, 0]]


def test_predicted_objects_touch_or_are_parted_and_ignored_pixels_are_none() -> None:
    assert predicted_objects(prediction(None)).tolist() == [[1, 1, 1, 1, 1, 1, 0, 0]]
    parted = predicted_objects(prediction(None, "watershed"))
    assert parted[0, 0] == parted[0, 1] != parted[0, 4] == parted[0, 5] and parted[0, 7] == 0
    assert (parted[0, :6] > 0).all()


def test_a_merger_that_connected_pixels_do_not_see() -> None:
    one = prediction(NUMBERS)
    assert match(true_objects(one), predicted_objects(one)) == ObjectCounts(true=2, predicted=1, merged=2)
    one = prediction(NUMBERS, "watershed")
    assert match(true_objects(one), predicted_objects(one)) == ObjectCounts(true=2, predicted=2, found=2)
