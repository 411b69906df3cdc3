from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmentation.data.checking.peek import Peek, peek
from segmentation.data.checking.values import meaning
from segmentation.data.class_tables import ClassTable, read_class_table
from segmentation.data.masks import MaskRule
from segmentation.data.reading import read_values
from segmentation.data.sample import Part
from segmentation.errors import InputError
from segmentation.inference.classes import Classes


def of(values: Mapping[Any, int], masks: int = 4, **more: Any) -> Peek:
    return Peek(masks, dict(values), dict.fromkeys(values, masks), (len(values),) * masks, **more)


def written(path: Path, pixels: Any, mode: str | None = None, **options: Any) -> Part:
    image = Image.fromarray(np.asarray(pixels))
    (image.convert(mode) if mode else image).save(path, **options)
    return Part(path)


def labels_of(arguments: dict[str, Any], part: Part) -> np.ndarray:
    """Class indices as a source with these arguments reads them."""
    classes = Classes(tuple(arguments["classes"]), ignore_index=arguments.get("ignore_index", 255))
    rule = MaskRule(classes, arguments.get("mask_values"), arguments.get("ignore_unknown", False))
    return rule.decode(read_values(part), part)


TWO = ["background", "foreground"]


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        ((0, 1), {"classes": TWO}),
        ((0, 255), {"classes": TWO, "mask_values": {0: 0, 255: 1}}),
        ((0, 38), {"classes": TWO, "mask_values": {0: 0, 38: 1}}),
        ((0, 1, 2), {"classes": ["background", "class_1", "class_2"]}),
        ((0, 1, 255), {"classes": TWO, "ignore_index": 255}),
        ((0, 1, 2, 255), {"classes": ["background", "class_1", "class_2"], "ignore_index": 255}),
        ((0, 50, 100), {"classes": ["background", "class_1", "class_2"], "mask_values": {0: 0, 50: 1, 100: 2}}),
        ((0, 128, 255), {"classes": ["background", "class_1", "class_2"], "mask_values": {0: 0, 128: 1, 255: 2}}),
        ((1, 2, 3), {"classes": ["class_1", "class_2", "class_3"], "mask_values": {1: 0, 2: 1, 3: 2}}),
        ((-1, 0, 1), {"classes": TWO, "mask_values": {0: 0, 1: 1, -1: 255}, "ignore_index": 255}),
        ((1, 2, 255), {"classes": TWO, "mask_values": {1: 0, 2: 1, 255: 255}, "ignore_index": 255}),
    ],
)
def test_grey_values_without_a_table(values: tuple[int, ...], arguments: dict[str, Any]) -> None:
    found = meaning(of(dict.fromkeys(values, 100)))
    assert found.arguments == arguments
    assert found.reasons.keys() == arguments.keys()


NAMES = ("sky", "road", "car")


@pytest.mark.parametrize(
    ("values", "table", "arguments"),
    [
        ((0, 1, 2), ClassTable(NAMES), {"classes": list(NAMES)}),
        ((0, 2), ClassTable(NAMES), {"classes": list(NAMES)}),
        ((0, 1, 2, 255), ClassTable(NAMES), {"classes": list(NAMES), "ignore_index": 255}),
        ((0, 1, 2, 3), ClassTable(NAMES), {"classes": list(NAMES), "ignore_index": 3}),
        ((1, 2, 3), ClassTable(NAMES), {"classes": list(NAMES), "mask_values": {1: 0, 2: 1, 3: 2}}),
        ((2, 3), ClassTable(NAMES), {"classes": list(NAMES), "mask_values": {1: 0, 2: 1, 3: 2}}),
        (
            (1, 2, 3, 255),
            ClassTable(NAMES, (0, 1, 2), by_order=True),
            {"classes": list(NAMES), "mask_values": {1: 0, 2: 1, 3: 2, 255: 255}},
        ),
        ((1, 2, 3), ClassTable(NAMES, (0, 1, 2)), {"classes": list(NAMES), "ignore_index": 3}),
        ((0, 1, 3), ClassTable(NAMES, (0, 1, 3)), {"classes": list(NAMES), "mask_values": {0: 0, 1: 1, 3: 2}}),
        ((0, 255), ClassTable(("cell", "wall")), {"classes": ["cell", "wall"], "mask_values": {0: 0, 255: 1}}),
    ],
)
def test_grey_values_by_a_table(values: tuple[int, ...], table: ClassTable, arguments: dict[str, Any]) -> None:
    assert meaning(of(dict.fromkeys(values, 100)), table).arguments == arguments


def test_names_without_background_begin_at_1_when_most_pixels_are_0() -> None:
    found = meaning(of({0: 900, 1: 30, 2: 30, 3: 40}), ClassTable(("cat", "dog", "cow")))
    assert found.arguments == {"classes": ["background", "cat", "dog", "cow"]}


