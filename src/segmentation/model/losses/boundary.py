"""The loss of boundaries: a wrong pixel costs its distance to the true outline."""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from segmentation.inference.classes import Classes
from segmentation.model.losses.maps import signed_distances
from segmentation.model.losses.term import Term, checked, planes_of


class Boundary(Term):
    """Boundary loss: mean of ``phi (p - g)`` over the counted pixels.

    Kervadec et al. 2021, doi 10.1016/j.media.2020.101851: p probability, g truth, phi the signed distance to the true
    boundary, negative within. As phi and p - g have the same sign this is ``|phi| |p - g|``, and 0 for the truth itself;
    the paper leaves out ``phi g``, which is no matter of the prediction. Class 1 in a binary task (class 0 would give the
    same), else the mean over the classes. To be added to Dice or cross-entropy: near the outline, where thin structures lie, it is next to nothing.

    Args:
        classes: Of the task.
        reach: Distances are cut off at this number of pixels and divided by it: so the largest cost of a pixel is 1
            in images of any size, also where a class is absent and its boundary infinitely far away.
    """

    def __init__(self, classes: Classes, _class_weights: list[float] | None = None, *, reach: float = 32.0) -> None:
        super().__init__(classes)
        self.chosen = range(1, 2) if classes.binary else range(len(classes))
        reach = checked("reach", reach, 1)
        of = partial(signed_distances, indices=self.chosen, ignore_index=classes.ignore_index, reach=reach)
        self.maps = {"boundary": of}

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        distances = maps["boundary"]
        wrong = planes_of(self.probabilities(logits, mask), self.chosen) - (distances < 0).to(logits.dtype)
        # phi is 0 at ignored pixels
        return (distances * wrong).sum() / (self.counted(mask).sum() * len(self.chosen)).clamp_min(1)
