"""``tune``: search for the arguments of ``fit`` that score best."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from segmentation.callbacks.checkpoints import FOLDER
from segmentation.callbacks.runs import OUT_ELSEWHERE, make_folder
from segmentation.commands.fit_arguments import FitArguments
from segmentation.data.configured import build
from segmentation.data.replacing import write_whole
from segmentation.data.splits import Split
from segmentation.errors import InputError
from segmentation.evaluation.names import title_of
from segmentation.evaluation.study import Tried, best_of, draw, write_table
from segmentation.typed import typed

try:
    from optuna import Study
    from optuna.trial import TrialState

    from segmentation.commands.search_space import SearchSpace, read_space
    from segmentation.commands.shared_study import (
        draw_again,
        give_up,
        next_trial,
        open_study,
        others_wait,
        run_number,
        tried_in,
        unfinished_runs,
    )
    from segmentation.commands.trial_run import train
except ModuleNotFoundError as error:
    raise InputError(f"tune needs Optuna ({error}): pip install -e '.[tune]'") from error


def tune(*fit: str, space: Path, trials: int = 30, out: Path | None = None) -> int:
    """Search for the arguments of fit that score best on the validation samples (checkpoint.monitor).

    Each trial is a fit with other values of the arguments that the space names; the first one is the config itself. A
    trial whose validations are worse than the median of those before it is stopped early. All arguments of fit can be
    given besides those below, such as --config configs/isbi.yaml or --trainer.max_epochs 20. The same command goes on
    after an interruption, and may run several times at once: the processes share the trials.

    Args:
        fit: Arguments of fit.
        space: YAML file of what is varied, such as configs/spaces/isbi.yaml.
        trials: Number of trials in all, with those that are stopped early and those that fail.
        out: Folder of the search; runs/CONFIG/tune when it is left out.

    Returns:
        Exit status: 0, or 128 + the signal's number when one stopped it.

    Raises:
        InputError: Before anything is trained, for wrong arguments, a wrong space, or a folder with another search;
            later when the config itself cannot be trained.
    """
    asked = FitArguments(list(fit))
    _check(asked, trials)
    searched = read_space(space, asked)
    split = _split(asked)
    folder = asked.parent / "tune" if out is None else out
    make_folder(folder, OUT_ELSEWHERE)
    arguments = asked.resolved
    monitor, seed = arguments.checkpoint.monitor, int(arguments.seed_everything)
    study = open_study(folder, searched, asked, split)
    print(f"{trials} trials in {folder}, of which {len(tried_in(study))} are there")
    while (drawn := next_trial(study, folder, searched, trials, seed)) is not None:
        trial, held = drawn
        run = folder / f"trial{run_number(trial)}"
        with held:
            write_whole(run.with_suffix(".yaml"), searched.text(trial.params))
            try:
                score = train(trial, run, fit, monitor)
                study.tell(trial, score, state=TrialState.PRUNED if score is None else None)
                print(f"{run.name}: " + ("stopped early" if score is None else f"{monitor} {score:.4f}"))
            except SystemExit as stop:
                draw_again(study, trial, goes_on=True)
                print(
                    f"Stopped. The same command goes on: {typed('tune', *fit, space=space, trials=trials, out=out)}",
                    file=sys.stderr,
                )
                return int(stop.code or 0)
            except InputError as error:
                if trial.params == searched.start:
                    draw_again(study, trial)
                    raise InputError(
                        f"the config itself cannot be trained: {error}\nthe same command tries again"
                    ) from error
                give_up(study, trial, str(error))
                print(f"{run.name}: failed: {error}")
        _write(study, folder, searched, monitor, fit)
    _tell(tried_in(study), folder, searched, monitor, fit)
    return 0


def _check(asked: FitArguments, trials: int) -> None:
    """Refuse arguments of ``fit`` that are those of a single run."""
    if trials < 1:
        raise InputError(f"--trials is {trials}; give 1 or more")
    for name in ("ckpt_path", "run_folder"):
        if asked.resolved[name] is not None:
            raise InputError(f"--{name} is {asked.resolved[name]}, but each trial has its own; leave it out")
    if asked.resolved.seed_everything is True:
        raise InputError("--seed_everything is true, another seed for each trial; give a number, such as 0")


def _split(asked: FitArguments) -> Split:
    data = build(asked.resolved.data)
    data.prepare_data()
    return data.split


def _write(study: Study, folder: Path, searched: SearchSpace, monitor: str, fit: Sequence[str]) -> None:
    """Write what is known by now, and remove the checkpoints of the runs that are not the best."""
    with others_wait(folder):
        tried = tried_in(study)
        write_table(tried, list(searched.parameters), folder / "trials.csv")
        best = best_of(tried, monitor)
        if best is None:
            return
        draw(tried, searched.logarithmic, monitor, folder / "study.png")
        head = f"# {_verdict(tried, best, searched, monitor)}\n# {typed('fit', *fit, config=folder / 'best.yaml')}\n"
        write_whole(folder / "best.yaml", head + searched.text(best.values))
        kept = {f"trial{number}" for number in (best.number, *unfinished_runs(study))}
        for path in folder.glob(f"trial*/{FOLDER}"):
            if path.parent.name not in kept:
                shutil.rmtree(path, ignore_errors=True)


def _tell(tried: Sequence[Tried], folder: Path, searched: SearchSpace, monitor: str, fit: Sequence[str]) -> None:
    states = [trial.state for trial in tried]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    best = best_of(tried, monitor)
    if best is None:
        print(f"Trials: {counts}; other processes have not finished theirs yet")
        return
    print(
        *(
            f"{_verdict(tried, best, searched, monitor)}:",
            *(f"  {name}: {value}" for name, value in best.values.items()),
        ),
        f"Trials: {counts}; {folder}/trials.csv, {folder}/study.png",
        f"Its checkpoint: {folder}/trial{best.number}/{FOLDER}/best.ckpt",
        "The score chose these values on the validation samples, so that it is a little better than new images will be.",
        f"  {typed('fit', *fit, config=folder / 'best.yaml')}",
        sep="\n",
    )


def _verdict(tried: Sequence[Tried], best: Tried, searched: SearchSpace, monitor: str) -> str:
    own = [trial for trial in tried if trial.values == searched.start and trial.state == "complete"]
    start = f" ({own[0].score:.4f} with the config itself)" if own else ""
    return f"{title_of(monitor.removeprefix('val/'))} of validation {best.score:.4f} in trial {best.number}{start}"
