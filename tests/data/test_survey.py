"""What is counted in a data set, and that all that is wrong with it is said at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmentation.data import survey as survey_module
from segmentation.data.dataset import Reader
from segmentation.data.digest import digest
from segmentation.data.problems import DataError, FileError, Problem
from segmentation.data.sources.folder import FolderSource
from segmentation.data.survey import Record, class_pixels, normalisation, survey
from segmentation.errors import InputError

SourceOf = Callable[..., Any]
MASK = np.array([[0, 0], [1, 255]], np.uint8)


def grey(*rows: list[float], dtype: str = "uint8") -> np.ndarray:
    return np.array(rows, dtype)[..., None]


def surveyed(source: Any, **options: Any) -> list[Record]:
    records, problems = survey(Reader(source), source.samples(), **options)
    assert problems == []
    return records


def problems_of(source: Any) -> list[str]:
    return [str(problem) for problem in survey(Reader(source), source.samples())[1]]


def test_a_record_describes_a_sample(source_of: SourceOf) -> None:
    image = np.array([[[1, 10], [2, 20], [3, 30]], [[4, 40], [5, 50], [6, 60]]], np.uint16)
    mask = np.array([[0, 2, 2], [2, 255, 0]], np.uint8)
    (record,) = surveyed(source_of({"a": (image, mask)}, names=("sky", "road", "car"), in_channels=2))
    assert (record.id, record.size, record.dtype, record.channels, record.pixels) == ("a", (2, 3), "uint16", 2, 6)
    assert record.sums.tolist() == [21, 210]
    assert record.squares.tolist() == [91, 9100]
    assert record.class_pixels.tolist() == [2, 0, 3]
    assert record.ignored == 1
    assert (record.lowest, record.highest) == ((1, 10), (6, 60))
    assert record.pixel_sample.dtype == np.uint16
    assert record.pixel_sample.tolist() == [[n, 10 * n] for n in range(1, 7)]


def test_the_pixels_kept_of_a_large_image_are_few_and_evenly_spread(source_of: SourceOf) -> None:
    ramp = np.arange(200 * 300, dtype=np.uint16).reshape(200, 300, 1)
    (record,) = surveyed(source_of({"a": (ramp, np.zeros((200, 300), np.uint8))}))
    assert record.pixel_sample.shape == (1024, 1)
    steps = np.diff(record.pixel_sample[:, 0].astype(int))
    assert (record.pixel_sample.min(), record.pixel_sample.max()) == (0, 59999)
    assert set(steps.tolist()) <= {58, 59}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
def test_sums_are_exact_in_every_pixel_type(source_of: SourceOf, dtype: str) -> None:
    top = 255 if dtype == "uint8" else 30000
    image = np.random.default_rng(0).integers(0, top, (70, 90, 3)).astype(dtype)
    (record,) = surveyed(source_of({"a": (image, np.zeros((70, 90), np.uint8))}, in_channels=3))
    whole = image.astype(np.int64)
    assert record.sums.tolist() == whole.sum((0, 1)).tolist()
    assert record.squares.tolist() == (whole**2).sum((0, 1)).tolist()
    assert record.lowest == tuple(whole.min((0, 1)))
    assert record.highest == tuple(whole.max((0, 1)))


def test_each_sample_is_shown_with_its_arrays_or_without(source_of: SourceOf) -> None:
    torn = (InputError("b is torn"), MASK)
    source = source_of({"a": (grey([1, 3], [5, 7]), MASK), "b": torn, "c": (grey([1, 3], [5, 7]), MASK)})
    shown: list[tuple[str, object]] = []
    records, problems = survey(
        Reader(source), source.samples(), look=lambda sample, pair: shown.append((sample.id, pair and pair[0].shape))
    )
    assert shown == [("a", (2, 2, 1)), ("b", None), ("c", (2, 2, 1))]
    assert (len(records), len(problems)) == (2, 1)


def test_normalisation_is_over_pixels_not_images(source_of: SourceOf) -> None:
    source = source_of({"a": (grey([1, 3], [5, 7]), MASK), "b": (grey([2]), MASK[:1, :1])})
    mean, std = normalisation(surveyed(source))
    # 18 / 5; 88 / 5 - 3.6 ** 2 = 4.64
    assert mean == pytest.approx([3.6])
    assert std == pytest.approx([4.64**0.5])


def test_normalisation_of_a_flat_channel_has_no_deviation(source_of: SourceOf) -> None:
    flat = np.full((2, 2, 1), 0.1, np.float32)
    mean, std = normalisation(surveyed(source_of({"a": (flat, MASK)})))
    assert mean == pytest.approx([0.1])
    assert std == pytest.approx([0], abs=1e-6)


def test_large_16_bit_images_are_summed_without_overflow(source_of: SourceOf) -> None:
    image = np.zeros((512, 512, 1), np.uint16)
    image[:256] = 65535
    mean, std = normalisation(surveyed(source_of({"a": (image, np.zeros((512, 512), np.uint8))})))
    assert (mean, std) == ([32767.5], [32767.5])


def test_class_pixels_are_summed_and_ignored_ones_not_counted(source_of: SourceOf) -> None:
    source = source_of({"a": (grey([1, 3], [5, 7]), MASK), "b": (grey([1, 3], [5, 7]), MASK)})
    assert class_pixels(surveyed(source)).tolist() == [4, 2]


def test_all_problems_come_in_one_message(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, size, value in (("fine", 8, 1), ("narrow", 6, 1), ("values", 8, 7), ("cut", 8, 1)):
        Image.fromarray(np.zeros((8, size), np.uint8)).save(tmp_path / "images" / f"{name}.png")
        mask = np.zeros((8, 8), np.uint8)
        mask[0, 0] = value
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    cut = tmp_path / "images" / "cut.png"
    cut.write_bytes(cut.read_bytes()[:40])
    problems = problems_of(FolderSource(tmp_path, in_channels=1))
    assert len(problems) == 3
    assert "cut.png: cannot be read" in problems[0]
    assert "narrow.png: is 8x6 (HxW), its mask 8x8" in problems[1]
    assert "values.png: mask values without a meaning: 7" in problems[2]


def test_twenty_problems_are_shown_and_the_rest_counted(source_of: SourceOf) -> None:
    source = source_of({f"s{number}": (InputError(f"s{number} is torn"), MASK) for number in range(23)})
    _, problems = survey(Reader(source), source.samples())
    lines = str(DataError(problems)).splitlines()
    assert lines[0] == "23 problems in the data:"
    assert lines[1:21] == [f"  s{number} is torn" for number in range(20)]
    assert lines[21:] == ["  ... and 3 more"]


def test_a_fault_of_many_files_is_one_problem(source_of: SourceOf) -> None:
    torn = {key: (FileError(f"{key}.png", "is torn", "replace it"), MASK) for key in "bcd"}
    source = source_of(torn | {"a": (grey([1, 3], [5, 7]), MASK)})
    _, problems = survey(Reader(source), source.samples())
    assert problems == [Problem("is torn", ("b.png", "c.png", "d.png"), "replace it")]


def test_pixels_that_are_no_numbers_are_refused(source_of: SourceOf) -> None:
    image = np.zeros((2, 2, 2), np.float32)
    image[0, 0] = np.nan  # both channels of one pixel
    image[1, 1, 0] = np.inf
    lines = problems_of(source_of({"a": (image, MASK)}, in_channels=2))
    assert lines == ["a.png: holds pixels that are NaN or infinite. Repair the image"]


def test_mixed_pixel_types_are_refused_with_an_example_each(source_of: SourceOf) -> None:
    lines = problems_of(
        source_of({"a": (grey([1, 3], [5, 7]), MASK), "b": (grey([1, 3], [5, 7], dtype="uint16"), MASK)})
    )
    assert lines == ["images of different pixel types: {'uint8': 'a', 'uint16': 'b'}. Convert them to one type"]


@pytest.mark.parametrize(("memory", "kept"), [(24, ["a", "b", "c"]), (23, []), (0, [])])
def test_decoded_samples_are_kept_when_all_fit(source_of: SourceOf, memory: int, kept: list[str]) -> None:
    source = source_of({key: (grey([1, 3], [5, 7]), MASK) for key in "abc"})  # 4 bytes of image, 4 of mask each
    reader = Reader(source)
    survey(reader, source.samples(), memory=memory)
    assert sorted(reader.kept) == kept


def test_what_was_kept_before_stays(source_of: SourceOf) -> None:
    source = source_of({key: (grey([1, 3], [5, 7]), MASK) for key in "ab"})
    reader = Reader(source)
    survey(reader, source.samples()[:1], memory=8)
    survey(reader, source.samples()[1:], memory=7)
    assert sorted(reader.kept) == ["a"]


def test_a_digest_stands_for_the_pixels() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    other = image.copy()
    other[1, 1] += 1
    assert digest(image) == digest(image.copy()) == digest(np.asfortranarray(image))
    different = [image, other, image.reshape(4, 3, 1), image.view(np.int8), image.astype(np.uint16), image[::-1]]
    assert len({digest(array) for array in different}) == 6


def test_copies_share_the_digest_of_their_records(source_of: SourceOf) -> None:
    source = source_of(
        {"a": (grey([1, 3], [5, 7]), MASK), "b": (grey([1, 3], [5, 8]), MASK), "copy": (grey([1, 3], [5, 7]), MASK)}
    )
    digests = {record.id: record.digest for record in surveyed(source)}
    assert digests["a"] == digests["copy"] != digests["b"]


def test_of_many_samples_an_even_share_is_read(source_of: SourceOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "SURVEYED", 3)
    source = source_of({f"s{number}": (grey([1, 3], [5, 7]), MASK) for number in range(9)})
    reader = Reader(source)
    records, _ = survey(reader, source.samples(), memory=10**9)
    assert [record.id for record in records] == ["s0", "s4", "s8"]
    assert sorted(source.reads) == ["s0", "s4", "s8"]
    assert reader.kept == {}  # a part of the data in memory would help little and mislead


def test_no_sample_is_no_problem(source_of: SourceOf) -> None:
    assert survey(Reader(source_of({})), []) == ([], [])
