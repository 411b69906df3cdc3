"""Some of many, evenly spread."""

from collections.abc import Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")


def spread(items: Sequence[ItemT], count: int) -> list[ItemT]:
    """At most ``count`` of them, from the first to the last at equal steps."""
    if len(items) <= count:
        return list(items)
    return [items[index * (len(items) - 1) // max(count - 1, 1)] for index in range(count)]
