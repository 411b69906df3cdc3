"""What is in a data set and what is wrong with it, found before training and in one pass."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.dataset import Pair, Reader
from segmentation.data.source import Sample
from segmentation.errors import InputError

SURVEYED = 2000
"""At most this many samples, evenly spread, are read before training; the others are checked when drawn."""


@dataclass(frozen=True)
class Record:
    """What one labelled sample holds.

    Attributes:
        id: Of the sample.
        size: (H, W).
        dtype: Of the stored pixels.
        digest: Hash of the decoded pixels; two copies of one image share it.
        pixels: H * W.
        sums: (C,) sum of the finite pixels over the image.
        squares: (C,) sum of their squares.
        class_pixels: (K,) pixels of each class; ignored ones are not counted.
    """

    id: str
    size: tuple[int, int]
    dtype: str
    digest: str
    pixels: int
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    class_pixels: NDArray[np.int64]


def survey(reader: Reader, samples: Sequence[Sample], memory: int = 0) -> list[Record]:
    """Read samples and describe them; keep the decoded ones in the reader while they fit.

    Args:
        reader: Of the data set.
        samples: Labelled samples.
        memory: Bytes that decoded samples may take; when not all fit, none is kept.

    Raises:
        InputError: One message with every problem found: unreadable files, sizes that differ, mask
            values outside the classes, mixed pixel types.
    """
    chosen = _spread(samples)
    records: list[Record] = []
    problems: list[str] = []
    keep = len(chosen) == len(samples)
    used = 0
    with ThreadPoolExecutor(4) as pool:
        for sample, result in zip(chosen, pool.map(lambda sample: _look(reader, sample), chosen), strict=True):
            if isinstance(result, str):
                problems.append(result)
                continue
            record, pair = result
            records.append(record)
            used += pair[0].nbytes + pair[1].nbytes
            keep = keep and used <= memory
            if keep:
                reader.kept[sample.id] = pair
    if not keep:
        for sample in chosen:
            reader.kept.pop(sample.id, None)
    dtypes = {record.dtype for record in records}
    if len(dtypes) > 1:
        examples = {record.dtype: record.id for record in records}
        problems.append(f"images of different pixel types: {examples}; convert them to one type")
    if problems:
        raise InputError(_message(problems, len(chosen)))
    return records


def normalisation(records: Sequence[Record]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over all pixels, in the units of the stored pixels."""
    pixels = sum(record.pixels for record in records)
    mean = sum(record.sums for record in records) / pixels
    variance = sum(record.squares for record in records) / pixels - mean**2
    return np.asarray(mean).tolist(), np.sqrt(np.maximum(variance, 0)).tolist()


def class_pixels(records: Sequence[Record]) -> NDArray[np.int64]:
    """(K,) pixels of each class over all samples."""
    total: NDArray[np.int64] = np.sum([record.class_pixels for record in records], axis=0, dtype=np.int64)
    return total


def digest(image: NDArray[Any]) -> str:
    """Hash of an image's pixels, shape and type."""
    hashed = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=8)
    hashed.update(np.ascontiguousarray(image).data)
    return hashed.hexdigest()


def _look(reader: Reader, sample: Sample) -> tuple[Record, Pair] | str:
    try:
        image, mask = reader.read(sample)
    except InputError as error:
        return str(error)
    values = image.reshape(-1, image.shape[2]).astype(np.float64)
    if not np.isfinite(values).all():
        return f"{sample.images[0] if sample.images else sample.id}: {int((~np.isfinite(values)).any(1).sum())} pixels are NaN or infinite; repair the image"
    classes = reader.source.classes
    counts = np.bincount(mask.ravel(), minlength=256)
    record = Record(
        id=sample.id,
        size=(mask.shape[0], mask.shape[1]),
        dtype=image.dtype.name,
        digest=digest(image),
        pixels=mask.size,
        sums=values.sum(0),
        squares=(values**2).sum(0),
        class_pixels=counts[: len(classes)].astype(np.int64),
    )
    return record, (image, mask)


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    if len(samples) <= SURVEYED:
        return list(samples)
    return [samples[index] for index in np.linspace(0, len(samples) - 1, SURVEYED).round().astype(int)]


def _message(problems: list[str], looked: int) -> str:
    shown = problems[:20]
    more = [f"... and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
    return f"{len(problems)} problems in {looked} samples:\n  " + "\n  ".join([*shown, *more])
