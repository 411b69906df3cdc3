"""A checkpoint as one ONNX file that takes raw pixels and knows what it needs to label them."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from segmentation.deployment import metadata
from segmentation.deployment.graph import to_onnx
from segmentation.deployment.metadata import Precision
from segmentation.deployment.quantization import LIMIT, Quantization, quantize
from segmentation.inference.predictor import Description
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import description_of


@dataclass(frozen=True)
class Exported:
    """A file as it was written.

    Attributes:
        bytes: Its size.
        opset: Version of the ONNX operators in it.
        dtype: Of its input: ``uint8`` or ``float32``.
        quantization: Of an int8 file, which layers have 8 bits.
    """

    bytes: int
    opset: int
    dtype: str
    quantization: Quantization | None = None


def export(
    module: SegmentationModule,
    path: Path,
    precision: Precision = "float32",
    calibration: Sequence[NDArray[Any]] = (),
    validation: Sequence[NDArray[Any]] = (),
    limit: float = LIMIT,
) -> Exported:
    """Write a trained module as an ONNX file; ``parity.check`` then says whether it may be used.

    Args:
        module: It stays as it is.
        path: Of the file, which is replaced.
        precision: Of the network.
        calibration: What ``tile_of`` makes of training images, for int8.
        validation: The same of images that were not trained on, for int8.
        limit: Of the mean change of the probabilities by int8, above which the most sensitive layers stay in float.

    Raises:
        InputError: When the network has an operator that ONNX has not, is too large for one file, or int8 lacks images.
    """
    quantization = None
    model = to_onnx(module, "float16" if precision == "float16" else "float32")
    if precision == "int8":
        with TemporaryDirectory() as folder:
            whole, small = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
            onnx.save(model, whole)
            quantization = quantize(whole, small, calibration, validation, limit)
            model = onnx.load(small)
    description = description_of(module)
    dtype = description.intensity.network_dtype
    metadata.write(
        model, {"version": version("segmentation"), "precision": precision, "dtype": dtype, **description.to_dict()}
    )
    onnx.save(model, path)
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return Exported(path.stat().st_size, opset, dtype, quantization)


def tile_of(image: NDArray[Any], description: Description, longest: int | None = None) -> NDArray[Any]:
    """What the network sees of the middle of an image: pixels (1, C, h, w) uint8 or float32.

    Args:
        image: (H, W, C) as stored.
        description: Of the network.
        longest: Side in pixels; None for the tile. A network of one size gets that.
    """
    side = description.fixed or min(description.tile, longest or description.tile)
    pixels = description.intensity(image[middle(image.shape[:2], (side, side))])
    if description.fixed:
        missing = [(0, side - length) for length in pixels.shape[:2]]
        pixels = np.pad(pixels, [*missing, (0, 0)], mode="edge")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def middle(size: tuple[int, ...], part: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the part of (H, W) in the middle, no larger than the whole."""
    rows, columns = (
        slice((whole - min(whole, wanted)) // 2, (whole - min(whole, wanted)) // 2 + min(whole, wanted))
        for whole, wanted in zip(size, part, strict=True)
    )
    return rows, columns
