"""Scores of images one by one, and of any set of them: pooled, with intervals, and as curves.

An image is kept as counts. Every score of a data set is made of sums of them, so that the pooled scores, those of
one image and those of a bootstrap resample (where an image counts several times or not at all) are one computation.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segmentation.inference.classes import Classes
from segmentation.inference.decision import THRESHOLDS, class_mean, confusions, iou
from segmentation.metrics import em as em_scores
from segmentation.metrics.boundary import boundary_scores
from segmentation.metrics.objects import ObjectCounts, match
from segmentation.metrics.region import region_scores_of_each

CONFIDENCE_BINS = 15
"""Of equal width over 0..1, as Guo et al. 2017 (arXiv:1706.04599) have them."""

Table = dict[str, NDArray[np.float64]]
"""Columns of one length by name."""


@dataclass(frozen=True, eq=False)
class ImageScores:
    """What one image adds to the scores of a data set. K classes; ignored pixels are in no count.

    Attributes:
        id: Of the sample.
        group: Of the sample, such as a patient; None without one.
        size: (H, W) in pixels.
        confusion: (K, K) int64 pixels [truth, predicted] at the stored decision.
        bins: (256, 2) int64 pixels [probability of class 1, truth]; bin ``b`` holds those greater than the first
            ``b`` of ``decision.THRESHOLDS`` and no more. None with more than two classes.
        reliability: (15, 3) float64 by confidence, which is the largest probability of a pixel; bin ``b`` holds
            those in (b/15, (b+1)/15]: pixels, sum of their confidence, pixels where that class is true.
        em: (12, 2) float64: V_Rand and V_Info at each of ``em.THRESHOLDS`` and, in the last row, of the labels.
            NaN where no pixel is true cell; None when the task has no EM scores.
        hd95: (K,) Hausdorff 95 in pixels, as from ``boundary_scores``: NaN or infinite where it is undefined.
        surface_dice: (K,) surface Dice, as from ``boundary_scores``.
        objects: Connected pixels of class 1 (4-neighbours), predicted against true. None with more than two classes.
    """

    id: str
    group: str | None
    size: tuple[int, int]
    confusion: NDArray[np.int64]
    bins: NDArray[np.int64] | None
    reliability: NDArray[np.float64]
    em: NDArray[np.float64] | None
    hd95: NDArray[np.float64]
    surface_dice: NDArray[np.float64]
    objects: ObjectCounts | None


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


def score_image(
    id: str,
    group: str | None,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.integer[Any]],
    mask: NDArray[np.integer[Any]],
    classes: Classes,
    em: bool = False,
    tolerance: float = 2.0,
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
    """
    known = mask != classes.ignore_index
    truth = mask[known].astype(np.intp)
    hd95, surface_dice = boundary_scores(labels, mask, classes, tolerance)
    return ImageScores(
        id=id,
        group=group,
        size=(int(mask.shape[0]), int(mask.shape[1])),
        confusion=_counted(truth, labels[known], len(classes), len(classes)),
        bins=_bins(probabilities[1][known], truth) if classes.binary else None,
        reliability=_reliability(probabilities.max(0)[known], probabilities.argmax(0)[known] == truth),
        em=_em(probabilities[1], labels, mask == 1) if em else None,
        hd95=hd95,
        surface_dice=surface_dice,
        objects=_objects(labels, mask, known) if classes.binary else None,
    )


def pool(images: Sequence[ImageScores], classes: Classes) -> dict[str, float]:
    """Every score of a data set, by the names that ``fit``, ``validate`` and ``test`` log where they log it.

    Args:
        images: One or more, of one task.
        classes: Of the task.

    Returns:
        * what ``region_scores`` gives, from the summed confusion matrix;
        * ``iou_per_image``: the mean over images of the IoU of each;
        * ``ece``: expected calibration error, the mean over pixels of the gap between confidence and accuracy of
          their bin (Guo et al. 2017, arXiv:1706.04599);
        * ``v_rand`` and ``v_info`` with EM scores: the maximum over the thresholds of the mean over slices, the
          official ones, and ``v_rand_at_threshold`` and ``v_info_at_threshold`` of the labels;
        * ``hd95`` in pixels and ``surface_dice``, each also ``/<class>``: the mean over the images where it is
          defined; an image where only truth or prediction has a boundary counts with its diagonal in ``hd95``. The
          one without a class is the mean over classes;
        * ``objects_found``, ``objects_merged``, ``objects_split`` and ``objects_missed`` as shares of the true objects
          of a binary task, which add up to 1, and ``objects_spurious`` as a share of the predicted ones.

        NaN where a score is undefined.
    """
    return {name: float(values[0]) for name, values in _pooled(images, np.ones((1, len(images))), classes).items()}


def per_image(image: ImageScores, classes: Classes) -> dict[str, float]:
    """The scores of one image: those of ``pool`` for it alone, without ``iou_per_image``, which is its ``iou``."""
    scores = pool([image], classes)
    del scores["iou_per_image"]
    return scores


