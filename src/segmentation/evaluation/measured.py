"""Variants of a network that were measured: as a table, as JSON, and as a picture with its Pareto front."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from segmentation.data.replacing import write_json
from segmentation.evaluation.names import title_of
from segmentation.evaluation.pareto import draw, front

RESULT, TABLE, PICTURE = "benchmark.json", "benchmark.md", "benchmark.png"

BESIDE = ("iou", "v_rand")
"""Scores that the table has beside the main one, where there are any; the JSON has all."""


@dataclass(frozen=True)
class Latency:
    """How long a batch takes.

    Attributes:
        size: H and W of its images in pixels.
        batch: How many images.
        p50: Median in seconds.
        p95: 95th percentile in seconds.
        images_per_second: At the median.
    """

    size: int
    batch: int
    p50: float
    p95: float
    images_per_second: float

    @property
    def case(self) -> str:
        """Batch and size."""
        return f"{self.batch} x {self.size}x{self.size}"


@dataclass(frozen=True)
class Measured:
    """A variant and what was found.

    Attributes:
        name: In table and picture.
        file: What was loaded.
        way: How it was run.
        bytes: Of the file.
        parameters: Weights and biases.
        multiplications: Multiply-accumulates for one image of the first size.
        memory: Peak MiB of a process of its own with the first size and batch; None where it was not measured.
        latency: For each size and batch.
        scores: As ``pool`` gives them.
    """

    name: str
    file: str
    way: str
    bytes: int
    parameters: int
    multiplications: int
    memory: float | None
    latency: list[Latency]
    scores: dict[str, float]


def write(
    out: Path, measured: Sequence[Measured], main: str, facts: Mapping[str, str], skipped: Mapping[str, str]
) -> list[list[str]]:
    """Write ``benchmark.json``, ``.md`` and ``.png``.

    Args:
        out: Folder; made where it is not there.
        measured: One or more, timed at the same sizes and batches.
        main: The score of the picture.
        facts: What a reader must know to get the same numbers again.
        skipped: Variants that could not be run, and why.

    Returns:
        The cells of the table by row, the titles first.
    """
    out.mkdir(parents=True, exist_ok=True)
    points = {one.name: (one.latency[0].p50, one.scores[main]) for one in measured}
    best = front(points)
    result = {
        "facts": dict(facts),
        "score": main,
        "front": best,
        "skipped": dict(skipped),
        "variants": [asdict(one) for one in measured],
    }
    write_json(out / RESULT, result)
    cells = [_titles(measured[0], main), *(_row(one, one.name in best, main) for one in measured)]
    (out / TABLE).write_text("\n".join([*_markdown(cells), "", *told(facts, skipped, "- "), ""]), encoding="utf-8")
    draw(
        points, f"{title_of(main)} against latency, {measured[0].latency[0].case} pixels", title_of(main), out / PICTURE
    )
    return cells


def told(facts: Mapping[str, str], skipped: Mapping[str, str], prefix: str = "") -> Iterator[str]:
    """A line for each fact and each variant that could not be run."""
    yield from (f"{prefix}{name}: {text}" for name, text in facts.items())
    yield from (f"{prefix}left out: {name}: {reason}" for name, reason in skipped.items())


def _titles(first: Measured, main: str) -> list[str]:
    size = first.latency[0].size
    return [
        *("variant (* Pareto front)", "MB on disk", "million parameters", f"GMAC at {size}x{size}", "MiB of memory"),
        *(title for one in first.latency for title in (f"p50 / p95 ms, {one.case}", f"images/s, {one.case}")),
        *map(title_of, _scores(first, main)),
    ]


def _row(one: Measured, best: bool, main: str) -> list[str]:
    return [
        one.name + " *" * best,
        f"{one.bytes / 1e6:.1f}",
        f"{one.parameters / 1e6:.2f}",
        f"{one.multiplications / 1e9:.2f}",
        "-" if one.memory is None else f"{one.memory:.0f}",
        *(
            cell
            for case in one.latency
            for cell in (f"{1000 * case.p50:.1f} / {1000 * case.p95:.1f}", f"{case.images_per_second:.2f}")
        ),
        *(f"{one.scores[name]:.4f}".replace("nan", "-") for name in _scores(one, main)),
    ]


def _scores(one: Measured, main: str) -> list[str]:
    return [main, *(name for name in BESIDE if name in one.scores and name != main)]


def _markdown(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    for place, row in enumerate(cells):
        yield f"| {' | '.join(row)} |"
        if place == 0:
            yield f"|{'---|' * len(row)}"
