"""How numbers and pictures stand on a page."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentation.errors import InputError
from segmentation.evaluation.html import data_url, number, percent, score, write_html


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.9999, "> 99.9%"),
        (0.123, "12%"),
        (0.0123, "1.2%"),
        (0.000123, "0.01%"),
        (1e-9, "0.01%"),
    ],
)
def test_what_is_there_is_never_none(share: float, text: str) -> None:
    assert percent(share) == text


def test_an_undefined_score_is_a_hyphen() -> None:
    assert [score(value) for value in (0.98765, float("nan"), None, float("inf"))] == ["0.988", "-", "-", "inf"]


def test_numbers_of_16_bit_images_have_no_exponents() -> None:
    values = (33010.2, -65535, 0.012345, 1234.56, 9e15, 0)
    assert [number(value) for value in values] == ["33,010", "-65,535", "0.01235", "1235", "9e+15", "0"]


def test_a_picture_within_the_page_is_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    url = data_url(Image.fromarray(pixels), "png")
    assert url.startswith("data:image/png;base64,")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))), pixels)


def test_a_name_that_is_no_utf_8_is_shown_with_question_marks(tmp_path: Path) -> None:
    report = {"name": "Gr\udcfcn", "place": "y", "trains": True, "problems": (), "warnings": (), "seen": {}}
    report |= {"classes": None, "config": "", "facts": None}
    write_html(tmp_path / "page.html", "check.html", report=report, pictures=[], legend=[])
    assert "Gr?n" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    report = {"name": "x", "place": "y", "trains": True, "problems": (), "warnings": (), "seen": {}, "facts": None}
    report |= {"classes": None, "config": ""}
    with pytest.raises(InputError, match="cannot be written"):
        write_html(tmp_path / "missing" / "page.html", "check.html", report=report, pictures=[], legend=[])