def test_one_value_more_than_names_leaves_a_doubt() -> None:
    table = ClassTable(NAMES, (0, 1, 2), by_order=True)
    (doubt,) = meaning(of({0: 100, 1: 100, 2: 100, 3: 100}), table).warnings
    assert doubt.fault.endswith("than the class table has names: 3 is taken for pixels that do not count")
    assert doubt.cure.endswith("set data.source.mask_values: {0: 255, 1: 0, 2: 1, 3: 2}")
    (doubt,) = meaning(of({0: 900, 1: 30, 2: 30, 3: 40}), table).warnings
    assert doubt.fault.endswith("0 is taken for the background") and "data.source.ignore_index: 3" in doubt.cure
    assert meaning(of({1: 900, 2: 30, 3: 40}), table).warnings == ()
    assert meaning(of({0: 900, 1: 30, 2: 30, 3: 40}), ClassTable(NAMES, (0, 1, 2))).warnings == ()


def test_a_table_that_does_not_fit_is_said() -> None:
    found = meaning(of({0: 10, 7: 10, 90: 10}), ClassTable(NAMES))
    assert found.arguments["mask_values"] == {0: 0, 7: 1, 90: 2}
    assert "do not fit" in found.reasons["classes"]


def test_masks_of_one_value_have_nothing_to_learn() -> None:
    with pytest.raises(InputError, match="all the 4 masks looked at hold only the value 0"):
        meaning(of({0: 100}))


def test_values_without_any_structure_are_refused() -> None:
    with pytest.raises(InputError, match=r"200 different values.* in a classes\.txt, one a line"):
        meaning(of(dict.fromkeys(range(200), 10), connected=0.1))
    with pytest.raises(InputError, match="different colours"):
        meaning(of({(n, n + 1, 3): 1 for n in range(200)}))


def disc(size: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return ((rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 3) ** 2).astype(np.uint8) * 255


def test_jpeg_and_blurred_masks_of_two_levels_are_divided_at_half(tmp_path: Path) -> None:
    jpeg = written(tmp_path / "a.jpg", disc(), quality=75)
    small = Image.fromarray(disc(256)).resize((64, 64), Image.Resampling.BILINEAR)
    blurred = written(tmp_path / "b.png", small)
    for part in (jpeg, blurred):
        arguments = meaning(peek([part])).arguments
        assert arguments == {"classes": TWO, "mask_values": ">=128"}
        assert np.mean(labels_of(arguments, part) != disc() // 255) < 0.02


def test_probabilities_near_0_and_1_are_divided_at_half() -> None:
    values = {0: 500, 1: 400, **{n / 20: 2 for n in range(1, 20)}}
    assert meaning(of(values, dtype="float32")).arguments == {"classes": TWO, "mask_values": ">=0.5"}
    with pytest.raises(InputError, match="they are fractions"):
        meaning(of({n / 20: 10 for n in range(21)}, dtype="float32"))


def test_objects_are_counted_and_those_that_touch_told(tmp_path: Path) -> None:
    apart = np.kron(np.arange(1, 26).reshape(5, 5), np.pad(np.ones((3, 3), int), 1)).astype(np.uint8)
    touching = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((4, 4), int)).astype(np.uint8)
    one, two = written(tmp_path / "a.png", apart), written(tmp_path / "b.png", np.pad(touching, 2))
    assert meaning(peek([one])).arguments["mask_values"] == "objects"
    told = meaning(peek([one])).reasons["mask_values"]
    assert told == "the values number objects: 25 in the one mask looked at, up to 25 in one"
    assert meaning(peek([one, two])).arguments["mask_values"] == "separate_objects"
    told = meaning(peek([one, two])).reasons["mask_values"]
    assert told.startswith(
        "the values number objects: 29 in the 2 masks looked at, up to 25 in one; at least 3 of them touch"
    )


def test_a_mask_that_is_a_photograph_is_named(tmp_path: Path) -> None:
    mask = written(tmp_path / "mask.png", np.eye(40, dtype=np.uint8))
    photograph = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    with pytest.raises(InputError, match=r"256 different values .*, 25\d of them in .*photograph\.png; "):
        meaning(peek([mask, written(tmp_path / "photograph.png", photograph)]))


def test_numbers_of_connected_objects_are_one_class(tmp_path: Path) -> None:
    ids = np.zeros((60, 60), np.uint16)
    for number in range(25):
        row, column = divmod(number, 5)
        ids[row * 12 : row * 12 + 8, column * 12 : column * 12 + 8] = number + 1
    part = written(tmp_path / "a.png", ids)
    seen = peek([part])
    assert (seen.connected, seen.dtype, seen.distinct) == (1.0, "uint16", (26,))
    assert meaning(seen).arguments == {"classes": TWO, "mask_values": "objects"}
    scattered = np.random.default_rng(0).integers(0, 26, (60, 60)).astype(np.uint8)
    assert meaning(peek([written(tmp_path / "b.png", scattered)])).arguments["classes"][:2] == ["background", "class_1"]


def test_few_numbered_objects_are_classes_with_a_warning(tmp_path: Path) -> None:
    squares = np.kron(np.arange(1, 7).reshape(2, 3), np.pad(np.ones((3, 3), int), 1)).astype(np.uint16)
    parts = [written(tmp_path / f"{n}.png", np.where(squares <= n, squares, 0)) for n in (0, 4, 6, 5)]
    found = meaning(peek(parts))
    assert found.arguments["classes"][-1] == "class_6"
    (doubt,) = found.warnings
    assert "holds 1..n, n up to 6" in doubt.fault and "mask_values: separate_objects" in doubt.cure
    gap = written(tmp_path / "gap.png", np.where(squares == 2, 0, squares))
    torn = [written(tmp_path / f"torn{n}.png", np.tile(np.where(squares <= n, squares, 0), (2, 1))) for n in (4, 6)]
    for others in ([*parts, gap], parts[2:3], torn):  # a value is left out, n is always 6, two regions of each value
        assert meaning(peek(others)).warnings == ()


PAINTED = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)


