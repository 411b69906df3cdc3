"""Shares of the draws: a draw gets one of several things, or none of them."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from segmentation.errors import InputError

Thing = TypeVar("Thing", bound=Hashable)


def check_shares(shares: Mapping[str, float]) -> None:
    """Check options of ``data`` that share out the draws among them.

    Raises:
        InputError: For one outside 0..1, or for more than 1 together.
    """
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"data.{name} is {share}; give a share from 0 to 1")
    if sum(shares.values()) > 1 + 1e-9:  # 0.7 and 0.3 may add up to a little more
        given = " and ".join(f"data.{name} {share}" for name, share in shares.items())
        raise InputError(f"{given} are more than all draws; give shares that add up to at most 1")


def one_of(shares: Mapping[Thing, float], random: np.random.Generator) -> Thing | None:
    """One of the things, each as likely as its share says; None for what is left of 1."""
    drawn = random.random()
    for thing, share in shares.items():
        if drawn < share:
            return thing
        drawn -= share
    return None
