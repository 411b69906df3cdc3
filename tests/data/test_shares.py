"""A draw gets one of several things, each as often as its share says."""

import numpy as np
import pytest

from segmentation.data.shares import check_shares, one_of
from segmentation.errors import InputError


def test_things_come_as_often_as_their_shares_say() -> None:
    random = np.random.default_rng(0)
    drawn = [one_of({"a": 0.2, "b": 0.5, "c": 0.0}, random) for _ in range(1000)]
    assert drawn.count("c") == 0
    for thing, expected in (("a", 200), ("b", 500), (None, 300)):
        assert abs(drawn.count(thing) - expected) < 3.5 * 16  # deviation at most sqrt(1000 / 4) = 15.8


def test_shares_of_1_leave_nothing() -> None:
    random = np.random.default_rng(0)
    assert {one_of({"a": 0.5, "b": 0.5}, random) for _ in range(200)} == {"a", "b"}
    assert {one_of({"a": 1.0}, random) for _ in range(200)} == {"a"}


def test_one_number_is_drawn_whatever_the_shares() -> None:
    states = []
    for shares in ({}, {"a": 0.0}, {"a": 1.0}, {"a": 0.3, "b": 0.7}):
        random = np.random.default_rng(0)
        one_of(shares, random)
        states.append(random.random())
    assert len(set(states)) == 1


@pytest.mark.parametrize("shares", [{}, {"cutmix": 0.0}, {"cutmix": 1.0}, {"cutmix": 0.7, "copy_paste": 0.3}])
def test_shares_up_to_1_together_are_taken(shares: dict[str, float]) -> None:
    check_shares(shares)


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ({"cutmix": -0.1}, "data.cutmix is -0.1; give a share from 0 to 1"),
        ({"cutmix": float("nan")}, "data.cutmix is nan; give a share from 0 to 1"),
        (
            {"cutmix": 0.6, "copy_paste": 0.5},
            "data.cutmix 0.6 and data.copy_paste 0.5 are more than all draws; give shares that add up to at most 1",
        ),
    ],
)
def test_other_shares_are_refused(shares: dict[str, float], told: str) -> None:
    with pytest.raises(InputError) as caught:
        check_shares(shares)
    assert str(caught.value) == told
