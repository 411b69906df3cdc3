"""A network over an image of any size. One tile is the simple case, and the only one so far."""

from collections.abc import Callable
from typing import TypeVar

Array = TypeVar("Array")


def run(predict: Callable[[Array], Array], image: Array) -> Array:
    """Apply ``predict`` to a batch of whole images.

    Everything after training (validation, test, prediction) reaches the network through here.

    Args:
        predict: (B, C, H, W) -> (B, K, H, W) for any H, W >= 1.
        image: (B, C, H, W), an array or a tensor.

    Returns:
        (B, K, H, W).
    """
    return predict(image)
