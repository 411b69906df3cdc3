"""Raw pixels of any depth -> the range that the network sees, by a rule stored in the checkpoint."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from segmentation.errors import InputError

Rule = Literal["none", "range", "max", "percentile"]

PERCENTILES = (0.5, 99.5)
"""Of the training pixels of a channel, which become 0 and 1 by the rule ``percentile``."""


@dataclass(frozen=True)
class Intensity:
    """How stored pixels reach the network.

    ``none``: as stored. ``range``: the full range of an unsigned type becomes 0..1; signed and float
    pixels stay as they are. ``max``: the largest training value of a channel becomes 1, larger ones are
    not clipped. ``percentile``: the 0.5 and 99.5 percentile of the training pixels of a channel become 0
    and 1, and what is outside is clipped, so that a few hot pixels do not squeeze all others together
    (as nnU-Net clips CT images, Isensee et al. 2021, doi 10.1038/s41592-020-01008-z). The result is
    float32, except that ``none`` and ``range`` leave uint8 as uint8 0..255. The network's own
    normalisation (mean and deviation of the training images) comes after.

    Attributes:
        dtype: numpy name of the pixel type that the network was trained on.
        rule: ``none``, ``range``, ``max`` or ``percentile``.
        low: Stored value of each channel that becomes 0; for ``max`` and ``percentile``.
        high: Stored value of each channel that becomes 1; for ``max`` and ``percentile``.
    """

    dtype: str = "uint8"
    rule: Rule = "range"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        """Pixels (..., C) as stored -> uint8 or float32 of the same shape.

        Raises:
            InputError: When the pixels are of another type than the training images.
        """
        self.check(image.dtype)
        if self.network_dtype == "uint8":
            return image
        if not self.high:
            return image.astype(np.float32) * np.float32(self._factor())
        wide = np.result_type(image.dtype, np.float32)  # float64 where float32 could not tell two values apart
        scaled: NDArray[Any] = image.astype(wide)
        scaled -= np.array(self.low, wide)
        scaled *= self._factor().astype(wide)
        if self.rule == "percentile":
            np.clip(scaled, 0, 1, out=scaled)
        return scaled.astype(np.float32, copy=False)

    def check(self, dtype: np.dtype[Any]) -> None:
        """Raise InputError when pixels are of another type than the training images."""
        if dtype.name != self.dtype:
            raise InputError(
                f"the image is {dtype.name}, the network was trained on {self.dtype}; "
                f"convert the pixels to {self.dtype} in the value range of the training images"
            )

    def moments(self, mean: list[float], std: list[float]) -> tuple[list[float], list[float]]:
        """Mean and deviation of the stored pixels of each channel -> those of the network's pixels.

        Exact for all rules but ``percentile``, which clips.
        """
        low, factor = np.array(self.low or 0.0), self._factor()
        return ((np.array(mean) - low) * factor).tolist(), (np.array(std) * factor).tolist()

    @property
    def network_dtype(self) -> str:
        """``uint8`` or ``float32``: what ``__call__`` returns."""
        return "uint8" if self.dtype == "uint8" and not self.high else "float32"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"dtype": self.dtype, "rule": self.rule, "low": list(self.low), "high": list(self.high)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any] | str) -> "Intensity":
        """From ``to_dict``, or from a name of a pixel type, which older checkpoints hold.

        Raises:
            InputError: For a rule that this version does not know.
        """
        if isinstance(stored, str):
            return cls(stored)
        if stored["rule"] not in get_args(Rule):
            raise InputError(f"the intensity rule {stored['rule']!r} is unknown; known: {', '.join(get_args(Rule))}")
        return cls(stored["dtype"], stored["rule"], tuple(stored["low"]), tuple(stored["high"]))

    def _factor(self) -> NDArray[np.float64]:
        """From stored pixels, less ``low``, to network units: () or (C,)."""
        if self.high:
            span = np.array(self.high, np.float64) - np.array(self.low, np.float64)
            # a constant channel carries nothing; dividing by its span would make it NaN
            return np.divide(1.0, span, out=np.ones_like(span), where=span > 0)
        dtype = np.dtype(self.dtype)
        deep = self.rule == "range" and dtype.kind == "u" and dtype != np.uint8
        return np.array(1 / float(np.iinfo(dtype).max) if deep else 1.0)


def default_rule(dtype: str) -> Rule:
    """The rule for a pixel type of which nothing else is known.

    ``range`` for 8 bits. ``percentile`` for deeper ones, because augmentation changes brightness in
    units of 0..1, in which 12-bit data in 16-bit files, or floats of any scale, would vanish or drown.
    """
    return "range" if np.dtype(dtype).itemsize == 1 else "percentile"


def fit_intensity(rule: Rule, dtype: str, sample: NDArray[Any]) -> Intensity:
    """The rule with the values it needs of the training pixels.

    Where both percentiles of a channel are one value, as in an image that is nearly all background, its
    smallest and largest value take their place.

    Args:
        rule: Which.
        dtype: numpy name of the type of the stored pixels.
        sample: (N, C) training pixels as stored, N >= 1.
    """
    if rule == "max":
        return Intensity(dtype, rule, (0.0,) * sample.shape[1], _plain(sample.max(0)))
    if rule == "percentile":
        low, high = np.percentile(sample.astype(np.float64), PERCENTILES, axis=0)
        flat = low >= high
        return Intensity(
            dtype, rule, _plain(np.where(flat, sample.min(0), low)), _plain(np.where(flat, sample.max(0), high))
        )
    return Intensity(dtype, rule)


def _plain(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
