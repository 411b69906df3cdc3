"""Losses of thin structures, which look at centre lines: a gap costs much, the thickness little."""

from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from segmentation.inference.classes import Classes
from segmentation.model.losses.maps import tubed_skeleton
from segmentation.model.losses.term import Term, checked, mean_over_present, one_hot, planes_of


class ClDice(Term):
    """Soft clDice of centre lines (Shit et al. 2021, doi 10.1109/CVPR46437.2021.01629).

    ``1 - 2 P S / (P + S)`` with the topology precision ``P = (sum(s_p g) + 1) / (sum s_p + 1)`` and sensitivity
    ``S = (sum(s_g p) + 1) / (sum s_g + 1)``: p probabilities, g truth, s_p and s_g their soft skeletons, sums over the
    pixels of the batch. The authors add it to Dice, whose share is the larger one.

    Args:
        classes: Of the task.
        target: Name of the class that is thin; null for the mean over those but the first that are there.
        iterations: Of the soft skeleton; half the greatest thickness of the structure in pixels, or more.
    """

    def __init__(
        self,
        classes: Classes,
        _class_weights: list[float] | None = None,
        *,
        target: str | None = None,
        iterations: int = 10,
    ) -> None:
        super().__init__(classes)
        self.chosen = self.indices(target)
        self.iterations = int(checked("iterations", iterations, 0))

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        predicted = planes_of(self.probabilities(logits, mask), self.chosen)
        truth = one_hot(mask, self.chosen).to(predicted.dtype)
        pixels = (0, 2, 3)
        line, true_line = soft_skeleton(predicted, self.iterations), soft_skeleton(truth, self.iterations)
        precision = ((line * truth).sum(pixels) + 1) / (line.sum(pixels) + 1)
        sensitivity = ((true_line * predicted).sum(pixels) + 1) / (true_line.sum(pixels) + 1)
        losses = 1 - 2 * precision * sensitivity / (precision + sensitivity)
        return mean_over_present(losses, truth.sum(pixels) > 0)


class SkeletonRecall(Term):
    """Skeleton recall (Kirchhoff et al. 2024, doi 10.1007/978-3-031-72980-5_13).

    ``1 - sum(t p) / sum t``: p probabilities, t the centre lines of the truth thickened to tubes, sums over the
    pixels of the batch. It sees no false positives: to be added to Dice or cross-entropy. The lines are those of each
    class for itself.

    Args:
        classes: Of the task.
        target: Name of the class that is thin; null for the mean over those but the first that are there.
        tube: Steps to the four neighbours by which a centre line is thickened to each side.
    """

    def __init__(
        self,
        classes: Classes,
        _class_weights: list[float] | None = None,
        *,
        target: str | None = None,
        tube: int = 2,
    ) -> None:
        super().__init__(classes)
        self.chosen = self.indices(target)
        # scipy takes 0 steps for as many as change something
        tube = int(checked("tube", tube, 1))
        self.maps = {"skeleton_recall": partial(tubed_skeleton, indices=self.chosen, tube=tube)}

    def forward(self, logits: Tensor, mask: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """As ``Term``."""
        tubes = one_hot(mask, self.chosen) * maps["skeleton_recall"][:, None]
        pixels = (0, 2, 3)
        hits = (planes_of(self.probabilities(logits, mask), self.chosen) * tubes).sum(pixels)
        sizes = tubes.sum(pixels)
        return mean_over_present(1 - hits / sizes.clamp_min(1), sizes > 0)


def soft_skeleton(planes: Tensor, iterations: int) -> Tensor:
    """Differentiable centre lines, by what each erosion leaves that an opening would take away (Shit et al., alg. 1).

    Args:
        planes: (B, T, H, W) in 0..1.
        iterations: Erosions.

    Returns:
        (B, T, H, W) in 0..1.
    """
    # all images as channels, channels last: pooling on a CPU is several times as fast
    rest = planes.flatten(0, 1)[None].contiguous(memory_format=torch.channels_last)
    line = torch.zeros_like(rest)
    for _ in range(iterations + 1):
        eroded = _eroded(rest)
        # what is on the line already is not added twice
        line = line + (1 - line) * F.relu(rest - _dilated(eroded))
        rest = eroded
    return line[0].view_as(planes)


def _eroded(planes: Tensor) -> Tensor:
    """Smallest value among a pixel and its four neighbours."""
    rows, columns = (-F.max_pool2d(-planes, side, 1, pad) for side, pad in (((3, 1), (1, 0)), ((1, 3), (0, 1))))
    return torch.minimum(rows, columns)


def _dilated(planes: Tensor) -> Tensor:
    """Largest value among a pixel and its eight neighbours."""
    return F.max_pool2d(planes, 3, 1, 1)
