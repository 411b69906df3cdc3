"""The page of a report."""

import math
from collections.abc import Sequence
from pathlib import Path

from segmentation.callbacks.pictures import error_legend
from segmentation.callbacks.runs import config_beside
from segmentation.evaluation.html import css, legend, write_html
from segmentation.evaluation.image_scores import ImageScores
from segmentation.evaluation.names import NAMES, shown, title_of
from segmentation.evaluation.report.gallery import Picture
from segmentation.evaluation.report.identity import Facts
from segmentation.evaluation.report.plots import Plot
from segmentation.evaluation.report.summary import Interval, Summary, notes
from segmentation.evaluation.scored import Scored

ROWS = 200
"""Images in the table; the CSV has all."""

FEW = 20
"""With fewer images or groups, intervals from resampling are too narrow."""

BY_CLASS = ("dice", "iou", "precision", "recall", "surface_dice", "hd95")

OBJECTS = ("true", "predicted", "found", "merged", "split", "missed", "spurious")


def write_report_page(
    path: Path,
    scored: Sequence[Scored],
    summary: Summary,
    *,
    name: str,
    plots: Sequence[Plot],
    pictures: dict[str, list[Picture]],
    objects: Picture | None,
    tolerance: float,
    identity: dict[str, Facts],
) -> None:
    """Write the page: one file that needs nothing beside it.

    Args:
        path: Of the page.
        scored: Samples and checkpoints.
        summary: Their scores.
        name: Of the run.
        plots: In the order of the page.
        pictures: Under ``worst`` and ``typical``.
        objects: True and predicted objects of one image.
        tolerance: Of the surface Dice, in pixels.
        identity: Label -> text, by section.

    Raises:
        InputError: When the file cannot be written.
    """
    names, whole = summary.classes.names, summary.whole
    units = {image.group or image.id if summary.resampled == "groups" else image.id for image in summary.images}
    others = [key for key in whole if "/" not in key and key not in BY_CLASS]
    columns = _columns(summary)
    write_html(
        path,
        "report.html",
        name=name,
        split=scored[0].split,
        checkpoints=[str(one.ckpt_path) for one in scored],
        notes=notes(scored),
        count=len(summary.images),
        resampled=summary.resampled,
        units=len(units),
        few=len(units) < FEW,
        headline=[(title_of(key), _with_interval(key, whole[key])) for key in _headline(summary)],
        heads=[NAMES[key] for key in BY_CLASS],
        by_class=[
            *((one, [_with_interval(key, whole[f"{key}/{one}"]) for key in BY_CLASS]) for one in names),
            ("mean", [_with_interval(key, whole[key]) for key in BY_CLASS]),
        ],
        others=[(title_of(key), NAMES.get(key, ("", ""))[1], _with_interval(key, whole[key])) for key in others],
        tolerance=tolerance,
        plots=plots,
        pictures=pictures,
        legend=legend(names, summary.classes.colors),
        ignored=any(image.confusion.sum() < image.size[0] * image.size[1] for image in summary.images),
        errors=[(text, css(color)) for text, color in error_legend(summary.classes)],
        object_counts=_object_counts(summary.images),
        object_picture=objects,
        numbered=scored[0].data.source.numbers_objects,
        instances=scored[0].instances,
        columns=[title_of(key) for key in columns],
        grouped=any(image.group is not None for image in summary.images),
        rows=[
            (image.id, image.group or "", image.size, [shown(key, row[key]) for key in columns])
            for image, row in list(zip(summary.images, summary.rows, strict=True))[:ROWS]
        ],
        identity=identity,
        config=(config_beside(scored[0].ckpt_path) or scored[0].config).read_text(encoding="utf-8"),
    )


def _headline(summary: Summary) -> list[str]:
    """The scores at the head of the page."""
    wanted = (summary.main, "v_rand", "v_info", "dice", "iou", "surface_dice")
    return list(dict.fromkeys(key for key in wanted if key in summary.whole))[:4]


def _columns(summary: Summary) -> list[str]:
    """The scores in the table of images."""
    names = summary.classes.names
    by_class = [f"dice/{name}" for name in names] if len(names) <= 4 else []
    wanted = (summary.main, "dice", "iou", *by_class, "v_info_at_threshold", "surface_dice", "hd95", "objects_found")
    return list(dict.fromkeys(key for key in wanted if key in summary.rows[0]))


def _object_counts(images: Sequence[ImageScores]) -> dict[str, int]:
    """What became of the objects of a binary task; empty where no image has more than one."""
    counts = [image.objects for image in images if image.objects is not None]
    if all(count.true <= 1 for count in counts):
        return {}
    return {name: sum(getattr(count, name) for count in counts) for name in OBJECTS}


def _with_interval(key: str, interval: Interval) -> tuple[str, str]:
    """Value and interval as text."""
    value, low, high = (shown(key, end) for end in interval)
    return value, "" if math.isnan(interval[1]) else f"{low} to {high}"
