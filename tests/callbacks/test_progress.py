"""A line for each validation."""

import re
from collections.abc import Callable

import pytest

Run = Callable[..., int]


def test_each_validation_is_told_and_the_best_ones_are_named(
    run: Run, synthetic, quick, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert run("fit", *synthetic, *quick, "--trainer.max_epochs", 4) == 0
    told = re.findall(r"Epoch (\d) of 4: val/iou (\S+)( \(best so far\))?", caplog.text)
    assert [epoch for epoch, _, _ in told] == ["1", "2", "3", "4"]
    scores = [float(score) for _, score, _ in told]
    assert [bool(best) for _, _, best in told] == [
        score > max(scores[:place], default=0) for place, score in enumerate(scores)
    ]


def test_a_bar_of_the_user_takes_the_place_of_ours(tiny_fit: Callable[..., object], capfd) -> None:
    tiny_fit("--trainer.enable_progress_bar", "true", "--trainer.callbacks+", "TQDMProgressBar")
    assert "it/s" in capfd.readouterr().out
