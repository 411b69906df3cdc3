"""Scores of any set of images: pooled, of one of them, and with intervals.

Every score of a data set is made of sums over images, so that the pooled scores, those of one image and those of a
bootstrap resample (where an image counts several times or not at all) are one computation.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segmentation.evaluation.image_scores import ImageScores
from segmentation.inference.classes import Classes
from segmentation.inference.decision import class_mean, iou
from segmentation.metrics.objects import ObjectCounts
from segmentation.metrics.region import region_scores_of_each


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
    units = resampling_units([image.group for image in images])
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


def resampling_units(groups: Sequence[str | None]) -> NDArray[np.intp]:
    """What is drawn together, as a number 0, 1, ... for each image: (N,) from its group, None or empty without one.

    With less than two groups each image is drawn by itself, as one without a group is.
    """
    named = len({group for group in groups if group}) > 1
    numbers: dict[str | int, int] = {}
    names = (group if group and named else place for place, group in enumerate(groups))
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def means(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, N) and (N, ...) -> (R, ...): weighted means over the images whose value is not NaN."""
    counted = ~np.isnan(values)
    return ratio(_sums(weights, np.where(counted, values, 0)), _sums(weights, counted))


def ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of nothing to nothing NaN."""
    with np.errstate(invalid="ignore"):
        return part / whole


def _pooled(images: Sequence[ImageScores], weights: NDArray[Any], classes: Classes) -> dict[str, NDArray[np.float64]]:
    """The scores of R data sets in which image n counts ``weights[r, n]`` times: (R, N) -> (R,) by name."""
    weights = weights.astype(np.float64)  # a product of integer matrices is slow
    confusion = np.stack([image.confusion for image in images])
    scores = region_scores_of_each(_sums(weights, confusion), classes.names)
    scores["iou_per_image"] = means(weights, class_mean(iou(confusion)))
    pixels, confidence, hits = np.moveaxis(_sums(weights, np.stack([image.reliability for image in images])), -1, 0)
    scores["ece"] = ratio(np.abs(confidence - hits).sum(-1), pixels.sum(-1))
    slices = [image.em for image in images if image.em is not None]
    if slices:
        of_slices = means(weights, np.stack(slices))
        for column, name in enumerate(("v_rand", "v_info")):
            scores[name] = of_slices[:, :-1, column].max(1)
            scores[f"{name}_at_threshold"] = of_slices[:, -1, column]
    for name, values in (("hd95", _finite_hd95(images)), ("surface_dice", np.stack([i.surface_dice for i in images]))):
        by_class = means(weights, values)
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
    shares = {name: ratio(total[name], total["true"]) for name in ("found", "merged", "split", "missed")}
    shares["spurious"] = ratio(total["spurious"], total["predicted"])
    return {f"objects_{name}": share for name, share in shares.items()}


def _sums(weights: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    """(R, N) and (N, ...) -> (R, ...): weighted sums over images."""
    flat = weights @ values.reshape(len(values), -1).astype(np.float64, copy=False)
    return flat.reshape(len(weights), *values.shape[1:])


def _middle_95(values: NDArray[np.float64]) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, (2.5, 97.5))
    return float(low), float(high)
