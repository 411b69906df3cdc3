"""Mask values -> class indices, and what is refused with which cure."""

from pathlib import Path

import numpy as np
import pytest

from segmentation.data.masks import MaskRule
from segmentation.data.sample import Part
from segmentation.data.unknown_values import UnknownValuesError, unknown_values
from segmentation.errors import InputError
from segmentation.inference.classes import Classes

TWO = Classes(("background", "lesion"))
THREE = Classes(("sky", "road", "car"))
PART = Part(Path("train/17.png"))


def grid(*values: float, dtype: str = "uint8") -> np.ndarray:
    """A mask of two rows that holds each value twice."""
    return np.array([values, values[::-1]], dtype)


def refusal(
    values: np.ndarray, classes: Classes = TWO, mapping: dict[int, int] | None = None, part: Part = PART
) -> str:
    with pytest.raises(InputError) as caught:
        MaskRule(classes, mapping).decode(values, part)
    return str(caught.value)


def test_indices_and_ignore_pass_unchanged() -> None:
    values = grid(0, 1, 2, 255)
    decoded = MaskRule(THREE).decode(values, PART)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, values)


def test_a_mapping_is_applied() -> None:
    decoded = MaskRule(TWO, {0: 0, 128: 255, 255: 1}).decode(grid(0, 128, 255), PART)
    np.testing.assert_array_equal(decoded, [[0, 255, 1], [1, 255, 0]])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "int64", "float32"])
def test_every_dtype_means_the_same(dtype: str) -> None:
    decoded = MaskRule(TWO).decode(grid(0, 1, dtype=dtype), PART)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, [[0, 1], [1, 0]])


@pytest.mark.parametrize("values", [grid(0, 65535, dtype="uint16"), grid(0, 65535, dtype="float64")])
def test_values_beyond_a_byte_are_mapped(values: np.ndarray) -> None:
    np.testing.assert_array_equal(MaskRule(TWO, {0: 0, 65535: 1}).decode(values, PART), [[0, 1], [1, 0]])


def test_negative_values_are_mapped_or_refused() -> None:
    values = grid(-1, 0, 1, dtype="int16")
    decoded = MaskRule(TWO, {-1: 255, 0: 0, 1: 1}).decode(values, PART)
    np.testing.assert_array_equal(decoded, [[255, 0, 1], [1, 0, 255]])
    assert "[-1, 0, 1]" in refusal(values)


def test_0_and_255_are_refused_with_the_mapping() -> None:
    assert refusal(grid(0, 255)) == (
        "mask train/17.png holds the values [0, 255]; 2 classes mean 0..1 (255 = ignore); set data.source.mask_values: "
        "{0: 0, 255: 1}, or, where 255 means ignore, {0: 0, 1: 1, 255: 255}"
    )


def test_a_mask_of_255_alone_is_refused() -> None:
    assert "{0: 0, 255: 1}" in refusal(grid(255, 255))


def test_255_is_ignored_where_it_can_only_mean_that() -> None:
    for classes, values, mapping in (
        (TWO, grid(0, 1, 255), None),
        (TWO, grid(1, 255), None),
        (THREE, grid(0, 255), None),
        (TWO, grid(0, 255), {0: 0, 1: 1, 255: 255}),
        (Classes(("a", "b"), ignore_index=254), grid(0, 254), None),
    ):
        np.testing.assert_array_equal(MaskRule(classes, mapping).decode(values, PART), values)


def test_the_refused_suggestion_works_when_it_is_followed() -> None:
    values = grid(1, 7, 200)
    message = refusal(values, THREE)
    assert "set data.source.mask_values: {1: 0, 7: 1, 200: 2}" in message
    np.testing.assert_array_equal(MaskRule(THREE, {1: 0, 7: 1, 200: 2}).decode(values, PART)[0], [0, 1, 2])


def test_one_value_too_many_is_a_void_or_a_forgotten_class() -> None:
    message = refusal(grid(0, 1, 2, 3), THREE)
    assert "{0: 0, 1: 1, 2: 2, 3: 255} to ignore 3" in message
    assert "data.source.classes" in message


def test_a_trimap_is_not_guessed_but_an_example_is_given() -> None:
    message = refusal(grid(0, 128, 255))
    assert "[0, 128, 255]" in message
    assert "for example {0: 0, 128: 255, 255: 1}" in message


