"""Small components take the class beside them; a map that comes in rows gives what the whole map gives."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentation.inference.components import absorb, absorb_rows

NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0))


def literal(labels: np.ndarray, fewer_than: int, holes: bool) -> np.ndarray:
    """The docstring of ``absorb``, pixel by pixel."""
    place: dict[tuple[int, ...], int] = {}
    components: list[list[tuple[int, ...]]] = []
    for start in np.ndindex(labels.shape):
        if start in place:
            continue
        component, todo = [], [start]
        place[start] = len(components)
        while todo:
            pixel = todo.pop()
            component.append(pixel)
            for beside in around(pixel, labels.shape):
                if beside not in place and labels[beside] == labels[pixel]:
                    place[beside] = len(components)
                    todo.append(beside)
        components.append(component)
    small = [len(pixels) < fewer_than and (labels[pixels[0]] == 0) == holes for pixels in components]
    result = labels.copy()
    for number, pixels in enumerate(components):
        if small[number]:
            borders = Counter(
                int(labels[beside])
                for pixel in pixels
                for beside in around(pixel, labels.shape)
                if place[beside] != number and not small[place[beside]]
            )
            longest = max(borders.values(), default=0)
            for pixel in pixels:
                result[pixel] = min((label for label, count in borders.items() if count == longest), default=0)
    return result


def around(pixel: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    moved = ((pixel[0] + down, pixel[1] + right) for down, right in NEIGHBOURS)
    return [(y, x) for y, x in moved if 0 <= y < shape[0] and 0 <= x < shape[1]]


def patchy(seed: int, shape: tuple[int, int], classes: int, patch: int) -> np.ndarray:
    """Random class indices in patches of a few pixels, so that components of every size occur."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, classes, (shape[0] // patch + 1, shape[1] // patch + 1), dtype=np.uint8)
    labels = coarse.repeat(patch, 0).repeat(patch, 1)[: shape[0], : shape[1]].copy()
    specks = random.random(shape) < 0.1
    labels[specks] = random.integers(0, classes, int(specks.sum()), dtype=np.uint8)
    return labels


maps = st.builds(
    patchy,
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 24), st.integers(1, 14)),
    st.integers(2, 4),
    st.integers(1, 4),
)


@settings(max_examples=150, deadline=None)
@given(maps, st.integers(1, 40), st.booleans())
def test_it_is_what_the_words_say(labels: np.ndarray, fewer_than: int, holes: bool) -> None:
    np.testing.assert_array_equal(absorb(labels, fewer_than, holes), literal(labels, fewer_than, holes))


@settings(max_examples=300, deadline=None)
@given(maps, st.integers(1, 40), st.booleans(), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_rows_that_come_in_blocks_give_what_the_whole_map_gives(
    labels: np.ndarray, fewer_than: int, holes: bool, heights: list[int]
) -> None:
    blocks, start = [], 0
    while start < len(labels):
        blocks.append(labels[start : start + heights[len(blocks) % len(heights)]])
        start += len(blocks[-1])
    found = list(absorb_rows(blocks, fewer_than, holes))
    np.testing.assert_array_equal(np.concatenate(found), absorb(labels, fewer_than, holes))
    assert all(len(block) for block in found)


def test_a_speck_takes_the_class_it_shares_most_border_with_by_hand() -> None:
    labels = np.array(
        [
            [1, 1, 1, 2, 2],
            [1, 3, 3, 2, 2],
            [1, 1, 2, 2, 2],
        ],
        np.uint8,
    )
    # the two pixels of class 3 border on class 1 above twice, left once, below once: 4; on class 2 right and below: 2
    assert absorb(labels, 3)[1].tolist() == [1, 1, 1, 2, 2]
    assert absorb(labels, 2).tolist() == labels.tolist()  # not fewer than 2 pixels


def test_specks_that_touch_do_not_exchange_their_classes() -> None:
    labels = np.zeros((5, 6), np.uint8)
    labels[2, 2], labels[2, 3] = 1, 2
    assert not absorb(labels, 2).any()


def test_a_speck_within_specks_becomes_class_0() -> None:
    labels = np.array([[3, 2, 3], [2, 1, 2], [3, 2, 3]], np.uint8)
    assert not absorb(labels, 2).any()


def test_holes_are_filled_also_at_the_edge_of_the_image_and_of_ties_the_first_class_wins() -> None:
    labels = np.array(
        [
            [0, 1, 1, 2, 2],
            [1, 1, 0, 2, 2],
            [1, 1, 1, 2, 2],
        ],
        np.uint8,
    )
    labels[0, 2] = 2  # the hole in the middle has two neighbours of class 1 and two of class 2
    filled = absorb(labels, 2, holes=True)
    assert filled[0, 0] == 1
    assert filled[1, 2] == 1
    assert (filled[labels > 0] == labels[labels > 0]).all()


def test_an_image_of_one_small_component_becomes_class_0() -> None:
    assert not absorb(np.ones((3, 3), np.uint8), 10).any()
    assert not absorb(np.zeros((3, 3), np.uint8), 10, holes=True).any()


def test_touching_by_a_corner_is_not_touching() -> None:
    checker = (np.indices((6, 6)).sum(0) % 2).astype(np.uint8)
    assert not absorb(checker, 2).any()


@pytest.mark.parametrize("holes", [False, True])
def test_few_rows_wait_however_long_the_map_is(holes: bool) -> None:
    labels = patchy(0, (900, 40), 2, 3)
    seen = left = 0
    waiting = []

    def blocks():
        nonlocal seen
        for start in range(0, len(labels), 5):
            seen = start + 5
            waiting.append(seen - left)
            yield labels[start : start + 5]

    for block in absorb_rows(blocks(), 20, holes):
        left += len(block)
    assert left == len(labels)
    assert max(waiting) <= 2 * 20 + 2 * 5  # and the block that has just come
