"""Outlines and masks stand for exactly the same pixels."""

import numpy as np
import pytest
from pycocotools import mask as coco
from scipy import ndimage

from segmentation.data.polygons import area, decode_runs, encode_runs, polygon, rasterise, trace

RING = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], bool)


def drawn(seed: int) -> np.ndarray:
    """Noise of any density and size, coarse or fine: holes, islands in holes, diagonal touches, borders."""
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 15, 2)) < random.choice([0.05, 0.3, 0.5, 0.7, 0.9, 1])
    return np.kron(mask, np.ones(random.integers(1, 4, 2), bool))


def test_a_traced_mask_is_filled_to_the_same_mask() -> None:
    for seed in range(500):
        mask = drawn(seed)
        outlines = trace(mask)
        np.testing.assert_array_equal(rasterise(outlines, mask.shape), mask, err_msg=f"seed {seed}")
        assert len(outlines) == ndimage.label(mask)[1]
        assert sum(map(area, outlines)) == mask.sum()


def test_large_smooth_regions_with_holes_come_back() -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(0).random((300, 400)), 4) > 0.5
    np.testing.assert_array_equal(rasterise(trace(mask), mask.shape), mask)


def test_outlines_are_the_corners_alone() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    assert [corners.tolist() for corners in trace(mask)] == [[[2, 1], [5, 1], [5, 3], [2, 3]]]


def test_a_hole_hangs_on_a_bridge_and_a_corner_joins_nothing() -> None:
    ring, dot = trace(RING)
    assert dot.tolist() == [[3, 3], [4, 3], [4, 4], [3, 4]]
    bridge = [[1, 0], [1, 2], [2, 2], [2, 1], [1, 1], [1, 0]]
    assert ring.tolist() == [[0, 0], *bridge, [3, 0], [3, 3], [0, 3]]
    assert area(ring) == 8


def test_nothing_has_no_outline() -> None:
    assert trace(np.zeros((3, 4), bool)) == []
    np.testing.assert_array_equal(rasterise([], (3, 4)), np.zeros((3, 4), bool))


def test_polygons_unite_and_are_cut_at_the_border() -> None:
    square = np.array([[-2.0, -2.0], [2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]])
    filled = rasterise([square, square + 1], (4, 5))
    expected = np.zeros((4, 5), bool)
    expected[:2, :2] = expected[:3, :3] = True
    np.testing.assert_array_equal(filled, expected)


def test_run_lengths_of_all_kinds_decode_alike() -> None:
    for seed in range(50):
        mask = drawn(seed)
        runs = encode_runs(mask)
        compressed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        text = {"size": compressed["size"], "counts": compressed["counts"].decode()}
        for form in (runs, compressed, text):
            np.testing.assert_array_equal(decode_runs(form, mask.shape), mask)


def test_run_lengths_count_zeros_first_and_go_down_the_columns() -> None:
    mask = np.array([[0, 1], [1, 1], [0, 0]], bool)
    assert encode_runs(mask) == {"size": [3, 2], "counts": [1, 1, 1, 2, 1]}
    assert encode_runs(~mask)["counts"] == [0, 1, 1, 1, 2, 1]


@pytest.mark.parametrize(
    "runs",
    [{"counts": [1, 2]}, {"counts": [3, -1, 4]}, {"size": [3, 2], "counts": [6]}, {"size": [2, 3]}, {"counts": "~~"}],
)
def test_wrong_run_lengths_are_refused(runs: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        decode_runs(runs, (2, 3))


@pytest.mark.parametrize(
    ("counts", "fault"),
    [
        ("42", "do not sum to the 4200 pixels"),
        ("", "do not sum"),
        (b"", "do not sum"),
        ("XS4XS4", "do not sum"),  # 4200 twice
        ("YS4O", "do not sum"),  # 4201, -1
        ("XS", "breaks off"),
        ("XS 4", "the character ' '"),
    ],
)
def test_a_compressed_text_covers_the_image_or_is_refused(counts: object, fault: str) -> None:
    assert decode_runs({"counts": "0XS4"}, (60, 70)).all()
    with pytest.raises(ValueError, match=f"run lengths.*{fault}"):
        decode_runs({"size": [60, 70], "counts": counts}, (60, 70))


@pytest.mark.parametrize(
    ("runs", "fault"),
    [
        ({"size": None, "counts": [6]}, "for the size None, the image is \\[2, 3\\]"),
        ({"size": 6, "counts": [6]}, "for the size 6"),
        ({"size": [3, 2], "counts": "06"}, "for the size \\[3, 2\\]"),
        ({"size": [2, 3], "counts": None}, "whose counts are None"),
    ],
)
def test_sizes_and_counts_that_are_none_are_refused(runs: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=f"run lengths {fault}"):
        decode_runs(runs, (2, 3))


@pytest.mark.parametrize("values", [[0, 0, 4, 0, 4, 4], [[0, 0], [4, 0], [4, 4]]])
def test_points_are_flat_or_pairs(values: list[object]) -> None:
    assert polygon(values).tolist() == [[0, 0], [4, 0], [4, 4]]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([1, 1, 2, 2], "fewer than 3 points"),
        ([], "fewer than 3 points"),
        ([0, 0, 4, 0, 4, 4, 1], "no pairs"),
        ([[0, 0, 0], [4, 0, 0]], "no pairs"),
        ("a", "no pairs"),
        ([0, 0, 4, 0, 4, float("nan")], "not finite"),
        ([0, 0, 4, 0, 4, 1e12], "beyond 1000000 pixels"),
    ],
)
def test_wrong_points_are_refused(values: object, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        polygon(values)
