"""The picture sheets: what is drawn where, in which colour."""

import numpy as np

from segmentation.callbacks.pictures import class_legend, error_map, sheet
from segmentation.inference.classes import Classes, hatching


def test_the_error_map_tells_the_two_errors_apart_and_leaves_ignored_pixels() -> None:
    image = np.full((1, 5, 1), 100, np.uint8)
    mask = np.array([[0, 1, 0, 1, 255]], np.uint8)
    labels = np.array([[0, 1, 1, 0, 1]], np.uint8)
    drawn = error_map(image, mask, labels, Classes(("membrane", "cell")))
    pale = [100 // 2 + 127] * 3
    assert drawn[0].tolist() == [pale, pale, [230, 60, 40], [40, 110, 230], pale]


def test_the_error_map_of_many_classes_has_one_colour() -> None:
    mask, labels = np.array([[0, 1, 2]], np.uint8), np.array([[2, 1, 0]], np.uint8)
    drawn = error_map(np.zeros((1, 3, 3), np.uint8), mask, labels, Classes(("a", "b", "c")))
    assert drawn[0].tolist() == [[230, 60, 40], [127, 127, 127], [230, 60, 40]]


def test_a_sheet_holds_every_picture_unchanged_when_no_scaling_is_needed() -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (320, 320, 3), dtype=np.uint8) for _ in range(4)]
    drawn = sheet(["one", "two"], [("first", pictures[:2]), ("second", pictures[2:])], [("class", (1, 2, 3))])
    places = [(top, left) for top in (22, 22 + 342) for left in (0, 324)]
    for picture, (top, left) in zip(pictures, places, strict=True):
        assert np.array_equal(drawn[top : top + 320, left : left + 320], picture)
    assert (drawn == (1, 2, 3)).all(-1).sum() > 100  # the legend's colour


def test_small_and_large_pictures_share_the_side() -> None:
    drawn = sheet(["x"], [("s", [np.zeros((8, 16, 3), np.uint8)])], [])
    assert (drawn[22 : 22 + 160, :320] == 0).all()


def test_ignored_pixels_are_in_the_legend_when_there_are_any() -> None:
    classes = Classes(("membrane", "cell"))
    named = [("membrane", (0, 0, 0)), ("cell", (255, 255, 255))]
    without, with_ignored = np.array([[0, 1]], np.uint8), np.array([[0, 255]], np.uint8)
    assert class_legend(classes, [without, without]) == named
    assert class_legend(classes, [without, with_ignored]) == [*named, ("ignored", None)]


def test_the_mark_of_ignored_pixels_is_hatched_as_they_are() -> None:
    black = np.zeros((320, 320, 3), np.uint8)
    drawn = sheet(["x"], [("s", [black])], [("ignored", None)])
    top = 22 + 320 + 22
    assert np.array_equal(drawn[top + 7 : top + 20, 5:18], hatching((320, 320))[:13, :13])
    assert len(np.unique(drawn[top + 7 : top + 20, 5:18])) == 2
    assert (drawn[top + 6, 4:19] == 0).all()  # its frame


def test_a_long_legend_stands_in_columns_below_the_pictures() -> None:
    pictures = [np.zeros((320, 320, 3), np.uint8)] * 4
    colors = [(200, 10 * number, 9) for number in range(20)]
    drawn = sheet(["x"] * 4, [("s", pictures)], [(f"class {number}", color) for number, color in enumerate(colors)])
    assert drawn.shape[0] < 22 + 320 + 22 + 20 * 22 / 4
    tops = {int(np.argwhere((drawn == color).all(-1))[0, 0]) for color in colors}
    assert all((drawn == color).all(-1).sum() == 13 * 13 for color in colors) and 1 < len(tops) < 5