def test_values_that_a_mapping_lacks_are_named() -> None:
    message = refusal(grid(0, 128, 255), TWO, {0: 0, 255: 1})
    assert "holds the values [0, 128, 255]" in message
    assert "data.source.mask_values is {0: 0, 255: 1}; add 128 to it" in message


@pytest.mark.parametrize("mapping", [None, {0: 0, 255: 1}])
def test_an_antialiased_mask_is_refused_as_such(mapping: dict[int, int] | None) -> None:
    message = refusal(grid(*range(0, 256, 5)), TWO, mapping)
    assert "52 different values (0, 5, 10 ... 255)" in message
    assert "antialiasing" in message
    assert "PNG or TIFF" in message


def test_numbered_objects_are_told_from_antialiasing() -> None:
    for values in (grid(*range(40)), grid(0, *range(300, 340), dtype="uint16")):
        message = refusal(values)
        assert "instance ids" in message
        assert "antialiasing" not in message


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_a_jpeg_mask_is_refused_even_with_good_values(suffix: str) -> None:
    message = refusal(grid(0, 1), part=Part(Path(f"train/17{suffix}")))
    assert f"train/17{suffix}" in message
    assert "PNG or TIFF" in message


def test_equal_channels_are_one_and_others_are_refused() -> None:
    values = grid(0, 1)
    grey = np.repeat(values[..., None], 3, axis=-1)
    opaque = np.concatenate([grey, np.full((2, 2, 1), 255, np.uint8)], axis=-1)
    for channels in (grey, opaque):
        np.testing.assert_array_equal(MaskRule(TWO).decode(channels, PART), values)
    grey[0, 0, 2] = 9
    message = refusal(grey)
    assert "train/17.png has 3 channels that differ" in message
    assert "save it as" in message


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_fractions_are_refused(value: float) -> None:
    assert "fractions" in refusal(grid(0, value, dtype="float32"))


def test_the_last_class_that_a_mask_can_hold() -> None:
    names = tuple(f"class_{number}" for number in range(255))
    values = grid(0, 253, 255)
    np.testing.assert_array_equal(MaskRule(Classes(names[:254])).decode(values, PART), values)
    assert "[253, 254, 255]" in refusal(grid(253, 254, 255), Classes(names[:254]))
    with pytest.raises(InputError, match="there are 255 classes; masks can be read as at most 254"):
        MaskRule(Classes(names))


@pytest.mark.parametrize("mapping", [{}, {0: 0, 255: 2}, {0: -1}])
def test_a_mapping_to_no_class_is_refused(mapping: dict[int, int]) -> None:
    with pytest.raises(InputError, match="data.source.mask_values"):
        MaskRule(TWO, mapping)


def test_colours_mean_classes_and_ignore() -> None:
    classes = Classes(("background", "car"))
    rule = MaskRule(classes, {"background": [0, 0, 0], "car": [64, 0, 128], "ignore": [255, 255, 255]})
    colored = np.array([[[0, 0, 0], [64, 0, 128]], [[255, 255, 255], [64, 0, 128]]], np.uint8)
    assert rule.decode(colored, PART).tolist() == [[0, 1], [255, 1]]
    opaque = np.concatenate([colored, np.full((2, 2, 1), 255, np.uint8)], 2)
    assert rule.decode(opaque, PART).tolist() == [[0, 1], [255, 1]]
    colored[0, 0] = [1, 2, 3]
    with pytest.raises(UnknownValuesError, match=r"\[1, 2, 3\]"):
        rule.decode(colored, PART)
    assert MaskRule(classes, {"background": [0, 0, 0], "car": [64, 0, 128]}, ignore_unknown=True).decode(
        colored, PART
    ).tolist() == [[255, 1], [255, 1]]


