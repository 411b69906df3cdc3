"""``compare``: reports side by side, image by image; nothing is predicted."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from segmentation.callbacks.runs import out_folder
from segmentation.commands.out import check_folder
from segmentation.data.replacing import write_json
from segmentation.errors import InputError
from segmentation.evaluation import tracking
from segmentation.evaluation.comparison.comparison import Comparison, compared
from segmentation.evaluation.comparison.page import CHANGED, write_comparison
from segmentation.evaluation.comparison.paired import Difference
from segmentation.evaluation.report.reported import Reported, find_report, read_report

PAGE, TABLE, RESULT = "compare.html", "compare.csv", "compare.json"


def compare(reports: list[str], *, out: Path | None = None, score: str = "iou", wandb: bool | None = None) -> None:
    """Say whether one model is better than another, image by image, from their reports.

    Give two or more folders of reports, or of runs, whose newest report is taken; the first is the baseline. Nothing
    is predicted.

    Args:
        reports: Report folders, run folders or crossval folders.
        out: New folder for compare.html, compare.csv and compare.json; compare-TIME in the working folder.
        score: What the verdict is about: iou, dice, iou/<class>, v_rand, hd95, ... as images.csv names it.
        wandb: Log table and page to Weights & Biases too, as a run of its own, offline unless WANDB_MODE=online; by default
            when fit logged one of the runs there.

    Raises:
        InputError: For folders without a report, other classes, or no image in common.
    """
    check_folder(out)
    comparison = compared(_read(reports), score)
    with out_folder(out, Path(), "compare-") as folder:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / RESULT, _told(comparison))
            _write_table(folder / TABLE, comparison)
        except OSError as error:
            raise InputError(f"{folder} cannot be written ({error.strerror or error}); give another --out") from error
        write_comparison(folder / PAGE, comparison)
    _print(comparison, folder)
    projects = [project for report in comparison.reports if (project := tracking.project_of(report.folder.parent))]
    if wandb or (wandb is None and projects):
        tracking.log_comparison(folder / TABLE, folder / PAGE, next(iter(projects), None))


def _read(paths: Sequence[str]) -> list[Reported]:
    """All reports, or what is wrong with any of them."""
    found, problems = [], []
    for path in paths:
        try:
            found.append(read_report(find_report(Path(path))))
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    if len({report.folder.resolve() for report in found}) < len(found):
        raise InputError(f"a report is given twice: {', '.join(str(report.folder) for report in found)}")
    if len(found) < 2:
        raise InputError("one report cannot be compared; give two or more, the baseline first")
    return found


def _told(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON has it."""
    return {
        "score": comparison.score,
        "images": len(comparison.ids),
        "left_out": list(comparison.left_out),
        "warnings": list(comparison.warnings),
        "reports": [
            {
                "name": name,
                "folder": str(report.folder),
                "scored": report.scored,
                "split": report.split,
                "checkpoints": list(report.checkpoints),
                "images": len(report.ids),
            }
            for name, report in zip(comparison.names, comparison.reports, strict=True)
        ],
        "comparisons": [
            {
                "name": name,
                "baseline": comparison.names[0],
                "verdict": comparison.verdicts[place],
                "shown": comparison.differences[place][comparison.score].shown,
                "scores": {score: _row(one) for score, one in comparison.differences[place].items()},
                "images": {
                    key: {"baseline": before, "value": after} for key, before, after in comparison.changes(place + 1)
                },
            }
            for place, name in enumerate(comparison.names[1:])
        ],
        "settings": None
        if comparison.settings is None
        else {key: dict(zip(comparison.names, values, strict=True)) for key, values in comparison.settings.items()},
    }


def _row(one: Difference) -> dict[str, float | int | None]:
    row = {
        "baseline": one.first,
        "value": one.second,
        "difference": one.whole,
        "mean_difference": one.mean,
        "low": one.low,
        "high": one.high,
        "p": one.p,
        "better": one.better,
        "worse": one.worse,
        "equal": one.equal,
    }
    return {key: value if math.isfinite(value) else None for key, value in row.items()}


def _write_table(path: Path, comparison: Comparison) -> None:
    rows = [
        {"report": name, "score": score} | _row(one)
        for name, of_scores in zip(comparison.names[1:], comparison.differences, strict=True)
        for score, one in of_scores.items()
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _print(comparison: Comparison, out: Path) -> None:
    console = Console(markup=False, highlight=False)
    for name, report in zip(comparison.names, comparison.reports, strict=True):
        value, low, high = report.scores[comparison.score]
        ends = "" if math.isnan(low) else f" ({low:.3f} to {high:.3f})"
        about = f"{report.scored}, {len(report.ids)} images, {comparison.score} {value:.3f}{ends}"
        console.print(f"{name}: {report.folder}: {about}", soft_wrap=True)
    for place, name in enumerate(comparison.names[1:]):
        console.print(_table(comparison, place, name))
    for place in range(len(comparison.verdicts)):
        for line in _most_changed(comparison, place):
            console.print(line, soft_wrap=True)
    for key, values in (comparison.settings or {}).items():
        told = ", ".join(f"{name} {value or 'not set'}" for name, value in zip(comparison.names, values, strict=True))
        console.print(f"{key}: {told}", soft_wrap=True)
    for warning in comparison.warnings:
        console.print(f"warning: {warning}", style="yellow", soft_wrap=True)
    console.print(f"page: {out / PAGE}", soft_wrap=True)
    for text, of_scores in zip(comparison.verdicts, comparison.differences, strict=True):
        style = {1: "bold green", 0: "bold", -1: "bold red"}[of_scores[comparison.score].shown]
        console.print(text, style=style, soft_wrap=True)


def _table(comparison: Comparison, place: int, name: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)  # of 80 columns
    table.add_column("score", no_wrap=True)
    for title in (comparison.names[0], name):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("mean over images (95 %)", "p", "better/worse/equal"):
        table.add_column(title.replace("/", "/\n"), no_wrap=True)
    for score, one in comparison.differences[place].items():
        if "/" in score and not score.startswith(comparison.score.split("/")[0] + "/"):
            continue  # the page has every class
        paired = [one.interval(), f"{one.p:.2g}", f"{one.better}/{one.worse}/{one.equal}"] if one.images else []
        style = "bold" if score == comparison.score else ""
        table.add_row(score, f"{one.first:.3f}", f"{one.second:.3f}", *paired, style=style)
    return table


def _most_changed(comparison: Comparison, place: int) -> Iterator[str]:
    name, baseline = comparison.names[place + 1], comparison.names[0]
    for word, rows in zip(("gained", "lost"), comparison.most_changed(place + 1, CHANGED), strict=True):
        if rows:
            told = ", ".join(f"{key} {before:.3f} to {after:.3f}" for key, before, after in rows)
            yield f"{word} most from {baseline} to {name}: {told}"
