"""Reports that are found by their folder."""

import os
from pathlib import Path

import pytest

from segmentation.errors import InputError
from segmentation.evaluation.report import reported


def test_the_newest_report_of_a_run_is_meant(tmp_path: Path) -> None:
    for name, time in (("report-val-b", 0), ("report-val-c", 9), ("report-val-a", 2)):
        (tmp_path / name).mkdir()
        for file in (reported.SCORES, reported.IMAGES, "report.html"):
            (tmp_path / name / file).write_text("{}")
            os.utime(tmp_path / name / file, (time, time))
    assert reported.find_report(tmp_path).name == "report-val-c"


def test_a_report_whose_scores_were_cut_is_not_the_newest(tmp_path: Path) -> None:
    for name, scores in (("report-val-a", "{}"), ("report-val-b", ""), ("report-val-c", '{"scored":')):
        (tmp_path / name).mkdir()
        (tmp_path / name / reported.IMAGES).touch()
        (tmp_path / name / reported.SCORES).write_text(scores)
    os.utime(tmp_path / "report-val-a" / reported.SCORES, (0, 0))
    assert reported.find_report(tmp_path).name == "report-val-a"
    with pytest.raises(InputError, match="report-val-b is no report that can be read"):
        reported.read_report(reported.find_report(tmp_path / "report-val-b"))
