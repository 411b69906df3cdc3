"""Ctrl-C ends a training as SIGTERM does: after the step that is running, with a whole last.ckpt."""

import os
import signal
import sys
import threading
from typing import Any

from lightning import Callback, LightningModule, Trainer


class StopOnInterrupt(Callback):
    """Turns the first Ctrl-C into a SIGTERM, which ``Checkpoints`` answers; a second one stops at once."""

    def __init__(self) -> None:
        self._before: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, where a SIGTERM is known and a handler can be set."""
        if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._stop)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no more."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _stop(self, *_: Any) -> None:
        signal.signal(signal.SIGINT, self._before)
        print("\nStopping after this step; Ctrl-C again stops at once, without last.ckpt", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGTERM)
