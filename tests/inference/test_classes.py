"""Names and colours of classes, and images painted with them."""

import numpy as np
import pytest
from PIL import Image

from segmentation.errors import InputError
from segmentation.inference.classes import Classes, overlay, palette, to_rgb, value_range

BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)


def test_two_classes_are_black_and_white_and_binary():
    classes = Classes(("membrane", "cell"))
    assert classes.colors == (BLACK, WHITE)
    assert classes.binary
    assert len(classes) == 2
    assert classes.ignore_index == 255


def test_more_classes_have_the_published_palette_of_voc():
    classes = Classes(tuple("abcdef"))
    assert classes.colors == (BLACK, (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128))
    assert not classes.binary
    assert palette(21)[20] == (0, 64, 128)
    assert palette(21)[15] == (192, 128, 128)


def test_no_two_of_255_classes_share_a_colour():
    assert len(set(palette(255))) == 255


def test_plain_values_make_equal_classes_again():
    classes = Classes(("a", "b", "c"), (RED, BLACK, (1, 2, 3)), ignore_index=254)
    values = classes.to_dict()
    assert values == {"names": ["a", "b", "c"], "colors": [[255, 0, 0], [0, 0, 0], [1, 2, 3]], "ignore_index": 254}
    assert Classes.from_dict(values) == classes


def test_names_alone_make_classes():
    assert Classes.from_dict({"names": ["a", "b"]}) == Classes(("a", "b"))


def test_numbers_as_names_become_text():
    assert Classes((0, 1)).names == ("0", "1")


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "a"), tuple(map(str, range(256)))])
def test_too_few_too_many_or_doubled_names_are_refused_with_an_example(names):
    with pytest.raises(InputError, match=r"2 to 255 different names.*\[background, lesion\]"):
        Classes(names)


@pytest.mark.parametrize("ignore_index", [0, 1, 256, -100])
def test_an_ignored_value_that_is_a_class_or_that_no_mask_can_hold_is_refused(ignore_index):
    with pytest.raises(InputError, match=rf"data.source.ignore_index is {ignore_index}; with 2 classes it is 2\.\.255"):
        Classes(("a", "b"), ignore_index=ignore_index)


def test_another_number_of_colours_is_refused():
    with pytest.raises(InputError, match="2 classes but 1 colours"):
        Classes(("a", "b"), (RED,))


def test_painting_gives_each_class_its_colour_and_stripes_to_the_rest():
    classes = Classes(("a", "b", "c"), (BLACK, RED, WHITE))
    painted = classes.paint(np.array([[0, 1, 2], [3, 254, 255]], np.uint8))
    assert painted.dtype == np.uint8
    dark, light = [90] * 3, [170] * 3
    assert painted.tolist() == [[[0] * 3, [255, 0, 0], [255] * 3], [light, dark, light]]


def test_stripes_are_no_colour_of_a_class_and_are_seen_in_a_thumbnail():
    grey = Classes(("a", "b", "c"), (BLACK, (90, 90, 90), (170, 170, 170)))
    for side in (64, 500, 4000):
        mask = np.full((side, side // 2), 1, np.uint8)
        mask[side // 2 :] = 255
        thumbnail = np.asarray(Image.fromarray(grey.paint(mask)).resize((64, 128), Image.Resampling.BOX))
        assert (thumbnail[:64] == 90).all()
        assert thumbnail[64:].min() < 100 and thumbnail[64:].max() > 160


def test_tints_leave_class_0_of_a_black_and_white_task_and_colour_class_1():
    tints = Classes(("a", "b")).tints
    assert tints[0] == BLACK
    assert len(set(tints[1])) == 3, "class 1 must have a colour, not a shade of grey"
    assert Classes(("a", "b"), (BLACK, RED)).tints == (BLACK, RED)


def test_overlay_mixes_by_opacity_and_black_and_unknown_classes_leave_the_image():
    image = np.full((1, 3, 1), 100, np.uint8)
    labels = np.array([[0, 1, 255]], np.uint8)
    shown = overlay(image, labels, (BLACK, (200, 0, 50)), opacity=0.25)
    assert shown.dtype == np.uint8
    # 0.75 * 100 + 0.25 * (200, 0, 50) = 125, 75, 87.5
    assert shown.tolist() == [[[100] * 3, [125, 75, 88], [100] * 3]]


def test_overlay_changes_neither_image_nor_labels():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    labels = np.ones((4, 5), np.uint8)
    before = image.copy()
    overlay(image, labels, (BLACK, RED))
    np.testing.assert_array_equal(image, before)
    assert labels.all()


def test_rgb_of_8_bit_rgb_is_itself():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(to_rgb(image), image)


@pytest.mark.parametrize(("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2])])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_one_channel_or_the_first_three_are_shown(channels, shown, dtype):
    # four channels 0, 1/3, 2/3, 1 of the range, whichever are there; the second pixel spans the range
    levels = np.array([0, 85, 170, 255])[:channels]
    image = np.stack([levels, np.full(channels, 255), np.zeros(channels)]).astype(dtype)[None]
    expected = np.array([levels[shown], [255] * 3, [0] * 3])[None]
    rgb = to_rgb(image)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, expected)


def test_16_bit_and_float_are_stretched_over_their_range():
    deep = np.array([[[1000], [2000], [3000]]], np.uint16)
    assert to_rgb(deep)[0, :, 0].tolist() == [0, 127, 255]
    assert to_rgb(deep.astype(np.float32) / 7 - 300)[0, :, 0].tolist() == [0, 127, 255]
    assert to_rgb(deep.astype(np.int16) - 2000)[0, :, 0].tolist() == [0, 127, 255]


def test_nan_is_shown_as_the_lowest_and_infinity_as_the_end_of_the_range():
    image = np.array([[[0.0], [0.5], [np.nan], [np.inf], [-np.inf]]])
    assert to_rgb(image)[0, :, 0].tolist() == [0, 255, 0, 255, 0]


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_a_constant_image_and_one_of_nan_alone_are_black(value):
    assert not to_rgb(np.full((2, 2, 1), value)).any()


def test_overlay_takes_what_to_rgb_takes():
    image = np.array([[[0], [65535]]], np.uint16)
    shown = overlay(image, np.array([[1, 1]], np.uint8), (BLACK, RED), opacity=0.5)
    assert shown.tolist() == [[[128, 0, 0], [255, 128, 128]]]


def test_the_range_is_of_the_channels_that_are_shown() -> None:
    deep = np.array([[[0, 10, 20, 9999], [5, 15, 100, 0]]], np.uint16)
    assert value_range(deep) == (0, 100)
    assert value_range(deep[..., 1:3]) == (10, 15)  # of two channels the first is shown
