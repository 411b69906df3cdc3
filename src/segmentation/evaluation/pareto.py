"""What is fast, what is good, and what is both: the Pareto front of measured variants, as a picture."""

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from segmentation.evaluation.report.drawing import BLUE, ORANGE, STYLE, plain

Point = tuple[float, float]
"""Latency in seconds and score; less of the first is better, more of the second."""

SPAN = 0.02
"""Of the scores that the picture shows at least."""


def front(points: Mapping[str, Point]) -> list[str]:
    """The points that no other point beats in one of the two without being worse in the other, fastest first.

    Args:
        points: By name; one whose score is NaN is on no front. Of equal points the first is.
    """
    best, found = -math.inf, []
    for name, (_, score) in sorted(points.items(), key=lambda entry: (entry[1][0], -entry[1][1])):
        if score > best:
            best = score
            found.append(name)
    return found


def draw(points: Mapping[str, Point], title: str, score: str, path: Path) -> None:
    """Score against latency, each point with a number, the front as a line of steps.

    Args:
        points: By name, in the order of their numbers, which begin with 1.
        title: Says what was timed.
        score: What the score is called.
        path: Of the PNG file.
    """
    best = front(points)
    with rc_context(STYLE):  # type: ignore[arg-type] # the stubs list the names of all settings
        figure = Figure(figsize=(8.4, 4.2), layout="constrained")
        axes = figure.subplots()
        across, up = ([points[name][axis] * factor for name in best] for axis, factor in ((0, 1000), (1, 1)))
        axes.plot(across, up, color=BLUE, alpha=0.5, drawstyle="steps-post")
        for number, (name, (seconds, value)) in enumerate(points.items(), start=1):
            label = f"{number}  {plain(name)}" + " *" * (name in best)
            axes.plot([1000 * seconds], [value], "o", color=BLUE if name in best else ORANGE, markersize=5, label=label)
            place = (1000 * seconds, value)
            axes.annotate(str(number), place, xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
        axes.set(xlabel="latency (ms, median)", ylabel=plain(score), title=plain(title))
        axes.set_xlim(left=0)
        finite = [value for _, value in points.values() if math.isfinite(value)]
        if finite:  # so that a difference of nothing does not look like one
            middle, half = (max(finite) + min(finite)) / 2, max(SPAN, max(finite) - min(finite)) * 0.6
            axes.set_ylim(middle - half, middle + half)
        figure.legend(loc="outside right upper", title="* Pareto front")
        figure.savefig(path, dpi=160, facecolor="white")
