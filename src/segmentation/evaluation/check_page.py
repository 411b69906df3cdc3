"""The result of ``check`` as one HTML page that needs nothing beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segmentation.data.checking.findings import Facts
from segmentation.data.sample import Sample
from segmentation.data.source import Source
from segmentation.data.splits import Split
from segmentation.errors import InputError
from segmentation.evaluation.checked import Report
from segmentation.evaluation.html import data_url, legend, write_html
from segmentation.inference.classes import Classes, overlay, to_rgb

THUMB = 384
"""Longest side of a picture in pixels."""


@dataclass(frozen=True)
class Picture:
    """One sample to look at; the pictures are data URLs.

    Attributes:
        name: Its id.
        note: Why it was chosen, and its list.
        image: As a network would see it, stretched to the range of a screen.
        mask: In the colours of the classes, ignored pixels hatched.
        both: The mask over the image.
    """

    name: str
    note: str
    image: str
    mask: str
    both: str


def pictures(source: Source, samples: Sequence[Sample], notes: dict[str, str], split: Split | None) -> list[Picture]:
    """Read again the samples to look at, one after the other; the memory is that of one."""
    lists = {key: name for name, ids in (split or {}).items() for key in ids}
    by_id = {sample.id: sample for sample in samples}
    return [
        picture
        for key, note in notes.items()
        for picture in _picture(source, by_id[key], ", ".join(filter(None, (lists.get(key, ""), note))))
    ]


def write_page(path: Path, report: Report, pictures: Sequence[Picture] = ()) -> None:
    """Write the page.

    Raises:
        InputError: When the file cannot be written.
    """
    write_html(
        path,
        "check.html",
        report=report,
        pictures=pictures,
        legend=[] if report.classes is None else legend(report.classes.names, report.classes.tints),
        sizes=[] if report.facts is None else _size_bars(report.facts),
        curves=[] if report.facts is None else list(_curves(report.facts)),
    )


def _picture(source: Source, sample: Sample, note: str) -> Iterator[Picture]:
    try:
        image, labels = source.read_image(sample), source.read_mask(sample)
    except InputError:  # it changed since it was surveyed
        return
    step = max(1, max(labels.shape) // (4 * THUMB))  # a huge image is thinned before it is made viewable
    shown = Image.fromarray(to_rgb(image[::step, ::step]))
    shown.thumbnail((THUMB, THUMB), Image.Resampling.BOX)
    small = np.asarray(Image.fromarray(labels[::step, ::step]).resize(shown.size, Image.Resampling.NEAREST))
    classes = source.classes
    painted = Classes(classes.names, classes.tints, classes.ignore_index).paint(small)
    both = overlay(np.asarray(shown), small, classes.tints, opacity=0.5)
    truth, mixed = Image.fromarray(painted), Image.fromarray(both)
    yield Picture(sample.id, note, data_url(shown, "jpeg"), data_url(truth, "png"), data_url(mixed, "jpeg"))


def _size_bars(facts: Facts, most: int = 8) -> list[tuple[str, int, float]]:
    """(size, images, width of the bar in percent) of the most frequent sizes; the others together."""
    sizes = [(f"{height} x {width}", count) for (height, width), count in facts.sizes.items()]
    if len(sizes) > most:
        rest = sizes[most - 1 :]
        sizes = [*sizes[: most - 1], (f"{len(rest)} other sizes", sum(count for _, count in rest))]
    largest = max(count for _, count in sizes)
    return [(name, count, 100 * count / largest) for name, count in sizes]


def _curves(facts: Facts, width: int = 640, height: int = 140) -> Iterator[tuple[str, str]]:
    """(colour, SVG path) of the intensity histogram of each channel, at most eight."""
    colors = ["#8a94a3"] if len(facts.intensity) == 1 else ["#e5484d", "#30a46c", "#3e7bfa", "#f5a524", "#8e4ec6"]
    # one flooded bin (a black border) would press all others flat
    top = max(float(np.sort(channel.histogram)[-2]) for channel in facts.intensity) * 1.15 or 1.0
    low = min(channel.bounds[0] for channel in facts.intensity)
    span = (max(channel.bounds[1] for channel in facts.intensity) - low) or 1.0
    for index, channel in enumerate(facts.intensity[:8]):
        edges = np.linspace(*channel.bounds, len(channel.histogram) + 1)
        points = [f"M{(edges[0] - low) / span * width:.1f},{height}"]
        for left, right, share in zip(edges[:-1], edges[1:], channel.histogram, strict=True):
            y = height - min(1.0, share / top) * height
            points.append(f"L{(left - low) / span * width:.1f},{y:.1f}L{(right - low) / span * width:.1f},{y:.1f}")
        points.append(f"L{(edges[-1] - low) / span * width:.1f},{height}Z")
        yield colors[index % len(colors)], "".join(points)
