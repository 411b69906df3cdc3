"""How a network is applied: arrays and tensors alike."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segmentation.errors import InputError
from segmentation.inference.agglomeration import close_gaps
from segmentation.inference.application import Application, application_of
from segmentation.inference.resizing import resized
from segmentation.inference.tiling import Tiling
from segmentation.model import resizing

SETTINGS = {"tile": 64, "overlap": 0.5, "tta": "none", "tta_scales": None, "agglomeration": None}


def network(pixels: torch.Tensor) -> torch.Tensor:
    """Two planes of a convolution that no flip leaves as it is."""
    kernel = torch.arange(9.0).reshape(1, 1, 3, 3) / 36
    one = (F.conv2d(pixels.float(), kernel, padding=1) - 0.5).sigmoid()
    return torch.cat([1 - one, one], dim=1)


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5), (0.75, 1.0, 1.25)])
@pytest.mark.parametrize("tta", ["none", "d4"])
def test_numpy_and_torch_average_alike(tta, scales):
    tile = np.random.default_rng(0).random((2, 1, 24, 17), np.float32)
    application = Application(Tiling(), tta, scales, None)
    expected = application.averaged(network, resizing.resized, torch.from_numpy(tile), together=4)
    found = application.averaged(lambda pixels: network(torch.from_numpy(np.array(pixels))).numpy(), resized, tile)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_the_mean_over_scales_by_hand():
    """A network that answers with its number of rows, at three sizes of eight rows."""
    application = Application(Tiling(), "none", (1.0, 0.5, 2.0), None)
    found = application.averaged(
        lambda pixels: np.full(pixels.shape, pixels.shape[-2], np.float32), resized, np.zeros((1, 1, 8, 8), np.uint8)
    )
    np.testing.assert_allclose(found, (8 + 4 + 16) / 3, rtol=1e-6)


def test_gaps_are_closed_alike_and_the_sum_stays_one():
    one = np.random.default_rng(1).random((2, 30, 40), np.float32)
    probabilities = np.stack([1 - one, one], axis=1)
    application = Application(Tiling(), "none", (1.0,), 0.4)
    closed = application.closed(probabilities)
    np.testing.assert_array_equal(closed[:, 1], [close_gaps(image, 0.4) for image in one])
    np.testing.assert_allclose(closed.sum(1), 1, atol=1e-6)
    assert (closed != probabilities).any()
    np.testing.assert_array_equal(application.closed(torch.from_numpy(probabilities)).numpy(), closed)
    untouched = Application(Tiling(), "none", (1.0,), None).closed(probabilities)
    assert untouched is probabilities


def test_a_fixed_size_is_the_tile_and_allows_no_scales():
    assert application_of(SETTINGS, 2, None) == Application(Tiling(64, 0.5), "none", (1.0,), None)
    assert application_of(SETTINGS, 2, 224).tiling.tile == 224
    with pytest.raises(InputError, match="images of 224 pixels only"):
        application_of(SETTINGS | {"tta_scales": [0.5, 1]}, 2, 224)


@pytest.mark.parametrize("level", [0, 1])
def test_both_ends_of_the_level_are_allowed(level: float) -> None:
    settings = {"tile": 64, "overlap": 0.5, "tta": "none", "tta_scales": None, "agglomeration": level}
    assert application_of(settings, 2, None).agglomeration == level
