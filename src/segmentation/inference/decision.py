"""Probabilities -> labels, and how the threshold between two classes is chosen."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

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

    Attributes:
        threshold: A pixel of a binary task is class 1 where its probability is greater; 0..1.
            Multiclass tasks take the most probable class.
    """

    threshold: float = 0.5

    def labels(self, probabilities: ArrayT) -> ArrayT:
        """(..., K, H, W) probabilities -> (..., H, W) int64 class indices, numpy or torch alike."""
        if probabilities.shape[-3] == 2:  # type: ignore[attr-defined] # arrays and tensors both have it
            return (probabilities[..., 1, :, :] > self.threshold) * 1  # type: ignore[no-any-return]
        return probabilities.argmax(-3)  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, float]:
        """Plain values for the checkpoint."""
        return asdict(self)


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
