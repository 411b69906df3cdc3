"""How far the outlines of a prediction lie from the true ones, in pixels."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from segmentation.inference.classes import Classes
from segmentation.inference.edges import edges


def boundary_scores(
    labels: NDArray[np.integer[Any]], mask: NDArray[np.integer[Any]], classes: Classes, tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hausdorff distance at 95 percent and surface Dice of every class of one image.

    The boundary of a class is its pixels with a 4-neighbour of another class, so the image border is none. Ignored
    pixels are in no boundary and make none: where the truth is unknown, neither the true outline nor the predicted
    one is looked at. Distances are Euclidean, from pixel centre to the centre of the nearest boundary pixel.

    * Hausdorff 95: the distance that 95 percent of the boundary pixels stay within (percentiles interpolated
      linearly), the larger of truth to prediction and prediction to truth, as DeepMind's surface-distance and MONAI
      take it;
    * surface Dice: the share of the boundary pixels of both that lie within the tolerance of the other's boundary
      (Nikolov et al. 2021, doi:10.2196/26151; here a boundary pixel counts as one unit of length).

    Args:
        labels: (H, W) predicted class indices.
        mask: (H, W) true class indices or ``classes.ignore_index``.
        classes: Of the task, K of them.
        tolerance: In pixels, 0 or more; a distance equal to it is within.

    Returns:
        (K,) Hausdorff 95 in pixels, 0 is perfect, and (K,) surface Dice in 0..1, 1 is perfect. Where neither has a
        boundary of the class, both are NaN; where only one has, they are infinite and 0.
    """
    known = mask != classes.ignore_index
    true_edges, predicted_edges = edges(mask, known), edges(labels, known)
    scores = [
        _scores(true_edges & (mask == index), predicted_edges & (labels == index), tolerance)
        for index in range(len(classes))
    ]
    hausdorff, surface_dice = np.array(scores, np.float64).T
    return hausdorff, surface_dice


def _scores(truth: NDArray[np.bool_], prediction: NDArray[np.bool_], tolerance: float) -> tuple[float, float]:
    """Hausdorff 95 and surface Dice of one class from its boundaries, both (H, W)."""
    if not (truth.any() and prediction.any()):
        return (np.inf, 0.0) if truth.any() or prediction.any() else (np.nan, np.nan)
    box = find_objects((truth | prediction).astype(np.uint8))[0]  # no nearest pixel lies outside
    truth, prediction = truth[box], prediction[box]
    there, back = distances(prediction)[truth], distances(truth)[prediction]
    within = np.count_nonzero(there <= tolerance) + np.count_nonzero(back <= tolerance)
    hausdorff = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return hausdorff, within / (there.size + back.size)


def distances(pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of every pixel to the nearest of some, (H, W) in pixels; infinite where there is none.

    As exact as scipy's and several times as fast.
    """
    if not pixels.any():
        return np.full(pixels.shape, np.inf)
    distances = cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(
        np.rint(distances.astype(np.float64) ** 2)
    )  # the last bit of its float32 differs between calls, and all are roots of whole numbers
