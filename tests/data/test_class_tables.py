"""Class names, values and colours are read from the files that come with data sets."""

from pathlib import Path

import pytest

from segmentation.data.class_tables import ClassTable, read_class_table
from segmentation.errors import InputError

RED, BLUE = (255, 0, 0), (0, 0, 255)
NAMES = ("background", "car")


def written(path: Path, text: str) -> ClassTable:
    path.write_text(text)
    return read_class_table(path)


def test_a_name_in_a_line(tmp_path: Path) -> None:
    table = written(tmp_path / "classes.txt", "# scene\nbackground\n\ncar\n")
    assert (table.names, table.values, table.colors, table.ignored) == (NAMES, (0, 1), None, ())
    assert table.by_order and not written(tmp_path / "classes.txt", "0 background\n1 car\n").by_order


def test_void_between_names_keeps_the_values_of_the_others(tmp_path: Path) -> None:
    table = written(tmp_path / "classes.txt", "background\nvoid\ncar\n")
    assert (table.names, table.values, table.ignored) == (NAMES, (0, 2), (1,))


def test_labelme_ignore_stands_before_zero(tmp_path: Path) -> None:
    table = written(tmp_path / "labels.txt", "__ignore__\nbackground\ncar\n")
    assert (table.names, table.values, table.ignored) == (NAMES, (0, 1), ())


def test_cvat_labelmap(tmp_path: Path) -> None:
    table = written(tmp_path / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:255,0,0::\ncar:0,0,255::\n")
    assert (table.names, table.colors, table.decodes) == (NAMES, (RED, BLUE), True)


def test_camvid_label_colors(tmp_path: Path) -> None:
    table = written(tmp_path / "label_colors.txt", "255 0 0\tbackground\n0 0 255\tcar\n128 0 0  Void\n")
    assert (table.names, table.colors, table.ignored) == (NAMES, (RED, BLUE), ((128, 0, 0),))


@pytest.mark.parametrize("mark", [",", ";", "\t", " | "])
def test_class_dict_of_any_delimiter(tmp_path: Path, mark: str) -> None:
    rows = [("name", "r", "g", "b"), ("background", "255", "0", "0"), ("car", "0", "0", "255")]
    table = written(tmp_path / "class_dict.csv", "\n".join(mark.join(row) for row in rows))
    assert (table.names, table.colors) == (NAMES, (RED, BLUE))


@pytest.mark.parametrize(
    "channels", ["r,g,b", "Red,Green,Blue", "red value,green value,blue value", "color_r,color_g,color_b"]
)
def test_a_column_that_only_begins_like_a_channel_is_none(tmp_path: Path, channels: str) -> None:
    table = written(
        tmp_path / "class_dict.csv", f"name,region,group,{channels}\nbackground,1,2,255,0,0\ncar,3,4,0,0,255\n"
    )
    assert (table.names, table.colors) == (NAMES, (RED, BLUE))
    without = written(tmp_path / "class_dict.csv", "name,region,group,beds\nbackground,1,2,3\ncar,3,4,5\n")
    assert (without.names, without.colors) == (NAMES, None)


def test_roboflow_values_decide_the_order(tmp_path: Path) -> None:
    table = written(tmp_path / "_classes.csv", "Pixel Value, Class\n7, car\n0, background\n")
    assert (table.names, table.values) == (NAMES, (0, 7))


def test_json_colors_are_to_paint_with(tmp_path: Path) -> None:
    table = written(
        tmp_path / "classes.json", '{"classes": ["background", "car"], "colors": [[255, 0, 0], [0, 0, 255]]}'
    )
    assert (table.names, table.colors, table.decodes) == (NAMES, (RED, BLUE), False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "0 background\n1 car\n"),
        ("classes.txt", "1: car\n0: background\n"),
        ("classes.txt", "1\tcar\n0\tbackground\n"),
        ("classes.txt", "1. car\n0. background\n"),
        ("classes.csv", "1,car\n0,background\n"),
        ("classes.csv", "car,1\nbackground,0\n"),
        ("classes.txt", "car: 1\nbackground: 0\n"),
        ("classes.json", '{"1": "car", "0": "background"}'),
        ("classes.json", '{"car": 1, "background": 0}'),
        ("classes.json", '{"names": {"1": "car", "0": "background"}}'),
    ],
)
def test_an_index_column_is_no_part_of_the_names(tmp_path: Path, name: str, text: str) -> None:
    table = written(tmp_path / name, text)
    assert (table.names, table.values, table.ignored) == (NAMES, (0, 1), ())


def test_indexed_names_that_do_not_count_have_any_index(tmp_path: Path) -> None:
    table = written(tmp_path / "classes.txt", "255 void\n1 car\n0 background\n")
    assert (table.names, table.values, table.ignored) == (NAMES, (0, 1), (255,))


def test_colors_of_indexed_names_are_in_the_order_of_the_indices(tmp_path: Path) -> None:
    text = '{"classes": {"1": "car", "0": "background"}, "colors": [[255, 0, 0], [0, 0, 255]]}'
    table = written(tmp_path / "classes.json", text)
    assert (table.names, table.colors) == (NAMES, (RED, BLUE))


def test_names_that_end_or_begin_with_a_number_stay_names(tmp_path: Path) -> None:
    assert written(tmp_path / "classes.txt", "class 0\nclass 1\n").names == ("class 0", "class 1")
    assert written(tmp_path / "classes.txt", "background\n2 wheels\n").names == ("background", "2 wheels")
    assert written(tmp_path / "classes.txt", "001.cup\n002.jar\n").names == ("001.cup", "002.jar")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("classes.txt", "1 car\n2 bus\n", r"indices 1, 2, not 0\.\.1, each once; if these are values of the masks"),
        ("classes.txt", "0 car\n0 bus\n", r"indices 0, 0, not 0\.\.1"),
        ("classes.json", '{"1": "car", "2": "bus"}', r"indices 1, 2, not 0\.\.1"),
        ("classes.json", '{"version": "x", "car": 1}', "names with the indices 0, 1, 2, ... are expected"),
        ("classes.json", "null", r'\{"classes": \[NAME, \.\.\.\]\}'),
    ],
)
def test_other_numbers_are_refused_with_the_cure(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(InputError, match=f"{name} cannot be read as a table of classes .*{told}"):
        written(tmp_path / name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", ""),
        ("classes.txt", "only one\n"),
        ("classes.txt", "twice\ntwice\n"),
        ("class_dict.csv", "name,r,g,b\na,1,2,300\nb,1,2,3\n"),
        ("class_dict.csv", "name,r,g,b\na,1\nb,1,2,3\n"),
        ("_classes.csv", "Pixel Value, Class\nx, a\ny, b\n"),
        ("classes.json", "{"),
        ("classes.json", "3"),
        ("classes.json", '{"a": 1}'),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(InputError, match=name):
        written(tmp_path / name, text)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="cannot be read"):
        read_class_table(tmp_path / "classes.txt")
