"""A training step hands its work to the device and waits for no number of it."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from segmentation import cli
from segmentation.callbacks import progress

aten = torch.ops.aten
WAITING = {
    *(aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.bincount, aten.is_nonzero),
    *(aten._unique2, aten.unique_dim, aten.unique_consecutive),
}
"""What a GPU would be waited for: the size or the value of the answer is needed before the next line."""

INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class Watch(TorchDispatchMode):
    """Notes each such operation with the lines that led to it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        packet = func.overloadpacket
        by_mask = packet in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
        if packet in WAITING or by_mask:
            lines = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_stack()[-12:-1]]
            self.seen.append(f"{packet} at {' '.join(lines)}")
        return func(*args, **kwargs or {})


class Watched(Callback):
    """Watches from the start of the second step to that of the fifth, with all that callbacks do in between."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.shown: dict[str, float] = {}

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self.watch.__enter__()
        if batch_idx == 4:
            self.watch.__exit__(None, None, None)
            self.shown = trainer.progress_bar_callback.get_metrics(trainer, module)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_nothing_is_waited_for_between_the_steps(
    run: Callable[..., int], synthetic, quick, folder_data: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    watched = Watched()
    monkeypatch.setattr(cli, "WarnOneClass", lambda: watched)
    monkeypatch.setattr(progress, "SECONDS", float("inf"))  # the loss is read once, in the first step
    data = [*synthetic, "--model.loss", "{bce: 1, dice: 1}"]
    if task == "multiclass":
        for path in (folder_data / "masks").iterdir():
            mask = np.array(Image.open(path))
            mask[:5] = 2
            Image.fromarray(mask).save(path)
        data = ["--data.source", "FolderSource", "--data.source.root", folder_data, "--model.loss", "{ce: 1}"]
        data += ["--data.source.classes", "[background, square, band]", "--model.class_weights", "auto"]
    # fused as on a GPU: the other ways keep their counts on the CPU and read them there
    fused = ("--model.optimizer_options", "{fused: true}", "--model.ema", 0.9, "--trainer.gradient_clip_val", 1)
    rare = ("--data.samples_per_epoch", 12, "--trainer.max_epochs", 1, "--trainer.log_every_n_steps", 100)
    assert run("fit", *data, *quick, *fused, *rare, "--trainer.enable_progress_bar", "true") == 0
    assert watched.watch.operations > 100
    assert watched.watch.seen == []
    assert watched.shown["train/loss"] > 0  # and yet the bar has it
