"""Gaps in boundaries are closed, and nothing else changes."""

import numpy as np
import pytest
from skimage.measure import label

from segmentation.inference.agglomeration import Cut, _borders, _merged, _overlaps, close_gaps, close_gaps_in_stack


def two_cells(gap: int) -> np.ndarray:
    """Two bright cells of 21x20 pixels in a dark frame, parted by a dark membrane of three pixels with a gap."""
    probability = np.zeros((25, 47), np.float32)
    probability[2:-2, 2:22] = probability[2:-2, 25:45] = 0.95
    middle = 12
    probability[middle - gap // 2 : middle - gap // 2 + gap, 22:25] = 0.95
    return probability


def cells(probability: np.ndarray) -> int:
    return int(label(probability > 0.5, connectivity=1).max())


@pytest.mark.parametrize("gap", [1, 3, 6])
def test_a_gap_in_a_membrane_merges_two_cells_until_it_is_closed(gap: int) -> None:
    probability = two_cells(gap)
    assert cells(probability) == 1
    closed = close_gaps(probability, 0.6)
    assert cells(closed) == 2
    changed = closed != probability
    assert (closed[changed] == 0).all()
    assert not changed[:, :20].any() and not changed[:, 26:].any()  # in the membrane alone


def test_an_opening_as_wide_as_the_cells_is_none() -> None:
    probability = two_cells(gap=15)
    assert cells(close_gaps(probability, 0.6)) == 1
    assert cells(close_gaps(probability, 0.05)) == 2  # the mean over the border is (15 x 0.05 + 10 x 1) / 25 = 0.43


def test_the_level_is_the_mean_over_the_border() -> None:
    # the cells grow into the frame, so that their border has 25 pixels, 6 of them open: (6 x 0.05 + 19 x 1) / 25 = 0.772
    probability = two_cells(gap=6)
    assert cells(close_gaps(probability, 0.76)) == 2
    assert cells(close_gaps(probability, 0.78)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (16, 16)])
@pytest.mark.parametrize("value", [0.0, 0.4, 0.5, 1.0])
def test_an_even_image_stays_as_it_is(shape: tuple[int, int], value: float) -> None:
    probability = np.full(shape, value, np.float32)
    np.testing.assert_array_equal(close_gaps(probability, 0.6), probability)


def test_a_membrane_that_one_slice_hides_is_taken_from_its_neighbours() -> None:
    hidden, clear = two_cells(gap=15), two_cells(gap=0)
    assert cells(close_gaps(hidden, 0.6)) == 1
    first, middle, last = close_gaps_in_stack([clear, hidden, clear], 0.6, 0.5)
    assert cells(middle) == 2
    np.testing.assert_array_equal(first, close_gaps(clear, 0.6))
    np.testing.assert_array_equal(last, close_gaps(clear, 0.6))
    # the border has 25 pixels, 15 of them open: (15 x 0.05 + 10 x 1) / 25 = 0.43, to which 0.5 x weight is added
    assert [cells(next(close_gaps_in_stack([hidden, clear], 0.6, weight))) for weight in (0.3, 0.4)] == [1, 2]


def test_a_streak_that_its_neighbours_do_not_have_parts_no_cell() -> None:
    streak, whole = two_cells(gap=6), two_cells(gap=21)
    assert cells(close_gaps(streak, 0.6)) == 2
    assert cells(list(close_gaps_in_stack([whole, streak, whole], 0.6, 0.5))[1]) == 1


def test_slices_without_neighbours_are_by_themselves() -> None:
    slices = [two_cells(gap=15), two_cells(gap=0)[:, :40], two_cells(gap=6)[1:]]
    for one, closed in zip(slices, close_gaps_in_stack(slices, 0.6, 0.5), strict=True):
        np.testing.assert_array_equal(closed, close_gaps(one, 0.6))
    assert list(close_gaps_in_stack([], 0.6, 0.5)) == []


