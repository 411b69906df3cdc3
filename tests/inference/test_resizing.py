"""Images in another size: what numpy computes is what torch computes."""

import numpy as np
import pytest
import torch

from segmentation.inference.resizing import resized
from segmentation.model import resizing


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(
    ("before", "after"),
    [((5, 7), (3, 2)), ((64, 48), (48, 36)), ((4, 3), (9, 5)), ((7, 6), (7, 6)), ((1, 1), (3, 4)), ((10, 9), (1, 20))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_numpy_and_torch_resize_alike(before, after, smooth, dtype):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *before)).astype(dtype)
    found = resized(images, after, smooth)
    assert found.shape == (2, 3, *after) and found.dtype == np.float32
    expected = resizing.resized(torch.from_numpy(images), after, smooth).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)  # of 0..255


def test_half_the_size_by_hand():
    """Without smoothing two of four pixels are averaged, with it the third one counts too."""
    row = np.array([0, 8, 0, 0], np.float32).reshape(1, 1, 1, 4)
    np.testing.assert_allclose(resized(row, (1, 2))[0, 0, 0], [4, 0])
    weights = np.array([0.75, 0.75, 0.25])  # at distances 0.5, 0.5 and 1.5 of a triangle that reaches 2
    assert resized(row, (1, 2), smooth=True)[0, 0, 0, 0] == pytest.approx(8 * weights[1] / weights.sum())
