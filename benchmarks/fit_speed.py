"""Training speed of ``fit`` through the command line against a hand-written PyTorch loop.

Both train the same network on the same draws, loaders, precision, memory format and optimizer; only the
loop differs. Runs alternate in one process; the ratio of each pair is taken, and their median printed.

    python benchmarks/fit_speed.py --steps 40 --pairs 5
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback

ROOT = Path(__file__).parents[1]


class Clock(Callback):
    """Times the steps after a warm-up; the newest figure is in ``seconds``."""

    seconds = 0.0

    def __init__(self, warmup: int, steps: int) -> None:
        self.warmup = warmup
        self.steps = steps
        self.began = 0.0

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Start after the warm-up, stop after the last step."""
        if trainer.global_step == self.warmup:
            self.began = time.perf_counter()
        elif trainer.global_step == self.steps:
            Clock.seconds = time.perf_counter() - self.began


def arguments(config: str, options: argparse.Namespace) -> list[str]:
    steps, size = options.warmup + options.steps, options.size
    return [
        *("fit", "--config", config, "--data.source", "SyntheticSource", "--data.source.slices", "10"),
        *("--data.source.size", str(2 * size), "--data.crop", str(size), "--data.batch_size", str(options.batch_size)),
        *("--data.samples_per_epoch", str(steps * options.batch_size), "--trainer.max_epochs", "1"),
        *("--trainer.limit_val_batches", "0", "--trainer.num_sanity_val_steps", "0"),
        *("--trainer.enable_progress_bar", str(options.progress_bar).lower()),
        *("--trainer.enable_model_summary", "false", "--trainer.precision", options.precision),
        *("--model.encoder", options.encoder),
    ]


def through_the_command_line(config: str, options: argparse.Namespace) -> float:
    """Seconds of the timed steps through ``python -m segmentation fit``."""
    from fit_speed import Clock as Imported  # the command line imports this file by its name

    from segmentation.__main__ import main

    clock = {"warmup": options.warmup, "steps": options.warmup + options.steps}
    with tempfile.TemporaryDirectory() as folder:
        args = [*arguments(config, options), "--trainer.default_root_dir", folder]
        callback = json.dumps([{"class_path": "fit_speed.Clock", "init_args": clock}])
        if main([*args, "--trainer.callbacks", callback]) != 0:
            raise SystemExit("fit failed")
    return Imported.seconds


def by_hand(config: str, options: argparse.Namespace) -> float:
    """Seconds of the timed steps in a loop of a dozen lines."""
    from segmentation.data.datamodule import SegmentationDataModule
    from segmentation.data.sources.synthetic import SyntheticSource
    from segmentation.model.module import SegmentationModule
    from segmentation.model.precision import autocast

    steps = options.warmup + options.steps
    data = SegmentationDataModule(
        SyntheticSource(slices=10, size=2 * options.size),
        *(None, 5, 4),
        crop=options.size,
        batch_size=options.batch_size,
        samples_per_epoch=steps * options.batch_size,
        augment="em",
    )
    data.setup("fit")
    module = SegmentationModule(data.classes, data.in_channels, encoder=options.encoder)
    network, loss = module.network.train(), module.loss
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in data.statistics())
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    began = 0.0
    for step, batch in enumerate(data.train_dataloader(), start=1):
        image = ((batch["image"].float() - mean) / std).contiguous(memory_format=torch.channels_last)
        with autocast(options.precision, "cpu"):
            value = loss(network(image), batch["mask"])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if step == options.warmup:
            began = time.perf_counter()
    return time.perf_counter() - began


def main() -> None:
    from segmentation.model.precision import default_precision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--precision", default=default_precision("cpu"))
    parser.add_argument("--progress_bar", action="store_true")
    options = parser.parse_args()
    config = str(ROOT / "configs" / "isbi.yaml")
    sys.argv = sys.argv[:1]
    images = options.steps * options.batch_size
    ratios = []
    for pair in range(options.pairs):
        # who goes first alternates: a machine that warms up or slows down favours neither
        if pair % 2:
            line = through_the_command_line(config, options)
            hand = by_hand(config, options)
        else:
            hand = by_hand(config, options)
            line = through_the_command_line(config, options)
        ratios.append(hand / line)
        print(
            f"pair {pair}: by hand {images / hand:.2f} images/s, fit {images / line:.2f} images/s, "
            f"fit/hand {hand / line:.3f}",
            flush=True,
        )
    print(
        f"fit/hand: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f} "
        f"({options.pairs} pairs of {options.steps} steps of {options.batch_size}x{options.size}x{options.size}, "
        f"{options.precision}, torch {torch.__version__}, {torch.get_num_threads()} threads)"
    )


if __name__ == "__main__":
    main()
