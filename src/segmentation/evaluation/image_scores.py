"""What one image adds to the scores of a data set, as counts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.digest import digest
from segmentation.evaluation.objects_of import predicted_objects, true_objects
from segmentation.evaluation.scored import Prediction
from segmentation.inference.classes import IGNORE_INDEX, Classes
from segmentation.inference.decision import THRESHOLDS
from segmentation.metrics import em as em_scores
from segmentation.metrics.boundary import boundary_scores
from segmentation.metrics.objects import Ids, ObjectCounts, match

CONFIDENCE_BINS = 15
"""Of equal width over 0..1, as Guo et al. 2017 (arXiv:1706.04599) have them."""


@dataclass(frozen=True, eq=False)
class ImageScores:
    """What one image adds to the scores of a data set. K classes; ignored pixels are in no count.

    Attributes:
        id: Of the sample.
        group: Of the sample, such as a patient; None without one.
        size: (H, W) in pixels.
        truth: Digest of the true class indices; the same whatever value is ignored.
        confusion: (K, K) int64 pixels [truth, predicted] at the stored decision.
        bins: (256, 2) int64 pixels [probability of class 1, truth]; bin ``b`` holds those greater than the first
            ``b`` of ``decision.THRESHOLDS`` and no more. None with more than two classes.
        reliability: (15, 3) float64 by confidence, which is the largest probability of a pixel; bin ``b`` holds
            those in (b/15, (b+1)/15]: pixels, sum of their confidence, pixels where that class is true.
        em: (12, 2) float64: V_Rand and V_Info at each of ``em.THRESHOLDS`` and, in the last row, of the labels.
            NaN where no pixel is true cell; None when the task has no EM scores.
        hd95: (K,) Hausdorff 95 in pixels, as from ``boundary_scores``: NaN or infinite where it is undefined.
        surface_dice: (K,) surface Dice, as from ``boundary_scores``.
        objects: Those of class 1, predicted against true. None with more than two classes.
    """

    id: str
    group: str | None
    size: tuple[int, int]
    truth: str
    confusion: NDArray[np.int64]
    bins: NDArray[np.int64] | None
    reliability: NDArray[np.float64]
    em: NDArray[np.float64] | None
    hd95: NDArray[np.float64]
    surface_dice: NDArray[np.float64]
    objects: ObjectCounts | None


def score_prediction(one: Prediction, tolerance: float = 2.0) -> ImageScores:
    """Score what a checkpoint predicts for a sample.

    Args:
        one: The sample and its prediction.
        tolerance: Of the surface Dice, in pixels.
    """
    classes = one.scored.predictor.classes
    return score_image(
        *(one.sample.id, one.sample.group, one.probabilities, one.labels, one.mask, classes),
        em="em" in one.scored.module.score_kinds,
        tolerance=tolerance,
        objects=(true_objects(one), predicted_objects(one)) if classes.binary else None,
    )


def score_image(
    id: str,
    group: str | None,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    mask: NDArray[np.integer[Any]],
    classes: Classes,
    em: bool = False,
    tolerance: float = 2.0,
    objects: tuple[Ids, Ids] | None = None,
) -> ImageScores:
    """Score one image.

    Args:
        id: Of the sample.
        group: Of the sample.
        probabilities: (K, H, W) float32 in 0..1.
        labels: (H, W) predicted class indices, what the decision made of the probabilities.
        mask: (H, W) true class indices or ``classes.ignore_index``.
        classes: Of the task.
        em: Whether V_Rand and V_Info are taken: 0.3 to 0.5 s for 512x512. Two classes only, class 1 is cell.
        tolerance: Of the surface Dice, in pixels.
        objects: (H, W) ids of the true and of the predicted objects of class 1, as for ``match``; None for the
            connected pixels (4-neighbours).
    """
    known = mask != classes.ignore_index
    truth = mask[known].astype(np.intp)
    hd95, surface_dice = boundary_scores(labels, mask, classes, tolerance)
    return ImageScores(
        id=id,
        group=group,
        size=(int(mask.shape[0]), int(mask.shape[1])),
        truth=digest(np.where(known, mask, IGNORE_INDEX).astype(np.uint8)),
        confusion=_counted(truth, labels[known], len(classes), len(classes)),
        bins=_bins(probabilities[1][known], truth) if classes.binary else None,
        reliability=_reliability(probabilities.max(0)[known], probabilities.argmax(0)[known] == truth),
        em=_em(probabilities[1], labels, mask == 1) if em else None,
        hd95=hd95,
        surface_dice=surface_dice,
        objects=match(*(objects or _connected(labels, mask, known))) if classes.binary else None,
    )


def _counted(
    rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], height: int, width: int
) -> NDArray[np.int64]:
    """How often each pair (row, column) occurs in two arrays (n,): (height, width)."""
    counts = np.bincount(rows.astype(np.intp) * width + columns, minlength=height * width)
    return counts.reshape(height, width).astype(np.int64, copy=False)


def _bins(probability: NDArray[np.float32], truth: NDArray[np.intp]) -> NDArray[np.int64]:
    """Pixels by probability bin and truth; the thresholds are whole multiples of 1/256, so this is exact."""
    index = np.clip(np.ceil(probability * np.float32(256)) - 1, 0, len(THRESHOLDS)).astype(np.intp)
    return _counted(index, truth, len(THRESHOLDS) + 1, 2)


def _reliability(confidence: NDArray[np.float32], hit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels, confidence and hits by confidence bin."""
    index = np.clip(np.ceil(confidence * CONFIDENCE_BINS) - 1, 0, CONFIDENCE_BINS - 1).astype(np.intp)
    columns = (np.bincount(index, values, CONFIDENCE_BINS) for values in (None, confidence, hit))
    return np.stack([column.astype(np.float64) for column in columns], axis=1)


def _em(
    probability: NDArray[np.float32], labels: NDArray[np.integer[Any]], cell: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """V_Rand and V_Info at the thresholds of the challenge, and of the labels."""
    if not cell.any():
        return np.full((len(em_scores.THRESHOLDS) + 1, 2), np.nan)
    return em_scores.slice_scores(probability, cell, labels == 1)


def _connected(
    labels: NDArray[np.integer[Any]], mask: NDArray[np.integer[Any]], known: NDArray[np.bool_]
) -> tuple[Ids, Ids]:
    return em_scores.true_segments(mask == 1), em_scores.true_segments((labels == 1) & known)
