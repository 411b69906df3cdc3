"""The scores of one pass over a data set, and the decision they are taken at."""

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection

from segmentation.errors import InputError, nearest
from segmentation.inference.classes import Classes
from segmentation.inference.decision import THRESHOLDS, Criterion, Decision, choose_threshold, confusions
from segmentation.metrics import em
from segmentation.metrics.em import VInfo, VRand
from segmentation.metrics.region import RegionScores, ThresholdBins, region_scores

Kind = Literal["region", "em"]


class Scores(nn.Module):
    """Made anew for each pass; its states are sums, so batches and processes only add.

    Args:
        classes: Of the task.
        kinds: ``region`` (from one confusion matrix), ``em`` (V_Rand and V_Info, binary tasks only).
        decision: Labels are fixed by it; None lets ``compute`` choose the threshold of a binary task, with sizes 0.
        criterion: What the threshold is chosen by: ``dice`` or ``iou`` over the data set, or ``v_rand``.
        target_class: Name of the class that dice or iou is taken of; None for the mean over classes.
    """

    def __init__(
        self,
        classes: Classes,
        kinds: list[Kind],
        decision: Decision | None,
        criterion: Criterion,
        target_class: str | None,
    ) -> None:
        super().__init__()
        check_scores(classes, kinds, criterion, target_class)
        self.classes = classes
        self.decision = decision
        self.criterion = criterion
        self.target = None if target_class is None else classes.names.index(target_class)
        self.loss = MeanMetric(nan_strategy="disable")  # its own leaves NaN out of the mean
        self.thresholds = em.THRESHOLDS if criterion == "v_rand" else THRESHOLDS
        chooses = classes.binary and decision is None
        self.by_threshold = ThresholdBins(classes.ignore_index, self.thresholds) if chooses else None
        self.by_label = None if chooses else RegionScores(len(classes), classes.ignore_index)
        # one group: the costly update of the two is the same and runs once
        self.em = (
            MetricCollection(
                {"v_rand": VRand(decision), "v_info": VInfo(decision)}, compute_groups=[["v_rand", "v_info"]]
            )
            if "em" in kinds
            else None
        )

    def update(self, probabilities: Tensor, mask: Tensor, losses: Tensor) -> None:
        """Count a batch.

        Args:
            probabilities: (B, K, H, W) float32.
            mask: (B, H, W) int64.
            losses: (B,), the loss of each image by itself, so that batch size does not change its mean.
        """
        counted = (mask != self.classes.ignore_index).flatten(1).any(1)
        self.loss.update(losses[counted])
        if self.by_threshold is not None:
            self.by_threshold.update(probabilities, mask)
        if self.by_label is not None:
            self.by_label.update((self.decision or Decision()).labels(probabilities), mask)
        if self.em is not None:
            self.em.update(probabilities, mask)

    def compute(self) -> tuple[Decision, dict[str, float]]:
        """The decision, given or chosen, and every score at it; over all processes."""
        if self.by_threshold is None:
            assert self.by_label is not None
            decision = self.decision or Decision()
            confusion, iou_per_image = self.by_label.compute()
        else:
            bins, by_threshold = self.by_threshold.compute()
            decision = Decision(self._chosen(bins))
            place = self.thresholds.index(decision.threshold)
            confusion, iou_per_image = confusions(bins)[place], float(by_threshold[place])
        values = {"loss": float(self.loss.compute())} | region_scores(confusion, self.classes.names)
        values["iou_per_image"] = iou_per_image
        if self.classes.binary:
            values["threshold"] = decision.threshold
        values |= {name: size for name, size in decision.to_dict().items() if name != "threshold" and size}
        if self.em is not None:
            names: tuple[Literal["v_rand"], Literal["v_info"]] = ("v_rand", "v_info")
            for name in names:
                metric = self._em(name)
                values[name] = float(metric.compute())
                if self.decision is not None:
                    values[f"{name}_at_threshold"] = float(metric.at_decision())
                elif decision.threshold in em.THRESHOLDS:
                    values[f"{name}_at_threshold"] = float(metric.at(decision.threshold))
        return decision, values

    def _em(self, name: Literal["v_rand", "v_info"]) -> VRand | VInfo:
        assert self.em is not None
        metric = self.em[name]  # through the collection, which hands the shared state on
        assert isinstance(metric, VRand | VInfo)
        return metric

    def _chosen(self, bins: NDArray[np.int64]) -> float:
        if self.criterion != "v_rand":
            return choose_threshold(bins, self.criterion, self.target)
        best = self._em("v_rand").best_threshold()
        return 0.5 if math.isnan(best) else best


def check_scores(classes: Classes, kinds: list[Kind], criterion: Criterion, target_class: str | None) -> None:
    """Raise InputError for a choice of scores that does not fit the task."""
    for option, value, known in (
        *(("scores", kind, get_args(Kind)) for kind in kinds),
        ("criterion", criterion, get_args(Criterion)),
    ):
        if value not in known:
            raise InputError(f"model.{option} {value!r} is unknown" + nearest(value, list(known)))
    if "em" in kinds and not classes.binary:
        raise InputError(f"model.scores: em compares cells parted by membranes; this task has {len(classes)} classes")
    if criterion == "v_rand" and "em" not in kinds:
        raise InputError("model.criterion is v_rand, which is an EM score; set model.scores: [region, em]")
    if target_class is not None and target_class not in classes.names:
        raise InputError(f"model.target_class {target_class!r} is unknown" + nearest(target_class, list(classes.names)))
