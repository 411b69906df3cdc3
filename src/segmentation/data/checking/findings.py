"""What a survey says about a data set: its facts, and what would hurt a training on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmentation.data.problems import Problem
from segmentation.data.splits import Split
from segmentation.data.survey import Record, class_pixels, normalisation
from segmentation.inference.classes import Classes

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)

BINS = 64
"""Of the intensity histogram."""

POOLED = 2**20
"""At most this many sampled pixels are pooled, evenly over the images, so that memory does not grow with them."""

CONSTANT = 0.01
"""An image whose deviation is a smaller share of the range is taken for empty."""

FEW = 3
"""With fewer images to validate on, chance chooses the best checkpoint."""

OUTLYING = 4
"""An image with this many times the median area, or its inverse, is named."""

Files = Mapping[str, str]
"""Sample id -> the file that a person looks for."""


@dataclass(frozen=True)
class Channel:
    """Pixel values of one channel as stored; only mean and deviation are of all pixels, the rest of sampled ones.

    Attributes:
        lowest: Smallest value.
        highest: Largest value.
        mean: Of all pixels.
        std: Of all pixels.
        percentiles: At ``PERCENTILES``.
        histogram: Share of the pixels in each of ``BINS`` equal bins.
        bounds: Where the first bin begins and the last one ends.
    """

    lowest: float
    highest: float
    mean: float
    std: float
    percentiles: tuple[float, ...]
    histogram: tuple[float, ...]
    bounds: tuple[float, float]


@dataclass(frozen=True)
class Facts:
    """What labelled samples hold, all together.

    Attributes:
        count: Number of samples that could be read.
        sizes: (H, W) -> images of that size, the most frequent first.
        channels: Channels -> images.
        dtypes: Pixel type -> images.
        class_pixels: Share of each class in the pixels that count; sums to 1.
        class_images: Share of the images that hold each class.
        ignored: Share of the pixels that do not count.
        one_class: Images whose mask holds one class only.
        intensity: For each channel.
    """

    count: int
    sizes: dict[tuple[int, int], int]
    channels: dict[int, int]
    dtypes: dict[str, int]
    class_pixels: tuple[float, ...]
    class_images: tuple[float, ...]
    ignored: float
    one_class: int
    intensity: tuple[Channel, ...]

    @property
    def common(self) -> int:
        """Index of the class with most pixels."""
        return int(np.argmax(self.class_pixels))

    def shortest_side(self, share: float) -> int:
        """The length in pixels that at most this share (0..1) of the images falls short of with a side."""
        sides = sorted(side for size, count in self.sizes.items() for side in [min(size)] * count)
        return sides[int(share * (len(sides) - 1))]


def measure(records: Sequence[Record]) -> Facts:
    """The facts of at least one record."""
    counts = np.stack([record.class_pixels for record in records])
    total = class_pixels(records)
    pixels = sum(record.pixels for record in records)
    return Facts(
        count=len(records),
        sizes=dict(Counter(record.size for record in records).most_common()),
        channels=dict(Counter(record.channels for record in records).most_common()),
        dtypes=dict(Counter(record.dtype for record in records).most_common()),
        class_pixels=tuple((total / max(1, int(total.sum()))).tolist()),
        class_images=tuple((counts > 0).mean(0).tolist()),
        ignored=sum(record.ignored for record in records) / max(1, pixels),
        one_class=int(((counts > 0).sum(1) == 1).sum()),
        intensity=_intensity(records),
    )


def hopeless(facts: Facts, classes: Classes) -> list[Problem]:
    """What lets a training run and learn nothing."""
    found = [index for index, share in enumerate(facts.class_pixels) if share > 0]
    if len(found) >= 2:
        return []
    what = f"only '{classes.names[found[0]]}'" if found else "no pixel that counts"
    return [
        Problem(
            f"the masks of all {facts.count} samples hold {what}; there is nothing to learn",
            cure="look whether these are the right masks, and set data.source.mask_values to what their values mean",
        )
    ]


def warnings(records: Sequence[Record], classes: Classes, split: Split | None, files: Files) -> list[Problem]:
    """What lets a training run and its result suffer, the worst first.

    Args:
        records: Of the labelled samples.
        classes: Of the data set.
        split: Who trains and validates, where that is known.
        files: The file of each sample.
    """
    lists = {key: name for name, keys in (split or {}).items() for key in keys}
    named = [name for name in ("train", "val", "test") if split and split.get(name)]
    return [
        *_copies(records, lists, files),
        *(problem for name in named for problem in _absent(records, classes, lists, name)),
        *_few(split),
        *_all_ignored(records, files),
        *_constant(records, files),
        *_outlying(records, files),
        *_one_class(records, classes, files),
    ]


def _copies(records: Sequence[Record], lists: Mapping[str, str], files: Files) -> list[Problem]:
    """Images with equal pixels: across lists the score is too good, within one they count double."""
    same: dict[str, list[Record]] = {}
    for record in records:
        same.setdefault(record.digest, []).append(record)
    leaks: list[str] = []
    doubles: list[str] = []
    contradictions: list[str] = []
    for group in same.values():
        if len(group) == 1:
            continue
        listed = {lists.get(record.id, "") for record in group}
        text = " = ".join(
            files[record.id] + (f" ({lists[record.id]})" if record.id in lists else "") for record in group
        )
        (leaks if len(listed - {""}) > 1 else doubles).append(text)
        if len({record.class_pixels.tobytes() for record in group}) > 1:
            contradictions.append(text)
    return [
        *_told(
            "the same image is in several sets, so that the score is better than it will be on new images",
            leaks,
            "keep one of the copies, or both in one set (data.group, data.split_file)",
        ),
        *_told("copies of one image have different masks", contradictions, "keep the copy whose mask is right"),
        *_told("the same image is there more than once", doubles, "remove the copies, or let them count double"),
    ]


def _absent(records: Sequence[Record], classes: Classes, lists: Mapping[str, str], name: str) -> list[Problem]:
    listed = [record for record in records if lists.get(record.id) == name]
    everywhere = class_pixels(records)
    if not listed:
        return []
    here = class_pixels(listed)
    missing = [label for label, one, all_ in zip(classes.names, here, everywhere, strict=True) if not one and all_]
    unseen = [label for label, all_ in zip(classes.names, everywhere, strict=True) if not all_]
    effect = {
        "train": "it cannot be learnt",
        "val": "its score is missing when the best checkpoint is chosen",
        "test": "it gets no score",
    }
    found = []
    if missing:
        found.append(
            Problem(
                f"none of the {len(listed)} {name} samples holds {_quoted(missing)}: {effect[name]}",
                cure="set data.split_kind: stratified, or name the samples of each set in data.split_file",
            )
        )
    if name == "train" and unseen:
        found.append(
            Problem(
                f"no mask at all holds {_quoted(unseen)}: it cannot be learnt and gets no score",
                cure="remove it from data.source.classes, or add samples that show it",
            )
        )
    return found


def _few(split: Split | None) -> list[Problem]:
    count = len((split or {}).get("val", ()))
    if split is None or count >= FEW:
        return []
    alone = "a single image decides" if count == 1 else f"{count} images decide"
    return [
        Problem(
            f"{alone} which checkpoint is the best, so that its score says little about new images",
            cure="label more, or let crossval train once for each fold: together they score every image once",
        )
    ]


def _all_ignored(records: Sequence[Record], files: Files) -> list[Problem]:
    return _told(
        "every pixel of the mask is ignored",
        [files[record.id] for record in records if record.ignored == record.pixels],
        "label something in it, or remove the pair",
    )


def _constant(records: Sequence[Record], files: Files) -> list[Problem]:
    ranges = {dtype: _range(records, dtype) for dtype in {record.dtype for record in records}}
    flat = [files[record.id] for record in records if record.deviation < CONSTANT * ranges[record.dtype]]
    return _told(
        f"the image shows next to nothing (its deviation is below {CONSTANT:.0%} of the range)",
        flat,
        "look at it; remove the pair when it is blank",
    )


def _outlying(records: Sequence[Record], files: Files) -> list[Problem]:
    median = float(np.median([record.pixels for record in records]))
    sized = [(record, f"{files[record.id]} ({record.size[0]}x{record.size[1]})") for record in records]
    return [
        *_told(
            f"the image is over {OUTLYING} times as large as most",
            [text for record, text in sized if record.pixels > OUTLYING * median],
            "scale it like the others if its objects are larger too",
        ),
        *_told(
            f"the image is less than 1/{OUTLYING} as large as most",
            [text for record, text in sized if record.pixels * OUTLYING < median],
            "remove it if it is a thumbnail, or scale it like the others",
        ),
    ]


def _one_class(records: Sequence[Record], classes: Classes, files: Files) -> list[Problem]:
    found: dict[int, list[str]] = {}
    for record in records:
        present = np.flatnonzero(record.class_pixels)
        if len(present) == 1:
            found.setdefault(int(present[0]), []).append(files[record.id])
    return [
        problem
        for index, names in sorted(found.items())
        for problem in _told(
            f"the mask holds '{classes.names[index]}' and nothing else",
            names,
            "right where there is nothing else to see; otherwise label it",
        )
    ]


def _told(fault: str, files: Sequence[str], cure: str) -> list[Problem]:
    return [Problem(fault, tuple(files), cure)] if files else []


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _range(records: Sequence[Record], dtype: str) -> float:
    """255 for bytes, else the span of the values that the images of this type hold: few fill 16 bits."""
    if dtype == "uint8":
        return 255.0
    same = [record.pixel_sample for record in records if record.dtype == dtype]
    return float(max(sample.max() for sample in same)) - float(min(sample.min() for sample in same))


def _intensity(records: Sequence[Record]) -> tuple[Channel, ...]:
    channels = Counter(record.channels for record in records).most_common(1)[0][0]
    alike = [record for record in records if record.channels == channels]
    pixels = pooled(alike)
    mean, std = normalisation(alike)
    whole = all(record.pixel_sample.dtype.kind in "iu" for record in alike)
    return tuple(_channel(pixels[:, index], mean[index], std[index], whole) for index in range(channels))


def pooled(records: Sequence[Record]) -> NDArray[np.float64]:
    """(N, C) sampled pixels of all records as stored, N at most about ``POOLED``."""
    step = max(1, -(-sum(len(record.pixel_sample) for record in records) // POOLED))
    return np.concatenate([record.pixel_sample[::step].astype(np.float64) for record in records])


def _channel(values: NDArray[np.float64], mean: float, std: float, whole: bool) -> Channel:
    low, high = float(values.min()), float(values.max())
    bounds = _bounds(low, high, whole)
    counts, _ = np.histogram(values, BINS, bounds)
    return Channel(
        lowest=low,
        highest=high,
        mean=mean,
        std=std,
        percentiles=tuple(np.percentile(values, PERCENTILES).tolist()),
        histogram=tuple((counts / len(values)).tolist()),
        bounds=bounds,
    )


def _bounds(low: float, high: float, whole: bool) -> tuple[float, float]:
    """Of the histogram; bins of whole numbers hold equally many of them, else they would look like a comb."""
    if not whole:
        return low, high if high > low else low + 1
    if low >= 0 and high <= 255:
        return 0.0, 256.0
    return low, low + BINS * float(np.ceil((high - low + 1) / BINS))
