"""What is in a data set and what is wrong with it, found before training and in one pass."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.crops import Pair
from segmentation.data.dataset import Reader
from segmentation.data.digest import digest
from segmentation.data.problems import DataError, FileError, Problem, grouped
from segmentation.data.sample import Sample
from segmentation.data.source import Source
from segmentation.data.spreading import spread
from segmentation.data.unknown_values import UnknownValuesError, unknown_values
from segmentation.errors import InputError

SURVEYED = 2000
"""At most this many samples, evenly spread, are read before training; the others are checked when drawn."""

SAMPLED = 1024
"""At most this many pixels of each image are kept, evenly spread, for percentiles over a data set."""


@dataclass(frozen=True)
class Record:
    """What one labelled sample holds.

    Attributes:
        id: Of the sample.
        size: (H, W).
        dtype: Of the stored pixels.
        channels: C of the image.
        digest: Hash of the decoded pixels; two copies of one image share it.
        pixels: H * W.
        sums: (C,) sum of the finite pixels over the image.
        squares: (C,) sum of their squares.
        class_pixels: (K,) pixels of each class; ignored ones are not counted.
        ignored: Pixels of ``ignore_index``.
        pixel_sample: (n, C) at most ``SAMPLED`` pixels as stored, evenly spread over the image.
        lowest: (C,) smallest value of each channel.
        highest: (C,) largest value of each channel.
    """

    id: str
    size: tuple[int, int]
    dtype: str
    channels: int
    digest: str
    pixels: int
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]
    class_pixels: NDArray[np.int64]
    ignored: int
    pixel_sample: NDArray[Any]
    lowest: tuple[float, ...] = ()
    highest: tuple[float, ...] = ()

    @property
    def deviation(self) -> float:
        """The largest standard deviation of the channels of the image."""
        variance = self.squares / self.pixels - (self.sums / self.pixels) ** 2
        return float(np.sqrt(max(0.0, float(variance.max()))))


def survey(
    reader: Reader,
    samples: Sequence[Sample],
    memory: int = 0,
    look: Callable[[Sample, Pair | None], None] = lambda sample, pair: None,
) -> tuple[list[Record], list[Problem]]:
    """Read samples and describe them; keep the decoded ones in the reader while they fit.

    Args:
        reader: Of the data set.
        samples: Labelled samples.
        memory: Bytes that decoded samples may take; when not all fit, none is kept.
        look: Is shown each sample with its image and mask, or without when it is not in order.

    Returns:
        The records of the samples that are in order, and every problem of the others: unreadable files,
        sizes that differ, mask values outside the classes, mixed pixel types. A fault of many files is
        one problem.
    """
    chosen = spread(samples, SURVEYED)
    records: list[Record] = []
    errors: list[InputError] = []
    keep = len(chosen) == len(samples)
    used = 0
    with ThreadPoolExecutor(4) as pool:
        for sample, result in zip(chosen, pool.map(lambda sample: _look(reader, sample), chosen), strict=True):
            if isinstance(result, InputError):
                errors.append(result)
                look(sample, None)
                continue
            record, pair = result
            look(sample, pair)
            records.append(record)
            used += pair[0].nbytes + pair[1].nbytes
            keep = keep and used <= memory
            if keep:
                reader.kept[sample.id] = pair
    if not keep:
        for sample in chosen:
            reader.kept.pop(sample.id, None)
    unknown = [error for error in errors if isinstance(error, UnknownValuesError)]
    problems = grouped(error for error in errors if not isinstance(error, UnknownValuesError))
    return records, [*problems, *unknown_values(unknown), *_mixed_types(records)]


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


def read_class_pixels(source: Source, samples: Sequence[Sample]) -> NDArray[np.int64]:
    """(N, K) pixels of each class in each mask, read by a few threads.

    Raises:
        DataError: Naming every mask that cannot be read.
    """

    def count(sample: Sample) -> NDArray[np.int64] | InputError:
        try:
            return np.bincount(source.read_mask(sample).ravel(), minlength=256)[: len(source.classes)]
        except InputError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(count, samples))
    errors = [error for error in counts if isinstance(error, InputError)]
    if errors:
        raise DataError(grouped(errors))
    return np.array(counts, np.int64).reshape(len(samples), len(source.classes))


def _look(reader: Reader, sample: Sample) -> tuple[Record, Pair] | InputError:
    try:
        image, mask = reader.read(sample)
    except InputError as error:
        return error
    columns = [_moments(channel) for channel in np.moveaxis(image, 2, 0)]
    if not all(np.isfinite(squares) for _, squares, *_ in columns):
        place = sample.images[0] if sample.images else sample.id
        return FileError(place, "holds pixels that are NaN or infinite", "repair the image")
    sums, squares, lowest, highest = zip(*columns, strict=True)
    classes = reader.source.classes
    counts = np.bincount(mask.ravel(), minlength=256)
    record = Record(
        id=sample.id,
        size=(mask.shape[0], mask.shape[1]),
        dtype=image.dtype.name,
        channels=image.shape[2],
        digest=digest(image),
        pixels=mask.size,
        sums=np.array(sums, np.float64),
        squares=np.array(squares, np.float64),
        class_pixels=counts[: len(classes)].astype(np.int64),
        ignored=int(counts[classes.ignore_index]),
        pixel_sample=_pixel_sample(image),
        lowest=lowest,
        highest=highest,
    )
    return record, (image, mask)


def _moments(channel: NDArray[Any]) -> tuple[float, float, float, float]:
    """Sum, sum of squares, smallest and largest value of (H, W) pixels; the squares are finite if the pixels are."""
    if channel.dtype in (np.uint8, np.uint16):  # by their counts: exact, and no copy in float64
        counts = np.bincount(channel.ravel())
        present = np.flatnonzero(counts)
        counts = counts[present]
        return float(counts @ present), float(counts @ present**2), float(present[0]), float(present[-1])
    rows = max(1, 2**18 // max(1, channel.shape[1]))  # in blocks, so that float64 never holds a whole image
    blocks = [channel[top : top + rows].astype(np.float64) for top in range(0, channel.shape[0], rows)]
    with np.errstate(over="ignore", invalid="ignore"):
        return (
            sum(float(block.sum()) for block in blocks),
            sum(float((block**2).sum()) for block in blocks),
            float(channel.min()),
            float(channel.max()),
        )


def _pixel_sample(image: NDArray[Any]) -> NDArray[Any]:
    height, width, _ = image.shape
    places = np.linspace(0, height * width - 1, min(SAMPLED, height * width)).astype(np.int64)
    sample: NDArray[Any] = image[places // width, places % width]
    return sample


def _mixed_types(records: Sequence[Record]) -> list[Problem]:
    dtypes = {record.dtype: record.id for record in records}
    if len(dtypes) <= 1:
        return []
    return [Problem(f"images of different pixel types: {dtypes}", cure="convert them to one type")]
