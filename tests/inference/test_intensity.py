"""Stored pixels in the range of the network."""

import numpy as np
import pytest

from segmentation.errors import InputError
from segmentation.inference.intensity import Intensity


def test_8_bit_pixels_stay_as_they_are():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    result = Intensity()(image)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, image)
    assert Intensity().network_dtype == "uint8"
    assert Intensity().scale == 1


@pytest.mark.parametrize(("dtype", "full"), [("uint16", 65535), ("uint32", 4294967295)])
def test_deeper_unsigned_pixels_become_shares_of_their_full_range(dtype, full):
    rule = Intensity(dtype)
    result = rule(np.array([[[0], [full // 5], [full]]], dtype))
    assert result.dtype == np.float32
    assert rule.network_dtype == "float32"
    np.testing.assert_allclose(result[0, :, 0], [0, 0.2, 1], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int16"])
def test_float_and_signed_pixels_keep_their_values(dtype):
    result = Intensity(dtype)(np.array([[[-3], [0.5 if "float" in dtype else 0], [700]]], dtype))
    assert result.dtype == np.float32
    assert result[0, :, 0].tolist() == [-3, 0.5 if "float" in dtype else 0, 700]


def test_the_stored_image_is_not_changed():
    image = np.array([[[5]]], np.uint16)
    Intensity("uint16")(image)
    assert image.tolist() == [[[5]]]


def test_pixels_stored_big_endian_are_read_by_value():
    assert Intensity("uint16")(np.array([[[65535]]], ">u2")).tolist() == [[[1]]]


@pytest.mark.parametrize(("trained", "given"), [("uint8", "uint16"), ("uint16", "uint8"), ("uint8", "float32")])
def test_pixels_of_another_type_are_refused_with_both_types(trained, given):
    with pytest.raises(InputError, match=f"the image is {given}, the network was trained on {trained}; convert"):
        Intensity(trained)(np.zeros((2, 2, 1), given))
