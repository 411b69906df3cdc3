"""Region scores: everything from one confusion matrix, so that batch size and process count change nothing."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

from segmentation.inference.decision import class_mean, confusions, dice, iou


class JaccardIndex(MulticlassJaccardIndex):
    """torchmetrics' mean IoU over the classes that occur, counted without waiting for the device.

    Args:
        num_classes: K.
        ignore_index: Pixels of this mask value are not counted.
    """

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        super().__init__(num_classes=num_classes, ignore_index=ignore_index, validate_args=False)
        self.ignored = ignore_index

    def update(self, labels: Tensor, mask: Tensor) -> None:
        """Count a batch: labels and mask (B, H, W) integer class indices."""
        self._count(labels, mask)

    def _count(self, labels: Tensor, mask: Tensor) -> Tensor:
        counts = count_pairs(labels, mask, self.num_classes, self.num_classes, self.ignored).transpose(1, 2)
        self.confmat += counts.sum(0)
        return counts


class RegionScores(JaccardIndex):
    """The confusion matrix of a data set with fixed labels, and the IoU per image; arguments as above."""

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        super().__init__(num_classes, ignore_index)
        self.add_state("per_image", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.per_image: Tensor
        self.images: Tensor

    def update(self, labels: Tensor, mask: Tensor) -> None:
        """Count a batch: labels and mask (B, H, W) integer class indices."""
        _add_images(self, class_mean(iou(self._count(labels, mask).cpu().numpy())))

    def compute(self) -> tuple[NDArray[np.int64], float]:  # type: ignore[override] # more than one number
        """(K, K) counts [truth, predicted], and the mean over images of the mean IoU of their classes."""
        return self.confmat.cpu().numpy().astype(np.int64), float(self.per_image / self.images)


class ThresholdBins(Metric):
    """A binary task at T thresholds at once: pixels by probability bin and truth.

    Args:
        ignore_index: Pixels of this mask value are not counted.
        thresholds: T ascending thresholds; bin ``b`` holds the probabilities greater than the first ``b``.
    """

    full_state_update = False

    def __init__(self, ignore_index: int, thresholds: tuple[float, ...]) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.register_buffer("thresholds", torch.tensor(thresholds), persistent=False)
        self.thresholds: Tensor
        self.add_state("bins", torch.zeros(len(thresholds) + 1, 2, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("per_image", torch.zeros(len(thresholds), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")
        self.bins: Tensor
        self.per_image: Tensor
        self.images: Tensor

    def update(self, probabilities: Tensor, mask: Tensor) -> None:
        """Count a batch: probabilities (B, 2, H, W) float32, mask (B, H, W) 0, 1 or ignored."""
        index = torch.bucketize(probabilities[:, 1].contiguous(), self.thresholds)
        counts = count_pairs(index, mask, len(self.bins), 2, self.ignore_index)
        self.bins += counts.sum(0)
        _add_images(self, class_mean(iou(confusions(counts.cpu().numpy()))))

    def compute(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(T + 1, 2) pixels by bin and truth, and (T,) the IoU per image at each threshold."""
        return self.bins.cpu().numpy(), (self.per_image / self.images).cpu().numpy()


def region_scores(confusion: NDArray[np.int64], names: tuple[str, ...]) -> dict[str, float]:
    """Every region score of a data set.

    Args:
        confusion: (K, K) pixel counts [truth, predicted].
        names: The K class names.

    Returns:
        ``iou``, ``dice``, ``precision`` and ``recall`` as means over classes and with ``/<class>`` for
        each one; ``accuracy`` (share of right pixels), ``mean_accuracy`` (mean recall),
        ``frequency_weighted_iou`` (IoU weighted by the class's share of the truth). A class that is
        neither in the truth nor predicted has NaN and is left out of every mean, and recall is NaN where
        the class is not in the truth (Long et al. 2015, doi 10.1109/CVPR.2015.7298965, for the last three).
    """
    return {name: float(value) for name, value in region_scores_of_each(confusion, names).items()}


def region_scores_of_each(matrices: NDArray[Any], names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """The scores of ``region_scores`` for many data sets at once: (..., K, K) counts -> (...) by name."""
    counts = matrices.astype(np.float64)
    hits, truth, predicted = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)
    with np.errstate(invalid="ignore"):  # nothing of nothing is NaN
        by_class = {"iou": iou(counts), "dice": dice(counts), "recall": hits / truth}
        by_class["precision"] = hits / np.where(predicted > 0, predicted, truth)  # 0 of a class that was never found
        accuracy = hits.sum(-1) / truth.sum(-1)
        frequency_weighted_iou = np.where(truth > 0, by_class["iou"] * truth, 0).sum(-1) / truth.sum(-1)
    scores = {score: class_mean(values) for score, values in by_class.items()}
    scores["accuracy"] = accuracy
    scores["mean_accuracy"] = scores["recall"]
    scores["frequency_weighted_iou"] = frequency_weighted_iou
    for score, values in by_class.items():
        scores |= {f"{score}/{name}": values[..., index] for index, name in enumerate(names)}
    return scores


def count_pairs(rows: Tensor, mask: Tensor, num_rows: int, num_classes: int, ignore_index: int) -> Tensor:
    """Count the pairs (row, truth) of each image.

    Args:
        rows: (B, H, W) integers in 0..num_rows-1: predicted labels, or probability bins.
        mask: (B, H, W) integers in 0..num_classes-1, or ``ignore_index``.
        num_rows: R.
        num_classes: K.
        ignore_index: Mask value that is not counted.

    Returns:
        (B, R, K) int64.
    """
    size = num_rows * num_classes
    index = torch.where(mask == ignore_index, size, rows * num_classes + mask)
    index = index.flatten(1) + torch.arange(len(rows), device=rows.device)[:, None] * (size + 1)
    # not bincount: on a GPU it waits for the largest index
    counts = torch.zeros(len(rows) * (size + 1), dtype=torch.long, device=rows.device)
    counts.scatter_add_(0, index.flatten(), torch.ones((), dtype=torch.long, device=rows.device).expand(index.numel()))
    return counts.view(len(rows), size + 1)[:, :size].reshape(len(rows), num_rows, num_classes)


def _add_images(metric: Any, scores: NDArray[np.float64]) -> None:
    """Add per-image scores (B,) or (B, T); an image without any counted pixel is NaN and adds nothing."""
    counted = ~np.isnan(scores if scores.ndim == 1 else scores.max(1))
    metric.per_image += torch.as_tensor(scores[counted].sum(0), device=metric.per_image.device)
    metric.images += int(counted.sum())
