"""Paired differences of two reports: numbers by hand, and what may be concluded from them."""

import math
from pathlib import Path

import numpy as np
import pytest

from segmentation.evaluation.comparison.comparison import Comparison, common_ids, compared, letters, verdict
from segmentation.evaluation.comparison.paired import Difference, differences, image_differences
from segmentation.evaluation.report.reported import Reported

NAN = math.nan


def reported(
    values: list[float], score: str = "iou", whole: float = 0.5, groups: list[str] | None = None, **changed: object
) -> Reported:
    ids = tuple(f"{number:03d}" for number in range(len(values)))
    fields = {
        "folder": Path("report"),
        "scored": "test",
        "split": "test",
        "data": "",
        "tolerance": None,
        "checkpoints": ("best.ckpt",),
        "decision": "",
        "classes": ("background", "lesion"),
        "scores": {score: (whole, NAN, NAN)},
        "ids": ids,
        "groups": tuple(groups or [""] * len(values)),
        "sizes": ((4, 5),) * len(values),
        "truths": ("",) * len(values),
        "values": {score: np.array(values, float)},
        "pictures": {},
    }
    return Reported(**(fields | changed))  # type: ignore[arg-type]


def against_zero(values: list[float], score: str = "iou", groups: list[str] | None = None) -> Difference:
    """A report with these values against one that has 0 everywhere."""
    first, second = reported([0.0] * len(values), score, 0.25, groups), reported(values, score, 0.75, groups)
    return differences(first, second, first.ids, dict(zip(first.ids, first.groups, strict=True)))[score]


def test_a_difference_by_hand() -> None:
    one = against_zero([0.1, 0.3, -0.1, 0.0])
    assert one.mean == pytest.approx(0.075)
    assert (one.better, one.worse, one.equal, one.images) == (2, 1, 1, 4)
    assert (one.first, one.second, one.whole) == (0.25, 0.75, 0.5)


def test_the_interval_of_two_images_spans_both() -> None:
    """The resampled means are 0, 1/2 and 1 with shares 1/4, 1/2 and 1/4."""
    one = against_zero([0.0, 1.0])
    assert (one.low, one.high) == (0, 1)


def test_the_interval_is_that_of_the_mean() -> None:
    """Of many images it is the mean -+ 1.96 standard errors."""
    values = np.random.default_rng(1).normal(0.02, 0.1, 400)
    one, error = against_zero(values.tolist()), values.std() / 20
    assert one.low == pytest.approx(values.mean() - 1.96 * error, abs=error / 10)
    assert one.high == pytest.approx(values.mean() + 1.96 * error, abs=error / 10)


def test_whole_groups_are_resampled() -> None:
    """Twenty images of two patients are two pieces of evidence, not twenty."""
    values = [0.0] * 10 + [1.0] * 10
    alone, grouped = against_zero(values), against_zero(values, groups=["a"] * 10 + ["b"] * 10)
    assert (grouped.low, grouped.high) == (0, 1)
    assert alone.low > 0.2 and alone.high < 0.8
    assert alone.p < 0.05 and grouped.p == 1
    assert alone.mean == grouped.mean == 0.5


def test_groups_count_whichever_report_names_them() -> None:
    values, groups = [0.0] * 10 + [1.0] * 10, ["a"] * 10 + ["b"] * 10
    plain, grouped = reported([0.0] * 20), reported(values, groups=groups)
    forwards, backwards = compared([plain, grouped], "iou"), compared([grouped, plain], "iou")
    assert forwards.differences[0]["iou"].p == backwards.differences[0]["iou"].p == 1
    assert not any("group" in warning for warning in forwards.warnings)
    other = compared([reported(values, groups=["c", *groups[1:]]), grouped], "iou")
    assert "1 image has another group in one report than in another: 000; those of the first" in other.warnings[0]


@pytest.mark.parametrize("score", ["iou/lesion", "dice/lesion"])
def test_a_class_that_only_one_network_invents_is_its_mistake(score: str) -> None:
    """Ten images have the class, and the second is better there; on ten others it predicts what is not there."""
    first, second = reported([0.5] * 10 + [NAN] * 11, score), reported([0.52] * 10 + [0.0] * 10 + [NAN], score)
    one = compared([first, second], score)
    difference = one.differences[0][score]
    assert (difference.better, difference.worse, difference.images) == (10, 10, 20)
    assert difference.mean == pytest.approx((10 * 0.02 - 10) / 20)
    assert one.changes(1)[-1] == ("019", 1.0, 0.0)


def test_another_score_needs_a_value_in_both_reports() -> None:
    first, second = reported([1.0, NAN], "hausdorff95/lesion"), reported([2.0, 3.0], "hausdorff95/lesion")
    assert compared([first, second], "hausdorff95/lesion").differences[0]["hausdorff95/lesion"].images == 1


def test_one_group_for_all_is_as_good_as_none() -> None:
    values = [0.1, 0.3, -0.1, 0.4]
    assert against_zero(values, groups=["stack"] * 4) == against_zero(values)


