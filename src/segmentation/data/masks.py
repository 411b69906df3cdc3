"""What the values in a mask file mean -> class indices."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.channels import as_grey, without_opaque_alpha
from segmentation.data.mask_values import MaskMeaning, class_indices, mask_values, packed
from segmentation.data.numbered import touching
from segmentation.data.problems import FileError
from segmentation.data.sample import Part
from segmentation.data.unknown_values import UnknownValuesError
from segmentation.errors import InputError
from segmentation.inference.classes import Classes

LOSSY_SUFFIXES = (".jpg", ".jpeg")

MOST_CLASSES = 254


class MaskRule:
    """Reads the values of the mask files of one data set by what its config says of them.

    Without a mapping and of two classes with 255 as ``ignore_index``, a mask that holds 255 and no 1 is
    refused even so: nearly always its 255 is the foreground, and read as "ignore" there would be nothing
    left to learn.

    Args:
        classes: Of the data set.
        stated: What ``mask_values`` describes; values that a mapping lacks are refused.
        ignore_unknown: Read values without a meaning as ``ignore_index`` instead.

    Raises:
        InputError: When ``stated`` leads to no class or has no such form, or there are more than ``MOST_CLASSES`` classes.
    """

    def __init__(self, classes: Classes, stated: MaskMeaning = None, ignore_unknown: bool = False) -> None:
        if len(classes) > MOST_CLASSES:
            raise InputError(
                f"there are {len(classes)} classes; masks can be read as at most {MOST_CLASSES}, because a byte also "
                "holds what does not count and what means nothing. Put some of the classes together"
            )
        self.values = mask_values(stated, classes)
        self.ignore_unknown = ignore_unknown
        # a value that is no class and not ignored, for what has no meaning
        self._none = next(value for value in range(255, -1, -1) if value not in class_indices(classes))

    def decode(self, values: NDArray[Any], part: Part) -> NDArray[np.uint8]:
        """Stored values -> class indices.

        Args:
            values: (H, W), or (H, W, C): colours, or equal channels; an opaque alpha is dropped. Any real dtype.
                A palette's indices, or its colours where the rule is one of colours (``values.channels`` > 1).
            part: Where the values come from, for messages; a lossy file format is known by its suffix.

        Returns:
            (H, W) class indices in 0..K-1 or ``ignore_index``.

        Raises:
            UnknownValuesError: Naming the part, the values it holds and the mapping that fits them.
            FileError: For a lossy format without a threshold, and for channels that do not fit.
        """
        if part.path.suffix.lower() in LOSSY_SUFFIXES and self.values.threshold is None:
            raise FileError(
                f"mask {part}",
                "is a JPEG file, whose compression alters the class values",
                "save masks as PNG or TIFF with exact values, or, for two classes, set "
                'data.source.mask_values: ">=128"',
            )
        stored = self._stored(values, part)
        labels = self._labels(stored)
        if self.values.separate:
            labels[touching(stored)] = 0
        lacking = labels == self._none
        if lacking.any():
            if not self.ignore_unknown:
                raise self._unknown(stored, np.unique(stored[lacking]).tolist(), part)
            labels[lacking] = self.values.classes.ignore_index
        elif self._doubtful and (labels == 255).any() and not (labels == 1).any():
            raise self._unknown(stored, [], part)
        return labels

    @property
    def _doubtful(self) -> bool:
        classes = self.values.classes
        return not self.values.stated and classes.binary and classes.ignore_index == 255

    def _meanings(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Classes of values (N,), ``_none`` where there is none."""
        if not self.values.meaning:
            foreground = values != 0 if self.values.threshold is None else values >= self.values.threshold
            return foreground.astype(np.uint8)
        return np.array([self.values.meaning.get(int(value), self._none) for value in values], np.uint8)

    def _labels(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        if self.values.channels == 3:
            return self._color_table.take(stored)
        if self.values.channels == 1 and stored.dtype == np.uint8:
            return self._table.take(stored)
        if self.values.channels == 1 and stored.dtype == np.uint16:
            return self._deep_table.take(stored)
        unique, position = np.unique(stored, return_inverse=True)
        return self._meanings(unique).take(position.reshape(stored.shape))

    @cached_property
    def _table(self) -> NDArray[np.uint8]:
        return self._meanings(np.arange(2**8))

    @cached_property
    def _deep_table(self) -> NDArray[np.uint8]:
        return self._meanings(np.arange(2**16))

    @cached_property
    def _color_table(self) -> NDArray[np.uint8]:
        table = np.full(2**24, self._none, np.uint8)
        table[list(self.values.meaning)] = list(self.values.meaning.values())
        return table

    def __getstate__(self) -> dict[str, Any]:
        """Without the tables: a worker makes its own."""
        return {name: value for name, value in vars(self).items() if not name.endswith("_table")}

    def _stored(self, values: NDArray[Any], part: Part) -> NDArray[Any]:
        """One number a pixel (H, W)."""
        if self.values.channels == 1:
            grey = _one_channel(values, part)
            return grey if self.values.threshold is not None else _whole(grey, part)
        if values.ndim == 2:
            values = np.repeat(values[..., None], 3, axis=2)  # a mask of greys among colours, such as black alone
        if values.shape[2] == self.values.channels + 1:
            values = without_opaque_alpha(values)
        if values.shape[2] == self.values.channels - 1:
            values = np.concatenate([values, np.full_like(values[..., :1], 255)], axis=2)
        if values.shape[2] != self.values.channels or values.dtype != np.uint8:
            raise FileError(
                f"mask {part}",
                f"is {values.dtype} with {values.shape[2]} channels; data.source.mask_values has colours of {self.values.channels} numbers",
                "save masks as 8-bit RGB PNG, or give the colours with as many numbers (with alpha: 4)",
            )
        numbers: NDArray[np.uint32] = packed(np.moveaxis(values.astype(np.uint32), 2, 0))
        return numbers

    def _unknown(self, stored: NDArray[Any], unknown: Sequence[int], part: Part) -> UnknownValuesError:
        found, counts = np.unique(stored, return_counts=True)
        return UnknownValuesError(
            part, self.values, Counter(dict(zip(found.tolist(), counts.tolist(), strict=True))), unknown
        )


def _one_channel(values: NDArray[Any], part: Part) -> NDArray[Any]:
    if values.ndim not in (2, 3):
        raise FileError(f"mask {part}", f"has the shape {values.shape}; (H, W) is expected", "save it as one image")
    grey = as_grey(values)
    if grey.ndim == 2:
        return grey
    raise FileError(
        f"mask {part}",
        f"has {values.shape[-1]} channels that differ; a mask holds one class index per pixel",
        "save it as a grey or palette PNG, or, where colours mean classes, set data.source.mask_values: "
        "{background: [0, 0, 0], CLASS: [R, G, B]}",
    )


def _whole(values: NDArray[Any], part: Part) -> NDArray[Any]:
    """The values as integers, uint8 where they fit."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            raise FileError(
                f"mask {part}",
                f"is {values.dtype} and holds fractions",
                'save masks as PNG or TIFF with whole numbers, or, for two classes, set data.source.mask_values: ">=0.5"',
            )
    elif values.dtype.kind not in "biu":
        raise FileError(f"mask {part}", f"is {values.dtype}", "save masks as PNG or TIFF with whole numbers")
    if values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    return values.astype(np.uint16 if values.min() >= 0 and values.max() < 2**16 else np.int64)
