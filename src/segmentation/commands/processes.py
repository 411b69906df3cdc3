"""Programs side by side: one on a device at a time, their lines told apart, and all stopped together."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock
from types import FrameType

NOT_STARTED = -1
"""Instead of an exit status."""


@dataclass(frozen=True)
class Program:
    """What is run.

    Attributes:
        name: Stands before each line that it prints.
        command: And its arguments.
        log: File that gets its output too, after what the file holds already.
        unwanted: Asked after each line that it prints; it gets a SIGTERM when the answer is yes.
    """

    name: str
    command: Sequence[str]
    log: Path
    unwanted: Callable[[], bool] = lambda: False


def run_all(programs: Sequence[Program], devices: Sequence[str | None]) -> list[int]:
    """Run programs to their end; one that fails stops no other.

    Ctrl-C and SIGTERM to this process become a SIGTERM to each program, which is waited for, so that it can write
    what it must; a second one kills them.

    Args:
        programs: In the order in which they start.
        devices: Each runs one program at a time, which sees no other GPU (``CUDA_VISIBLE_DEVICES``); None hides none.

    Returns:
        The exit status of each.

    Raises:
        SystemExit: With 128 + the signal's number, when a signal stopped them.
    """
    free: SimpleQueue[str | None] = SimpleQueue()
    for device in devices:
        free.put(device)
    running: list[subprocess.Popen[str]] = []
    starting, stopped = Lock(), Event()

    def run(program: Program) -> int:
        device = free.get()
        try:
            with starting:
                if stopped.is_set():
                    return NOT_STARTED
                process = _start(program, device)
                running.append(process)
            _copy(process, program)
            return process.wait()
        finally:
            free.put(device)

    with _stopping(running), ThreadPoolExecutor(len(devices)) as pool:
        try:
            return list(pool.map(run, programs))
        finally:
            with starting:
                stopped.set()
            for process in running:
                if process.poll() is None:
                    process.terminate()


def _start(program: Program, device: str | None) -> subprocess.Popen[str]:
    visible = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
    return subprocess.Popen(
        program.command,
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | visible,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C in a terminal goes to all of its group; a fit ends better by SIGTERM
    )


def _copy(process: subprocess.Popen[str], program: Program) -> None:
    assert process.stdout is not None
    with process.stdout, program.log.open("a", encoding="utf-8") as log:
        for line in process.stdout:
            log.write(line)
            log.flush()
            sys.stdout.write(f"{program.name} | {line}")
            sys.stdout.flush()
            if program.unwanted():
                process.terminate()


@contextmanager
def _stopping(running: Sequence[subprocess.Popen[str]]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into SystemExit the first time, into a kill of what is running from then on."""
    received: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            print("stopping after the step that is running (a second time: at once)", file=sys.stderr)
            raise SystemExit(128 + number)
        for process in running:
            process.kill()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
