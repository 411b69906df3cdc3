"""How much each class counts in a loss."""

import math
from collections.abc import Sequence

MOST = 10.0
"""The largest class weight that is chosen automatically: beyond it the steps of a few pixels decide."""


def balanced_weights(pixels: Sequence[int]) -> list[float]:
    """Class weights that make rare classes count more, from the pixels of each class.

    ``w_k`` is proportional to ``1 / sqrt(share_k)``, with mean 1 over the classes that are there, and at
    most 10. The root: with ``1 / share_k`` a class of 0.1 % of the pixels would have as much of the loss
    as all of the others, and be predicted far beyond its rims. A class without a pixel gets the mean, 1: no pixel is
    multiplied by it, and a loss that averages over classes treats it as without weights.
    """
    total = sum(pixels)
    roots = [math.sqrt(total / count) if count > 0 else None for count in pixels]
    present = [root for root in roots if root is not None]
    return [1.0 if root is None else min(MOST, root * len(present) / sum(present)) for root in roots]
