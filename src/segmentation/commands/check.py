"""``check``: what a data set holds, what is wrong with it, and the config that fits it, before anything is trained."""

from dataclasses import dataclass, field, replace
from json import dumps
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from segmentation.callbacks.runs import ROOT, run_name
from segmentation.commands.out import check_folder
from segmentation.data.checking.alike import alike
from segmentation.data.checking.detect import Detected, describe
from segmentation.data.checking.findings import Facts, hopeless, measure, warnings
from segmentation.data.checking.listing import shown
from segmentation.data.checking.mismatches import COMPARED, Thumbnail, mismatches, thumbnail
from segmentation.data.checking.peek import peek
from segmentation.data.checking.recipe import choose, mixed, this_machine, to_dict, to_yaml
from segmentation.data.checking.values import meaning
from segmentation.data.class_tables import read_class_table
from segmentation.data.configured import build
from segmentation.data.crops import Pair
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.dataset import Reader
from segmentation.data.problems import DataError, Problem
from segmentation.data.sample import Sample
from segmentation.data.source import Source, known_sources
from segmentation.data.spreading import spread
from segmentation.data.survey import SURVEYED, Record, survey
from segmentation.errors import InputError
from segmentation.evaluation.check_page import pictures, write_page
from segmentation.evaluation.check_text import plain, to_json, to_text
from segmentation.evaluation.checked import Report, chosen, shares_of
from segmentation.typed import predicting, typed

PAGE, CONFIG, REPORT = "check.html", "config.yaml", "report.json"

SPLITTING = ("folds", "fold", "group", "split_kind", "val_fraction", "test_fraction")
"""Arguments of the datamodule that decide who trains."""

PEEKED = 256
"""Masks that are looked at again when some hold values that were not seen at first, and as many of the others."""


@dataclass
class _Reading:
    """What was read of a data set."""

    source: Source
    samples: list[Sample]
    problems: list[Problem]
    records: list[Record] = field(default_factory=list)
    thumbnails: dict[str, Thumbnail] = field(default_factory=dict)

    @property
    def labelled(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.masks]


def check(*, root: Path | None = None, config: Path | None = None, out: Path | None = None, json: bool = False) -> int:
    """Read a whole data set, say what is wrong with it, and write a page and a config that fits it.

    Give --root, and how the folder is laid out and what its mask values mean is found out; or --config, and the
    data set, split and model of that config are checked as they are.

    Args:
        root: Folder of a data set.
        config: A config of fit.
        out: New folder for check.html, report.json and, with root, config.yaml; check-NAME in the working
            folder, or check-NAME-2, ... when it is there.
        json: Print the report as JSON instead of text.

    Returns:
        Exit status: 0 when a training would run, 1 when it would fail.

    Raises:
        InputError: When the folder does not exist or its layout is not recognised, naming what was seen and
            what would settle it.
    """
    if (root is None) == (config is None):
        raise InputError("give either --root FOLDER, a data set to recognise, or --config FILE, a config to check")
    out = out or _free_folder((root or config).absolute().stem)  # type: ignore[union-attr] # one is given
    check_folder(out)
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        report, reading = _of_folder(root, out / CONFIG) if root is not None else _of_config(config)  # type: ignore[arg-type] # one is given
    except InputError as error:
        if made:
            out.rmdir()
        if json:
            print(dumps({"trains": False, "problems": plain([Problem(str(error))])}, indent=1))
            return 1
        raise
    if root is not None and report.config:
        (out / CONFIG).write_text(report.config, encoding="utf-8", errors="replace")  # in comments; values are escaped
    told = to_json(report)
    (out / REPORT).write_text(dumps(told, indent=1) + "\n", encoding="utf-8")
    notes = chosen(reading.records, reading.source.classes) if reading is not None and reading.records else {}
    sheet = [] if reading is None else pictures(reading.source, reading.samples, notes, report.split)
    write_page(out / PAGE, report, sheet)
    print(dumps(told, indent=1) if json else shown(to_text(report, out / PAGE)))
    return 0 if report.trains else 1


def _of_folder(root: Path, config: Path) -> tuple[Report, _Reading]:
    detected = describe(root)
    reading = _read(detected.source)
    single = "{class}" not in str(detected.arguments.get("masks"))  # else a mask's values are those of one class
    if detected.meaning is not None and single and len(reading.records) < len(reading.labelled):
        detected, reading = _widened(detected, reading)
    source, arguments = reading.source, detected.arguments
    reasons = {"source": detected.layout.seen} | _reasons(detected)
    report = Report(root.absolute().name, str(root), seen=_seen(detected), classes=source.classes)
    if not reading.records:
        return replace(report, problems=tuple(reading.problems or [_nothing(reading)])), reading
    facts = measure(reading.records)
    choices = choose(
        *(detected.layout.source, arguments, reasons, reading.samples, source.lists(), source.classes, facts),
        this_machine(),
    )
    splitting = {
        choice.key.removeprefix("data."): choice.value
        for choice in choices
        if choice.key.removeprefix("data.") in SPLITTING
    }
    data = SegmentationDataModule(source, **splitting)
    runs = f"{ROOT}/{run_name([str(config)], '')}"
    commands = (
        typed("fit", config=config),
        typed("test", ckpt_path=runs),
        predicting(runs, source.numbers_objects),
    )
    head = [
        f"Written by `{typed('check', root=root)}` for {facts.count} labelled samples.",
        "Every line can be changed, here or on the command line (--data.crop 128). Next:",
        *(f"  {command}" for command in commands),
    ]
    report = replace(report, config=to_yaml(choices, head), settings=to_dict(choices), commands=commands, facts=facts)
    report = _judged(report, reading, data, facts)
    doubts = () if detected.meaning is None else detected.meaning.warnings
    torn = [] if report.split is None or source.lists() else mixed(reading.samples, report.split)
    return replace(report, warnings=(*doubts, *torn, *report.warnings)), reading


