"""What ``check`` found, as text and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segmentation.data.problems import Problem
from segmentation.evaluation.checked import Report
from segmentation.evaluation.html import percent


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    facts, classes = report.facts, report.classes
    return {
        "trains": report.trains,
        "place": report.place,
        "problems": plain(report.problems),
        "warnings": plain(report.warnings),
        "recognised": report.seen,
        "classes": None if classes is None else classes.to_dict(),
        "facts": None
        if facts is None or classes is None
        else {
            "samples": facts.count,
            "sizes": [{"height": size[0], "width": size[1], "images": count} for size, count in facts.sizes.items()],
            "channels": facts.channels,
            "dtypes": facts.dtypes,
            "class_pixels": dict(zip(classes.names, facts.class_pixels, strict=True)),
            "class_images": dict(zip(classes.names, facts.class_images, strict=True)),
            "ignored": facts.ignored,
            "one_class": facts.one_class,
            "intensity": [
                {
                    "min": one.lowest,
                    "max": one.highest,
                    "mean": one.mean,
                    "std": one.std,
                    "percentiles": one.percentiles,
                }
                for one in facts.intensity
            ],
        },
        "split": report.split,
        "config": report.settings,
    }


def to_text(report: Report, page: Path) -> str:
    """The report as a terminal has it.

    Args:
        report: What was found.
        page: Where it is written with pictures.
    """
    lines = [f"{name}: {text}" for name, text in report.seen.items()]
    if report.facts is not None and report.classes is not None:
        facts = report.facts
        sizes = [f"{height}x{width}" for height, width in facts.sizes]
        lines += [
            f"images: {facts.count} labelled, {', '.join(sizes[:3])}{f' and {len(sizes) - 3} other sizes' if len(sizes) > 3 else ''}, "
            f"{'/'.join(map(str, facts.channels))} channel{'' if list(facts.channels) == [1] else 's'}, {'/'.join(facts.dtypes)}",
            "classes:",
            *(
                f"  {name}: {percent(pixels)} of the pixels, in {percent(images)} of the images"
                for name, pixels, images in zip(
                    report.classes.names, facts.class_pixels, facts.class_images, strict=True
                )
            ),
        ]
    if report.split is not None:
        lines.append("split: " + ", ".join(f"{len(ids)} {name}" for name, ids in report.split.items()))
    for title, problems in (("problem", report.problems), ("warning", report.warnings)):
        lines += [f"{title}: {problem}" for problem in problems]
    lines.append(f"page: {page}")
    verdict = "a training would run" if report.trains else "a training would fail or learn nothing"
    lines.append(
        f"{verdict}: {_counted(report.problems, 'problem')}, {_counted(report.warnings, 'warning')}"
        + ("" if report.trains else "; mend them and check again")
    )
    if report.trains:
        lines += ["next:", *(f"  {command}" for command in report.commands)]
    return "\n".join(lines)


def plain(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Problems as plain values."""
    return [{"fault": problem.fault, "files": list(problem.files), "cure": problem.cure} for problem in problems]


def _counted(problems: Sequence[Problem], word: str) -> str:
    return f"{len(problems)} {word}{'' if len(problems) == 1 else 's'}"
