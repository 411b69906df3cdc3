"""What a search has tried: a table of its trials, and a plot of what they scored."""

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import NDArray

from segmentation.evaluation.names import title_of
from segmentation.evaluation.report.drawing import BLUE, GREEN, INK, RED, STYLE, plain
from segmentation.metrics.direction import lower_is_better

COLUMNS = 3
"""Panels beside each other."""


@dataclass(frozen=True)
class Tried:
    """A trial.

    Attributes:
        number: Of its run.
        state: Pruned where it was stopped for being worse than the others at that epoch.
        score: Of its best checkpoint on the validation samples; of a pruned one that of its last validation.
        values: Argument -> what it was trained with: a number, or the text of a choice.
        seconds: It took; None while it runs.
        problem: Why it failed.
    """

    number: int
    state: Literal["running", "complete", "pruned", "failed"]
    score: float | None
    values: Mapping[str, Any]
    seconds: float | None = None
    problem: str = ""


def best_of(tried: Sequence[Tried], monitor: str) -> Tried | None:
    """The complete trial with the best score, the lowest where it is a loss; None without any."""
    complete = [trial for trial in tried if trial.state == "complete"]
    places = (np.argmin if lower_is_better(monitor) else np.argmax)(_scores(complete)) if complete else None
    return None if places is None else complete[int(places)]


def write_table(tried: Sequence[Tried], names: Sequence[str], path: Path) -> None:
    """Write a row for each trial as CSV.

    Args:
        tried: The trials.
        names: Of the arguments that were varied.
        path: Of the file.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "score", *names, "seconds", "problem"])
        for trial in tried:
            seconds = "" if trial.seconds is None else round(trial.seconds)
            values = [trial.values.get(name) for name in names]
            writer.writerow([trial.number, trial.state, trial.score, *values, seconds, trial.problem])


def draw(tried: Sequence[Tried], logarithmic: Collection[str], monitor: str, path: Path) -> None:
    """Draw the scores in the order of the trials, and along each argument, into a PNG file.

    Args:
        tried: The trials, of which one is complete.
        logarithmic: Arguments whose axis is so.
        monitor: The score, such as ``val/iou``.
        path: Of the file.
    """
    scored = [trial for trial in tried if trial.state in ("complete", "pruned") and trial.score is not None]
    names = list(scored[0].values)
    rows = math.ceil(len(names) / COLUMNS)
    with rc_context(STYLE):  # type: ignore[arg-type] # the stubs list the names of all settings
        figure = Figure(figsize=(9, 3.2 + 2.5 * rows), layout="constrained")
        grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[1.25, *[1] * rows])
        history = figure.add_subplot(grid[0, :])
        _history(history, scored, monitor)
        _limit(history, scored, monitor)
        history.set(xlabel="trial", ylabel=plain(title_of(monitor.removeprefix("val/"))))
        for place, name in enumerate(names):
            axes = figure.add_subplot(grid[1 + place // COLUMNS, place % COLUMNS], sharey=history)
            _along(axes, scored, name, name in logarithmic, best_of(scored, monitor))
            axes.tick_params(labelleft=place % COLUMNS == 0)
        figure.savefig(path, dpi=160, facecolor="white")


def _history(axes: Axes, scored: Sequence[Tried], monitor: str) -> None:
    complete = [trial for trial in scored if trial.state == "complete"]
    pruned = [trial for trial in scored if trial.state == "pruned"]
    reached = (np.minimum if lower_is_better(monitor) else np.maximum).accumulate(_scores(complete))
    axes.step([trial.number for trial in complete], reached, where="post", color=GREEN, label="best so far")
    _dots(axes, [trial.number for trial in complete], complete, label="complete")
    if pruned:
        _dots(axes, [trial.number for trial in pruned], pruned, label="stopped early")
    best = best_of(scored, monitor)
    assert best is not None
    axes.plot([best.number], _scores([best]), "*", color=RED, markersize=13, label=f"best: trial {best.number}")
    axes.axhline(_scores(complete)[0], color=INK, linestyle="--", linewidth=1, alpha=0.6, label="first trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=5, borderaxespad=0.2, columnspacing=1.2)


def _along(axes: Axes, scored: Sequence[Tried], name: str, logarithmic: bool, best: Tried | None) -> None:
    """The scores along an argument."""
    texts = sorted({str(trial.values[name]) for trial in scored if isinstance(trial.values[name], str)})

    def places(trials: Sequence[Tried]) -> list[float]:
        values = [trial.values[name] for trial in trials]
        return [texts.index(value) if texts else value for value in values]

    for state in ("pruned", "complete"):
        shown = [trial for trial in scored if trial.state == state]
        _dots(axes, places(shown), shown)
    for trial in [] if best is None else [best]:
        axes.plot(places([trial]), _scores([trial]), "*", color=RED, markersize=13)
    if texts:
        tilt = 0 if sum(map(len, texts)) < 24 else 20
        axes.set(xticks=range(len(texts)), xlim=(-0.5, len(texts) - 0.5))
        axes.set_xticklabels([plain(text if len(text) <= 18 else f"{text[:15]}...") for text in texts], rotation=tilt)
    elif logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(plain(name))


def _dots(axes: Axes, x: Sequence[float], trials: Sequence[Tried], label: str | None = None) -> None:
    """Blue discs for complete trials, rings for others."""
    complete = all(trial.state == "complete" for trial in trials)
    color, filled = (BLUE, BLUE) if complete else (INK, "none")
    axes.plot(x, _scores(trials), "o", color=color, markerfacecolor=filled, markersize=4.5, alpha=0.75, label=label)


def _limit(axes: Axes, scored: Sequence[Tried], monitor: str) -> None:
    """Leave out scores so bad that the good ones could not be told apart."""
    sign = -1 if lower_is_better(monitor) else 1
    scores = sign * _scores(scored)
    best = float(scores.max())
    reach = min(best - float(scores.min()), 4 * (best - float(np.median(scores)))) or abs(best) or 1.0
    axes.set_ylim(*sorted((sign * (best - 1.06 * reach), sign * (best + 0.06 * reach))))


def _scores(trials: Sequence[Tried]) -> NDArray[np.float64]:
    return np.array([trial.score for trial in trials], dtype=np.float64)
