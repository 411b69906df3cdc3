"""Which scores are better when they are lower."""

_LOWER = frozenset({"hd95", "ece", "objects_split", "objects_missed", "objects_merged", "objects_spurious"})


def is_loss(score: str) -> bool:
    """Whether a score is a loss, such as ``val/loss``; the name of a class, ``val/iou/blossom``, says nothing of it."""
    return "loss" in _kind(score).split("_")


def lower_is_better(score: str) -> bool:
    """Whether less of a score is better.

    Args:
        score: Its name, with or without the stage: ``val/loss``, ``hd95/cell``.
    """
    return is_loss(score) or _kind(score) in _LOWER


def _kind(score: str) -> str:
    """``val/iou/cell`` -> ``iou``."""
    stage, _, name = score.partition("/")
    return (name if stage in ("train", "val", "test") else score).split("/")[0]
