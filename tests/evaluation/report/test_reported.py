"""Reports that are found by their folder."""

import os
from pathlib import Path

from segmentation.evaluation.report import reported


def test_the_newest_report_of_a_run_is_meant(tmp_path: Path) -> None:
    for name, time in (("report-val-b", 0), ("report-val-c", 9), ("report-val-a", 2)):
        (tmp_path / name).mkdir()
        for file in (reported.SCORES, reported.IMAGES, "report.html"):
            (tmp_path / name / file).write_text("{}")
            os.utime(tmp_path / name / file, (time, time))
    assert reported.find_report(tmp_path).name == "report-val-c"
