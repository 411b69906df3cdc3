"""A data set of arrays in memory, so that a test states its pixels."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.data.sample import Part, Sample
from segmentation.data.source import Lists, Source
from segmentation.errors import InputError
from segmentation.inference.classes import Classes


class ArraySource(Source):
    """``arrays`` holds (image, mask) by id; an InputError in place of an image is raised when it is read."""

    def __init__(
        self,
        arrays: Mapping[str, tuple[Any, NDArray[np.uint8]]],
        names: tuple[str, ...] = ("background", "lesion"),
        lists: Lists | None = None,
        in_channels: int = 1,
    ) -> None:
        self.classes = Classes(names)
        self.in_channels = in_channels
        self.arrays = arrays
        self.own_lists = lists
        self.reads: list[str] = []

    def samples(self) -> list[Sample]:
        return [Sample(key, (Part(Path(f"{key}.png")),), (Part(Path(f"{key}-mask.png")),)) for key in self.arrays]

    def lists(self) -> Lists | None:
        return self.own_lists

    def read_image(self, sample: Sample) -> NDArray[Any]:
        self.reads.append(sample.id)
        image = self.arrays[sample.id][0]
        if isinstance(image, InputError):
            raise image
        return image

    def read_mask(self, sample: Sample) -> NDArray[np.uint8]:
        mask = self.arrays[sample.id][1]
        if mask.max() >= len(self.classes) and mask.max() != self.classes.ignore_index:
            raise InputError(f"mask {sample.masks[0]} holds the value {mask.max()}")
        return mask


@pytest.fixture
def source_of() -> Callable[..., ArraySource]:
    """Makes a source of ``{id: (image, mask)}``."""
    return ArraySource
