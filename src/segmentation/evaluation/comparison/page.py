"""A comparison as one HTML page that needs nothing beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from segmentation.evaluation.comparison.comparison import Change, Comparison
from segmentation.evaluation.comparison.paired import Difference, sign
from segmentation.evaluation.html import data_url, write_html
from segmentation.evaluation.names import title_of
from segmentation.evaluation.report.reported import Reported

CHANGED = 4
"""Images shown that gained most, and as many that lost most."""

WIDTH = 1300
"""Of a picture in pixels at most."""

BARS = 400


@dataclass(frozen=True)
class Pair:
    """One image in two reports.

    Attributes:
        id: Of the image.
        before: Its score in the baseline.
        after: Its score in the other report.
        pictures: Name of the report -> picture as a data URL, where it drew one.
    """

    id: str
    before: float
    after: float
    pictures: dict[str, str]


@dataclass(frozen=True)
class Section:
    """One report against the baseline.

    Attributes:
        name: Of the report.
        verdict: In words.
        shown: 1 better, -1 worse, 0 neither.
        rows: Scores over all classes, and the one the verdict is about.
        by_class: The others.
        bars: Of the image differences in an SVG of 1000 x 200: x, y, width, height, CSS variable of the colour.
        zero: y of no difference in it.
        extremes: The largest loss and gain.
        gained: Images that gained most.
        lost: Images that lost most.
    """

    name: str
    verdict: str
    shown: int
    rows: list[Difference]
    by_class: list[Difference]
    bars: list[tuple[float, float, float, float, str]]
    zero: float
    extremes: tuple[Change, Change] | None
    gained: list[Pair]
    lost: list[Pair]

    @property
    def undrawn(self) -> bool:
        """Whether a picture of these is missing in a report."""
        return any(len(pair.pictures) < 2 for pair in [*self.gained, *self.lost])


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write the page.

    Raises:
        InputError: When the file cannot be written.
    """
    sections = [_section(comparison, place) for place in range(1, len(comparison.reports))]
    scores = [name for name in comparison.reports[0].scores if all(name in one.scores for one in comparison.reports)]
    write_html(
        path,
        "compare.html",
        comparison=comparison,
        title=title_of,
        sections=sections,
        every_score={name: [report.scores[name] for report in comparison.reports] for name in scores},
    )


def _section(comparison: Comparison, place: int) -> Section:
    name, differences = comparison.names[place], comparison.differences[place - 1]
    of_all = [one for one in differences.values() if "/" not in one.score or one.score == comparison.score]
    changes = comparison.changes(place)
    gained, lost = comparison.most_changed(place, CHANGED)
    bars, zero = _bars([after - before for _, before, after in changes], sign(comparison.score))
    return Section(
        name=name,
        verdict=comparison.verdicts[place - 1],
        shown=differences[comparison.score].shown,
        rows=of_all,
        by_class=[one for one in differences.values() if one not in of_all],
        bars=bars,
        zero=zero,
        extremes=(changes[-1], changes[0]) if changes else None,
        gained=list(_pairs(comparison, place, gained)),
        lost=list(_pairs(comparison, place, lost)),
    )


def _bars(values: Sequence[float], sign: int) -> tuple[list[tuple[float, float, float, float, str]], float]:
    """One bar for each difference in 1000 x 200, upwards for what is greater; and the y of zero."""
    if not values:
        return [], 100.0
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), BARS)).round().astype(int))
    shown = [values[place] for place in places]
    high, low = max(0.0, *shown), min(0.0, *shown)
    scale = 190 / ((high - low) or 1.0)
    zero, step = 5 + high * scale, 1000 / len(shown)
    bars = []
    for number, value in enumerate(shown):
        height = max(abs(value) * scale, 1.0)
        color = "soft" if value == 0 else "good" if value * sign > 0 else "bad"
        bars.append((number * step, zero - height if value > 0 else zero, step * 0.85, height, color))
    return bars, zero


def _pairs(comparison: Comparison, place: int, changes: Sequence[Change]) -> Iterator[Pair]:
    compared: dict[str, Reported] = {
        comparison.names[0]: comparison.reports[0],
        comparison.names[place]: comparison.reports[place],
    }
    for key, before, after in changes:
        pictures = {name: _picture(report.pictures.get(key)) for name, report in compared.items()}
        yield Pair(key, before, after, {name: url for name, url in pictures.items() if url})


def _picture(path: Path | None) -> str:
    """A picture as a data URL; empty when it is not there or cannot be read."""
    if path is None or not path.is_file():
        return ""
    try:
        with Image.open(path) as stored:
            shown = stored.convert("RGB")
    except OSError:
        return ""
    shown.thumbnail((WIDTH, WIDTH * 4))
    return data_url(shown, "jpeg")
