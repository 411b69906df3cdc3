"""Pooling as matrix products against torch's own."""

import pytest
import torch
from torch import nn

from segmentation.deployment.pooling import PooledBins, with_bins


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 12), (61, 40)])
@pytest.mark.parametrize("bins", [(2, 3), (6, 6), (1, 4)])
def test_the_bins_are_those_of_torch(size: tuple[int, int], bins: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(PooledBins(*bins)(image), nn.AdaptiveAvgPool2d(bins)(image), rtol=1e-12, atol=1e-12)


def test_pooling_is_replaced_at_any_depth_and_means_stay() -> None:
    inner = nn.Sequential(nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((None, 2)))
    network = nn.Sequential(nn.AdaptiveAvgPool2d(6), inner)
    image = torch.rand(1, 2, 20, 30)
    expected = network(image)
    with_bins(network)
    first, (second, *kept) = network[0], inner
    assert isinstance(first, PooledBins) and isinstance(second, PooledBins)
    assert (first.rows, first.columns, second.rows, second.columns) == (6, 6, 2, 3)
    assert all(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in kept)
    torch.testing.assert_close(network(image), expected)
