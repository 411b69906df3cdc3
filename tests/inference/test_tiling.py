"""Tiles: the answer for a whole image, in pieces."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segmentation.errors import InputError
from segmentation.inference.tiling import Tiling, bands, run, weights

SHAPES = [(1, 1), (7, 90), (64, 64), (65, 64), (150, 201)]


def parts_of(length: int, tiling: Tiling) -> list[slice]:
    """Where tiles of an axis lie, seen from outside."""
    seen: list[slice] = []

    def predict(tiles: np.ndarray) -> np.ndarray:
        seen.append(slice(int(tiles[0, 0, 0, 0]), int(tiles[0, 0, 0, -1]) + 1))
        return tiles

    run(predict, np.arange(float(length)).reshape(1, 1, 1, length), tiling)
    return seen


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 120),
    st.integers(1, 120),
    st.integers(1, 70),
    st.sampled_from([0, 0.1, 0.25, 0.5, 0.8]),
    st.integers(1, 5),
)
def test_tiles_that_answer_their_own_pixels_give_the_image_back(
    height: int, width: int, tile: int, overlap: float, batch: int
):
    image = np.random.default_rng(height * width).random((2, 3, height, width))
    np.testing.assert_allclose(run(lambda tiles: tiles, image, Tiling(tile, overlap, batch)), image, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500), st.integers(1, 100), st.floats(0, 0.95))
def test_the_weights_of_all_tiles_sum_to_one_and_no_tile_is_larger_than_asked(length: int, tile: int, overlap: float):
    tiling = Tiling(tile, overlap)
    parts = parts_of(length, tiling)
    total = np.zeros(length)
    for part, share in zip(parts, weights(length, parts, tiling), strict=True):
        assert len(share) == part.stop - part.start <= tile
        assert (share >= 0).all()
        total[part] += share
    np.testing.assert_allclose(total, 1)


def test_tiles_lie_at_equal_steps_and_the_last_one_ends_with_the_image():
    assert parts_of(100, Tiling(40, 0.25)) == [slice(0, 40), slice(30, 70), slice(60, 100)]
    assert parts_of(101, Tiling(40, 0.25)) == [slice(0, 40), slice(30, 70), slice(60, 100), slice(61, 101)]
    assert parts_of(40, Tiling(40, 0.25)) == [slice(0, 40)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("batch", [1, 3])
def test_tiled_is_whole_where_the_network_sees_less_far_than_a_quarter_of_the_overlap(
    shape: tuple[int, int], batch: int
):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 5, padding=2), nn.Tanh(), nn.Conv2d(4, 3, 5, padding=2)).double()
    image = torch.rand(2, 2, *shape, dtype=torch.float64)
    with torch.no_grad():
        tiled = run(network, image, Tiling(64, 0.5, batch))  # a quarter of the overlap is 8 pixels, the network sees 4
        torch.testing.assert_close(tiled, network(image), atol=1e-12, rtol=0)


def test_a_network_that_answers_each_tile_a_little_differently_leaves_no_seam():
    # as instance normalisation does: constant plus noise, less the mean of the tile
    image = 100 + np.random.default_rng(0).normal(size=(1, 1, 256, 256))

    def predict(tiles: np.ndarray) -> np.ndarray:
        return np.zeros_like(tiles) + tiles.mean((2, 3), keepdims=True)

    def largest_step(overlap: float) -> float:
        answer = run(predict, image, Tiling(64, overlap))[0, 0]
        return max(float(np.abs(np.diff(answer, axis=axis)).max()) for axis in (0, 1))

    assert largest_step(0.5) < 0.15 * largest_step(0)


def test_bands_come_in_order_and_hold_no_more_than_a_row_of_tiles():
    image = np.random.default_rng(0).random((1, 1, 300, 50))
    asked: list[int] = []

    def rows(start: int, stop: int) -> np.ndarray:
        asked.append(stop - start)
        return image[..., start:stop, :]

    found = list(bands(lambda tiles: tiles, rows, (300, 50), Tiling(64, 0.25)))
    assert max(asked) == 64
    assert [start for start, _ in found] == list(np.cumsum([0, *(block.shape[2] for _, block in found[:-1])]))
    np.testing.assert_allclose(np.concatenate([block for _, block in found], axis=2), image, atol=1e-12)


def test_an_image_that_fits_goes_whole_and_once():
    sizes = []

    def predict(tiles: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(tiles.shape))
        return tiles

    image = torch.rand(3, 1, 20, 30)
    assert torch.equal(run(predict, image, Tiling(30)), image)
    assert sizes == [(3, 1, 20, 30)]


def test_tiles_go_through_the_network_together():
    counts = []

    def predict(tiles: np.ndarray) -> np.ndarray:
        counts.append(len(tiles))
        return tiles

    run(predict, np.zeros((2, 1, 32, 160)), Tiling(32, 0, batch=4))
    assert counts == [4, 4, 2]  # two tiles of each of two images at a time


@pytest.mark.parametrize("wrong", [{"tile": 0}, {"overlap": 1.0}, {"overlap": -0.1}])
def test_impossible_tilings_are_refused(wrong: dict[str, float]):
    with pytest.raises(InputError, match=f"{next(iter(wrong.values()))}"):
        Tiling(**wrong)  # type: ignore[arg-type]


def test_the_margin_that_is_not_used_is_a_quarter_of_the_overlap() -> None:
    parts = [slice(start, start + 64) for start in (0, 32, 64, 96)]
    for part, share in zip(parts, weights(160, parts, Tiling(64, 0.5)), strict=True):
        assert (share[:8] == 0).all() == (part.start > 0)
        assert (share[-8:] == 0).all() == (part.stop < 160)
        assert share[8] > 0
        assert share[-9] > 0
