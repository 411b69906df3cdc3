"""How long several ways to the same answer take, measured side by side."""

import time
from collections.abc import Callable, Mapping

SETTLE = 0.02
"""Seconds after each call: threads of one library that wait for its next call would take the processor from the next."""


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 3, settle: float = SETTLE
) -> dict[str, list[float]]:
    """Time every call once in a round, so that whatever else the machine does meets all of them alike.

    Every second round is in reverse order.

    Args:
        calls: By name.
        rounds: How many are counted.
        warmup: How many come before.
        settle: Pause after each call, in seconds.

    Returns:
        Name -> seconds of each round.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(-warmup, rounds):
        for name in names if number % 2 == 0 else reversed(names):
            began = time.perf_counter()
            calls[name]()
            seconds = time.perf_counter() - began
            if number >= 0:
                taken[name].append(seconds)
            time.sleep(settle)
    return taken
