"""Losses by name, summed with weights. All ignore the ignored pixels and are computed in float32."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.errors import InputError, nearest
from segmentation.inference.classes import Classes

PIXEL_LOSSES = ("bce", "ce")
WEIGHTED_REGION_LOSSES = ("dice", "jaccard", "tversky", "focal")

MOST = 10.0
"""The largest class weight that is chosen automatically: beyond it the steps of a few pixels decide."""


class Loss(nn.Module):
    """A weighted sum of losses.

    ==========  =====================================================================================
    ``bce``     binary cross-entropy, mean over the counted pixels (binary tasks)
    ``ce``      cross-entropy, mean over the counted pixels; for a binary task the same as ``bce``
    ``dice``    1 - Dice over the batch (Milletari et al. 2016, doi 10.1109/3DV.2016.79)
    ``jaccard`` 1 - IoU over the batch (Rahman & Wang 2016, doi 10.1007/978-3-319-50835-1_22)
    ``tversky`` 1 - Tversky index, alpha = beta = 0.5 (Salehi et al. 2017, doi 10.1007/978-3-319-67389-9_44)
    ``focal``   focal loss, gamma 2, each class against the rest (Lin et al. 2017, doi 10.1109/ICCV.2017.324)
    ``lovasz``  Lovasz hinge or softmax (Berman et al. 2018, doi 10.1109/CVPR.2018.00464)
    ==========  =====================================================================================

    The last five are SMP's.

    Args:
        weights: Loss name -> its share, for example ``{"bce": 1, "dice": 1}``.
        classes: Of the task.
        class_weights: One weight per class, for ``bce`` and ``ce`` (a weight per pixel by its class) and,
            in a multiclass task, for dice, jaccard, tversky and focal. ``auto`` leaves them to
            ``weigh``; until then each is 1.

    Raises:
        InputError: For an unknown loss, one that the task or the class weights do not fit.
    """

    def __init__(
        self, weights: dict[str, float], classes: Classes, class_weights: list[float] | Literal["auto"] | None = None
    ) -> None:
        super().__init__()
        known = [*PIXEL_LOSSES, *WEIGHTED_REGION_LOSSES, "lovasz"]
        for name in weights:
            if name not in known:
                raise InputError(f"model.loss {name!r} is unknown" + nearest(name, known))
            if name == "bce" and not classes.binary:
                raise InputError(f"model.loss bce is for two classes and there are {len(classes)}; use ce")
        if not weights or sum(weights.values()) <= 0 or min(weights.values()) < 0:
            raise InputError(f"model.loss is {weights}; give shares such as {{bce: 1, dice: 1}}")
        self.weights = dict(weights)
        self.classes = classes
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", None, persistent=False)
        self.weigh([1.0] * len(classes) if class_weights == "auto" else class_weights)

    def weigh(self, class_weights: list[float] | None) -> None:
        """Use these weights of the classes from now on; they are no part of the state.

        Raises:
            InputError: When they do not fit the classes or the losses.
        """
        _check_class_weights(list(self.weights), self.classes, class_weights)
        device = None if self.class_weights is None else self.class_weights.device
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, device=device).float()
        self.terms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            name: self._pixelwise if name in PIXEL_LOSSES else self._of_smp(name, class_weights)
            for name in self.weights
        }

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Scalar loss of logits (B, 1 or K, H, W) and mask (B, H, W) int64; 0 when every pixel is ignored."""
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            return torch.stack([share * self.terms[name](logits, mask) for name, share in self.weights.items()]).sum()

    def _pixelwise(self, logits: Tensor, mask: Tensor) -> Tensor:
        counted = mask != self.classes.ignore_index
        truth = torch.where(counted, mask, 0)
        if self.classes.binary:
            losses = F.binary_cross_entropy_with_logits(logits[:, 0], truth.float(), reduction="none")
        else:
            losses = F.cross_entropy(logits, truth, reduction="none")
        weights = counted.float() if self.class_weights is None else counted * self.class_weights[truth]
        return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).eps)

    def _of_smp(self, name: str, class_weights: list[float] | None) -> Callable[[Tensor, Tensor], Tensor]:
        mode = "binary" if self.classes.binary else "multiclass"
        ignore_index = self.classes.ignore_index
        if name == "lovasz":
            lovasz = smp.losses.LovaszLoss(mode, ignore_index=ignore_index)
            return lambda logits, mask: lovasz(logits, mask).sum()  # sum: all ignored gives an empty tensor
        if name == "focal":
            focal = smp.losses.FocalLoss(mode, ignore_index=ignore_index, reduction="sum", class_weights=class_weights)
            # SMP's own mean is NaN when every pixel is ignored
            return lambda logits, mask: focal(logits, mask) / (mask != ignore_index).sum().clamp_min(1)
        region = {
            "dice": smp.losses.DiceLoss,
            "jaccard": smp.losses.JaccardLoss,
            "tversky": smp.losses.TverskyLoss,
        }[name]
        loss: Callable[[Tensor, Tensor], Tensor] = region(mode, ignore_index=ignore_index, class_weights=class_weights)
        return loss


def balanced_weights(pixels: Sequence[int]) -> list[float]:
    """Class weights that make rare classes count more, from the pixels of each class.

    ``w_k`` is proportional to ``1 / sqrt(share_k)``, with mean 1 over the classes that are there, and at
    most 10. The root: with ``1 / share_k`` a class of 0.1 % of the pixels would have as much of the loss
    as all of the others, and be predicted far beyond its rims. A class without a pixel gets the mean, 1: no pixel is
    multiplied by it, and a loss that averages over classes treats it as without weights.
    """
    total = sum(pixels)
    roots = [math.sqrt(total / count) if count > 0 else None for count in pixels]
    present = [root for root in roots if root is not None]
    return [1.0 if root is None else min(MOST, root * len(present) / sum(present)) for root in roots]


def _check_class_weights(names: list[str], classes: Classes, class_weights: list[float] | None) -> None:
    if class_weights is None:
        return
    if len(class_weights) != len(classes) or min(class_weights) < 0 or sum(class_weights) == 0:
        raise InputError(
            f"model.class_weights {class_weights} do not fit the {len(classes)} classes {list(classes.names)}; "
            "give one weight >= 0 per class, not all 0"
        )
    able = PIXEL_LOSSES if classes.binary else (*PIXEL_LOSSES, *WEIGHTED_REGION_LOSSES)
    unable = [name for name in names if name not in able]
    if unable:
        raise InputError(
            f"model.class_weights: {', '.join(unable)} takes none in a task of {len(classes)} classes; "
            f"losses that do: {', '.join(able)}"
        )
