"""When the steps of ``gpu.py`` ended, without anybody waiting for the GPU."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback


class StepClock(Callback):
    """Marks the end of each training step of ``fit`` after the warm-up.

    Args:
        warmup: Steps.
        profile: File for the kernels of five steps.
    """

    marks: list[Any]

    def __init__(self, warmup: int, profile: str | None = None) -> None:
        self.warmup = warmup
        self.profile = profile
        self.profiler = torch.profiler.profile() if profile else None

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        """Mark it."""
        done = trainer.global_step - self.warmup
        if done == 0:
            StepClock.marks = []
            if self.profiler is not None:
                self.profiler.start()
        if done >= 0:
            StepClock.marks.append(mark(module.device.type))
        if done == 5 and self.profiler is not None and self.profile is not None:
            self.profiler.stop()
            by = "self_cuda_time_total" if module.device.type == "cuda" else "self_cpu_time_total"
            Path(self.profile).write_text(self.profiler.key_averages().table(sort_by=by, row_limit=40))


def rates(batch: int, marks: list[Any]) -> dict[str, Any]:
    """Images a second, and milliseconds of the steps between marks: 10 %, median, 90 %."""
    seconds = seconds_between(marks)
    spread = [1e3 * float(share) for share in np.percentile(seconds, [10, 50, 90])]
    return {"images_per_s": batch * len(seconds) / sum(seconds), "step_ms": spread, "steps": len(seconds)}


def mark(device: str) -> Any:
    """A moment: on a GPU, when it gets there; nobody waits for it."""
    if device != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call] # torch's
    event.record()
    return event


def seconds_between(marks: list[Any]) -> list[float]:
    """From each mark to the next."""
    if isinstance(marks[0], float):
        return [after - before for before, after in pairwise(marks)]
    torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1e3 for before, after in pairwise(marks)]
