"""Losses that are a sum over pixels: cross-entropy, its weightings, and focal loss."""

import math
from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from segmentation.inference.classes import Classes
from segmentation.model.losses.maps import unet_weights
from segmentation.model.losses.term import SURE, Term, checked, one_hot


class CrossEntropy(Term):
    """Cross-entropy, weighted by the true class.

    ``sum_x w(x) H(q(x), p(x)) / sum_x w(x)`` over the counted pixels x, with ``w(x)`` the weight of the true class
    and ``q = (1 - s) onehot + s / K``. A binary task has the probabilities of one logit by sigmoid, another those
    of K logits by softmax.

    Args:
        classes: Of the task.
        class_weights: One for each class; None for 1.
        label_smoothing: s, 0..1 (Szegedy et al. 2016, doi 10.1109/CVPR.2016.308).
    """

    class_weights: Tensor | None

    def __init__(
        self, classes: Classes, class_weights: list[float] | None = None, *, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(classes)
        self.label_smoothing = checked("label_smoothing", label_smoothing, 0, 1)
        weights = None if class_weights is None else torch.tensor(class_weights).float()
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        counted = self.counted(mask)
        truth = torch.where(counted, mask, 0)
        weights = counted * self.weights(truth, maps)
        losses = self.losses(logits, truth)
        return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).eps)

    def losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        """(B, H, W): the loss of each pixel."""
        return cross_entropy(logits, truth, self.classes.binary, self.label_smoothing)

    def weights(self, truth: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """(B, H, W) float32: how much each pixel counts."""
        return torch.ones_like(truth, dtype=torch.float32) if self.class_weights is None else self.class_weights[truth]


class UnetCrossEntropy(CrossEntropy):
    """Cross-entropy that counts the gaps between neighbouring objects more (Ronneberger et al. 2015).

    As ``CrossEntropy`` with the weight ``w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2))``: w_c that of the true
    class, d1 and d2 the distances in pixels from x to the nearest and the second nearest object, from pixel centre to
    pixel centre (doi 10.1007/978-3-319-24574-4_28, eq. 2). An object is a 4-connected piece of one class other than
    the background; only background pixels get the second addend, as only they can part objects, and only up to
    d1 + d2 = 4 sigma, where less than 0.04 % of w0 is left. The paper sums; here the weights are divided by their
    sum, so that a crop with many gaps costs no more than one with few.

    Args:
        classes: Of the task.
        class_weights: One for each class, w_c; None for 1.
        w0: Weight of a gap without width.
        sigma: Width in pixels at which it has fallen to 61 %.
        background: Name of the class between the objects; null for the first.
    """

    def __init__(
        self,
        classes: Classes,
        class_weights: list[float] | None = None,
        *,
        w0: float = 10.0,
        sigma: float = 5.0,
        background: str | None = None,
    ) -> None:
        super().__init__(classes, class_weights)
        index = 0 if background is None else self.indices(background)[0]
        self.maps = {
            "unet": partial(
                unet_weights,
                background=index,
                ignore_index=classes.ignore_index,
                w0=checked("w0", w0, 0),
                sigma=checked("sigma", sigma, 0.1),
            )
        }

    def weights(self, truth: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """(B, H, W) float32: how much each pixel counts."""
        return super().weights(truth, maps) + maps["unet"]


class Ohem(Term):
    """Online hard example mining: mean cross-entropy of the hardest share of the counted pixels of a batch.

    Those with the largest losses, ``ceil(share n)`` of n (Shrivastava et al. 2016, doi 10.1109/CVPR.2016.89, with
    pixels in the place of regions).

    Args:
        classes: Of the task.
        share: Of the counted pixels, above 0 to 1.
    """

    def __init__(self, classes: Classes, _class_weights: list[float] | None = None, *, share: float = 0.25) -> None:
        super().__init__(classes)
        self.share = checked("share", share, 1e-6, 1)

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        counted = self.counted(mask)
        losses = cross_entropy(logits, torch.where(counted, mask, 0), self.classes.binary)[counted]
        hardest = losses.topk(math.ceil(self.share * len(losses)), sorted=False).values
        return hardest.sum() / max(1, len(hardest))


class NeighbourCrossEntropy(Term):
    """Cross-entropy of each pixel's worst neighbour of its class (Valverde et al. 2026, doi 10.48550/arXiv.2603.18671).

    Same-class neighbour penalisation: before the cross-entropy, the logit of a class at a pixel x that is of the
    class becomes the smallest one among the pixels of the class in a window around x, and at a pixel that is not, the
    largest one among those that are not. A gap in a thin structure, or an island, is so paid for by its surroundings
    too. Ignored pixels are nobody's neighbours.

    K logits are taken as ``log_softmax`` gives them: softmax knows those of a pixel only up to a number, which would
    make neighbours incomparable.

    Args:
        classes: Of the task.
        reach: How many pixels away a neighbour may be, in rows and in columns.
    """

    def __init__(self, classes: Classes, _class_weights: list[float] | None = None, *, reach: int = 1) -> None:
        super().__init__(classes)
        self.reach = int(checked("reach", reach, 1))

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        logits = logits if self.classes.binary else logits.log_softmax(1)
        counted = self.counted(mask)
        truth = one_hot(mask, [1] if self.classes.binary else range(len(self.classes)))
        nobody = ~counted[:, None]
        least = -self._largest(torch.where(truth & ~nobody, -logits, -torch.inf))
        most = self._largest(torch.where(truth | nobody, -torch.inf, logits))
        worst = torch.where(nobody, 0, torch.where(truth, least, most))
        losses = cross_entropy(worst, torch.where(counted, mask, 0), self.classes.binary)
        return (losses * counted).sum() / counted.sum().clamp_min(1)

    def _largest(self, planes: Tensor) -> Tensor:
        return F.max_pool2d(planes, 2 * self.reach + 1, stride=1, padding=self.reach)


class Focal(CrossEntropy):
    """Cross-entropy in which easy pixels count less: ``-(1 - p_t)^gamma log p_t``, p_t the probability of the truth.

    Lin et al. 2017, doi 10.1109/ICCV.2017.324; with p_t by softmax in a task of more than two classes. The mean over the
    counted pixels, weighted as in ``CrossEntropy``.

    Args:
        classes: Of the task.
        class_weights: One for each class of a multiclass task; None for 1.
        gamma: The larger, the less the easy pixels count, down to 1 - p_t of ``SURE``; 0 or more, 0 for cross-entropy.
        alpha: Factor of a pixel of class 1, 1 - alpha of one of class 0, 0..1; null for 1 and 1. Two classes only.
    """

    def __init__(
        self,
        classes: Classes,
        class_weights: list[float] | None = None,
        *,
        gamma: float = 2.0,
        alpha: float | None = None,
    ) -> None:
        super().__init__(classes, class_weights)
        self.gamma = checked("gamma", gamma, 0)
        self.alpha = None if alpha is None else checked("alpha", alpha, 0, 1)
        if alpha is not None and not classes.binary:
            raise ValueError("alpha is for two classes; give more of them model.class_weights")

    def losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        """(B, H, W): the loss of each pixel."""
        entropy = super().losses(logits, truth)
        focal = (-torch.expm1(-entropy)).clamp_min(SURE) ** self.gamma * entropy
        return focal if self.alpha is None else focal * torch.where(truth == 1, self.alpha, 1 - self.alpha)


def cross_entropy(logits: Tensor, truth: Tensor, binary: bool, smoothing: float = 0.0) -> Tensor:
    """Logits (B, 1 or K, H, W), truth (B, H, W) in 0..K-1 -> cross-entropy of each pixel (B, H, W).

    Args:
        logits: float32 or float64.
        truth: int64.
        binary: Whether one logit decides between two classes.
        smoothing: Share of the truth that is spread over all classes.
    """
    if not binary:
        return F.cross_entropy(logits, truth, reduction="none", label_smoothing=smoothing)
    smooth = truth.to(logits.dtype) * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits[:, 0], smooth, reduction="none")
