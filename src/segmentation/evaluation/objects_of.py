"""The objects of class 1 in a scored image, as its masks and its prediction have them."""

import numpy as np
from numpy.typing import NDArray

from segmentation.evaluation.scored import Prediction
from segmentation.inference.objects import instances
from segmentation.metrics.em import true_segments


def true_objects(one: Prediction) -> NDArray[np.int32]:
    """Those that the masks number, else 4-connected pixels.

    Returns:
        (H, W) ids, 0 where there is none or a pixel does not count.
    """
    numbered = one.scored.data.source.read_objects(one.sample)
    here = one.mask == 1
    return true_segments(here) if numbered is None else np.where(here, numbered, 0)


def predicted_objects(one: Prediction) -> NDArray[np.int32]:
    """Those that ``predict --write objects`` would number with the same ``instances``.

    Returns:
        (H, W) ids, 0 where there is none or a pixel does not count.
    """
    known = one.mask != one.scored.predictor.classes.ignore_index
    if one.scored.instances == "components":  # of the pixels that count
        return true_segments((one.labels == 1) & known)
    ids = instances(one.labels, one.probabilities, one.scored.instances, one.scored.predictor.decision.threshold)
    return np.where(known, ids, 0)
