"""Samples to look at: which ones, and how they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray
from PIL import Image

from segmentation.callbacks.pictures import error_map
from segmentation.evaluation.html import data_url
from segmentation.evaluation.objects_of import predicted_objects, true_objects
from segmentation.evaluation.scored import Prediction
from segmentation.inference.classes import to_rgb
from segmentation.metrics.objects import overlaps

Rgb = NDArray[np.uint8]

TYPICAL = 8
"""Images that are shown beside the worst."""

SIDE = 400
"""Longest side of a picture on the page, in pixels."""

PANELS = ("image", "truth", "prediction", "error")


@dataclass(frozen=True)
class Picture:
    """One sample as the page shows it.

    Attributes:
        id: Of the sample.
        note: Its score.
        panels: Pictures within the page, one for each of ``PANELS``.
    """

    id: str
    note: str
    panels: tuple[str, ...]


def chosen(ids: Sequence[str], worst: int, typical: int = TYPICAL) -> tuple[list[str], list[str]]:
    """The samples to look at: the worst, and a spread over the others.

    Args:
        ids: Worst first.
        worst: How many of the worst, but never more than half of all.
        typical: How many of the others, evenly spaced in rank from bad to best.
    """
    first = min(worst, (len(ids) + 1) // 2)
    rest = ids[first:]
    places = np.linspace(0, len(rest) - 1, min(typical, len(rest))).round().astype(int)
    return list(ids[:first]), [rest[place] for place in places]


def panels(prediction: Prediction) -> list[Rgb]:
    """Image, truth, prediction and error, thinned to ``SIDE``: RGB each."""
    classes = prediction.scored.predictor.classes
    image, mask, labels = _thinned(prediction)
    return [image, classes.paint(mask), classes.paint(labels), error_map(image, mask, labels, classes)]


def object_panels(prediction: Prediction) -> list[Rgb]:
    """Image, true and predicted objects of class 1, each object in a colour of its own.

    A predicted object has the colour of the true one that it overlaps most: two true colours under one predicted
    are a merger, one true colour in several predicted pieces is a split; white overlaps none.
    """
    image, mask, _ = _thinned(prediction)
    truth, predicted = true_objects(prediction), predicted_objects(prediction)
    hues = np.arange(truth.max() + 1) * 0.618034 % 1  # neighbouring numbers far apart
    hsv = np.stack([hues, np.full_like(hues, 0.62), np.full_like(hues, 0.95)], axis=1)
    colors = (hsv_to_rgb(hsv) * 255).astype(np.uint8)
    first, second, shared = overlaps(predicted.ravel(), truth.ravel())
    owner = np.zeros(predicted.max() + 1, np.intp)
    for place in np.argsort(np.where(second > 0, shared, -1), kind="stable"):  # the largest overlap is written last
        owner[first[place]] = second[place]
    of_predicted = np.where(owner[:, None] > 0, colors[owner], np.uint8(255))
    colors[0] = of_predicted[0] = 0
    return [image, *(_smaller(table[ids], mask.shape) for table, ids in ((colors, truth), (of_predicted, predicted)))]


def to_picture(id: str, note: str, drawn: Sequence[Rgb]) -> Picture:
    """Panels for the page: those with flat colours without loss."""
    kinds = ("jpeg", "png", "png", "jpeg")
    urls = (data_url(Image.fromarray(panel), kind) for panel, kind in zip(drawn, kinds, strict=False))
    return Picture(id, note, tuple(urls))


def _thinned(prediction: Prediction) -> tuple[Rgb, NDArray[np.uint8], NDArray[np.uint8]]:
    """Image in RGB, mask and labels, at most ``SIDE`` pixels long."""
    step = max(1, max(prediction.mask.shape) // (4 * SIDE))  # a huge image is thinned before it is made viewable
    image = Image.fromarray(to_rgb(prediction.image[::step, ::step]))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    size = (image.height, image.width)
    return np.asarray(image), _smaller(prediction.mask, size), _smaller(prediction.labels, size)


def _smaller(array: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3) -> the nearest pixels, (h, w) or (h, w, 3)."""
    resized = Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.NEAREST)
    smaller: NDArray[np.uint8] = np.asarray(resized)
    return smaller
