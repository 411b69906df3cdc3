"""Measured variants as a table, as JSON and as a picture: all three say the same."""

import json
from pathlib import Path

import pytest
from PIL import Image

from segmentation.evaluation.measured import Latency, Measured, told, write
from segmentation.evaluation.pareto import front


def measured(name: str, milliseconds: float, iou: float, **values: object) -> Measured:
    seconds = milliseconds / 1000
    latency = [Latency(64, 2, seconds, 1.5 * seconds, 2 / seconds), Latency(32, 1, seconds / 4, seconds, 4 / seconds)]
    given = {"memory": 321.4} | values
    return Measured(name, f"{name}.onnx", "onnxruntime", 57_300_000, 14_320_000, 2_170_000_000, latency=latency,
                    scores={"iou": iou, "dice": 0.5, "dice/cell": float("nan")}, **given)  # fmt: skip


def test_a_front_computed_by_hand() -> None:
    points = {
        "slow and best": (9.0, 0.9),
        "beaten in both": (8.0, 0.6),
        "middle": (4.0, 0.8),
        "as slow and worse": (4.0, 0.7),
        "as good and slower": (5.0, 0.8),
        "fast and poor": (1.0, 0.2),
        "nothing": (0.5, float("nan")),
    }
    assert front(points) == ["fast and poor", "middle", "slow and best"]
    assert front({"b": (1.0, 0.5), "a": (1.0, 0.5)}) == ["b"], "the first of equal ones"
    assert front({}) == []


def test_table_and_json_say_the_same(tmp_path: Path) -> None:
    found = [measured("good", 40, 0.8), measured("bad", 50, 0.7), measured("fast", 10, 0.75, memory=None)]
    cells = write(tmp_path / "out", found, "iou", {"timed": "30 rounds"}, {"compiled": "no C++ compiler"})
    result = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert result["front"] == ["fast", "good"] and result["score"] == "iou"
    titles, rows = cells[0], cells[1:]
    assert titles[3] == "GMAC at 64x64" and titles[5:9] == [
        *("p50 / p95 ms, 2 x 64x64", "images/s, 2 x 64x64"),
        *("p50 / p95 ms, 1 x 32x32", "images/s, 1 x 32x32"),
    ]
    assert rows[0] == [
        "good *",
        "57.3",
        "14.32",
        "2.17",
        "321",
        "40.0 / 60.0",
        "50.00",
        "10.0 / 40.0",
        "100.00",
        "0.8000",
    ]
    assert [row[4] for row in rows] == ["321", "321", "-"]
    for row, variant in zip(rows, result["variants"], strict=True):
        assert row[0].removesuffix(" *") == variant["name"] and (variant["name"] in result["front"]) == row[0].endswith(
            "*"
        )
        assert float(row[1]) == pytest.approx(variant["bytes"] / 1e6, abs=0.05)
        first = variant["latency"][0]
        assert row[5] == f"{1000 * first['p50']:.1f} / {1000 * first['p95']:.1f}"
        assert float(row[6]) == pytest.approx(first["images_per_second"])
        assert row[-1] == f"{variant['scores']['iou']:.4f}" and variant["scores"]["dice/cell"] is None
    lines = (tmp_path / "out" / "benchmark.md").read_text().splitlines()
    assert [line.strip("| ").split(" | ") for line in (lines[0], *lines[2:5])] == cells
    assert lines[-2:] == ["- timed: 30 rounds", "- left out: compiled: no C++ compiler"]
    assert list(told({"a": "1"}, {})) == ["a: 1"]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    write(tmp_path, [measured("one: a_b $x$", 40, 0.8)], "iou", {}, {})
    with Image.open(tmp_path / "benchmark.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 400
        assert len(picture.convert("L").getcolors()) > 20
