"""Stored pixels in the range of the network."""

import numpy as np
import pytest

from segmentation.errors import InputError
from segmentation.inference.intensity import Intensity, default_rule, fit_intensity


@pytest.mark.parametrize("rule", ["range", "none"])
def test_8_bit_pixels_stay_as_they_are(rule):
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    result = Intensity("uint8", rule)(image)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, image)
    assert Intensity("uint8", rule).network_dtype == "uint8"


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


def test_none_leaves_deep_pixels_as_stored():
    result = Intensity("uint16", "none")(np.array([[[0], [1500], [65535]]], np.uint16))
    assert result.dtype == np.float32
    assert result.ravel().tolist() == [0, 1500, 65535]


def test_max_makes_the_largest_training_value_of_each_channel_1_without_clipping():
    rule = fit_intensity("max", "uint16", np.array([[10, 400], [100, 50]], np.uint16))
    assert (rule.low, rule.high) == ((0, 0), (100, 400))
    result = rule(np.array([[[50, 100], [100, 400], [200, 800]]], np.uint16))
    np.testing.assert_allclose(result, [[[0.5, 0.25], [1, 1], [2, 2]]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_percentile_maps_the_training_range_of_each_channel_to_0_to_1_and_clips(dtype):
    ramp = np.linspace(0, 100, 201)  # 0.5 and 99.5 percent of 200 steps are 1 and 199 steps
    sample = (
        np.stack([ramp, ramp + 20], axis=1).round().astype(dtype)
        if "int" in dtype
        else np.stack([ramp, ramp + 20], axis=1).astype(dtype)
    )
    rule = fit_intensity("percentile", dtype, sample)
    low, high = np.percentile(sample.astype(float), [0.5, 99.5], axis=0)
    assert (rule.low, rule.high) == (tuple(low), tuple(high))
    result = rule(sample[None])
    assert result.dtype == np.float32
    assert (result.min(), result.max()) == (0, 1)
    inside = (sample > low) & (sample < high)
    np.testing.assert_allclose(result[0][inside], ((sample - low) / (high - low))[inside], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(np.diff(result[0], axis=0) >= 0, True)


def test_a_hot_pixel_does_not_squeeze_the_others():
    sample = np.array([[100 + n % 1000] for n in range(10000)] + [[65535]], np.uint16)
    rule = fit_intensity("percentile", "uint16", sample)
    shown = rule(sample[None])[0, :-1]
    assert shown.std() > 0.25
    assert rule(sample[None])[0, -1] == 1
    assert Intensity("uint16")(sample[None])[0, :-1].std() < 0.01


def test_an_image_that_is_nearly_all_background_uses_its_whole_range():
    sample = np.zeros((10000, 1), np.uint16)
    sample[:10] = 2000  # 0.1 percent: both percentiles are 0
    rule = fit_intensity("percentile", "uint16", sample)
    assert (rule.low, rule.high) == ((0,), (2000,))
    assert rule(sample[None]).max() == 1


@pytest.mark.parametrize("name", ["max", "percentile"])
@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_channel_stays_finite(name, value):
    sample = np.full((50, 1), value, np.uint16)
    assert np.isfinite(fit_intensity(name, "uint16", sample)(sample[None])).all()


def test_values_that_float32_cannot_tell_apart_are_told_apart_first():
    sample = 1e9 + np.linspace(0, 10, 100)[:, None]
    result = fit_intensity("percentile", "float64", sample)(sample[None])
    assert len(np.unique(result)) == 99 or len(np.unique(result)) == 100
    np.testing.assert_allclose(np.diff(result[0, 2:-2, 0]), np.diff(result[0, 2:-2, 0]).mean(), rtol=1e-3)


@pytest.mark.parametrize("name", ["none", "range", "max"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_moments_are_those_of_the_networks_pixels(name, dtype):
    pixels = np.random.default_rng(0).integers(10, 250, (1, 500, 2)).astype(dtype)
    rule = fit_intensity(name, dtype, pixels[0])
    mean, std = rule.moments(pixels.mean((0, 1)).tolist(), pixels.astype(float).std((0, 1)).tolist())
    seen = rule(pixels).astype(float)
    np.testing.assert_allclose(mean, seen.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(std, seen.std((0, 1)), rtol=1e-5)


def test_a_rule_goes_through_plain_values_and_older_checkpoints_are_read():
    rule = fit_intensity("percentile", "uint16", np.arange(300, dtype=np.uint16).reshape(100, 3))
    stored = rule.to_dict()
    assert {type(value) for value in stored["low"] + stored["high"]} == {float}
    assert Intensity.from_dict(stored) == rule
    assert Intensity.from_dict("uint16") == Intensity("uint16", "range")
    with pytest.raises(InputError, match="the intensity rule 'histogram' is unknown"):
        Intensity.from_dict(stored | {"rule": "histogram"})


def test_only_8_bit_images_are_taken_by_their_range_unless_told_otherwise():
    assert [default_rule(dtype) for dtype in ("uint8", "uint16", "int16", "float32")] == ["range"] + ["percentile"] * 3


@pytest.mark.parametrize("rule", [Intensity("uint16"), Intensity("uint16", "percentile", (2.0,), (9.0,))])
def test_the_stored_image_is_not_changed(rule):
    image = np.array([[[5]]], np.uint16)
    rule(image)
    assert image.tolist() == [[[5]]]


def test_pixels_stored_big_endian_are_read_by_value():
    assert Intensity("uint16")(np.array([[[65535]]], ">u2")).tolist() == [[[1]]]


@pytest.mark.parametrize(("trained", "given"), [("uint8", "uint16"), ("uint16", "uint8"), ("uint8", "float32")])
def test_pixels_of_another_type_are_refused_with_both_types(trained, given):
    with pytest.raises(InputError, match=f"the image is {given}, the network was trained on {trained}; convert"):
        Intensity(trained)(np.zeros((2, 2, 1), given))


def test_moments_where_0_is_not_the_lowest_value() -> None:
    rule = Intensity("uint16", "percentile", (100.0,), (300.0,))
    pixels = np.random.default_rng(0).integers(100, 300, (1, 500, 1)).astype(np.uint16)
    mean, std = rule.moments([float(pixels.mean())], [float(pixels.std())])
    seen = rule(pixels).astype(np.float64)
    np.testing.assert_allclose([mean[0], std[0]], [seen.mean(), seen.std()], rtol=1e-5)
