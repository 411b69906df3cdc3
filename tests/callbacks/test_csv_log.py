"""metrics.csv tells the time of each row, over all parts of a run."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from segmentation.callbacks import csv_log
from segmentation.callbacks.csv_log import RunCsv


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(csv_log, "time", clock)
    return clock


def logged(logger: RunCsv, step: int, **metrics: float) -> list[dict[str, Any]]:
    logger.log_metrics(metrics, step)
    logger.save()
    with Path("metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_has_the_seconds_since_fit_began(clock: SimpleNamespace) -> None:
    logger = RunCsv(Path())
    clock.now = 103.456
    assert logged(logger, 3, loss=0.5) == [{"loss": "0.5", "seconds": "3.46", "step": "3"}]


def test_a_resumed_run_goes_on_counting(clock: SimpleNamespace) -> None:
    first = RunCsv(Path())
    clock.now = 110
    logged(first, 3, loss=0.5)
    clock.now = 500  # killed meanwhile
    second = RunCsv(Path())
    clock.now = 502
    rows = logged(second, 4, iou=0.7)
    assert [row["seconds"] for row in rows] == ["10.0", "12.0"]
    assert rows[1] == {"iou": "0.7", "loss": "", "seconds": "12.0", "step": "4"}


def test_a_run_of_an_older_version_goes_on(clock: SimpleNamespace) -> None:
    Path("metrics.csv").write_text("loss,step\n0.5,3\n0.4,4\n")
    logger = RunCsv(Path())
    clock.now = 101
    assert [row["seconds"] for row in logged(logger, 5, loss=0.3)] == ["", "", "1.0"]


def test_a_row_that_a_kill_cut_short_is_passed_over(clock: SimpleNamespace) -> None:
    Path("metrics.csv").write_text("loss,seconds,step\n0.5,7.5,3\n0.4,81")
    logger = RunCsv(Path())
    clock.now = 101
    assert [row["seconds"] for row in logged(logger, 5, loss=0.3)] == ["7.5", "8.5"]
    assert [row["iou"] for row in logged(logger, 6, iou=0.7)] == ["", "", "0.7"]
