"""Labels -> objects that can be counted and measured, one by one."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["components", "watershed"]


@dataclass(frozen=True)
class Measurement:
    """One object.

    Attributes:
        id: Its number in the array of ids.
        class_index: Its class.
        area: Pixels.
        centroid: (y, x), the mean of its pixels' rows and columns, from 0.
        box: (y0, x0, y1, x1) of its pixels; the first row and column are in it, y1 and x1 are not.
    """

    id: int
    class_index: int
    area: int
    centroid: tuple[float, float]
    box: tuple[int, int, int, int]


def instances(
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.floating[Any]] | None = None,
    method: Method = "components",
    threshold: float = 0.5,
) -> NDArray[np.int32]:
    """Number the objects of all classes but 0.

    ``components``: the 4-connected pixels of one class are an object. ``watershed``: objects that touch are parted
    where the probability sinks between them. Their seeds are the 4-connected pixels whose probability of their class
    is greater than halfway between the threshold and 1; from there they grow downhill in probability over the
    labelled pixels (Meyer 1994, doi:10.1016/0165-1684(94)90060-4). A component without a seed is an object too.

    Args:
        labels: (H, W) class indices.
        probabilities: (K, H, W) in 0..1; for ``watershed``.
        method: How pixels become objects.
        threshold: Of the decision that made the labels of two classes; 0.5 for more.

    Returns:
        (H, W) ids 1, 2, ... in the order of the objects' first pixels, row by row; 0 for class 0.

    Raises:
        ValueError: For ``watershed`` without probabilities.
    """
    from skimage.measure import label  # takes a second to import, and few predictions count objects

    if method == "components":
        return _numbered(label(labels, connectivity=1))
    if probabilities is None:
        raise ValueError("watershed needs probabilities")
    from skimage.segmentation import watershed

    ids = np.zeros(labels.shape, np.int64)
    for index in np.unique(labels[labels > 0]):
        region, probability = labels == index, probabilities[index]
        seeds = label(region & (probability > (threshold + 1) / 2), connectivity=1)
        grown = watershed(-probability, markers=seeds, connectivity=1, mask=region)
        seedless = label(region & (grown == 0), connectivity=1)
        grown[seedless > 0] = seedless[seedless > 0] + grown.max()
        ids[region] = grown[region] + ids.max()
    return _numbered(ids)


def measure(ids: NDArray[np.integer[Any]], labels: NDArray[np.uint8]) -> list[Measurement]:
    """Measure objects.

    Args:
        ids: (H, W) as from ``instances``.
        labels: (H, W) class indices.

    Returns:
        One for each id that occurs, by id.
    """
    from scipy.ndimage import find_objects

    rows, columns = np.nonzero(ids)
    of = ids[rows, columns]
    boxes = find_objects(ids)
    classes = np.zeros(len(boxes) + 1, np.uint8)
    classes[of] = labels[rows, columns]
    areas, row_sums, column_sums = (np.bincount(of, weights, len(boxes) + 1) for weights in (None, rows, columns))
    return [
        Measurement(
            number,
            int(classes[number]),
            int(areas[number]),
            (float(row_sums[number] / areas[number]), float(column_sums[number] / areas[number])),
            (box[0].start, box[1].start, box[0].stop, box[1].stop),
        )
        for number, box in enumerate(boxes, 1)
        if box is not None
    ]


def _numbered(ids: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """The same objects, numbered by their first pixel."""
    flat = ids.ravel()
    first = np.full(int(flat.max(initial=0)) + 1, flat.size)
    # of a place that is written several times the last value stays
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    first[0] = -1
    numbers = np.empty(len(first), np.int32)
    numbers[np.argsort(first, kind="stable")] = np.arange(len(first))
    numbered: NDArray[np.int32] = numbers[ids]
    return numbered
