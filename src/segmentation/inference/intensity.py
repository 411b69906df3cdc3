"""Raw pixels of any depth -> the range that the network sees, by a rule stored in the checkpoint."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import InputError


@dataclass(frozen=True)
class Intensity:
    """How stored pixels reach the network: by the full range of their type.

    ``uint8`` stays uint8 0..255, other unsigned integers become float32 0..1, floats stay as they
    are in float32. The network's own normalisation (mean and deviation of the training images)
    comes after.

    Attributes:
        dtype: numpy name of the pixel type that the network was trained on.
    """

    dtype: str = "uint8"

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        """Pixels as stored -> uint8 or float32 of the same shape.

        Raises:
            InputError: When the pixels are of another type than the training images.
        """
        if image.dtype.name != self.dtype:
            raise InputError(
                f"the image is {image.dtype.name}, the network was trained on {self.dtype}; "
                f"convert the pixels to {self.dtype} in the value range of the training images"
            )
        if image.dtype == np.uint8:
            return image
        return image.astype(np.float32) * np.float32(self.scale)

    @property
    def scale(self) -> float:
        """Factor from stored pixels to network units."""
        dtype = np.dtype(self.dtype)
        deep = np.issubdtype(dtype, np.unsignedinteger) and dtype != np.uint8
        return 1 / float(np.iinfo(dtype).max) if deep else 1.0

    @property
    def network_dtype(self) -> str:
        """``uint8`` or ``float32``: what ``__call__`` returns."""
        return "uint8" if self.dtype == "uint8" else "float32"