def test_colours_are_classes_with_the_names_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\ntumor:0,0,255::\nvessel:255,0,0::\n")
    table = read_class_table(tmp_path / "labelmap.txt")
    part = written(tmp_path / "a.png", PAINTED[[[0, 1], [2, 2]]])
    with_table, without = meaning(peek([part]), table), meaning(peek([part]))
    assert with_table.arguments["classes"] == ["background", "tumor", "vessel"]
    assert labels_of(with_table.arguments, part).tolist() == [[0, 2], [1, 1]]
    assert without.arguments["classes"] == ["background", "class_1", "class_2"]
    assert without.arguments["colors"] == [[0, 0, 0], [0, 0, 255], [255, 0, 0]]
    assert labels_of(without.arguments, part).tolist() == [[0, 2], [1, 1]]


def test_an_opaque_alpha_of_sixteen_bits_is_no_class(tmp_path: Path) -> None:
    values = np.array([[0, 1], [1, 0]], np.uint16)
    np.save(tmp_path / "a.npy", np.stack([values, values, values, np.full_like(values, 65535)], 2))
    assert meaning(peek([Part(tmp_path / "a.npy")])).arguments == {"classes": TWO}


def test_every_colour_that_a_table_ignores_is_ignored(tmp_path: Path) -> None:
    text = "background:0,0,0::\ntumor:0,0,255::\nvoid:255,0,0::\nignore:9,9,9::\nvoid:255,0,0::\n"
    (tmp_path / "labelmap.txt").write_text(text)
    part = written(tmp_path / "a.png", np.array([[[0, 0, 0], [255, 0, 0]], [[9, 9, 9], [0, 0, 255]]], np.uint8))
    found = meaning(peek([part]), read_class_table(tmp_path / "labelmap.txt"))
    assert labels_of(found.arguments, part).tolist() == [[0, 255], [255, 1]]
    assert "ignore_unknown" not in found.arguments


def test_rare_other_colours_are_ignored_and_their_share_is_said() -> None:
    table = ClassTable(("a", "b"), None, ((0, 0, 0), (255, 0, 0)))
    found = meaning(of({(0, 0, 0): 900, (255, 0, 0): 90, (254, 0, 0): 10}), table)
    assert found.arguments["ignore_unknown"] is True
    assert "1 % of the pixels" in found.reasons["ignore_unknown"]


def test_without_black_the_most_common_colour_is_the_background() -> None:
    found = meaning(of({(9, 9, 0): 100, (1, 2, 3): 10, (4, 5, 6): 10}))
    assert found.arguments["mask_values"] == {"background": [9, 9, 0], "class_1": [1, 2, 3], "class_2": [4, 5, 6]}


def test_grey_stored_as_rgb_is_grey_and_black_among_colours_is_a_colour(tmp_path: Path) -> None:
    grey = written(tmp_path / "grey.png", disc(), "RGB")
    assert meaning(peek([grey])).arguments["mask_values"] == {0: 0, 255: 1}
    black = written(tmp_path / "black.png", np.zeros((2, 2), np.uint8), "RGB")
    color = written(tmp_path / "color.png", PAINTED[[[0, 1], [2, 2]]])
    assert peek([black, color]).pixels == {(0, 0, 0): 5, (255, 0, 0): 1, (0, 0, 255): 2}


def test_masks_that_cannot_be_read_leave_the_classes_assumed(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    seen = peek([Part(tmp_path / "broken.png")])
    assert meaning(seen).reasons == {"classes": "assumed: none of the masks looked at can be read"}
