"""A report on a checkpoint: scores with intervals, curves and pictures, as a page, CSV and PNG."""

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import MofNCompleteColumn, Progress

from segmentation.callbacks.pictures import class_legend, error_legend, sheet
from segmentation.data.replacing import write_json
from segmentation.errors import InputError
from segmentation.evaluation.names import shown, title_of
from segmentation.evaluation.report.gallery import PANELS, Picture, chosen, object_panels, panels, to_picture
from segmentation.evaluation.report.identity import Facts, data_digest, identity
from segmentation.evaluation.report.page import write_report_page
from segmentation.evaluation.report.plots import draw
from segmentation.evaluation.report.reported import IMAGES, PICTURES, SCORES
from segmentation.evaluation.report.summary import Interval, Summary, notes, summarise
from segmentation.evaluation.scored import Scored, predictions

PAGE, PLOTS = "report.html", "plots"


def report(
    scored: Sequence[Scored], out: Path, *, name: str, command: str, worst: int = 8, tolerance: float = 2.0
) -> dict[str, Interval]:
    """Predict, score, draw and write.

    Args:
        scored: Samples and checkpoints; of a cross-validation one for each fold, whose images are pooled.
        out: Folder of the report, made here; files of an earlier one are replaced.
        name: Of the run.
        command: That asked for the report.
        worst: How many of the worst images are shown.
        tolerance: Of the surface Dice, in pixels.

    Returns:
        Score -> value over the data set and 95 % interval.

    Raises:
        InputError: When a sample cannot be read or predicted, or the folder cannot be written.
    """
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
        task = progress.add_task("score", total=sum(len(one.ids) for one in scored))
        summary = summarise(scored, tolerance, lambda: progress.advance(task))
        ids = [image.id for image in summary.images]
        sections = dict(zip(("worst", "typical"), chosen(ids, worst), strict=True))
        drawn = [key for keys in sections.values() for key in keys]
        _make_folders(out)
        # read and predicted again: the pictures of all images would not fit in memory
        task = progress.add_task("draw", total=len(drawn))
        pictures = _pictures(scored, summary, drawn, out / PICTURES, lambda: progress.advance(task))
    facts = identity(scored, command)
    _write_tables(out, summary, drawn)
    write_report_page(
        out / PAGE,
        scored,
        summary,
        name=name,
        plots=draw(summary, out / PLOTS),
        pictures={title: [pictures[key] for key in keys] for title, keys in sections.items()},
        objects=pictures.get(""),
        tolerance=tolerance,
        identity=facts,
    )
    _write_scores(out / SCORES, scored, summary, name, tolerance, facts)  # last: a report that has it is whole
    return summary.whole


def _make_folders(out: Path) -> None:
    try:
        for folder in (out / PLOTS, out / PICTURES):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror or error}); give another --out") from error


def _pictures(
    scored: Sequence[Scored], summary: Summary, ids: Sequence[str], folder: Path, advance: Callable[[], None]
) -> dict[str, Picture]:
    """The pictures of some samples, each also written as a sheet; under ``""`` the objects of one of them."""
    rank = {image.id: place for place, image in enumerate(summary.images)}
    classes = summary.classes
    several = [one.id for one in summary.images if one.id in ids and one.objects is not None and one.objects.true > 1]
    of_objects = several[len(several) // 2] if several else None
    found = {}
    for one in predictions(scored, advance, set(ids)):
        key = one.sample.id
        value = summary.rows[rank[key]][summary.main]
        note = f"{title_of(summary.main)} {shown(summary.main, value)}, {rank[key] + 1} of {len(rank)}"
        drawn = panels(one)
        legend = [*class_legend(classes, [one.mask]), *error_legend(classes)]
        Image.fromarray(sheet(PANELS, [(f"{key}: {note}", drawn)], legend)).save(folder / _file(ids, key))
        found[key] = to_picture(key, note, drawn)
        if key == of_objects:
            found[""] = to_picture(key, note, object_panels(one))
    return found


def _file(ids: Sequence[str], key: str) -> str:
    return f"{ids.index(key) + 1:02d}.png"


def _write_scores(
    path: Path, scored: Sequence[Scored], summary: Summary, name: str, tolerance: float, facts: dict[str, Facts]
) -> None:
    stored = {
        "scored": ", ".join([scored[0].split, *notes(scored)]),
        "name": name,
        "checkpoints": [str(one.ckpt_path) for one in scored],
        "split": scored[0].split,
        "classes": list(summary.classes.names),
        "images": len(summary.images),
        "resampled": summary.resampled,
        "main": summary.main,
        "data": data_digest(scored),
        "tolerance": tolerance,
        "scores": {
            name: dict(zip(("value", "low", "high"), ends, strict=True)) for name, ends in summary.whole.items()
        },
        "identity": facts,
    }
    write_json(path, stored)


def _write_tables(out: Path, summary: Summary, drawn: Sequence[str]) -> None:
    columns = list(summary.rows[0])
    rows = [
        [
            *(image.id, image.group, *image.size, *row.values()),
            *(_file(drawn, image.id) if image.id in drawn else None, image.truth),
        ]
        for image, row in zip(summary.images, summary.rows, strict=True)
    ]
    _write_csv(out / IMAGES, ["id", "group", "height", "width", *columns, "picture", "truth"], rows)
    names = summary.classes.names
    confusion = np.sum([image.confusion for image in summary.images], axis=0).tolist()
    _write_csv(
        out / "confusion.csv", ["truth", *names], ([one, *row] for one, row in zip(names, confusion, strict=True))
    )
    reliability = summary.curves.reliability
    _write_csv(out / "reliability.csv", list(reliability), np.stack(list(reliability.values()), axis=1).tolist())
    tables = [table for table in (summary.curves.threshold, summary.curves.em) if table is not None]
    if tables:
        at: dict[float, dict[str, float]] = {}
        for table in tables:  # the region scores at every 1/256, the EM scores at every 1/10
            for values in zip(*(column.tolist() for column in table.values()), strict=True):
                at.setdefault(values[0], {}).update(zip(table, values, strict=True))
        columns = list(dict.fromkeys(column for table in tables for column in table))
        _write_csv(out / "thresholds.csv", columns, ([at[key].get(column) for column in columns] for key in sorted(at)))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """With an empty cell where a value is undefined."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:  # of names that are not UTF-8
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(
            ["" if isinstance(value, float) and math.isnan(value) else value for value in row] for row in rows
        )