def intervals(
    images: Sequence[ImageScores], classes: Classes, resamples: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 percent intervals of every score of ``pool``: percentile bootstrap (Efron 1979, doi:10.1214/aos/1176344552).

    Images are drawn with replacement, or whole groups where there are at least two, since images of one patient are
    alike. The score is computed anew from each resample; the maximum over thresholds in V_Rand is taken anew too.
    With fewer than about 20 images or groups such intervals are too narrow.

    Args:
        images: Of one task.
        classes: Of the task.
        resamples: How many are drawn.
        seed: The same seed and images in the same order give the same intervals.

    Returns:
        Score -> its 2.5 and 97.5 percentile over the resamples where it is defined; NaN with a single image.
    """
    units = _units(images)
    count = int(units.max()) + 1
    if count == 1:
        return dict.fromkeys(pool(images, classes), (math.nan, math.nan))
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    at_once = 100  # bounds the confusion matrices of many classes
    parts = [_pooled(images, drawn[start : start + at_once, units], classes) for start in range(0, resamples, at_once)]
    return {name: _middle_95(np.concatenate([part[name] for part in parts])) for name in parts[0]}


def resampled(images: Sequence[ImageScores]) -> Literal["images", "groups"]:
    """What ``intervals`` draws: groups where the images have at least two different ones."""
    return "groups" if len({image.group for image in images if image.group is not None}) > 1 else "images"


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
        v_rand, v_info = _means(np.ones((1, len(slices))), np.stack(slices))[0, :-1].T
        em = {"threshold": np.array(em_scores.THRESHOLDS), "v_rand": v_rand, "v_info": v_info}
    pixels, confidence, hits = np.sum([image.reliability for image in images], axis=0).T
    reliability = {
        "confidence": _ratio(confidence, pixels),
        "accuracy": _ratio(hits, pixels),
        "share": _ratio(pixels, pixels.sum()),
    }
    return Curves(threshold, precision_recall, em, reliability)


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
    swept = em_scores.sweep(probability, cell, em_scores.THRESHOLDS)
    return np.vstack([swept, em_scores.v_scores(em_scores.true_segments(cell), labels == 1)])


def _objects(
    labels: NDArray[np.integer[Any]], mask: NDArray[np.integer[Any]], known: NDArray[np.bool_]
) -> ObjectCounts:
    return match(em_scores.true_segments(mask == 1), em_scores.true_segments((labels == 1) & known))


def _pooled(images: Sequence[ImageScores], weights: NDArray[Any], classes: Classes) -> dict[str, NDArray[np.float64]]:
    """The scores of R data sets in which image n counts ``weights[r, n]`` times: (R, N) -> (R,) by name."""
    weights = weights.astype(np.float64)  # a product of integer matrices is slow
    confusion = np.stack([image.confusion for image in images])
    scores = region_scores_of_each(_sums(weights, confusion), classes.names)
    scores["iou_per_image"] = _means(weights, class_mean(iou(confusion)))
    pixels, confidence, hits = np.moveaxis(_sums(weights, np.stack([image.reliability for image in images])), -1, 0)
    scores["ece"] = _ratio(np.abs(confidence - hits).sum(-1), pixels.sum(-1))
    slices = [image.em for image in images if image.em is not None]
    if slices:
        means = _means(weights, np.stack(slices))
        for column, name in enumerate(("v_rand", "v_info")):
            scores[name] = means[:, :-1, column].max(1)
            scores[f"{name}_at_threshold"] = means[:, -1, column]
    for name, values in (("hd95", _finite_hd95(images)), ("surface_dice", np.stack([i.surface_dice for i in images]))):
        by_class = _means(weights, values)
        scores[name] = class_mean(by_class)
        scores |= {f"{name}/{one}": by_class[:, index] for index, one in enumerate(classes.names)}
    return scores | _object_scores(images, weights)


def _finite_hd95(images: Sequence[ImageScores]) -> NDArray[np.float64]:
    """(N, K) pixels; where it is infinite, the longest distance that the image has room for."""
    hd95 = np.stack([image.hd95 for image in images])
    diagonals = np.array([math.hypot(*image.size) for image in images])
    return np.where(np.isinf(hd95), diagonals[:, None], hd95)


def _object_scores(images: Sequence[ImageScores], weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    counts = [astuple(image.objects) for image in images if image.objects is not None]
    if not counts:
        return {}
    names = [field.name for field in fields(ObjectCounts)]
    total = dict(zip(names, _sums(weights, np.array(counts)).T, strict=True))
    shares = {name: _ratio(total[name], total["true"]) for name in ("found", "merged", "split", "missed")}
    shares["spurious"] = _ratio(total["spurious"], total["predicted"])
    return {f"objects_{name}": share for name, share in shares.items()}


def _units(images: Sequence[ImageScores]) -> NDArray[np.intp]:
    """What is drawn together, as a number 0, 1, ... for each image: (N,)."""
    if resampled(images) == "images":
        return np.arange(len(images))
    numbers: dict[str | int, int] = {}  # an image without a group is drawn by itself
    names = (number if image.group is None else image.group for number, image in enumerate(images))
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def _sums(weights: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    """(R, N) and (N, ...) -> (R, ...): weighted sums over images."""
    flat = weights @ values.reshape(len(values), -1).astype(np.float64, copy=False)
    return flat.reshape(len(weights), *values.shape[1:])


def _means(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, N) and (N, ...) -> (R, ...): weighted means over the images whose value is not NaN."""
    counted = ~np.isnan(values)
    return _ratio(_sums(weights, np.where(counted, values, 0)), _sums(weights, counted))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of nothing to nothing NaN."""
    with np.errstate(invalid="ignore"):
        return part / whole


def _middle_95(values: NDArray[np.float64]) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)


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
