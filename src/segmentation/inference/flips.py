"""Test-time augmentation: the mean answer to flipped and turned copies of an image."""

from collections.abc import Callable
from typing import Any, Literal

from segmentation.inference.arrays import flip, join

Tta = Literal["none", "flips", "d4"]

_FLIPS = ((), (-1,), (-2,), (-2, -1))

VIEWS: dict[Tta, tuple[tuple[bool, tuple[int, ...]], ...]] = {
    "none": ((False, ()),),
    "flips": tuple((False, axes) for axes in _FLIPS),
    "d4": tuple((transposed, axes) for transposed in (False, True) for axes in _FLIPS),
}
"""Whether height and width are exchanged, then the axes that are flipped."""


def averaged(predict: Callable[[Any], Any], tta: Tta, batch: int = 1) -> Callable[[Any], Any]:
    """The mean of ``predict`` over the copies of an image.

    Args:
        predict: (N, C, h, w) -> (N, K, h, w) probabilities.
        tta: ``none``; ``flips``, the image and its three mirror images; ``d4``, all eight flips and quarter turns.
        batch: Images that go through ``predict`` together.

    Returns:
        A function of the same form.
    """
    views = VIEWS[tta]
    if len(views) == 1:
        return predict

    def mean(image: Any) -> Any:
        total: Any = None
        together = max(1, batch // len(image))
        square = image.shape[-1] == image.shape[-2]
        upright, lying = ([view for view in views if view[0] == transposed] for transposed in (False, True))
        for group in [views] if square else [upright, lying]:
            for first in range(0, len(group), together):
                chunk = group[first : first + together]
                answers = predict(join([_view(image, view) for view in chunk]))
                for place, view in enumerate(chunk):
                    answer = _back(answers[place * len(image) : (place + 1) * len(image)], view)
                    total = answer if total is None else total + answer
        return total / len(views)

    return mean


def _view(image: Any, view: tuple[bool, tuple[int, ...]]) -> Any:
    transposed, axes = view
    return flip(image.swapaxes(-1, -2) if transposed else image, axes)


def _back(answer: Any, view: tuple[bool, tuple[int, ...]]) -> Any:
    transposed, axes = view
    flipped = flip(answer, axes)
    return flipped.swapaxes(-1, -2) if transposed else flipped
