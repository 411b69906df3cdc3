"""What is told about a data set, on records whose numbers are known."""

import numpy as np
import pytest

from segmentation.data.checking.findings import hopeless, measure, warnings
from segmentation.data.survey import Record
from segmentation.inference.classes import Classes

CLASSES = Classes(("background", "lesion", "vessel"))


def record(
    key: str,
    pixels: tuple[int, ...] = (80, 15, 5),
    size: tuple[int, int] = (10, 10),
    digest: str = "",
    values: tuple[int, ...] = (0, 255),
    ignored: int = 0,
) -> Record:
    """An image whose pixels hold ``values`` equally often."""
    count = size[0] * size[1]
    sample = np.resize(np.array(values, np.uint8), (count, 1))
    return Record(
        *(key, size, "uint8", 1, digest or key, count),
        *(sample.sum(0, float), (sample.astype(float) ** 2).sum(0), np.array(pixels), ignored, sample),
    )


def told(records: list[Record], split: dict[str, list[str]] | None = None) -> dict[str, tuple[str, ...]]:
    files = {one.id: f"images/{one.id}.png" for one in records}
    return {problem.fault: problem.files for problem in warnings(records, CLASSES, split, files)}


def found(faults: dict[str, tuple[str, ...]], part: str) -> tuple[str, ...]:
    return next(files for fault, files in faults.items() if part in fault)


def test_shares_are_those_of_pixels_and_of_images() -> None:
    facts = measure([record("a", (90, 10, 0)), record("b", (50, 30, 0), ignored=20), record("c", (100, 0, 0))])
    assert facts.class_pixels == pytest.approx((240 / 280, 40 / 280, 0))
    assert facts.class_images == pytest.approx((1, 2 / 3, 0))
    assert facts.ignored == pytest.approx(20 / 300)
    assert facts.one_class == 1 and facts.common == 0


def test_intensity_is_that_of_the_stored_pixels() -> None:
    (channel,) = measure([record("a", values=(0, 100)), record("b", values=(200,))]).intensity
    assert (channel.lowest, channel.highest, channel.mean) == (0, 200, pytest.approx(125))
    assert channel.std == pytest.approx(np.std([0, 100, 200, 200]))
    assert channel.bounds == (0, 256) and len(channel.histogram) == 64
    assert {i: share for i, share in enumerate(channel.histogram) if share} == {0: 0.25, 25: 0.25, 50: 0.5}


def test_the_shortest_side_is_that_of_most_images() -> None:
    facts = measure([record(str(i), size=(40, 50)) for i in range(19)] + [record("tiny", size=(9, 90))])
    assert facts.shortest_side(0.1) == 40 and facts.shortest_side(0) == 9


def test_nothing_is_told_of_data_in_order() -> None:
    ids = list("012345")
    assert told([record(key) for key in ids], {"train": ids[:3], "val": ids[3:], "test": []}) == {}


def test_a_copy_in_another_list_is_a_leak_and_names_both_with_their_lists() -> None:
    records = [record("a", digest="x"), record("b"), record("c", digest="x")]
    faults = told(records, {"train": ["a", "b"], "val": ["c"]})
    assert found(faults, "in several sets") == ("images/a.png (train) = images/c.png (val)",)
    assert not any("more than once" in fault for fault in faults)


def test_a_copy_within_a_list_counts_double() -> None:
    records = [record("a", digest="x"), record("b", digest="x"), *map(record, "cde")]
    faults = told(records, {"train": ["a", "b"], "val": ["c", "d", "e"]})
    assert list(faults) == ["the same image is there more than once"]


def test_copies_with_different_masks_contradict_each_other() -> None:
    faults = told([record("a", (90, 5, 5), digest="x"), record("b", (5, 90, 5), digest="x")])
    assert found(faults, "different masks") == ("images/a.png = images/b.png",)


def test_a_class_that_a_list_lacks_is_named() -> None:
    poor, rich = [record(key, (90, 10, 0)) for key in "abc"], [record(key, (90, 5, 5)) for key in "def"]
    faults = told(poor + rich, {"train": ["a", "b", "c"], "val": ["d", "e", "f"]})
    assert list(faults) == ["none of the 3 train samples holds 'vessel': it cannot be learnt"]
    more = [record(key, (90, 10, 0)) for key in "xyz"]
    faults = told(poor + more, {"train": ["a", "b", "c"], "val": ["x", "y", "z"]})
    assert list(faults) == ["no mask at all holds 'vessel': it cannot be learnt and gets no score"]


def test_a_validation_of_one_or_two_images_is_told() -> None:
    records = [record(str(at)) for at in range(6)]
    ids = [one.id for one in records]
    assert any("a single image decides" in fault for fault in told(records, {"train": ids[:5], "val": ids[5:]}))
    assert any("2 images decide" in fault for fault in told(records, {"train": ids[:4], "val": ids[4:]}))
    assert told(records, {"train": ids[:3], "val": ids[3:]}) == {}
    assert told(records) == {}


@pytest.mark.parametrize(
    ("odd", "part"),
    [
        (record("odd", (100, 0, 0)), "holds 'background' and nothing else"),
        (record("odd", values=(100, 101)), "shows next to nothing"),
        (record("odd", size=(30, 30)), "over 4 times as large"),
        (record("odd", size=(4, 4)), "less than 1/4 as large"),
        (record("odd", (0, 0, 0), ignored=100), "every pixel of the mask is ignored"),
    ],
)
def test_an_odd_image_is_named_and_no_other(odd: Record, part: str) -> None:
    faults = told([record("a"), record("b"), odd, record("c")])
    assert len(faults) == 1
    assert [name.split(" ")[0] for name in found(faults, part)] == ["images/odd.png"]


def test_masks_of_one_class_are_hopeless() -> None:
    (problem,) = hopeless(measure([record("a", (100, 0, 0)), record("b", (100, 0, 0))]), CLASSES)
    assert "all 2 samples hold only 'background'" in problem.fault and "mask_values" in problem.cure
    assert hopeless(measure([record("a")]), CLASSES) == []
