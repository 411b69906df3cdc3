"""SIGTERM and Ctrl-C, noted until a training is where it can be stopped and gone on with."""

import signal
import sys
import threading
from typing import Any

from lightning.pytorch.utilities import rank_zero_only


class StopRequest:
    """SIGTERM or Ctrl-C that asked this process to stop; a second Ctrl-C stops at once.

    Lightning's own answer to SIGTERM ends a validation in its middle, where no checkpoint can be written that a run goes
    on from equally, and waits for the other processes inside of the signal's handler.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._interrupt: Any = None

    def listen(self) -> None:
        """Note the signals from now on, where handlers can be set; at the end of a run Lightning sets all of them back."""
        if threading.current_thread() is threading.main_thread():
            self._interrupt = signal.signal(signal.SIGINT, self._receive)
            signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, number: int, *_: Any) -> None:
        self.number = number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, self._interrupt)
            rank_zero_only(print)(
                "\nStopping after this step or validation; Ctrl-C again stops at once, without last.ckpt",
                file=sys.stderr,
            )
