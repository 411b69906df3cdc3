"""Losses of overlapping regions; all SMP's."""

from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor

from segmentation.inference.classes import Classes
from segmentation.model.losses.term import SURE, Term, checked


class _Region(Term):
    """A loss of SMP, over the pixels of the whole batch; the mean over the classes, an absent one as 0."""

    def __init__(self, region: type, classes: Classes, **options: Any) -> None:
        super().__init__(classes)
        mode = "binary" if classes.binary else "multiclass"
        self.region = region(mode, ignore_index=classes.ignore_index, **options)
        # SMP would copy the weights to the device in every step
        weights = vars(self.region).pop("class_weights", None)
        self.region.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        loss: Tensor = self.region(logits, mask)
        return loss


class _Overlap(_Region):
    """Dice and IoU, which take the same arguments."""

    of: type

    def __init__(
        self,
        classes: Classes,
        class_weights: list[float] | None = None,
        *,
        log_loss: bool = False,
        smooth: float = 0.0,
    ) -> None:
        smooth = checked("smooth", smooth, 0)
        super().__init__(self.of, classes, class_weights=class_weights, log_loss=log_loss, smooth=smooth)


class Dice(_Overlap):
    """``1 - 2 sum(p g) / (sum p + sum g)``, p probability and g truth (Milletari et al. 2016, doi 10.1109/3DV.2016.79).

    As ``sum(p g) = (sum p + sum g - sum |p - g|) / 2`` has it, which is the same for g in {0, 1}. Class 1 alone in a
    binary task.

    Args:
        classes: Of the task.
        class_weights: One for each class of a multiclass task; None for 1.
        log_loss: ``-log`` of the index instead of 1 minus it.
        smooth: Added to numerator and denominator, in pixels.
    """

    of = smp.losses.DiceLoss


class Jaccard(_Overlap):
    """``1 - sum(p g) / (sum p + sum g - sum(p g))`` (Rahman & Wang 2016, doi 10.1007/978-3-319-50835-1_22).

    Args:
        classes: Of the task.
        class_weights: As ``Dice``.
        log_loss: As ``Dice``.
        smooth: As ``Dice``.
    """

    of = smp.losses.JaccardLoss


class Tversky(_Region):
    """``(1 - TP / (TP + alpha FP + beta FN))^gamma`` (Salehi et al. 2017, doi 10.1007/978-3-319-67389-9_44).

    TP, FP and FN are sums of probabilities. The power is that of the focal Tversky loss (Abraham & Khan 2019,
    doi 10.1109/ISBI.2019.8759329), taken of the mean over the classes; they write 1 / gamma, so that their 4/3 is 0.75
    here. A loss below ``SURE`` goes on as a straight line to 0, as the slope of a power below 1 is infinite there.

    Args:
        classes: Of the task.
        class_weights: As ``Dice``.
        alpha: Cost of a false positive.
        beta: Cost of a false negative; more than alpha finds more of small objects.
        gamma: Power, above 0; above 1 batches that are nearly right count less, below 1 more.
        smooth: As ``Dice``.
    """

    def __init__(
        self,
        classes: Classes,
        class_weights: list[float] | None = None,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        gamma: float = 1.0,
        smooth: float = 0.0,
    ) -> None:
        super().__init__(
            smp.losses.TverskyLoss,
            classes,
            class_weights=class_weights,
            alpha=checked("alpha", alpha, 0),
            beta=checked("beta", beta, 0),
            smooth=checked("smooth", smooth, 0),
        )
        self.gamma = checked("gamma", gamma, 1e-6)

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        loss = super().forward(logits, mask, maps)
        return loss * loss.clamp_min(SURE) ** (self.gamma - 1)


class Lovasz(_Region):
    """Lovasz hinge (binary) or softmax: the convex surrogate of 1 - IoU.

    Berman et al. 2018, doi 10.1109/CVPR.2018.00464. Over the pixels of the batch; softmax: mean over the classes there.

    Args:
        classes: Of the task.
    """

    def __init__(self, classes: Classes, _class_weights: list[float] | None = None) -> None:
        super().__init__(smp.losses.LovaszLoss, classes)

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        loss: Tensor = self.region(logits.float(), mask)  # as part of it always is
        return loss.sum()  # all ignored gives an empty tensor
