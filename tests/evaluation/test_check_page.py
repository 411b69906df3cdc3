"""What the page of ``check`` shows."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.problems import Problem
from segmentation.data.sample import Sample
from segmentation.data.source import Source
from segmentation.data.survey import Record
from segmentation.evaluation.check_page import pictures, write_page
from segmentation.evaluation.checked import Report, chosen, shares_of
from segmentation.inference.classes import Classes

CLASSES = Classes(("background", "lesion"))


def record(key: str, lesion: int = 50, std: float = 1.0, size: tuple[int, int] = (10, 10)) -> Record:
    pixels = size[0] * size[1]
    return Record(
        *(key, size, "uint8", 1, key, pixels, np.zeros(1), np.array([std**2 * pixels])),
        *(np.array([pixels - lesion, lesion]), 0, np.zeros((4, 1), np.uint8)),
    )


class Halves(Source):
    """The left half is class 1, the lowest fifth is ignored."""

    classes = CLASSES
    in_channels = 1

    def samples(self) -> list[Sample]:
        return [Sample("a", ())]

    def read_image(self, sample: Sample) -> NDArray[Any]:
        return np.full((100, 2000, 1), 500, np.uint16)

    def read_mask(self, sample: Sample) -> NDArray[np.uint8]:
        mask = np.zeros((100, 2000), np.uint8)
        mask[:, :1000] = 1
        mask[80:] = 255
        return mask


def opened(url: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))


def test_the_odd_ones_are_looked_at_and_never_more_than_fit() -> None:
    records = [record(f"{i}", std=5) for i in range(100)]
    records += [record("empty", 0), record("flat", std=0.1), record("large", size=(50, 50)), record("full", 90)]
    picked = chosen(records, CLASSES)
    assert len(picked) == 24
    assert {picked[key] for key in ("empty", "flat", "large")} == {"one class only", "least contrast", "largest"}
    assert picked["full"] == "most lesion"
    assert len(chosen(records[:3], CLASSES)) == 3


def test_pictures_are_small_and_in_the_colours_of_the_classes() -> None:
    (picture,) = pictures(Halves(), [Sample("a", ())], {"a": "odd"}, {"val": ["a"]})
    mask = opened(picture.mask)
    assert mask.shape == (19, 384, 3) and picture.note == "val, odd"
    np.testing.assert_array_equal(mask[:15, :190], np.broadcast_to(CLASSES.tints[1], (15, 190, 3)))
    assert not mask[:15, 194:].any()
    assert set(np.unique(mask[17:])) == {90, 170}
    assert opened(picture.image).shape == opened(picture.both).shape == (19, 384, 3)


def test_shares_are_those_of_each_list() -> None:
    shares = shares_of(
        [record("a", 50), record("b", 10), record("c", 30)], {"train": ["a", "b"], "val": ["c"], "test": []}
    )
    assert shares == {"train": (2, (0.7, 0.3)), "val": (1, (0.7, 0.3))}


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    problem = Problem("is <b>bad</b>", ("a&b.png",), "mend it")
    write_page(tmp_path / "page.html", Report("<name>", "here", (problem,)))
    page = (tmp_path / "page.html").read_text()
    assert "&lt;name&gt;" in page and "a&amp;b.png" in page and "&lt;b&gt;bad" in page and "Does not train" in page
