"""What the scores are called, what they say, and how their values are written."""

import math

from segmentation.evaluation.html import score

NAMES = {
    "dice": ("Dice", "overlap of truth and prediction: twice the common pixels by the pixels of both"),
    "iou": ("IoU", "overlap: the common pixels by the pixels of either; stricter than Dice"),
    "precision": ("Precision", "share of the predicted pixels that are right"),
    "recall": ("Recall", "share of the true pixels that are found"),
    "surface_dice": ("Surface Dice", "share of the outlines that agree within the tolerance"),
    "hd95": ("Hausdorff 95", "95 of 100 pixels of the outlines are closer than this, in pixels; lower is better"),
    "accuracy": ("Accuracy", "share of right pixels; high by itself where one class is common"),
    "mean_accuracy": ("Mean accuracy", "mean recall of the classes"),
    "frequency_weighted_iou": ("Weighted IoU", "IoU of the classes, weighted by their share of the truth"),
    "iou_per_image": ("IoU per image", "mean over images of the IoU of each: every image counts the same"),
    "ece": ("Calibration error", "how far confidence is from the share of right pixels, on average; lower is better"),
    "v_rand": ("V_Rand", "whole cells kept apart, at the best of eleven thresholds: the score of ISBI 2012"),
    "v_info": ("V_Info", "information common to true and predicted cells, at the best of eleven thresholds"),
    "v_rand_at_threshold": ("V_Rand as predicted", "of the labels that predict writes: the honest one"),
    "v_info_at_threshold": ("V_Info as predicted", "of the labels that predict writes"),
    "objects_found": ("Objects found", "share of the true objects with a predicted one of IoU above 0.5"),
    "objects_split": (
        "Objects split",
        "share of the true objects that are predicted in two or more pieces; lower is better",
    ),
    "objects_missed": ("Objects missed", "share of the true objects that are none of the three; lower is better"),
    "objects_merged": (
        "Objects merged",
        "share of the true objects that a predicted one joins to others; lower is better",
    ),
    "objects_spurious": (
        "Objects spurious",
        "share of the predicted objects that belong to no true one; lower is better",
    ),
}
"""Score -> what it is called, and what it says."""


MEANS = {"dice": "Mean Dice", "iou": "Mean IoU", "precision": "Mean precision", "recall": "Mean recall"}
"""Scores that every class has, by their names without a class: the mean over the classes, the background among them."""


def title_of(name: str) -> str:
    """A score's name as a person reads it: ``dice/cell`` is Dice of cell, ``dice`` the mean of the classes."""
    kind, _, class_name = name.partition("/")
    label = NAMES.get(kind, (kind.replace("_", " "), ""))[0]
    return f"{label} of {class_name}" if class_name else MEANS.get(kind, label)


def shown(name: str, value: float) -> str:
    """The value of a score: three decimals, one where it is in pixels."""
    return f"{value:.1f}" if name.startswith("hd95") and math.isfinite(value) else score(value)