@pytest.mark.parametrize(("dtype", "opaque"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
@pytest.mark.parametrize("copies", [1, 3])
def test_an_opaque_alpha_of_any_depth_is_no_class(dtype: str, opaque: int, copies: int) -> None:
    values = np.stack([grid(0, 1, dtype=dtype)] * copies + [np.full((2, 2), opaque, dtype)], 2)
    np.testing.assert_array_equal(MaskRule(TWO).decode(values, PART), [[0, 1], [1, 0]])
    values[0, 0, -1] = 0  # not opaque
    assert f"{copies + 1} channels that differ" in refusal(values)


def test_several_colours_are_ignored() -> None:
    classes = Classes(("background", "car"))
    colors = {"background": [0, 0, 0], "car": [64, 0, 128], "ignore": [[255, 255, 255], [9, 9, 9]]}
    colored = np.array([[[9, 9, 9], [64, 0, 128]], [[255, 255, 255], [0, 0, 0]]], np.uint8)
    assert MaskRule(classes, colors).decode(colored, PART).tolist() == [[255, 1], [255, 0]]


def test_colours_with_alpha_differ_by_it() -> None:
    rule = MaskRule(Classes(("glass", "wall")), {"glass": [9, 9, 9, 100], "wall": [9, 9, 9, 255]})
    mask = np.array([[[9, 9, 9, 100], [9, 9, 9, 255]]], np.uint8)
    assert rule.decode(mask, PART).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("colors", "told"),
    [
        ({"background": [0, 0, 0], "cat": [1, 1, 1]}, "'cat' is no class"),
        ({"background": [0, 0, 0]}, "no colour for car"),
        ({"background": [0, 0, 0], "car": [0, 0, 0]}, "one colour"),
        ({"background": [0, 0, 0], "car": [0, 0, 256]}, r"\[0, 0, 256\]"),
        ({"background": [0, 0, 0], "car": [[1, 1, 1], [2, 2, 2]]}, "only ignore may have several"),
        ({"background": [0, 0, 0], "car": [1, 1, 1], "ignore": [[2, 2, 2], [1, 1, 1]]}, "one colour"),
        ({"background": [0, 0, 0], "car": [1, 1, 1], "ignore": []}, r"ignore is \[\]"),
    ],
)
def test_wrong_colours_are_refused(colors: dict[str, list[int] | list[list[int]]], told: str) -> None:
    with pytest.raises(InputError, match=told):
        MaskRule(Classes(("background", "car")), colors)


def test_a_threshold_reads_jpeg_and_antialiased_masks() -> None:
    rule = MaskRule(Classes(("background", "lesion")), ">=128")
    antialiased = np.array([[0, 3, 127], [128, 250, 255]], np.uint8)
    assert rule.decode(antialiased, Part(Path("a.jpg"))).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert MaskRule(Classes(("a", "b")), ">= 0.5").decode(np.array([[0.4, 0.5]]), PART).tolist() == [[0, 1]]


def test_object_numbers_are_foreground() -> None:
    rule = MaskRule(Classes(("background", "cell")), "objects")
    assert rule.decode(np.array([[0, 1], [300, 65535]], np.uint16), PART).tolist() == [[0, 1], [1, 1]]
    assert rule.decode(np.array([[0, 70000]], np.int32), PART).tolist() == [[0, 1]]


@pytest.mark.parametrize("text", ["object", ">128", ">=x"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="mask_values"):
        MaskRule(Classes(("background", "cell")), text)


def test_two_class_forms_are_refused_for_more_classes() -> None:
    with pytest.raises(InputError, match="two classes"):
        MaskRule(Classes(("a", "b", "c")), "objects")


def test_unknown_values_of_many_masks_are_one_problem() -> None:
    rule = MaskRule(Classes(("background", "lesion")))
    errors = []
    for number in range(4):
        mask = np.array([[0, 255, 255], [0, 7 if number == 3 else 0, 0]], np.uint8)
        with pytest.raises(UnknownValuesError) as caught:
            rule.decode(mask, Part(Path(f"{number}.png")))
        errors.append(caught.value)
    (problem,) = unknown_values(errors)
    assert problem.files == ("0.png", "1.png", "2.png", "3.png")
    assert "7 (1 pixels in 1 mask)" in problem.fault
    assert "mask_values" in problem.cure
    assert unknown_values([]) == []


def test_masks_that_are_of_one_class_and_ignored_only_are_said_to_be_that() -> None:
    """0 and 255 without ``mask_values``."""
    with pytest.raises(UnknownValuesError) as caught:
        MaskRule(TWO).decode(np.array([[0, 255, 255]], np.uint8), PART)
    (problem,) = unknown_values([caught.value])
    assert problem.fault.startswith("every pixel is of one class or ignored; the masks hold the values [0, 255]")
