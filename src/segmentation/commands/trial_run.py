"""One trial of a search: a ``fit`` in a process of its own, stopped early where it is hopeless."""

import csv
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import Trial

from segmentation.callbacks.runs import stored_scores
from segmentation.commands.crossval import FIT
from segmentation.commands.fold_states import going_on
from segmentation.commands.processes import Program, run_all
from segmentation.errors import InputError


def train(trial: Trial, run: Path, fit: Sequence[str], monitor: str) -> float | None:
    """Fit in a process of its own, which leaves no memory behind and takes no other trial down with it.

    Args:
        trial: Gets the score of each validation, and says whether to go on.
        run: Run folder; beside it are ``run.yaml``, the config of this trial, and ``run.log``. A run there goes on.
        fit: Arguments of ``fit``, over which that config is laid.
        monitor: The score, such as ``val/iou``.

    Returns:
        The score of the best checkpoint; None where the trial said to stop.

    Raises:
        InputError: When the fit failed, with its reason.
        SystemExit: When a signal stopped it.
    """
    log = run.with_suffix(".log")
    command = [*FIT, *fit, "--config", str(run.with_suffix(".yaml")), "--run_folder", str(run), *going_on(run)]
    watch = _Watch(trial, run / "metrics.csv", monitor)
    [status] = run_all([Program(run.name, command, log, watch)], [None])
    scores = stored_scores(run)
    if status == 0 and scores is not None:
        score: float | None = scores.get(monitor.removeprefix("val/"))
        if score is None:
            raise InputError(f"its {monitor} is undefined")
        return score
    if watch.stopped:
        return None
    raise InputError(f"{_reason(log, status)} (its output is in {log})")


class _Watch:
    """Reports each validation once, and says when the run should end."""

    def __init__(self, trial: Trial, metrics: Path, monitor: str) -> None:
        self.trial = trial
        self.metrics = metrics
        self.monitor = monitor
        self.stopped = False
        self._reported: set[int] = set()

    def __call__(self) -> bool:
        new = {epoch: score for epoch, score in self._validations() if epoch not in self._reported}
        for epoch, score in new.items():
            self.trial.report(score, epoch)
        self._reported |= new.keys()
        self.stopped = self.stopped or (bool(new) and self.trial.should_prune())
        return self.stopped

    def _validations(self) -> list[tuple[int, float]]:
        if not self.metrics.is_file():
            return []
        with self.metrics.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get(self.monitor) and row.get("epoch")]
        return [(int(row["epoch"]), float(row[self.monitor])) for row in rows]


def _reason(log: Path, status: int) -> str:
    """The message of a fit that failed: what it called an error, else its last line."""
    if status < 0:
        return f"killed by signal {-status}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["ended without a validation"])[-1] if status else "ended without a validation"
