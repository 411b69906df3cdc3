"""Minutes until a run reaches a score on its held-out images, from the metrics.csv of finished runs, as a table and one plot.

Several runs of one label (folds, seeds) are lines of one colour. A run that was resumed counts the time of all its parts.

    python benchmarks/time_to_quality.py isbi_resnet18.yaml=runs/isbi_resnet18/TIME tutorial=runs/tutorial_unet/TIME --out quality.png
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from printing import table

from segmentation.callbacks.csv_log import SECONDS


class Validation(NamedTuple):
    """One validation of a run."""

    minutes: float
    score: float


def validations(run: Path, score: str) -> list[Validation]:
    """Every validation in the order of time.

    Raises:
        SystemExit: When the run has no such score, or was written before its rows had a time.
    """
    try:
        with (run / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise SystemExit(f"{run}/metrics.csv cannot be read ({error.strerror}); give the folder of a run") from error
    found = [row for row in rows if row.get(score)]
    if not found:
        raise SystemExit(
            f"{run}/metrics.csv has no {score}; give another --score, or a run with model.scores: [region, em]"
        )
    if not all(row.get(SECONDS) for row in found):
        raise SystemExit(f"{run}/metrics.csv has validations without {SECONDS}, of an older version; fit anew")
    return [Validation(float(row[SECONDS]) / 60, float(row[score])) for row in found]


def reached(run: list[Validation], level: float) -> float | None:
    """Minutes to the first validation with this score or a higher one."""
    return next((minutes for minutes, score in run if score >= level), None)


def plot(runs: dict[str, list[list[Validation]]], score: str, levels: list[float]) -> Figure:
    """The score of every validation over time, on a logarithmic axis: recipes differ by powers of ten."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (label, lines) in enumerate(runs.items()):
        for place, line in enumerate(lines):
            minutes, scores = zip(*line, strict=True)
            axes.plot(minutes, scores, ".-", color=f"C{number}", alpha=0.8, label=None if place else label)
    for level in levels:
        axes.axhline(level, color="gray", linestyle=":", linewidth=1)
    axes.set(xscale="log", xlabel="minutes since fit began", ylabel=score.removeprefix("val/"))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.2)
    axes.legend(frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="LABEL=RUN")
    parser.add_argument("--score", default="val/v_rand", help="higher is better")
    parser.add_argument("--levels", type=float, nargs="+", default=[0.95, 0.97])
    parser.add_argument("--out", type=Path, default=Path("time_to_quality.png"))
    options = parser.parse_args()
    runs: dict[str, list[list[Validation]]] = {}
    rows = []
    for given in options.runs:
        label, _, folder = given.rpartition("=")
        run = validations(Path(folder), options.score)
        runs.setdefault(label or Path(folder).parent.name, []).append(run)
        minutes = [reached(run, level) for level in options.levels]
        shown = ["not reached" if each is None else f"{each:.1f}" for each in minutes]
        best = max(run, key=lambda validation: validation.score)
        rows.append(
            (f"{label} ({folder})", *shown, f"{best.score:.4f} after {best.minutes:.1f}", f"{run[-1].minutes:.1f}")
        )
    name = options.score.removeprefix("val/")
    print("## Time to quality\n")
    heads = [f"minutes to {name} {level:g}" for level in options.levels]
    print(table(("run", *heads, "best", "minutes to the last validation"), rows))
    plot(runs, options.score, options.levels).savefig(options.out, dpi=150)
    print(f"\n![{name} over time]({options.out.name})")


if __name__ == "__main__":
    main()
