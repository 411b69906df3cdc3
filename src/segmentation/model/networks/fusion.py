"""Two or more modalities, such as colour and depth, with an encoder for each."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def fuse(networks: Sequence[Any], channels: Sequence[int]) -> Any:
    """One network of several that differ only in the channels they take.

    Args:
        networks: One for each modality, of one architecture with an ``encoder``; the first lends its decoder.
        channels: Of each modality, in the order in which they lie in the image.

    Returns:
        The first network with the fused encoder; it takes images of ``sum(channels)`` channels.
    """
    fused = networks[0]
    fused.encoder = FusedEncoder([network.encoder for network in networks], channels)
    return fused


class FusedEncoder(nn.Module):
    """An encoder for each modality; their features are summed at every level.

    As in FuseNet (Hazirbas et al. 2016, doi 10.1007/978-3-319-54181-5_14), except that the sums go to the decoder alone
    and not on into the first encoder, so that any encoder can be used.

    Args:
        encoders: One for each modality, of one architecture.
        channels: Of each modality, in the order in which they lie in the image.
    """

    def __init__(self, encoders: Sequence[Any], channels: Sequence[int]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.channels = list(channels)
        self.out_channels = encoders[0].out_channels
        self.output_stride = encoders[0].output_stride

    def forward(self, image: Tensor) -> Any:
        """(B, C, H, W) -> features as one encoder gives them: a list, or a tuple of lists with DPT."""
        parts = torch.split(image, self.channels, dim=1)
        return _summed([encoder(part) for encoder, part in zip(self.encoders, parts, strict=True)])


def _summed(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, (list, tuple)):
        return type(first)(_summed(entries) for entries in zip(*parts, strict=True))
    if first is None or len({part.shape for part in parts}) > 1:
        return first  # no prefix tokens; or the images themselves, of which decoders read no more than the size
    return sum(parts[1:], start=first)
