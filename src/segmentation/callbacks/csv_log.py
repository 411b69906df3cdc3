"""metrics.csv in the run folder, continued when a run is resumed."""

import csv
import os
import time
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

SECONDS = "seconds"
"""Column of the wall time since ``fit`` had built its network, over all parts of a run that was resumed."""


class RunCsv(CSVLogger):
    """Lightning's CSVLogger, which deletes an earlier file, made to append, and to tell the time of each row.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(save_dir=folder, name="", version="", flush_logs_every_n_steps=10)
        self._began = time.monotonic()

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer of this run."""
        if self._experiment is None:
            self._experiment = _AppendingWriter(self.log_dir, self._began)
        return self._experiment  # type: ignore[return-value] # narrower than fabric's

    def log_hyperparams(self, params: Any = None) -> None:
        """Nothing: config.yaml has them."""


class _AppendingWriter(ExperimentWriter):
    def __init__(self, log_dir: str, began: float) -> None:
        self._began = began
        super().__init__(log_dir)

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics_dict, step)
        self.metrics[-1][SECONDS] = round(time.monotonic() - self._began, 2)

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            whole = path.read_bytes().rfind(b"\n") + 1
            os.truncate(path, whole)  # a kill may have cut the last row short
            with path.open(newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                self.metrics_keys = list(rows.fieldnames or [])
                self._began -= max((float(row[SECONDS]) for row in rows if row.get(SECONDS)), default=0.0)
