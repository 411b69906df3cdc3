"""When what happened in a ``fit``: a profiler that the command line takes by its name, ``timeline.Timeline``."""

import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import ClassVar, NamedTuple

from lightning.pytorch.profilers import Profiler

STEP = "run_training_batch"
"""Lightning's name for a training step, from the batch to the optimizer."""


class Span(NamedTuple):
    """An action of Lightning's loops or of a hook, in seconds of ``time.perf_counter``."""

    action: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


class Timeline(Profiler):
    """Keeps every action with its start and end. ``Timeline.newest`` is that of the last fit of this process."""

    newest: ClassVar["Timeline"]

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []
        self._running: dict[str, float] = {}
        Timeline.newest = self

    def start(self, action_name: str) -> None:
        """Called by Lightning."""
        self._running[action_name] = time.perf_counter()

    def stop(self, action_name: str) -> None:
        """Called by Lightning."""
        self.spans.append(Span(action_name, self._running.pop(action_name), time.perf_counter()))

    def of(self, *parts: str) -> list[Span]:
        """The spans whose action has all of the parts in its name, in the order of their ends."""
        return [span for span in self.spans if all(part in span.action for part in parts)]


def fit(arguments: Sequence[str]) -> Timeline:
    """Run ``fit`` in this process, its output on stderr, and say when what happened.

    Args:
        arguments: As on the command line, without the command.

    Raises:
        SystemExit: When it fails.
    """
    from segmentation.__main__ import main

    sys.argv = sys.argv[:1]  # LightningCLI warns of arguments beside those that it is given
    with redirect_stdout(sys.stderr):
        status = main(["fit", *arguments, "--trainer.profiler", '{"class_path": "timeline.Timeline"}'])
    if status != 0:
        raise SystemExit("fit failed")
    return Timeline.newest
