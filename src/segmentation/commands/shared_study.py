"""One Optuna study in a folder, on which several processes work at once and which outlives each of them."""

import hashlib
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import URL

from segmentation.commands.fit_arguments import FitArguments
from segmentation.commands.fold_states import differences
from segmentation.commands.search_space import SearchSpace
from segmentation.data.splits import Split
from segmentation.errors import InputError
from segmentation.evaluation.study import Tried
from segmentation.metrics.direction import lower_is_better

STUDY = "study.db"

NEVER_STOPPED = 4
"""The first so many trials: of fewer, the median says little."""

WARM = 3
"""No trial is stopped in the first third of its epochs, where a small learning rate is behind and may win."""

_ARGUMENTS, _SPLIT, _INSTEAD_OF, _RUN, _PROBLEM = "arguments", "split", "instead_of", "run", "problem"

_STATES: dict[TrialState, Literal["running", "complete", "pruned", "failed"]] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


def open_study(folder: Path, space: SearchSpace, asked: FitArguments, split: Split) -> optuna.Study:
    """Open the study of a folder, or begin one with the config itself as its first trial.

    Args:
        folder: It exists.
        space: What is varied.
        asked: The config itself; its ``checkpoint.monitor`` is the score, of which higher is better unless it is a loss.
        split: The samples that trials train and are scored on.

    Raises:
        InputError: When the study there is of other arguments or samples, with the differences.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    monitor, epochs = asked.resolved.checkpoint.monitor, asked.resolved.trainer.max_epochs
    arguments = json.loads(json.dumps(space.arguments | {"space": space.given}))  # as the study gives it back
    digest = hashlib.sha256(json.dumps(split).encode()).hexdigest()
    # escapes ? and % as a URL must, and the braces in which Optuna looks for fields
    url = URL.create("sqlite", database=str(folder / STUDY)).render_as_string()
    with others_wait(folder):
        study = optuna.create_study(
            storage=optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}}),
            study_name="tune",
            direction="minimize" if lower_is_better(monitor) else "maximize",
            pruner=optuna.pruners.MedianPruner(NEVER_STOPPED, n_warmup_steps=max(0, epochs or 0) // WARM),
            load_if_exists=True,
        )
        if _ARGUMENTS not in study.user_attrs:
            study.enqueue_trial(space.start)
            study.set_user_attr(_SPLIT, digest)
            study.set_user_attr(_ARGUMENTS, arguments)
        known = study.user_attrs
    stored = known[_ARGUMENTS]
    completed = stored | asked.completed({name: held for name, held in stored.items() if name != "space"})
    # a study of an earlier version has no split
    different = differences(completed, arguments, known.get(_SPLIT, digest) == digest)
    if different:
        lines = "".join(f"\n  {line}" for line in different)
        raise InputError(f"{folder} holds another search:{lines}\ngive the same arguments, or another folder as --out")
    return study


def next_trial(
    study: optuna.Study, folder: Path, space: SearchSpace, count: int, seed: int
) -> tuple[Trial, AbstractContextManager[object]] | None:
    """Draw a trial, and hold it so that other processes know that somebody runs it.

    The system lets go of what a process held, however it ended: a trial that is running and not held was cut off,
    and its values are drawn again.

    Args:
        study: As ``open_study`` gives it.
        folder: Of the study.
        space: What is varied.
        count: Trials in all.
        seed: What is drawn depends on it and on the results so far.

    Returns:
        The trial and what holds it, to be used as ``with held:``; None when all are finished or run elsewhere.
    """
    with others_wait(folder):
        let_go = {one.number for one in _running(study) if not _is_held(_lock(folder, f"trial{one.number}"))}
        for trial in _running(study):  # anew: one may have finished before it was let go of
            if trial.number in let_go:
                draw_again(study, trial)
        if len(_counted(study)) >= count:
            return None
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.get_trials(deepcopy=False)))
        drawn = study.ask(space.distributions)
        return drawn, _lock(folder, f"trial{drawn.number}").acquire()


def draw_again(study: optuna.Study, trial: Trial | FrozenTrial, goes_on: bool = False) -> None:
    """End a trial that was cut off, and put one with the same values into the queue.

    Args:
        study: Of the trial.
        trial: It is running.
        goes_on: In its run folder, instead of anew in another: not safe where its ``fit`` may still run.
    """
    study.tell(trial.number, state=TrialState.FAIL)
    attributes = {_INSTEAD_OF: trial.number} | ({_RUN: run_number(trial)} if goes_on else {})
    study.enqueue_trial(trial.params, user_attrs=attributes)


def give_up(study: optuna.Study, trial: Trial, problem: str) -> None:
    """End a trial that failed."""
    trial.set_user_attr(_PROBLEM, problem)
    study.tell(trial, state=TrialState.FAIL)


def run_number(trial: Trial | FrozenTrial) -> int:
    """Of a trial's run folder: its own number, or that of the trial with whose run it goes on."""
    return int(trial.user_attrs.get(_RUN, trial.number))


def unfinished_runs(study: optuna.Study) -> list[int]:
    """Numbers of the run folders that are still needed."""
    return [run_number(trial) for trial in study.get_trials(deepcopy=False) if not trial.state.is_finished()]


def tried_in(study: optuna.Study) -> list[Tried]:
    """The trials by the number of their run, without those that were cut off and drawn again."""
    return sorted((_tried(trial) for trial in _counted(study)), key=lambda trial: trial.number)


def others_wait(folder: Path) -> FileLock:
    """``with`` it, this process alone works on what all share."""
    return _lock(folder, "study")


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=(TrialState.RUNNING,))


def _counted(study: optuna.Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False)
    replaced = {trial.user_attrs.get(_INSTEAD_OF) for trial in trials}
    return [trial for trial in trials if trial.state in _STATES and trial.number not in replaced]


def _tried(trial: FrozenTrial) -> Tried:
    return Tried(
        number=run_number(trial),
        state=_STATES[trial.state],
        score=trial.value,
        values=trial.params,
        seconds=None if trial.duration is None else trial.duration.total_seconds(),
        problem=trial.user_attrs.get(_PROBLEM, ""),
    )


def _lock(folder: Path, name: str) -> FileLock:
    locks = folder / ".locks"
    locks.mkdir(exist_ok=True)
    return FileLock(locks / name)


def _is_held(lock: FileLock) -> bool:
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
