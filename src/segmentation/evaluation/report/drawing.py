"""The figures of a report. Everything but data is drawn in one colour, so that a page can change it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from segmentation.evaluation.curves import Table
from segmentation.evaluation.names import title_of
from segmentation.evaluation.report.summary import Summary

INK = "#010203"
"""The colour of text, axes and marks that are no data."""

BLUE, ORANGE, GREEN, RED = "#3e7bfa", "#e8862e", "#2fa36b", "#e5484d"
"""Seen on white and on black alike."""

GROUPS = 30
"""At most this many groups are drawn: the worst."""

NUMBERED = 40
"""Up to this many classes, the confusion matrix has numbers in it."""

STYLE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True},
    **{"grid.color": INK, "grid.alpha": 0.12, "legend.frameon": False, "font.size": 9.5, "lines.linewidth": 1.8},
    # text stays text; fixed names, so that the same scores give the same file
    **{"svg.fonttype": "none", "svg.hashsalt": "segmentation"},
}
"""Settings of matplotlib under which the functions below are called and their figures saved."""


def by_class(summary: Summary) -> Figure:
    """Dice and IoU of each class and their means, with intervals."""
    names = [*summary.classes.names, "mean"]
    figure, axes = _axes(height=max(2.2, 0.32 * len(names) + 1.1))
    drawn = []
    for offset, color, score in ((-0.14, BLUE, "dice"), (0.14, ORANGE, "iou")):
        keys = [*(f"{score}/{name}" for name in summary.classes.names), score]
        values, low, high = np.array([summary.whole[key] for key in keys]).T
        places = np.arange(len(names)) + offset
        known = np.isfinite(low)  # a single image has no interval
        axes.hlines(places[known], low[known], high[known], color=color, alpha=0.45, linewidth=5)
        axes.plot(values, places, "o", color=color, markersize=5, label=title_of(score))
        drawn += [values, low]
    axes.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)))
    axes.set_yticklabels([plain(name) for name in names])
    axes.grid(axis="y", visible=False)
    _unit(axes, "x", *drawn)
    _legend(axes)
    return figure


def by_rank(summary: Summary) -> Figure:
    """The main score of the images, worst first."""
    figure, axes = _axes()
    axes.plot(
        np.arange(1, len(summary.images) + 1), summary.column(summary.main), "o", color=BLUE, markersize=4, alpha=0.75
    )
    axes.set(xlabel="image, worst first", ylabel=plain(title_of(summary.main)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def confusion(summary: Summary) -> Figure:
    """The confusion matrix, each row in percent of the true pixels."""
    counts = np.sum([image.confusion for image in summary.images], axis=0).astype(float)
    total = counts.sum(1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    names, size = summary.classes.names, len(counts)
    figure, axes = _axes(max(5.4, min(9.0, 0.3 * size + 2)), max(2.6, min(8.5, 0.3 * size + 1.6)))
    for row, column in np.argwhere((shares >= 0.005) | np.eye(size, dtype=bool)):
        share = shares[row, column]
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=BLUE, alpha=0.75 * share, linewidth=0))
        if size <= NUMBERED:
            text = f"{100 * share:.0f}" if total[row, 0] else "-"
            axes.text(column, row, text, ha="center", va="center", fontsize=9.5 if size <= 12 else 6.5)
    axes.set(xlabel="predicted (% of the true pixels)", ylabel="true", aspect="equal")
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), xticks=range(size), yticks=range(size))
    axes.set_xticklabels(
        [plain(name) for name in names], rotation=0 if size <= 3 else 60, ha="center" if size <= 3 else "right"
    )
    axes.set_yticklabels([plain(name) for name in names])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


def thresholds(curve: Table, scores: Sequence[str], stored: Sequence[float]) -> Figure:
    """Scores along the threshold, and where the stored ones are."""
    figure, axes = _axes()
    for score, color in zip(scores, (BLUE, ORANGE, GREEN, RED), strict=False):
        axes.plot(curve["threshold"], curve[score], color=color, label=title_of(score))
    for number, threshold in enumerate(sorted(set(stored))):
        axes.axvline(threshold, color=INK, linestyle="--", linewidth=1, label="" if number else "stored")
    axes.set(xlabel="threshold", xlim=(0, 1))
    _unit(axes, "y", *(curve[score] for score in scores))
    _legend(axes)
    return figure


def precision_recall(curve: Table, summary: Summary, name: str) -> Figure:
    """The curve, and where the labels are on it; ``name`` is the class."""
    figure, axes = _axes()
    axes.plot(curve["recall"], curve["precision"], color=BLUE)
    recall, precision = summary.whole[f"recall/{name}"][0], summary.whole[f"precision/{name}"][0]
    axes.plot([recall], [precision], "o", color=RED, markersize=7)
    axes.set(xlabel="recall", ylabel="precision")
    _unit(axes, "x", curve["recall"], np.array([recall]))
    _unit(axes, "y", curve["precision"], np.array([precision]))
    return figure


def reliability(curve: Table) -> Figure:
    """Share of right pixels by confidence, beside the share of the pixels that has it."""
    figure, axes = _axes()
    width = 1 / len(curve["share"])
    middles = (np.arange(len(curve["share"])) + 0.5) * width
    axes.bar(middles, curve["share"], 0.9 * width, color=BLUE, alpha=0.25, label="share of the pixels")
    axes.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, alpha=0.6)
    axes.plot(curve["confidence"], curve["accuracy"], "o-", color=BLUE, markersize=4, label="right")
    first = int(np.flatnonzero(curve["share"] > 0)[0]) if (curve["share"] > 0).any() else 0
    axes.set(xlabel="confidence", xlim=(first * width, 1))
    _unit(axes, "y", np.zeros(1))
    _legend(axes)
    return figure


def scatter(x: NDArray[np.float64], y: NDArray[np.float64], name: str, score: str, *, log: bool = False) -> Figure:
    """A score of the images (N,) against something else about them (N,), called ``name``."""
    figure, axes = _axes(height=2.9)
    axes.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.7)
    axes.set(xlabel=plain(name), ylabel=plain(score))
    if log and x.max() > 10 * x.min():
        _logarithmic(axes)
    return figure


def class_shares(pixels: NDArray[np.float64], summary: Summary) -> Figure:
    """IoU of the classes against their share of the true pixels, of which (K,) are the counts."""
    figure, axes = _axes(height=3.6)
    shares = 100 * pixels / max(1, pixels.sum())
    values = np.array([summary.whole[f"iou/{name}"][0] for name in summary.classes.names])
    for name, share, value in zip(summary.classes.names, shares, values, strict=True):
        if share > 0 and np.isfinite(value):
            axes.plot([share], [value], "o", color=BLUE, markersize=5)
            axes.annotate(plain(name), (share, value), xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="share of the true pixels (%)", ylabel="IoU")
    _logarithmic(axes)
    axes.margins(x=0.12)
    _unit(axes, "y", values)
    return figure


def by_group(groups: Sequence[str | None], scores: NDArray[np.float64], name: str) -> Figure:
    """A score of the images (N,) in a row for each group, the worst group on top."""
    values: dict[str, list[float]] = {}
    for group, score in zip(groups, scores, strict=True):
        values.setdefault("no group" if group is None else group, []).append(float(score))
    finite = {group: np.array(found)[np.isfinite(found)] for group, found in values.items()}
    order = sorted((group for group in finite if finite[group].size), key=lambda group: float(finite[group].mean()))
    figure, axes = _axes(height=0.22 * min(GROUPS, len(order)) + 1.2)
    for row, group in enumerate(order[:GROUPS]):
        axes.plot(finite[group], np.full(len(finite[group]), row), "o", color=BLUE, markersize=4, alpha=0.6)
        axes.plot([finite[group].mean()], [row], "|", color=INK, markersize=10, markeredgewidth=1.6)
    shown = order[:GROUPS]
    axes.set(ylim=(len(shown) - 0.5, -0.5), yticks=range(len(shown)), xlabel=plain(name))
    axes.set_yticklabels([plain(group if len(group) <= 24 else f"{group[:21]}...") for group in shown])
    return figure


def plain(text: str) -> str:
    """Text in which matplotlib looks for no formulas."""
    return text.replace("$", r"\$")


def _axes(width: float = 5.4, height: float = 3.4) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _unit(axes: Axes, axis: str, *values: NDArray[np.float64]) -> None:
    """Up to 1 and down to the tenth below the values, with room for the points at the ends."""
    finite = np.concatenate([np.ravel(one)[np.isfinite(np.ravel(one))] for one in values])
    low = min(0.9, np.floor(10 * finite.min()) / 10) if finite.size else 0.0
    room = 0.02 * (1 - low)
    (axes.set_xlim if axis == "x" else axes.set_ylim)(low - room, 1 + room)


def _logarithmic(axes: Axes) -> None:
    """The x axis, with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=5, borderaxespad=0.2, columnspacing=1.2)
