"""Probabilities -> labels, and how the threshold between two classes is chosen."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import InputError
from segmentation.inference.arrays import converted, to_numpy
from segmentation.inference.components import absorb, absorb_rows

THRESHOLDS = tuple(step / 256 for step in range(1, 256))
"""What ``dice`` and ``iou`` choose from."""

Criterion = Literal["dice", "iou", "v_rand"]


class _Array(Protocol):
    def __getitem__(self, key: Any, /) -> Any: ...
    def argmax(self, axis: int, /) -> Any: ...


ArrayT = TypeVar("ArrayT", bound=_Array)


@dataclass(frozen=True)
class Decision:
    """The rule that turns probabilities into labels; stored in the checkpoint.

    First each pixel by itself, then small objects, then holes; what becomes of them says ``absorb``.

    Attributes:
        threshold: A pixel of a binary task is class 1 where its probability is greater; 0..1.
            Multiclass tasks take the most probable class.
        smallest_object: 4-connected pixels of a class other than 0 are absorbed when they are fewer.
        largest_hole: 4-connected pixels of class 0 are absorbed when they are no more, also at the edge of the
            image, where the rest of them is not seen.

    Raises:
        InputError: For values outside these ranges.
    """

    threshold: float = 0.5
    smallest_object: int = 0
    largest_hole: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"the threshold is {self.threshold}; give a probability from 0 to 1")
        for name in ("smallest_object", "largest_hole"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)} pixels; give 0 or more")

    def labels(self, probabilities: ArrayT) -> ArrayT:
        """(..., K, H, W) probabilities -> (..., H, W) int64 class indices, numpy or torch alike.

        With sizes a tensor is decided on the CPU and goes back to its device.
        """
        labels: Any = self._by_pixel(probabilities)
        if self.smallest_object > 1 or self.largest_hole:
            array = to_numpy(labels)
            maps = array.astype(np.uint8).reshape(-1, *array.shape[-2:])
            labels = converted(labels, np.stack([self.sized(one) for one in maps]).reshape(array.shape))
        return labels  # type: ignore[no-any-return]

    def stream(self, blocks: Iterable[NDArray[np.floating[Any]]]) -> Iterator[NDArray[np.uint8]]:
        """The labels of an image that comes in blocks of rows, in memory that does not grow with its height.

        Args:
            blocks: (K, h, W) probabilities from top to bottom.

        Yields:
            (h', W) class indices from top to bottom; together those that ``labels`` gives the whole image.
            The heights differ from those that came in.
        """
        labels: Iterator[NDArray[np.uint8]] = (self._by_pixel(block).astype(np.uint8) for block in blocks)
        if self.smallest_object > 1:
            labels = absorb_rows(labels, self.smallest_object)
        if self.largest_hole:
            labels = absorb_rows(labels, self.largest_hole + 1, holes=True)
        yield from labels

    def sized(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W) class indices pixel by pixel -> those with small objects and holes absorbed."""
        if self.smallest_object > 1:
            labels = absorb(labels, self.smallest_object)
        return absorb(labels, self.largest_hole + 1, holes=True) if self.largest_hole else labels

    def to_dict(self) -> dict[str, float]:
        """Plain values for the checkpoint."""
        return asdict(self)

    def _by_pixel(self, probabilities: Any) -> Any:
        if probabilities.shape[-3] == 2:
            return (probabilities[..., 1, :, :] > self.threshold) * 1
        return probabilities.argmax(-3)


def iou(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Jaccard index of each class, TP / (TP + FP + FN).

    Args:
        confusion: (..., K, K) counts [truth, predicted].

    Returns:
        (..., K); NaN for a class that is neither in the truth nor predicted.
    """
    hits, truth, predicted = _margins(confusion)
    return _ratio(hits, truth + predicted - hits)


def dice(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """Dice (F1) score of each class, 2 TP / (2 TP + FP + FN); shapes and NaN as in ``iou``."""
    hits, truth, predicted = _margins(confusion)
    return _ratio(2 * hits, truth + predicted)


def confusions(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """The confusion matrices of a binary task at T thresholds.

    Args:
        bins: (..., T + 1, 2) pixels by probability bin and truth; bin ``b`` holds the probabilities
            greater than the first ``b`` thresholds and no more.

    Returns:
        (..., T, 2, 2) counts [truth, predicted].
    """
    total = bins.sum(-2)
    below = np.cumsum(bins, axis=-2)[..., :-1, :]
    return np.stack([below, total[..., None, :] - below], axis=-1)


def choose_threshold(
    bins: NDArray[np.int64], criterion: Literal["dice", "iou"] = "dice", target_class: int | None = None
) -> float:
    """The threshold of ``THRESHOLDS`` with the best score over the data set.

    Args:
        bins: (256, 2) pixels by probability bin and truth.
        criterion: The score.
        target_class: Index of the class that is scored; None for the mean over both.

    Returns:
        The middle one of equally good thresholds; 0.5 without any true pixel of what is scored.
    """
    if not (bins if target_class is None else bins[:, target_class]).any():
        return 0.5
    scores = (dice if criterion == "dice" else iou)(confusions(bins))
    values = class_mean(scores) if target_class is None else scores[..., target_class]
    best = np.flatnonzero(values == values.max())
    return THRESHOLDS[int(best[len(best) // 2])]


def class_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., K) -> (...): the mean over the classes that are not NaN; NaN where all are."""
    counted = ~np.isnan(scores)
    return _ratio(np.where(counted, scores, 0).sum(-1), counted.sum(-1))


def _margins(confusion: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    return np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(
        part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0
    )
    return ratio
