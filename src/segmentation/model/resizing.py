"""Batches of images in another size, by torch."""

import torch.nn.functional as F
from torch import Tensor


def resized(images: Tensor, size: tuple[int, int], smooth: bool = False) -> Tensor:
    """Bilinear, with the corners of the outermost pixels in place; ``inference.resizing`` does the same in numpy.

    Args:
        images: (B, C, H, W).
        size: (h, w) of the result.
        smooth: Whether pixels that would be lost go into those that stay (antialiasing).

    Returns:
        (B, C, h, w) float32.
    """
    return F.interpolate(images.float(), size=list(size), mode="bilinear", antialias=smooth)
