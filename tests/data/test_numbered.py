from pathlib import Path

import numpy as np

from segmentation.data.masks import MaskRule
from segmentation.data.numbered import numbers, touching
from segmentation.data.sample import Part
from segmentation.inference.classes import Classes
from segmentation.metrics.em import true_segments

CELLS = Classes(("background", "cell"))


def test_numbers_of_objects_are_told_apart() -> None:
    stored = np.array([[0, 40000, 40000], [7, 7, 0]], np.uint16)
    assert numbers(stored).tolist() == [[0, 2, 2], [1, 1, 0]]
    assert numbers(stored + 1).tolist() == [[1, 3, 3], [2, 2, 1]]  # no pixel is 0
    assert numbers(np.array([[-3, 0, 5]], np.int32)).tolist() == [[1, 0, 2]]


def test_pixels_beside_another_object_by_hand() -> None:
    stored = np.array([[1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 2, 2], [3, 3, 0, 0, 2, 2]], np.uint8)
    expected = np.array([[0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0], [0] * 6, [0] * 6], bool)
    assert (touching(stored) == expected).all()
    assert not touching(np.array([[1, 0], [0, 2]])).any()  # corners are no neighbours


def test_separate_objects_are_as_many_connected_regions() -> None:
    """Discs of random size at random places, the later ones over the earlier."""
    random, rows, columns = np.random.default_rng(0), *np.indices((120, 120))
    stored = np.zeros((120, 120), np.uint16)
    for number in range(1, 30):
        top, left = random.integers(0, 120, 2)
        stored[(rows - top) ** 2 + (columns - left) ** 2 < random.integers(8, 15) ** 2] = number
    together = MaskRule(CELLS, "objects").decode(stored, Part(Path("a.png")))
    apart = MaskRule(CELLS, "separate_objects").decode(stored, Part(Path("a.png")))
    assert (together == (stored > 0)).all()
    assert ((apart == 1) <= (together == 1)).all()
    # each region is of one object
    regions = true_segments(apart == 1)
    assert all(len(np.unique(stored[regions == region])) == 1 for region in range(1, regions.max() + 1))
    assert regions.max() > true_segments(together == 1).max()