def _of_config(config: Path) -> tuple[Report, _Reading | None]:
    text, settings = _content_of(config)
    report = Report(config.absolute().stem, str(config), config=text, settings=settings)
    try:
        data = _built(config)
        data.source.prepare()
    except InputError as error:
        return replace(report, problems=(Problem(str(error)),)), None
    reading = _read(data.source)
    report = replace(
        report,
        classes=data.source.classes,
        commands=(typed("fit", config=config),),
    )
    if not reading.records:
        return replace(report, problems=tuple(reading.problems or [_nothing(reading)])), reading
    facts = measure(reading.records)
    report = replace(report, facts=facts, seen={"source": f"{type(data.source).__name__}, as the config says"})
    return _judged(report, reading, data, facts), reading


def _judged(report: Report, reading: _Reading, data: SegmentationDataModule, facts: Facts) -> Report:
    """With the split, the problems and the warnings."""
    classes = reading.source.classes
    problems, split = [*reading.problems, *hopeless(facts, classes)], None
    try:
        split = data.split
    except DataError:
        pass  # the reading has these problems
    except InputError as error:
        problems.append(Problem(str(error)))
    files = {sample.id: " + ".join(map(str, sample.images)) or sample.id for sample in reading.samples}
    unfit = mismatches({files[key]: thumbnail for key, thumbnail in reading.thumbnails.items()})
    near = alike(reading.thumbnails, split, files)
    return replace(
        report,
        problems=tuple(problems),
        warnings=(*unfit, *near, *warnings(reading.records, classes, split, files)),
        split=split,
        shares=shares_of(reading.records, split),
    )


def _read(source: Source) -> _Reading:
    """Every labelled sample, read once; what fails is a problem and the rest goes on."""
    try:
        reading = _Reading(source, source.samples(), [])
    except DataError as error:
        reading = _Reading(source, list(error.samples), list(error.problems))
    except InputError as error:
        return _Reading(source, [], [Problem(str(error))])
    labelled, reader = reading.labelled, Reader(source)
    compared = {sample.id for sample in spread(labelled, COMPARED)}
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("read", total=len(labelled))

        def look(sample: Sample, pair: Pair | None) -> None:
            progress.advance(task)
            if pair is not None and sample.id in compared:
                reading.thumbnails[sample.id] = thumbnail(*pair)

        for start in range(0, len(labelled), SURVEYED):  # beyond that a survey takes a sample
            records, problems = survey(reader, labelled[start : start + SURVEYED], look=look)
            reading.records += records
            reading.problems += [problem for problem in problems if problem not in reading.problems]
    return reading


def _widened(detected: Detected, reading: _Reading) -> tuple[Detected, _Reading]:
    """Once more with the values of the masks that failed, when these lead to another meaning."""
    known = {record.id for record in reading.records}
    failed = [part for sample in reading.labelled if sample.id not in known for part in sample.masks]
    others = [part for sample in reading.labelled if sample.id in known for part in sample.masks]
    table = None if detected.layout.table is None else read_class_table(detected.layout.table)
    before = {} if detected.meaning is None else detected.meaning.arguments
    try:
        seen = peek([*spread(failed, PEEKED), *spread(others, PEEKED)], 2 * PEEKED, table)
        found = meaning(seen, table)
        arguments = {key: value for key, value in detected.arguments.items() if key not in before} | found.arguments
        if arguments == detected.arguments:
            return detected, reading
        source = known_sources()[detected.layout.source](**arguments)
    except InputError:  # the masks are damaged, or make no sense: the problems found say so
        return detected, reading
    again = _read(source)
    if len(again.records) <= len(reading.records):
        return detected, reading
    reasons = {key: value for key, value in detected.reasons.items() if key not in before} | found.reasons
    return Detected(detected.layout, found, arguments, source, reasons), again


def _built(config: Path) -> SegmentationDataModule:
    """The data of a config, once all of it was parsed and its model built as ``fit`` would; nothing is downloaded.

    Raises:
        InputError: Whatever ``fit`` would raise before it reads data.
    """
    # here, because --root needs neither
    from segmentation.commands.fit_arguments import FitArguments
    from segmentation.model.module import SegmentationModule

    arguments = FitArguments(["--config", str(config)]).resolved
    data = build(arguments.data)
    linked = {"classes": data.classes, "in_channels": data.in_channels, "encoder_weights": None}
    SegmentationModule(**(arguments.model.as_dict() | linked))
    return data


def _nothing(reading: _Reading) -> Problem:
    return Problem(f"none of the {len(reading.samples)} samples has a mask; training and scoring need labelled samples")


def _content_of(config: Path) -> tuple[str, dict[str, Any]]:
    """The text of a config, and what it says as ``fit`` reads it: a date stays the text it is."""
    try:
        text = config.read_text(encoding="utf-8")
        return text, get_loader("yaml")(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"--config {config} cannot be read ({' '.join(str(error).split())}); give a YAML file"
        ) from error


def _free_folder(name: str) -> Path:
    number, folder = 1, Path(f"check-{name}")
    while folder.exists() and any(folder.iterdir()):
        number += 1
        folder = Path(f"check-{name}-{number}")
    return folder


def _seen(detected: Detected) -> dict[str, str]:
    seen = {detected.layout.source: detected.layout.seen}
    if detected.layout.notes:
        seen["note"] = "; ".join(detected.layout.notes)
    return seen | _reasons(detected)


def _reasons(detected: Detected) -> dict[str, str]:
    """Those of the arguments that say more than the layout's."""
    return {name: why for name, why in detected.reasons.items() if why != detected.layout.seen}
