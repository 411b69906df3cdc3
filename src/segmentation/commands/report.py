"""``report``: everything about a checkpoint's scores on one page."""

from inspect import signature
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from segmentation.callbacks.runs import out_folder, run_of
from segmentation.commands.out import check_folder
from segmentation.errors import InputError
from segmentation.evaluation import tracking
from segmentation.evaluation.names import shown, title_of
from segmentation.evaluation.report.report import PAGE
from segmentation.evaluation.report.report import report as write_report
from segmentation.evaluation.report.summary import Interval, notes
from segmentation.evaluation.scored import ListName, scored_of
from segmentation.inference.flips import Tta
from segmentation.inference.objects import Method
from segmentation.typed import typed

OPTIONS = ("threshold", "smallest_object", "largest_hole", "tta", "agglomeration")
"""Arguments that take the place of the checkpoint's own."""


def report(
    *,
    ckpt_path: Path,
    config: Path | None = None,
    split: ListName | None = None,
    out: Path | None = None,
    worst: int = 8,
    tolerance: float = 2.0,
    threshold: float | None = None,
    smallest_object: int | None = None,
    largest_hole: int | None = None,
    tta: Tta | None = None,
    agglomeration: float | None = None,
    neighbour_weight: float | None = None,
    instances: Method = "components",
    device: str | None = None,
    allow_seen: bool = False,
    wandb: bool | None = None,
) -> None:
    """Score a checkpoint and write a page that explains the scores, with tables as CSV and plots as PNG.

    Args:
        ckpt_path: A checkpoint of fit, a run folder (its best), a folder of runs such as runs/isbi (its newest run), or
            a folder of crossval (each fold's best on the samples that it did not train on, pooled).
        config: What the data are; the config.yaml of the run by default.
        split: train, val or test; by default test where there is a test set, else val.
        out: New folder; report-SPLIT-TIME in the run by default.
        worst: How many of the worst images are shown.
        tolerance: Of the surface Dice, in pixels: outlines that are no further apart agree.
        threshold: Instead of the checkpoint's, as for predict, 0..1; for two classes.
        smallest_object: Instead of the checkpoint's, in pixels; 0 keeps all objects.
        largest_hole: Instead of the checkpoint's, in pixels; 0 fills none.
        tta: Test-time augmentation, none, flips or d4, instead of the checkpoint's.
        agglomeration: Instead of the checkpoint's, as for predict.
        neighbour_weight: As for predict; the neighbours of a page are those of its own list.
        instances: How predicted pixels of class 1 become the objects that are counted, as for predict: components or
            watershed.
        device: cpu, cuda, ...; a GPU where there is one.
        allow_seen: Score samples that the checkpoint was trained on.
        wandb: Log the report into the run in Weights & Biases too, offline unless WANDB_MODE=online; by default when
            fit logged the run there.

    Raises:
        InputError: For anything that the user can mend.
    """
    arguments = dict(locals())  # first, before there are others
    if worst < 0 or tolerance < 0:
        raise InputError(f"--worst is {worst} and --tolerance {tolerance}; give 0 or more")
    check_folder(out)
    options = {name: arguments[name] for name in OPTIONS if arguments[name] is not None}
    scored = scored_of(ckpt_path, split, config, device, allow_seen, options, neighbour_weight, instances)
    run = run_of(scored[0].ckpt_path) if len(scored) == 1 else ckpt_path
    with out_folder(out, run, f"report-{scored[0].split}-") as folder:
        scores = write_report(
            *(scored, folder),
            name=" ".join(run.absolute().parts[-2:]),
            command=typed("report", **_given(arguments)),
            worst=worst,
            tolerance=tolerance,
        )
    console = Console(markup=False, highlight=False)
    console.print(_table(scores, ", ".join([scored[0].split, *notes(scored)])))
    for text in notes(scored).values():
        console.print(text)
    if wandb or (wandb is None and tracking.project_of(run) is not None):
        tracking.log_report(folder, run)
    console.print(f"Report: {folder / PAGE}", soft_wrap=True)


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    defaults = signature(report).parameters
    return {name: value for name, value in arguments.items() if value != defaults[name].default}


def _table(scores: dict[str, Interval], title: str) -> Table:
    table = Table("score", "value", "95 % interval", title=f"Scores ({title})")
    for name, (value, low, high) in scores.items():
        if "/" not in name:
            ends = f"{shown(name, low)} to {shown(name, high)}" if low == low else ""
            table.add_row(title_of(name), shown(name, value), ends)
    return table
