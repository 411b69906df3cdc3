"""Data sets whose objects are outlined one by one, so that they can be told apart where they touch."""

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from segmentation.data.numbered import touching
from segmentation.data.sample import Sample
from segmentation.data.source import Source
from segmentation.inference.classes import Classes


class OutlinedSource(Source):
    """A source that fills outlines.

    Args:
        classes: The background first.
        in_channels: Channels of the images.
        separate_objects: Where two objects touch, the pixels of both are background.
    """

    def __init__(self, classes: Classes, in_channels: int, separate_objects: bool) -> None:
        self.classes, self.in_channels = classes, in_channels
        self.numbers_objects, self.separate_objects = classes.binary, separate_objects

    @abstractmethod
    def read_outlines(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """The outlines, filled: class indices, and a number for each object (0 = none); both (H, W).

        Raises:
            InputError: Naming the file when an outline cannot be filled.
        """

    def read_mask(self, sample: Sample) -> NDArray[np.uint8]:
        """Class indices (H, W)."""
        mask, objects = self.read_outlines(sample)
        if self.separate_objects:
            mask[touching(objects)] = 0
        return mask

    def read_objects(self, sample: Sample) -> NDArray[np.int32]:
        """Numbers of the objects (H, W)."""
        return self.read_outlines(sample)[1]
