"""``crossval``: every fold of a data set in one command, the scores over all samples, and an ensemble."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from rich.console import Console

from segmentation.callbacks.runs import OUT_ELSEWHERE, SCORES, make_folder, new_folder, stored_scores
from segmentation.commands.fit_arguments import FitArguments
from segmentation.commands.fold_states import going_on, state_of, states_of
from segmentation.commands.processes import Program, run_all
from segmentation.errors import InputError
from segmentation.evaluation import tracking
from segmentation.evaluation.folds import fold_table, over_folds, write_scores
from segmentation.evaluation.report.report import report
from segmentation.evaluation.report.reported import is_whole, read_report
from segmentation.evaluation.scored import scored_of
from segmentation.model.checkpoint import BEST
from segmentation.typed import predicting, typed

FIT = (sys.executable, "-m", "segmentation", "fit")


def crossval(*fit: str, folds: int | None = None, out: Path | None = None, devices: str | None = None) -> int:
    """Train a network on each fold of a data set and score it on the samples that it did not train on.

    All arguments of fit can be given besides those below, such as --config configs/isbi.yaml or
    --trainer.max_epochs 20; each fold trains with them. A fold that is finished is not trained again and one that was
    stopped goes on, so the same command continues after an interruption; one at a time. Afterwards the folder is an ensemble for
    predict, and holds the report of all samples.

    Args:
        fit: Arguments of fit.
        folds: Number of folds; that of the config (data.folds) or 5 when it is left out.
        out: Folder of the folds; runs/CONFIG/crossval when it is left out.
        devices: GPUs as CUDA_VISIBLE_DEVICES counts them, such as 0,1: each trains a fold at a time; when it is left
            out, the folds train one after the other.

    Returns:
        Exit status: 0, or 128 + the signal's number when one stopped it.

    Raises:
        InputError: Before anything is trained, for wrong arguments, a data set that folds do not fit, folders of other
            arguments, or another crossval that trains in them; afterwards naming the folds that failed and their logs.
    """
    asked = FitArguments(list(fit))
    _check(asked, fit)
    count = folds if folds is not None else asked.resolved.data.folds or 5
    if count < 2:
        raise InputError(f"--folds is {count}; give 2 or more")
    gpus = _devices(devices)
    command = typed("crossval", *fit, folds=folds, out=out, devices=devices)
    out = asked.parent / "crossval" if out is None else out
    with _held(out):
        return _go_on(list(fit), asked, out, count, gpus, command)


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """A folder in which no other crossval trains meanwhile; it is gone again when nothing was written into it.

    The system lets go of it, however this process ends.

    Raises:
        InputError: When it cannot be written, or another crossval trains in it.
    """
    new = list(takewhile(lambda path: not path.exists(), (out, *out.parents)))
    make_folder(out, OUT_ELSEWHERE)
    lock = out / ".lock"
    try:
        held = FileLock(lock).acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"another crossval trains in {out}; wait for it, or give another --out") from error
    with held:
        try:
            yield
        finally:
            with suppress(OSError):  # what is in it is somebody's
                if new and list(out.iterdir()) == [lock]:
                    lock.unlink()
                    for path in new:
                        path.rmdir()


def _go_on(fit: list[str], asked: FitArguments, out: Path, count: int, gpus: list[str | None], command: str) -> int:
    """Train what is not finished, and score it all; gives the exit status."""
    folders = [out / f"fold{fold}" for fold in range(count)]
    states = states_of(folders, asked)
    print(f"{count} folds in {out}: " + ", ".join(f"{folder.name} {states[folder]}" for folder in folders))
    todo = [folder for folder in folders if states[folder] != "finished"]
    try:
        _train(fit, todo, count, gpus)
    except SystemExit as stop:
        print(f"Stopped. The same command goes on: {command}", file=sys.stderr)
        return int(stop.code or 0)
    pooled = _pooled(out, folders, asked, command)
    scores = over_folds([stored_scores(folder) or {} for folder in folders], pooled)
    about = {
        "folds": count,
        "configs": asked.configs,
        "arguments": fit,
        "checkpoints": [str(folder / BEST) for folder in folders],
    }
    write_scores(scores, about, out)
    title = f"{count} folds, each scored on the samples that it did not train on"
    Console(markup=False, highlight=False).print(fold_table(scores, title))
    print(
        "Each fold's checkpoint and threshold were chosen on the samples that it is scored on, so that the scores are a "
        "little better than those of new images will be.\n"
        f"Scores: {out}/crossval.json, {out}/crossval.csv\n"
        f"Report: {out}/report/report.html\n"
        f"  {predicting(out)}\n"
        f"  {typed('report', ckpt_path=out)}"
    )
    return 0


def _check(asked: FitArguments, fit: Sequence[str]) -> None:
    """Refuse arguments of ``fit`` that are those of a single fold."""
    if any(word.split("=")[0] == "--data.fold" for word in fit):
        raise InputError("--data.fold names one fold, and crossval trains them all; leave it out, or use fit")
    arguments = asked.resolved
    own = {
        "ckpt_path": arguments.ckpt_path,
        "run_folder": arguments.run_folder,
        "data.split_file": arguments.data.split_file,
    }
    for name, value in own.items():
        if value is not None:
            raise InputError(f"--{name} is {value}, but crossval gives each fold its own; leave it out")
    if arguments.seed_everything is True:
        raise InputError("--seed_everything is true, another seed for each fold; give a number, such as 0")


def _devices(text: str | None) -> list[str | None]:
    if text is None:
        return [None]
    names: list[str | None] = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise InputError(f"--devices is {text!r}; give GPUs, each once, separated by commas, such as 0,1")
    if not torch.cuda.is_available():
        raise InputError(f"--devices is {text}, but this machine has no GPU that torch can use; leave --devices out")
    return names


def _train(fit: list[str], folders: Sequence[Path], count: int, devices: list[str | None]) -> None:
    """Train folds to their end.

    Raises:
        InputError: When some failed, once all were tried.
        SystemExit: When a signal stopped them.
    """
    programs = []
    for folder in folders:
        fold = folder.name.removeprefix("fold")
        command = [*FIT, *fit, "--data.folds", str(count), "--data.fold", fold, "--run_folder", str(folder)]
        programs.append(Program(folder.name, [*command, *going_on(folder)], folder.with_suffix(".log")))
    statuses = run_all(programs, devices)
    failed = [
        f"{program.name} {'failed' if status else 'ended before a validation'}; its output is in {program.log}"
        for program, folder, status in zip(programs, folders, statuses, strict=True)
        if status or state_of(folder) != "finished"
    ]
    if failed:
        raise InputError("\n".join(failed) + "\nthe same command tries them again and leaves the finished ones")


def _pooled(
    out: Path, folders: Sequence[Path], asked: FitArguments, command: str
) -> dict[str, tuple[float, float, float]]:
    """Scores of all samples with their intervals; the report that has them is made unless it is there."""
    made = out / "report"
    newest = max((folder / BEST).stat().st_mtime for folder in folders)
    whole = is_whole(made)
    if whole and (made / SCORES).stat().st_mtime > newest:
        return read_report(made).scores
    if whole:  # of folds that were trained again since
        made.rename(new_folder(out, "report-"))
    elif made.exists():  # one that was stopped
        shutil.rmtree(made)
    scores = report(scored_of(out), made, name=f"{asked.parent.name} {out.name}", command=command)
    if tracking.project_of(out) is not None:
        tracking.log_report(made, out)
    return scores
