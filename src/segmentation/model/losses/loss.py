"""Losses by name, summed with weights. All ignore the ignored pixels and are computed in float32."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segmentation.errors import InputError, nearest
from segmentation.inference.classes import Classes
from segmentation.model.losses.boundary import Boundary
from segmentation.model.losses.pixels import CrossEntropy, Focal, NeighbourCrossEntropy, Ohem, UnetCrossEntropy
from segmentation.model.losses.regions import Dice, Jaccard, Lovasz, Tversky
from segmentation.model.losses.term import MapOf, Term
from segmentation.model.losses.thin import ClDice, SkeletonRecall

LOSSES: dict[str, Callable[..., Term]] = {
    "bce": CrossEntropy,
    "ce": CrossEntropy,
    "dice": Dice,
    "jaccard": Jaccard,
    "tversky": Tversky,
    "focal": Focal,
    "lovasz": Lovasz,
    "ohem": Ohem,
    "unet": UnetCrossEntropy,
    "scnp": NeighbourCrossEntropy,
    "cldice": ClDice,
    "skeleton_recall": SkeletonRecall,
    "boundary": Boundary,
}
"""Each is called with the classes, the class weights, and its options by keyword."""

WEIGHTED = ("bce", "ce", "unet")
"""Take class weights."""

WEIGHTED_MULTICLASS = (*WEIGHTED, "dice", "jaccard", "tversky", "focal")
"""Take class weights in a task of more than two classes."""


class Loss(nn.Module):
    """A weighted sum of losses; docs/losses.md says when to take which.

    Args:
        weights: Loss name -> its share, for example ``{"bce": 1, "dice": 1}``; what has the share 0 is left out.
        classes: Of the task.
        class_weights: One weight per class, for the losses in ``WEIGHTED`` (a weight per pixel by its class) and,
            in a multiclass task, for dice, jaccard, tversky and focal. ``auto`` leaves them to
            ``weigh``; until then each is 1.
        options: Loss name -> its options, the keyword-only arguments of its class in ``LOSSES``.

    Attributes:
        maps: What the losses need of a mask beyond its pixels, by name: mask (H, W) -> map (..., H, W).

    Raises:
        InputError: For an unknown loss or option, or one that the task or the class weights do not fit.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        weights: dict[str, float],
        classes: Classes,
        class_weights: list[float] | Literal["auto"] | None = None,
        options: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        _check_losses(weights, classes)
        _check_options(weights, options or {})
        self.weights = {name: share for name, share in weights.items() if share}
        self.options = options or {}
        self.classes = classes
        self.register_buffer("class_weights", None, persistent=False)
        self.weigh([1.0] * len(classes) if class_weights == "auto" else class_weights)

    def weigh(self, class_weights: list[float] | None) -> None:
        """Use these weights of the classes from now on; they are no part of the state.

        Raises:
            InputError: When they do not fit the classes or the losses.
        """
        _check_class_weights(list(self.weights), self.classes, class_weights)
        device = "cpu" if self.class_weights is None else self.class_weights.device
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, device=device).float()
        terms = {name: _built(name, self.classes, class_weights, self.options.get(name, {})) for name in self.weights}
        self.terms = nn.ModuleDict(terms).to(device)
        self.maps: dict[str, MapOf] = {name: of for term in terms.values() for name, of in term.maps.items()}

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor] | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            logits: (B, 1 or K, H, W).
            mask: (B, H, W) int64.
            maps: Those of ``self.maps`` for each mask, (B, ..., H, W) float32.

        Returns:
            A scalar; 0 when every pixel is ignored.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            shares = zip(self.weights.values(), self.terms.values(), strict=True)
            return torch.stack([share * term(logits, mask, maps or {}) for share, term in shares]).sum()


def _built(name: str, classes: Classes, class_weights: list[float] | None, options: dict[str, Any]) -> Term:
    try:
        return LOSSES[name](classes, class_weights, **options)
    except (TypeError, ValueError) as error:
        raise InputError(f"model.loss_options: {name} refuses {options}: {error}") from error


def _check_losses(weights: dict[str, float], classes: Classes) -> None:
    for name in weights:
        if name not in LOSSES:
            raise InputError(f"model.loss {name!r} is unknown" + nearest(name, list(LOSSES)))
        if name == "bce" and not classes.binary:
            raise InputError(f"model.loss bce is for two classes and there are {len(classes)}; use ce")
    if not weights or sum(weights.values()) <= 0 or min(weights.values()) < 0:
        raise InputError(f"model.loss is {weights}; give shares such as {{bce: 1, dice: 1}}")


def _check_options(weights: dict[str, float], options: dict[str, dict[str, Any]]) -> None:
    for name, given in options.items():
        if name not in weights:
            raise InputError(
                f"model.loss_options has options of {name!r}, which is not in model.loss {weights}; "
                "leave them out, or give it a share"
            )
        parameters = inspect.signature(LOSSES[name]).parameters.values()
        known = [parameter.name for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY]
        for option in given:
            if option not in known:
                cure = nearest(option, known) if known else "; it has no options"
                raise InputError(f"model.loss_options: {name} takes no {option!r}{cure}")


def _check_class_weights(names: list[str], classes: Classes, class_weights: list[float] | None) -> None:
    if class_weights is None:
        return
    if len(class_weights) != len(classes) or min(class_weights) < 0 or not 0 < sum(class_weights) < math.inf:
        raise InputError(
            f"model.class_weights {class_weights} do not fit the {len(classes)} classes {list(classes.names)}; "
            "give one finite weight >= 0 per class, not all 0"
        )
    able = WEIGHTED if classes.binary else WEIGHTED_MULTICLASS
    unable = [name for name in names if name not in able]
    if unable:
        raise InputError(
            f"model.class_weights: {', '.join(unable)} takes none in a task of {len(classes)} classes; "
            f"losses that do: {', '.join(able)}"
        )
