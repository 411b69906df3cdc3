"""What makes a comparison doubtful, and how the runs differ that are compared."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from segmentation.callbacks.runs import CONFIG, flattened, run_of, stored_config, stored_split
from segmentation.evaluation.report.reported import Reported

SEEN, SELECTED = "seen samples", "selected on these data"
"""How the title of a report says that its samples were trained on, or that they chose its checkpoint."""

PLACES = ("allow_seen", "ckpt_path", "config", "dirpath", "default_root_dir", "run_folder")
"""Last parts of keys of a config that say where something lies, not what was done."""


def warnings(
    reports: Sequence[Reported], names: Sequence[str], common: Sequence[str], left_out: Sequence[str]
) -> Iterator[str]:
    """What a reader must know before he believes a comparison.

    Args:
        reports: That are compared.
        names: What they are called.
        common: The images that all have.
        left_out: The other images.
    """
    splits = [report.split for report in reports]
    if len(set(splits)) > 1:
        told = ", ".join(f"{name} on {split}" for name, split in zip(names, splits, strict=True))
        yield f"the reports score different sets ({told}): report all of them on the same --split"
    for mark, meaning in (
        (SEEN, "scored on samples that it was trained on: its scores say nothing about new images"),
        (SELECTED, "the checkpoint was selected on the images that it is scored on, which flatters it"),
    ):
        named = [name for name, report in zip(names, reports, strict=True) if mark in report.scored]
        if named:
            yield f"{', '.join(named)}: {meaning}"
    trained = [_trained_on(report) for report in reports]
    if all(ids is not None for ids in trained) and any(ids != trained[0] for ids in trained):
        told = ", ".join(f"{name} on {len(ids or ())}" for name, ids in zip(names, trained, strict=True))
        yield f"the checkpoints were trained on different samples ({told}): not only the method differs"
    if told := tolerances(reports, names):
        yield f"the reports took the surface Dice at different tolerances ({told}), so that it is left out: give the same --tolerance"
    if not left_out and len({report.data for report in reports} - {""}) > 1:
        yield "the images have the same names and sizes but other pixels: is this the same data set?"
    for what, cure, stored in (
        ("mask", "report all of them on the same masks", [report.truths for report in reports]),
        ("group", "those of the first report that has them count", [report.groups for report in reports]),
    ):
        if changed := _different(reports, stored, common):
            counted = "1 image has" if len(changed) == 1 else f"{len(changed)} images have"
            yield f"{counted} another {what} in one report than in another: {_some(changed)}; {cure}"
    if left_out:
        counted = "1 image is" if len(left_out) == 1 else f"{len(left_out)} images are"
        yield (
            f"{counted} not in all reports, or not in the same size, and left out of the paired differences of the "
            f"{len(common)} others: {_some(left_out)}"
        )


def tolerances(reports: Sequence[Reported], names: Sequence[str]) -> str:
    """Those of the surface Dice, in words; empty where they do not differ, as far as they are known."""
    known = {name: one.tolerance for name, one in zip(names, reports, strict=True) if one.tolerance is not None}
    return ", ".join(f"{name} {value:g}" for name, value in known.items()) if len(set(known.values())) > 1 else ""


def settings(reports: Sequence[Reported]) -> dict[str, tuple[str, ...]] | None:
    """Key of the config -> its value in each report, where they differ; None when a config was not found.

    A key that a config does not set has an empty value. ``decision`` is how each report made labels of probabilities.
    """
    configs = [_config(report) for report in reports]
    if not all(configs):
        return None
    keys = dict.fromkeys(key for config in configs for key in config)
    rows = {"decision": tuple(report.decision for report in reports)}
    rows |= {key: tuple(config.get(key, "") for config in configs) for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _different(reports: Sequence[Reported], stored: Sequence[Sequence[str]], common: Sequence[str]) -> list[str]:
    """Those of the common images for which the reports stored different texts, as far as they are known."""
    known = [dict(zip(report.ids, texts, strict=True)) for report, texts in zip(reports, stored, strict=True)]
    return [key for key in common if len({of_report[key] for of_report in known} - {""}) > 1]


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


def _trained_on(report: Reported) -> set[str] | None:
    """The training samples of its only run; None when there are several or it is not known."""
    runs = list(_runs(report))
    split = stored_split(runs[0]) if len(runs) == 1 else None
    return None if split is None else set(split["train"])


def _config(report: Reported) -> dict[str, str]:
    """Key -> value, where all runs of the report agree: the folds of a cross-validation differ in the fold."""
    configs = [_settings(run) for run in _runs(report)]
    shared = set.intersection(*(set(config.items()) for config in configs)) if configs else set()
    return {key: value for key, value in (configs or [{}])[0].items() if (key, value) in shared}


def _runs(report: Reported) -> Iterator[Path]:
    """The run folders of its checkpoints, also when they were moved together with the report."""
    parent = report.folder.absolute().parent
    for text in report.checkpoints:
        run = run_of(Path(text))
        for folder in (run, parent / run.name, parent):
            if (folder / CONFIG).is_file():
                yield folder
                break


def _settings(run: Path) -> dict[str, str]:
    """What was set and does not say where something lies."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, default=str)
        for key, value in flattened(stored_config(run)).items()
        if value is not None and not key.startswith("trainer.logger") and not set(key.split(".")) & set(PLACES)
    }
