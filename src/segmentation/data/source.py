"""What a data set is: its classes, its samples, how one is read. Every data set meets this contract."""

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.channels import stacked
from segmentation.data.reading import read_pixels
from segmentation.data.sample import Sample
from segmentation.inference.classes import Classes

Lists = Mapping[str, list[str]]
"""Sample ids under any of the keys ``train``, ``val`` and ``test``."""


class Source(ABC):
    """A data set. A new one is a subclass in ``data/sources/`` and one line in a config.

    ``classes`` and ``in_channels`` are known from the constructor's arguments alone: the model is
    built from them before any file is opened.
    """

    classes: Classes
    in_channels: int
    context: int = 0
    """Neighbouring pages on each side of a stack that are channels of a sample; ``in_channels`` counts them."""
    numbers_objects: bool = False
    """Whether masks tell the objects of class 1 of two classes apart, also where they touch."""
    separate_objects: bool = False
    """Whether ``read_mask`` has class 0 where two objects touch."""

    def prepare(self) -> None:  # noqa: B027 - most data sets have nothing to fetch
        """Fetch what is missing. Called in one process per machine, before ``samples``."""

    @abstractmethod
    def samples(self) -> list[Sample]:
        """All samples in a stable order that keeps neighbours (slices, frames) together.

        Raises:
            InputError: Naming everything that is missing, unpaired or doubled, in one message.
        """

    def lists(self) -> Lists | None:
        """The data set's own split, or None; a list it does not mention is drawn from the rest."""
        return None

    def read_image(self, sample: Sample) -> NDArray[Any]:
        """The pixels as stored: (H, W, C) with C = ``in_channels``, any numeric dtype.

        The parts are stacked to channels. A grey image stored as RGB counts as one channel where that is
        what makes them ``in_channels``, and an opaque alpha channel as none.

        Raises:
            InputError: Naming the file when it cannot be read or has another number of channels.
        """
        return stacked([read_pixels(part) for part in sample.images], self.in_channels, sample.images)

    @abstractmethod
    def read_mask(self, sample: Sample) -> NDArray[np.uint8]:
        """Class indices (H, W) in 0..K-1 or ``classes.ignore_index``.

        Raises:
            InputError: Naming the file when it cannot be read or holds other values.
        """

    def read_objects(self, sample: Sample) -> NDArray[np.int32] | None:
        """Numbers of the objects (H, W), 0 = none; None where masks do not tell them apart.

        Raises:
            InputError: As ``read_mask``.
        """
        return None


def known_sources() -> dict[str, type[Source]]:
    """Every source in ``data/sources/`` by the name of its class, which the command line then knows too."""
    from segmentation.data import sources  # its modules import this one

    found: dict[str, type[Source]] = {}
    for module in pkgutil.iter_modules(sources.__path__):
        content = vars(importlib.import_module(f"{sources.__name__}.{module.name}"))
        found |= {
            name: value
            for name, value in content.items()
            if inspect.isclass(value) and issubclass(value, Source) and not inspect.isabstract(value)
        }
    return found
