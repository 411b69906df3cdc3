"""Images without masks, which a teacher alone can teach."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.channels import stacked
from segmentation.data.inputs import find_jobs
from segmentation.data.reading import read_pixels
from segmentation.data.sample import Sample
from segmentation.inference.classes import Classes

UNLABELLED = "unlabelled/"
"""Begins the ids."""


def unlabelled_samples(inputs: Sequence[str], channels: int, context: int = 0) -> list[Sample]:
    """One sample without masks for each image and each page of a stack, with the id ``unlabelled/FILE``.

    Args:
        inputs: Files, folders and globs, as for ``predict``.
        channels: Of an image, those of neighbouring pages among them.
        context: Neighbouring pages on each side that are channels, as the labelled images have them.

    Raises:
        InputError: Naming every input that holds no image.
    """
    jobs = [job.of_channels(channels, context) for job in find_jobs(inputs)]
    return [
        Sample(f"{UNLABELLED}{job.path}" + (f"-{page:03d}" if job.pages > 1 else ""), job.parts(page, context))
        for job in jobs
        for page in range(job.pages)
    ]


def read_unlabelled(sample: Sample, channels: int, classes: Classes) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Image (H, W, C) as stored, and a mask (H, W) of which every pixel is ignored.

    Raises:
        FileError: When the image cannot be read or has other channels.
    """
    image = stacked([read_pixels(part) for part in sample.images], channels, sample.images)
    return image, np.full(image.shape[:2], classes.ignore_index, np.uint8)
