"""Where pixels of different labels meet."""

import numpy as np
import pytest

from segmentation.inference.edges import edges


def test_an_edge_is_where_two_known_labels_touch() -> None:
    labels = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 255, 2], [0, 1, 1, 255, 2], [2, 0, 0, 255, 255]], np.uint8)
    expected = [
        [0, 1, 1, 0, 1],
        [1, 1, 1, 0, 1],  # what touches an unknown pixel is no edge for that
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
    ]
    np.testing.assert_array_equal(edges(labels, labels != 255), np.array(expected, bool))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_an_image_of_one_line_has_edges_too(shape: tuple[int, int]) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[-1, -1] = 1
    found = np.zeros(labels.size, bool)
    found[-2:] = labels.size > 1
    np.testing.assert_array_equal(edges(labels, labels < 255).ravel(), found)
