"""Augmentation pipelines. The only file that imports albumentations."""

import os
import random
import warnings
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the package index for a newer version

import albumentations as A
import cv2

from segmentation.data.presets import PRESETS, REFLECT, Step
from segmentation.errors import InputError, nearest


class Augmentation:
    """A pipeline whose draw is a function of the seed it is called with, and of nothing else.

    Args:
        steps: The name of a preset (``none``, ``flips``, ``em``, ``em_strong``, ``natural``), a list of
            albumentations transforms ``[{HorizontalFlip: {p: 0.5}}, ...]``, or the path of a YAML file
            with such a list or with a pipeline written by ``albumentations.save``.

    Raises:
        InputError: For an unknown preset, a missing file, a transform that albumentations refuses, or one that
            gives other than pixels of the type it was given.
    """

    def __init__(self, steps: str | list[Step]) -> None:
        self.pipeline = _pipeline(steps)
        if not (isinstance(steps, str) and steps in PRESETS):
            _check_pixels(self.pipeline)

    def __call__(
        self, image: NDArray[Any], mask: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Augment an image (H, W, C) uint8 or float32 and its mask (H, W) alike.

        The mask is moved by nearest neighbour, so that it holds no value that was not there.
        """
        if not self.pipeline.transforms:
            return image, mask
        # not set_random_seed, which starts every transform with the same numbers: a left-right flip would
        # always come with an up-down flip
        self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        low, span = _range(image)
        drawn = self.pipeline(image=image if span is None else (image - low) / span, mask=mask)
        return (drawn["image"] if span is None else drawn["image"] * span + low), drawn["mask"]


class CoarseElastic(A.ElasticTransform):  # type: ignore[misc] # albumentations ships no types
    """Bends as U-Net's augmentation does: random shifts on a coarse grid, bicubic between its points.

    Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28. The shifts of albumentations' own ElasticTransform grow at
    the rim of the picture, which is torn there long before it is bent much elsewhere.

    Args:
        spacing: Of the grid in pixels.
        std: Standard deviation of a shift along each axis in pixels, at most a sixth of the spacing.
        p: Share of the draws.
    """

    def __init__(self, spacing: float = 64, std: float = 6, p: float = 0.5) -> None:
        if not 0 <= std <= spacing / 6:
            raise ValueError("std is at most a sixth of spacing, or the picture folds")
        super().__init__(border_mode=REFLECT, p=p)
        self.spacing = spacing
        self.std = std

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Where each pixel comes from: x and y of shape (H, W)."""
        size = params["shape"][:2]
        points = [max(1, round(length / self.spacing)) for length in size]
        shifts = self.random_generator.normal(0, self.std, (*points, 2)).astype(np.float32)
        dx, dy = np.moveaxis(cv2.resize(shifts, size[::-1], interpolation=cv2.INTER_CUBIC), 2, 0)
        y, x = np.indices(size, np.float32)
        return {"map_x": x + dx, "map_y": y + dy}


def _range(image: NDArray[Any]) -> tuple[Any, Any]:
    """Lowest value and span of float pixels beyond 0..1, to which albumentations would clip them; else no span."""
    if image.dtype == np.uint8:
        return 0, None
    low, high = image.min(), image.max()
    return low, (None if low >= 0 and high <= 1 else (high - low) or image.dtype.type(1))


def _pipeline(steps: str | list[Step]) -> A.Compose:
    if isinstance(steps, str):
        if steps in PRESETS:
            steps = PRESETS[steps]
        else:
            loaded = _load(steps)
            if isinstance(loaded, dict) and "transform" in loaded:
                return _saved(loaded, steps)
            steps = loaded
    if not isinstance(steps, list) or not all(isinstance(step, dict) and len(step) == 1 for step in steps):
        raise InputError(
            f"data.augment is {steps!r}; give a list of transforms such as [{{HorizontalFlip: {{p: 0.5}}}}]"
        )
    return A.Compose([_transform(name, options) for step in steps for name, options in step.items()])


def _check_pixels(pipeline: A.Compose) -> None:
    """Try each transform: one that normalises would train on other numbers than are validated on."""
    image = np.full((64, 64, 3), 100, np.uint8)
    for transform in _transforms(pipeline):
        try:
            with warnings.catch_warnings(action="ignore"):
                drawn = transform(image=image.copy(), mask=image[..., 0].copy(), force_apply=True)["image"]
        except Exception:  # for other sizes, channels or types than these; that is told when it is drawn
            continue
        if not isinstance(drawn, np.ndarray) or drawn.dtype != image.dtype:
            raise InputError(
                f"data.augment: {type(transform).__name__} makes {type(drawn).__name__} {drawn.dtype} of uint8 pixels; "
                "leave Normalize, ToFloat and ToTensorV2 out: the model does what they do"
            )


def _transforms(pipeline: Any) -> Iterator[A.BasicTransform]:
    """Those of a pipeline, and of the pipelines in it."""
    for step in pipeline.transforms:
        yield from _transforms(step) if hasattr(step, "transforms") else [step]


def _load(path: str) -> Any:
    if not path.endswith((".yaml", ".yml")):
        raise InputError(f"data.augment is {path!r}; give a preset or a .yaml file" + nearest(path, list(PRESETS)))
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"data.augment: {path} cannot be read ({error})") from error


def _saved(stored: dict[str, Any], path: str) -> A.Compose:
    try:
        pipeline: Any = A.from_dict(stored)
    except Exception as error:  # albumentations raises many kinds for a file that it did not write
        raise InputError(f"data.augment: {path} is no pipeline of albumentations.save ({error})") from error
    return pipeline if isinstance(pipeline, A.Compose) else A.Compose([pipeline])


def _transform(name: str, options: dict[str, Any] | None) -> Any:
    known = {
        key: value for key, value in vars(A).items() if isinstance(value, type) and issubclass(value, A.BasicTransform)
    } | {"CoarseElastic": CoarseElastic}
    transform = known.get(name)
    if transform is None:
        raise InputError(f"data.augment: albumentations has no transform {name!r}" + nearest(name, list(known)))
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise InputError(f"data.augment: {name} is given {options!r}; give its arguments, such as {{p: 0.5}}")
    arguments = list(signature(transform).parameters)
    for unknown in options.keys() - set(arguments):  # albumentations only warns
        raise InputError(f"data.augment: {name} has no argument {unknown!r}" + nearest(str(unknown), arguments))
    try:
        return transform(**options)
    except (TypeError, ValueError) as error:
        raise InputError(f"data.augment: {name} refuses {options} ({error})") from error
