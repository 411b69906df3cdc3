"""Adaptive pooling that can be exported for images of any size."""

from typing import Any

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPBlock
from torch import Tensor, nn


class PooledBins(nn.Module):
    """What ``nn.AdaptiveAvgPool2d`` does, as two matrix products.

    The exporter of torch takes the bins of its example for those of every size. Here they are computed from the size of
    the image within the graph: bin i of n covers floor(i * length / n) to ceil((i + 1) * length / n), as in torch.

    Args:
        rows: Bins along the height.
        columns: Bins along the width.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) float -> (B, C, rows, columns), the mean of each bin."""
        height, width = image.shape[-2:]
        answer: Tensor = _shares(self.rows, height, image) @ image @ _shares(self.columns, width, image).T
        return answer


class PyramidLevel(nn.Module):
    """A ``PSPBlock`` of SMP without its own detour for exports, which holds for images of one size only.

    Args:
        block: Shares its weights.
    """

    def __init__(self, block: PSPBlock) -> None:
        super().__init__()
        self.pool = block.pool

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) float -> (B, D, H, W)."""
        return F.interpolate(self.pool(image), image.shape[2:], mode="bilinear", align_corners=True)


def with_bins(network: nn.Module) -> None:
    """Replace the adaptive pooling of a network, in place; that to a single value is exported as it is."""
    for name, child in network.named_children():
        if isinstance(child, PSPBlock):
            setattr(network, name, PyramidLevel(child))
            with_bins(child)
        elif isinstance(child, nn.AdaptiveAvgPool2d):
            size: Any = child.output_size
            rows, columns = size if isinstance(size, tuple) else (size, size)
            if rows is not None and columns is not None and max(rows, columns) > 1:
                setattr(network, name, PooledBins(rows, columns))
        else:
            with_bins(child)


def _shares(bins: int, length: int, image: Tensor) -> Tensor:
    """(bins, length): what each of the pixels along an axis counts in each bin."""
    place, number = torch.arange(length, device=image.device), torch.arange(bins, device=image.device)[:, None]
    first, end = number * length // bins, ((number + 1) * length + bins - 1) // bins
    inside = (place >= first) & (place < end)
    return inside.to(image.dtype) / (end - first)
