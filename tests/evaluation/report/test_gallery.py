"""Which images are shown, and how their objects are coloured."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segmentation.data.sample import Sample
from segmentation.evaluation.report.gallery import SIDE, chosen, object_panels, panels
from segmentation.evaluation.scored import Prediction
from segmentation.inference.classes import Classes

CLASSES = Classes(("membrane", "cell"))


def prediction(mask: np.ndarray, labels: np.ndarray, image: np.ndarray | None = None) -> Prediction:
    scored: Any = SimpleNamespace(
        predictor=SimpleNamespace(classes=CLASSES),
        data=SimpleNamespace(source=SimpleNamespace(read_objects=lambda _: None)),
        instances="components",
    )
    raw = np.full((*mask.shape, 1), 100, np.uint8) if image is None else image
    return Prediction(scored, Sample("a", ()), raw, mask, np.zeros((2, *mask.shape), np.float32), labels)


@pytest.mark.parametrize(
    ("count", "worst", "first", "spread"),
    [
        (30, 3, [0, 1, 2], [3, 7, 11, 14, 18, 22, 25, 29]),
        (6, 8, [0, 1, 2], [3, 4, 5]),  # never more than half
        (1, 8, [0], []),
        (3, 0, [], [0, 1, 2]),
    ],
)
def test_the_worst_and_a_spread_of_the_others(count: int, worst: int, first: list[int], spread: list[int]) -> None:
    ids = [str(number) for number in range(count)]
    shown, typical = chosen(ids, worst)
    assert [int(key) for key in shown] == first
    assert typical[0:1] + typical[-1:] == ([str(spread[0]), str(spread[-1])] if spread else [])
    assert len(typical) == len(spread) and not set(shown) & set(typical)
    gaps = np.diff([int(key) for key in typical])
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1  # evenly spaced


def test_large_images_are_thinned_and_keep_their_shape() -> None:
    mask = np.zeros((2000, 1000), np.uint8)
    mask[:1000] = 1
    image = np.full((2000, 1000, 1), 5000, np.uint16)
    drawn = panels(prediction(mask, mask, image))
    assert {panel.shape for panel in drawn} == {(SIDE, SIDE // 2, 3)}
    assert (drawn[1][: SIDE // 2] == 255).all() and not drawn[1][SIDE // 2 :].any()


def test_a_merger_has_one_colour_and_a_split_has_the_same_twice() -> None:
    mask = np.zeros((5, 9), np.uint8)
    mask[0:2, 0:3] = mask[0:2, 4:9] = mask[3:5] = 1  # two cells above, one below
    labels = np.zeros_like(mask)
    labels[0:2] = 1  # the two above are one
    labels[3:5, :4] = labels[3:5, 5:] = 1  # the one below is two
    _, truth, predicted = object_panels(prediction(mask, labels))
    small, large, below = truth[0, 0], truth[0, 5], truth[4, 0]
    assert len({tuple(color) for color in (small, large, below)}) == 3
    assert (predicted[0:2] == large).all()
    assert (predicted[3:5, :4] == below).all() and (predicted[3:5, 5:] == below).all()
    assert not predicted[2].any() and not truth[2].any()


def test_an_object_over_nothing_is_white_and_ignored_pixels_have_none() -> None:
    mask = np.array([[1, 0, 0, 0, 255]], np.uint8)
    labels = np.array([[1, 0, 1, 0, 1]], np.uint8)
    _, truth, predicted = object_panels(prediction(mask, labels))
    assert (predicted[0, 2] == 255).all() and not predicted[0, 4].any()
    np.testing.assert_array_equal(predicted[0, 0], truth[0, 0])
