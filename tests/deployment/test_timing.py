"""Calls in turns."""

from segmentation.deployment.timing import interleaved


def test_every_call_has_its_turn_in_every_round_and_the_order_changes() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    taken = interleaved(calls, rounds=2, warmup=1, settle=0)
    assert "".join(order) == "cba" + "abc" + "cba"
    assert list(taken) == ["a", "b", "c"] and all(len(seconds) == 2 and min(seconds) >= 0 for seconds in taken.values())