def test_the_test_is_wilcoxons() -> None:
    """All of n differences of one sign: p is 2 / 2^n."""
    assert against_zero([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).p == pytest.approx(2 / 64)
    assert against_zero([0.1, 0.2, 0.3, 0.4, 0.5]).p == pytest.approx(2 / 32)
    # ranks 1 of 4 against the others: W = 1, of 16 sign patterns 2 reach it on each side
    assert against_zero([-0.1, 0.2, 0.3, 0.4]).p == pytest.approx(4 / 16)


def test_better_needs_more_than_five_images_however_clear_they_are() -> None:
    five, six = against_zero([0.5, 0.6, 0.7, 0.8, 0.9]), against_zero([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    assert five.low > 0 and five.shown == 0
    assert six.shown == 1


def test_better_needs_a_mean_that_is_better_too() -> None:
    """Eleven of twelve images gain a little and one is lost: the signs are no chance, the mean says nothing."""
    one = against_zero([0.01 + number / 1000 for number in range(11)] + [-0.9])
    assert one.p < 0.05 and one.low < 0 < one.high
    assert one.shown == 0


def test_models_that_are_equally_good_are_seldom_called_different() -> None:
    random = np.random.default_rng(0)
    called = 0
    for _ in range(200):
        first, second = reported([0.0] * 12), reported(random.normal(0, 0.1, 12).tolist())
        called += differences(first, second, first.ids, {}, resamples=400)["iou"].shown != 0
    assert called <= 18  # 5 % of 200, and three standard deviations more


@pytest.mark.parametrize(
    ("score", "shown"), [("iou", 1), ("hd95", -1), ("hd95/lesion", -1), ("objects_merged", -1), ("objects_found", 1)]
)
def test_distances_and_errors_are_better_when_they_are_lower(score: str, shown: int) -> None:
    one = against_zero([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], score)
    assert one.shown == shown and one.mean == 4
    assert (one.better, one.worse) == ((7, 0) if shown > 0 else (0, 7))


def test_what_is_undefined_in_one_of_both_counts_nowhere() -> None:
    first, second = reported([0.5, NAN, 0.5, 0.5]), reported([0.6, 0.9, NAN, math.inf])
    one = differences(first, second, first.ids, {})["iou"]
    assert one.images == 1 and one.mean == pytest.approx(0.1)
    assert math.isnan(one.low) and one.shown == 0
    nothing = differences(reported([NAN, NAN]), reported([0.5, 0.5]), ["000", "001"], {})["iou"]
    assert nothing.images == 0 and math.isnan(nothing.mean) and math.isnan(nothing.p)
    assert verdict("B", nothing) == "B cannot be compared: no image has iou in both reports"


def test_a_report_equals_itself() -> None:
    one = differences(*[reported([0.1, 0.7, 0.9])] * 2, ["000", "001", "002"], {})["iou"]
    assert (one.mean, one.low, one.high, one.p, one.equal) == (0, 0, 0, 1, 3)
    assert verdict("B", one) == "B: no difference can be shown on 3 images: +0.000 iou (0.000 to 0.000)"


def test_a_score_of_one_report_only_is_left_out_and_one_of_no_image_has_no_interval() -> None:
    first = reported([0.1, 0.2], scores={"iou": (0.5, NAN, NAN), "ece": (0.1, NAN, NAN), "v_rand": (0.9, NAN, NAN)})
    second = reported([0.1, 0.2], scores={"iou": (0.5, NAN, NAN), "ece": (0.3, NAN, NAN)})
    found = differences(first, second, first.ids, {})
    assert list(found) == ["iou", "ece"]
    assert found["ece"].images == 0 and found["ece"].whole == pytest.approx(0.2)


def test_images_in_another_order_are_paired_by_id() -> None:
    first = reported([0.1, 0.2, 0.3])
    second = reported([0.3, 0.2, 0.1], ids=("002", "001", "000"))
    assert not image_differences(first, second, first.ids, "iou").any()


def test_an_image_of_another_size_is_another_image() -> None:
    first = reported([0.1, 0.2, 0.3])
    second = reported([0.1, 0.2, 0.3], ids=("002", "000", "x"), sizes=((4, 5), (9, 9), (4, 5)))
    assert common_ids([first, second]) == ["002"]
    assert common_ids([first, first, second]) == ["002"]


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Difference("iou", 0, 0, 0.012, 0.004, 0.02, 0.001, 25, 5, 0), "B is better: +0.012 iou (0.004 to 0.020), 25 of 30 images"),
        (Difference("iou", 0, 0, -0.2, -0.3, -0.1, 0.01, 1, 8, 0), "B is worse: -0.200 iou (-0.300 to -0.100), 8 of 9 images"),
        (Difference("hd95", 0, 0, -2, -3, -1, 0.01, 8, 1, 0), "B is better: -2.000 hd95 (-3.000 to -1.000), 8 of 9 images"),
        (
            Difference("iou", 0, 0, 3e-5, -1e-5, 7e-5, 0.3, 4, 2, 0),
            "B: no difference can be shown on 6 images: +0.000030 iou (-0.000010 to 0.000070)",
        ),
        (
            Difference("iou", 0, 0, 0.1, NAN, NAN, 1.0, 1, 0, 0),
            "B: no difference can be shown on 1 image: +0.100 iou (no interval)",
        ),
    ],
)  # fmt: skip
def test_verdicts_in_words(difference: Difference, text: str) -> None:
    assert verdict("B", difference) == text


def test_the_images_that_changed_most_come_first() -> None:
    first = reported([0.5, 0.5, 0.5, 0.5, NAN])
    second = reported([0.6, 0.9, 0.2, 0.5, 0.5])
    found = Comparison((first, second), "iou", first.ids, (), (differences(first, second, first.ids, {}),), (), {})
    gained, lost = found.most_changed(1, 5)
    assert [key for key, _, _ in gained] == ["001", "000"]
    assert [key for key, _, _ in lost] == ["002"]
    assert found.most_changed(1, 1)[0] == [("001", 0.5, 0.9)]


def test_the_names_go_on_after_z() -> None:
    assert [letters(number) for number in (0, 1, 25, 26, 51, 52)] == ["A", "B", "Z", "AA", "AZ", "BA"]
