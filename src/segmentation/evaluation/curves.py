"""Scores of a data set along a threshold or a confidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmentation.evaluation.image_scores import ImageScores
from segmentation.evaluation.scoring import means, ratio
from segmentation.inference.classes import Classes
from segmentation.inference.decision import THRESHOLDS, confusions
from segmentation.metrics import em as em_scores
from segmentation.metrics.region import region_scores_of_each

Table = dict[str, NDArray[np.float64]]
"""Columns of one length by name."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Scores of a data set along a threshold or a confidence.

    Attributes:
        threshold: ``threshold``, and at each of the 255 ``dice``, ``iou``, ``precision`` and ``recall`` of one class
            over the data set; precision is NaN where nothing is predicted. None with more than two classes.
        precision_recall: ``recall``, ascending, and ``precision``: the same points without NaN, and last the point
            where every pixel is predicted as the class. None with more than two classes.
        em: ``threshold``, and at each of the 11 the mean over slices of ``v_rand`` and ``v_info``. None when the
            task has no EM scores.
        reliability: For each of the 15 bins ``confidence`` (mean) and ``accuracy``, NaN in an empty bin, and
            ``share`` of the pixels.
    """

    threshold: Table | None
    precision_recall: Table | None
    em: Table | None
    reliability: Table


def curves(images: Sequence[ImageScores], classes: Classes, target_class: str | None = None) -> Curves:
    """The curves of a data set.

    Args:
        images: One or more, of one task.
        classes: Of the task.
        target_class: Name of the class that dice, iou, precision and recall are of; None for class 1.
    """
    threshold = precision_recall = em = None
    counted = [image.bins for image in images if image.bins is not None]
    if counted:
        target = 1 if target_class is None else classes.names.index(target_class)
        bins = np.sum(counted, axis=0)
        threshold = _threshold_curve(bins, classes.names, target)
        precision_recall = _precision_recall(threshold, float(bins[:, target].sum() / max(1, bins.sum())))
    slices = [image.em for image in images if image.em is not None]
    if slices:
        v_rand, v_info = means(np.ones((1, len(slices))), np.stack(slices))[0, :-1].T
        em = {"threshold": np.array(em_scores.THRESHOLDS), "v_rand": v_rand, "v_info": v_info}
    pixels, confidence, hits = np.sum([image.reliability for image in images], axis=0).T
    reliability = {
        "confidence": ratio(confidence, pixels),
        "accuracy": ratio(hits, pixels),
        "share": ratio(pixels, pixels.sum()),
    }
    return Curves(threshold, precision_recall, em, reliability)


def _threshold_curve(bins: NDArray[np.int64], names: tuple[str, ...], target: int) -> Table:
    scores = region_scores_of_each(confusions(bins), names)
    wanted = ("dice", "iou", "precision", "recall")
    return {"threshold": np.array(THRESHOLDS)} | {name: scores[f"{name}/{names[target]}"] for name in wanted}


def _precision_recall(curve: Table, share: float) -> Table:
    """The curve by rising recall; predicting the class everywhere has its share of the truth as precision."""
    recall, precision = curve["recall"], curve["precision"]
    defined = ~(np.isnan(recall) | np.isnan(precision))
    if not defined.any():
        return {"recall": np.empty(0), "precision": np.empty(0)}
    recall, precision = recall[defined], precision[defined]
    if recall[0] > recall[-1]:  # a higher threshold leaves less of class 1, and more of class 0
        recall, precision = recall[::-1], precision[::-1]
    return {"recall": np.append(recall, 1.0), "precision": np.append(precision, share)}
