"""Mask values -> class indices, and what is refused with which cure."""

from pathlib import Path

import numpy as np
import pytest

from segmentation.data.masks import MaskValues
from segmentation.data.source import Part
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
        MaskValues(classes, mapping).decode(values, part)
    return str(caught.value)


def test_indices_and_ignore_pass_unchanged() -> None:
    values = grid(0, 1, 2, 255)
    decoded = MaskValues(THREE).decode(values, PART)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, values)


def test_a_mapping_is_applied() -> None:
    decoded = MaskValues(TWO, {0: 0, 128: 255, 255: 1}).decode(grid(0, 128, 255), PART)
    np.testing.assert_array_equal(decoded, [[0, 255, 1], [1, 255, 0]])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32", "int64", "float32"])
def test_every_dtype_means_the_same(dtype: str) -> None:
    decoded = MaskValues(TWO).decode(grid(0, 1, dtype=dtype), PART)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, [[0, 1], [1, 0]])


@pytest.mark.parametrize("values", [grid(0, 65535, dtype="uint16"), grid(0, 65535, dtype="float64")])
def test_values_beyond_a_byte_are_mapped(values: np.ndarray) -> None:
    np.testing.assert_array_equal(MaskValues(TWO, {0: 0, 65535: 1}).decode(values, PART), [[0, 1], [1, 0]])


def test_negative_values_are_mapped_or_refused() -> None:
    values = grid(-1, 0, 1, dtype="int16")
    decoded = MaskValues(TWO, {-1: 255, 0: 0, 1: 1}).decode(values, PART)
    np.testing.assert_array_equal(decoded, [[255, 0, 1], [1, 0, 255]])
    assert "[-1, 0, 1]" in refusal(values)


def test_0_and_255_are_refused_with_the_mapping() -> None:
    assert refusal(grid(0, 255)) == (
        "mask train/17.png holds the values [0, 255]; 2 classes mean 0..1 (255 = ignore). Set data.source.mask_values: "
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
        np.testing.assert_array_equal(MaskValues(classes, mapping).decode(values, PART), values)


def test_the_refused_suggestion_works_when_it_is_followed() -> None:
    values = grid(1, 7, 200)
    message = refusal(values, THREE)
    assert "Set data.source.mask_values: {1: 0, 7: 1, 200: 2}" in message
    np.testing.assert_array_equal(MaskValues(THREE, {1: 0, 7: 1, 200: 2}).decode(values, PART)[0], [0, 1, 2])


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
    assert "data.source.mask_values is {0: 0, 255: 1}. Add 128 to it" in message


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
        np.testing.assert_array_equal(MaskValues(TWO).decode(channels, PART), values)
    grey[0, 0, 2] = 9
    message = refusal(grey)
    assert "train/17.png has 3 channels that differ" in message
    assert "Save it as" in message


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_fractions_are_refused(value: float) -> None:
    assert "fractions" in refusal(grid(0, value, dtype="float32"))


@pytest.mark.parametrize("mapping", [{}, {0: 0, 255: 2}, {0: -1}])
def test_a_mapping_to_no_class_is_refused(mapping: dict[int, int]) -> None:
    with pytest.raises(InputError, match="data.source.mask_values"):
        MaskValues(TWO, mapping)


@pytest.mark.parametrize("ignore_index", [1, 256, -100])
def test_an_ignore_index_that_no_mask_can_hold_is_refused(ignore_index: int) -> None:
    with pytest.raises(InputError, match="data.source.ignore_index"):
        MaskValues(Classes(("a", "b"), ignore_index=ignore_index))
