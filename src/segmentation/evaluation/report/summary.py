"""The scores of a checkpoint over a data set and of its images, worst first."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmentation.evaluation.curves import Curves, curves
from segmentation.evaluation.image_scores import ImageScores, score_prediction
from segmentation.evaluation.scored import Scored, predictions
from segmentation.evaluation.scoring import intervals, per_image, pool, resampled
from segmentation.inference.classes import Classes
from segmentation.model.module import SegmentationModule

Interval = tuple[float, float, float]
"""Value, low and high end of the 95 % interval."""


@dataclass(frozen=True)
class Summary:
    """What was scored.

    Attributes:
        classes: Of the task.
        images: Worst first by ``main``; those where it is undefined are last.
        rows: The scores of each image, in this order.
        whole: The scores of the data set.
        curves: Of the data set.
        main: The score that images are ordered by: the one that chose the checkpoint's threshold.
        target: Index of the class that curves are of.
        thresholds: That the checkpoints store.
        resampled: What the intervals are drawn from, ``images`` or ``groups``.
    """

    classes: Classes
    images: list[ImageScores]
    rows: list[dict[str, float]]
    whole: dict[str, Interval]
    curves: Curves
    main: str
    target: int
    thresholds: list[float]
    resampled: str

    def column(self, score: str) -> NDArray[np.float64]:
        """(N,) a score of the images; NaN where it is undefined."""
        return np.array([row[score] for row in self.rows])


def summarise(scored: Sequence[Scored], tolerance: float = 2.0, advance: Callable[[], None] | None = None) -> Summary:
    """Predict and score every sample once.

    Args:
        scored: Samples and checkpoints; of a cross-validation one for each fold, whose images are pooled.
        tolerance: Of the surface Dice, in pixels.
        advance: Called after each sample.

    Raises:
        InputError: Naming a sample that cannot be read or does not fit the checkpoint.
    """
    module = scored[0].module
    classes = module.classes
    images = [score_prediction(one, tolerance) for one in predictions(scored, advance)]
    target, main = module.hparams["target_class"], main_score(module)
    rows = [per_image(image, classes) for image in images]
    order = np.argsort([math.inf if math.isnan(row[main]) else row[main] for row in rows], kind="stable")
    ends = intervals(images, classes)
    return Summary(
        classes=classes,
        images=[images[place] for place in order],
        rows=[rows[place] for place in order],
        whole={name: (value, *ends[name]) for name, value in pool(images, classes).items()},
        curves=curves(images, classes, target),
        main=main,
        target=1 if target is None else classes.names.index(target),
        thresholds=[one.predictor.decision.threshold for one in scored],
        resampled=resampled(images),
    )


def main_score(module: SegmentationModule) -> str:
    """The score that chose the threshold of a checkpoint, as ``pool`` names it."""
    target, criterion = module.hparams["target_class"], module.hparams["criterion"]
    return "v_rand_at_threshold" if criterion == "v_rand" else f"{criterion}/{target}" if target else str(criterion)


def notes(scored: Sequence[Scored]) -> dict[str, str]:
    """What a reader must know before he believes the scores: in short -> in a sentence."""
    found = {}
    seen, count = sum(len(one.seen) for one in scored), sum(len(one.ids) for one in scored)
    if seen:
        found["seen samples"] = f"{seen} of {count} samples were trained on: the scores say nothing about new images."
    if scored[0].split == "val":
        found["selected on these data"] = (
            "The checkpoint and its threshold were chosen on these samples, so the scores are a little better than "
            "those of new images will be."
        )
    return found
