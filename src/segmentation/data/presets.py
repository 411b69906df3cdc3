"""Augmentation pipelines with a name, as lists of albumentations transforms."""

from typing import Any

Step = dict[str, dict[str, Any]]
"""One transform: ``{"HorizontalFlip": {"p": 0.5}}``."""

REFLECT = 4
"""``cv2.BORDER_REFLECT_101``, as a number: the command line reads this file to show its help, and OpenCV loads slowly."""

# in the image alone: the labels of what is missing follow from what is around it
_PIECES = {"hole_height_range": (0.03, 0.1), "hole_width_range": (0.03, 0.1), "fill": "random_uniform"}
# less contrast in places; more is clipped before albumentations restores the mean
_PATCHES = {"contrast_range": (-0.5, 0), "roughness": 0.5}

PRESETS: dict[str, list[Step]] = {
    "none": [],
    "flips": [{"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}],
    # EM slices have no preferred direction and are cut, stained and focused unevenly
    "em": [
        {"D4": {"p": 1.0}},
        {"ElasticTransform": {"alpha": 60, "sigma": 8, "border_mode": REFLECT, "p": 0.2}},
        {"Affine": {"scale": (0.9, 1.1), "rotate": (-15, 15), "border_mode": REFLECT, "p": 0.2}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.15, "contrast_limit": 0.2, "p": 0.5}},
        {"RandomGamma": {"gamma_limit": (80, 125), "p": 0.2}},
        {"GaussianBlur": {"blur_limit": 0, "sigma_limit": (0.4, 1.0), "p": 0.1}},
        {"GaussNoise": {"std_range": (0.01, 0.04), "per_channel": False, "noise_scale_factor": 1.0, "p": 0.15}},
    ],
    # for long trainings: stronger and more often, pieces missing as in Lee et al. 2017 (arXiv:1706.00120)
    "em_strong": [
        {"D4": {"p": 1.0}},
        {"CoarseElastic": {"spacing": 64, "std": 6, "p": 0.5}},
        {"GridDistortion": {"num_steps": 4, "distort_limit": 0.25, "border_mode": REFLECT, "p": 0.3}},
        {"Affine": {"scale": (0.9, 1.3), "rotate": (-30, 30), "border_mode": REFLECT, "p": 0.4}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.15, "contrast_limit": 0.3, "p": 0.6}},
        {"RandomGamma": {"gamma_limit": (70, 143), "p": 0.3}},
        {"PlasmaBrightnessContrast": {**_PATCHES, "brightness_range": (-0.15, 0.15), "p": 0.3}},
        {"CoarseDropout": {**_PIECES, "num_holes_range": (1, 4), "p": 0.2}},
        {"GaussianBlur": {"blur_limit": 0, "sigma_limit": (0.5, 2.0), "p": 0.2}},
        {"GaussNoise": {"std_range": (0.01, 0.08), "per_channel": False, "noise_scale_factor": 1.0, "p": 0.25}},
    ],
    # photographs: up is up, so no vertical flip
    "natural": [
        {"HorizontalFlip": {"p": 0.5}},
        {"Affine": {"scale": (0.7, 1.5), "rotate": (-10, 10), "border_mode": REFLECT, "p": 0.7}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.25, "contrast_limit": 0.25, "p": 0.7}},
        {"RandomGamma": {"gamma_limit": (75, 133), "p": 0.3}},
        {"GaussianBlur": {"blur_limit": 0, "sigma_limit": (0.4, 1.2), "p": 0.1}},
    ],
}