def test_a_slice_is_given_as_soon_as_the_next_is_known() -> None:
    taken: list[int] = []
    slices = (taken.append(number) or two_cells(gap=number) for number in range(5))  # type: ignore[func-returns-value]
    closed = close_gaps_in_stack(slices, 0.6, 0.5)
    next(closed)
    assert taken == [0, 1]
    next(closed)
    assert taken == [0, 1, 2]


@pytest.mark.parametrize("seed", range(4))
def test_merging_is_average_linkage(seed: int) -> None:
    random = np.random.default_rng(seed)
    blocks = random.permutation(24).reshape(4, 6) + 1
    fragments = np.kron(blocks, np.ones((4, 3), int)).astype(np.int32)
    boundary = random.random(fragments.shape)
    merged = fragments.copy()
    while True:  # all borders anew after each merge
        borders = {pair: total / pixels for pair, (total, pixels) in _borders(merged, boundary).items()}
        (kept, gone), weakest = min(borders.items(), key=lambda item: item[1])
        if weakest >= 0.64:
            break
        merged[merged == gone] = kept
    found = _merged(fragments, _borders(fragments, boundary), 0.64)
    assert 1 < len(np.unique(found)) < 24
    pairs = {(int(a), int(b)) for a, b in zip(found.ravel(), merged.ravel(), strict=True)}
    assert len(pairs) == len(np.unique(found)) == len(np.unique(merged))  # the same parts by other numbers


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_are_asked_anew_after_each_merge(seed: int) -> None:
    random = np.random.default_rng(seed)
    fragments = np.kron(random.permutation(24).reshape(4, 6) + 1, np.ones((4, 3), int)).astype(np.int32)
    boundary = random.random(fragments.shape)
    near = np.kron(random.permutation(6).reshape(2, 3) + 1, np.ones((8, 6), int))
    near = np.roll(near, 2, axis=1)
    merged = fragments.copy()

    def same(one: int, other: int) -> float:
        counts = [np.bincount(near[merged == key], minlength=7) for key in (one, other)]
        return float(counts[0] @ counts[1]) / (counts[0].sum() * counts[1].sum())

    while True:
        heights = {
            pair: total / pixels + 0.4 * (0.5 - same(*pair))
            for pair, (total, pixels) in _borders(merged, boundary).items()
        }
        (kept, gone), weakest = min(heights.items(), key=lambda item: item[1])
        if weakest >= 0.6:
            break
        merged[merged == gone] = kept
    one = np.ones(fragments.shape, np.float32)
    here, other = Cut(one, fragments, _borders(fragments, boundary), fragments), Cut(one, fragments, {}, near)
    found = _merged(fragments, here.borders, 0.6, [_overlaps(here, other)], 0.4)
    alone = _merged(fragments, here.borders, 0.6)
    pairs = {(int(a), int(b)) for a, b in zip(found.ravel(), merged.ravel(), strict=True)}
    assert len(pairs) == len(np.unique(found)) == len(np.unique(merged))
    assert 1 < len(np.unique(found)) < 24
    assert (found != alone).any()


def test_only_pixels_inside_both_slices_overlap() -> None:
    ids = np.array([[1, 1, 1, 2, 2]], np.int32)
    here = Cut(np.ones((1, 5), np.float32), ids, {}, ids)
    near = Cut(np.array([[1, 0.5, 1, 0, 1]], np.float32), ids, {}, np.array([[7, 7, 8, 8, 8]], np.int32))
    assert [dict(count) for count in _overlaps(here, near)] == [{}, {7: 1, 8: 1}, {8: 1}]


@pytest.mark.parametrize(("mean", "level", "objects"), [(0.0, 0.0, 2), (0.6, 0.6, 2), (0.59, 0.6, 1)])
def test_fragments_are_merged_below_the_level_only(mean: float, level: float, objects: int) -> None:
    assert len(np.unique(_merged(np.array([[1, 1, 2, 2]], np.int32), {(1, 2): (mean, 1)}, level))) == objects
