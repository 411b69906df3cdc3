"""A file is whole or as it was before, whoever else writes it and whatever it is called."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from segmentation.data.replacing import replaced, write_json, write_whole


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with replaced(target) as first:
        first.write_text("first")
        with replaced(target) as second:
            second.write_text("second")
        assert target.read_text() == "second"
    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def fail_in(target: Path) -> None:
    with replaced(target) as temporary:
        temporary.write_text("ha")
        raise ZeroDivisionError


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("whole")
    with pytest.raises(ZeroDivisionError):
        fail_in(target)
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    target = tmp_path / ("a" * 251 + ".txt")
    with replaced(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"


def test_who_may_read_it_is_as_for_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replaced(tmp_path / "a.txt") as temporary:
            temporary.write_text("whole")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_a_text_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_whole(target, "Größe")
    with pytest.raises(UnicodeEncodeError):
        write_whole(target, "\udcff")
    assert target.read_bytes() == "Größe".encode()
    assert list(tmp_path.iterdir()) == [target]


def test_json_has_null_for_numbers_that_it_lacks(tmp_path: Path) -> None:
    content = {"a": [1.5, math.nan, (math.inf, 2)], "b": {"c": -math.inf, "d": "NaN"}, "e": np.float64("nan")}
    write_json(tmp_path / "a.json", content)
    expected = {"a": [1.5, None, [None, 2]], "b": {"c": None, "d": "NaN"}, "e": None}
    assert json.loads((tmp_path / "a.json").read_text()) == expected
