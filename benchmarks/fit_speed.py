"""Training speed of ``fit`` through the command line against bare PyTorch loops, in images a second.

The same network is trained on crops of the same size, in turns within one process:

- fit: ``python -m segmentation fit --config configs/isbi_resnet18.yaml`` without validation: loader, augmentation, metrics, logging,
  turns of epochs, and as many checkpoints as the config writes;
- synthetic: a loop of a dozen lines on one batch that is there already, with the precision, memory format, loss, optimizer and
  moving average of fit: the ceiling;
- same data: this loop on the batches of fit's own loader;
- tutorial: float32, usual memory format, each crop decoded from its PNG file by the process that trains.

    python benchmarks/fit_speed.py --rounds 3
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from printing import machine, ratios, spread, table
from timeline import STEP, fit
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from segmentation.commands.built_fit import BuiltFit
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.model.module import SegmentationModule
from segmentation.model.precision import autocast

ROOT = Path(__file__).parents[1]

Pairs = Iterable[tuple[Tensor, Tensor]]
"""Batches: normalised images (B, C, H, W) float32 and masks (B, H, W) int64."""


def of_fit(options: argparse.Namespace) -> list[str]:
    """Arguments of ``fit`` on slices of ISBI 2012, or on drawn ones of its size."""
    isbi = ["--data.source.root", str(options.root)]
    drawn = ["--data.source", "SyntheticSource", "--data.source.slices", "30", "--data.source.size", str(options.slice)]
    return [
        *("--config", str(ROOT / "configs" / "isbi_resnet18.yaml"), *(isbi if options.root.is_dir() else drawn)),
        *("--data.crop", str(options.size), "--data.batch_size", str(options.batch_size)),
        *("--data.samples_per_epoch", str(options.epoch_steps * options.batch_size)),
        *("--model.encoder", options.encoder),
        *(("--trainer.precision", options.precision) if options.precision else ()),
    ]


def through_the_command_line(options: argparse.Namespace) -> float:
    """Images a second of ``fit``."""
    steps = options.warmup + options.steps
    with tempfile.TemporaryDirectory() as folder:
        line = fit(
            [
                *(*of_fit(options), "--trainer.default_root_dir", folder, "--trainer.max_steps", str(steps)),
                *("--trainer.max_epochs", str(-(-steps // options.epoch_steps))),
                *("--trainer.limit_val_batches", "0", "--trainer.num_sanity_val_steps", "0"),
                # best.ckpt and last.ckpt in six epochs of configs/isbi_resnet18.yaml
                *("--checkpoint.every_n_steps", str(3 * options.epoch_steps)),
            ]
        )
    ends = [span.end for span in line.of(STEP)]
    return float(options.steps * options.batch_size / (ends[-1] - ends[options.warmup - 1]))


def by_hand(
    module: SegmentationModule, batches: Pairs, precision: str, layout: torch.memory_format, options: argparse.Namespace
) -> float:
    """Images a second of a bare loop; the module lends its network and its loss."""
    network = deepcopy(module.network).train().to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    decay = module.hparams["ema"]
    average = None if decay is None else AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call] # torch's
    began = 0.0
    for step, (image, mask) in enumerate(islice(batches, options.warmup + options.steps), start=1):
        with autocast(precision, "cpu"):
            loss = module.loss(network(image.contiguous(memory_format=layout)), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if average is not None:
            average.update_parameters(network)
        if step == options.warmup:
            began = time.perf_counter()
    return float(options.steps * options.batch_size / (time.perf_counter() - began))


def loaded(data: SegmentationDataModule) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of fit, epoch after epoch."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in data.statistics())
    loader = data.train_dataloader()
    for batch in chain.from_iterable(repeat(loader)):
        yield (batch["image"].float() - mean) / std, batch["mask"].long()


class Decoded(Dataset[tuple[Tensor, Tensor]]):
    """Random crops with random flips, cut from PNG files that are read anew each time."""

    def __init__(self, data: SegmentationDataModule, folder: Path, size: int, count: int) -> None:
        self.folder, self.size, self.count = folder, size, count
        self.random = np.random.default_rng(0)
        self.images = data.split["train"]
        for sample in data.samples(self.images):
            image, mask = data.reader(sample)
            Image.fromarray(image[..., 0]).save(folder / f"{sample.id}.png")
            Image.fromarray(mask).save(folder / f"{sample.id}-mask.png")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """(1, size, size) float32 in 0..1, and (size, size) int64."""
        name = self.images[index % len(self.images)]
        image = np.array(Image.open(self.folder / f"{name}.png"))
        mask = np.array(Image.open(self.folder / f"{name}-mask.png"))
        top, left = (int(self.random.integers(side - self.size + 1)) for side in image.shape)
        window = (slice(top, top + self.size), slice(left, left + self.size))
        image, mask = image[window], mask[window]
        for axis in (0, 1):
            if self.random.random() < 0.5:
                image, mask = np.flip(image, axis), np.flip(mask, axis)
        return torch.from_numpy(image[None] / np.float32(255)), torch.from_numpy(mask.astype(np.int64))


def ways_of(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], float]]:
    """Each way's name, and what measures it once."""
    built = BuiltFit(of_fit(options), folder)
    module, data, precision = built.model, built.datamodule, str(built.trainer.precision)
    data.setup("fit")
    options.precision = precision
    images = torch.randn(options.batch_size, data.in_channels, options.size, options.size)
    still = repeat((images, torch.randint(2, (options.batch_size, options.size, options.size))))
    files = Decoded(data, folder, options.size, (options.warmup + options.steps) * options.batch_size)
    fast, usual = torch.channels_last, torch.contiguous_format
    fewer = argparse.Namespace(**vars(options) | {"steps": -(-options.steps // 3), "warmup": 1})  # it is slow
    return {
        "fit": lambda: through_the_command_line(options),
        "bare loop, synthetic": lambda: by_hand(module, still, precision, fast, options),
        "bare loop, same data": lambda: by_hand(module, loaded(data), precision, fast, options),
        "tutorial": lambda: by_hand(module, DataLoader(files, options.batch_size), "32-true", usual, fewer),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--warmup", type=int, default=4, help="steps before those that are timed")
    parser.add_argument("--epoch_steps", type=int, default=12)
    parser.add_argument("--size", type=int, default=256, help="of the crops")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--precision", help="what fit chooses on this machine by default")
    parser.add_argument("--root", type=Path, default=Path("data/isbi2012"), help="drawn slices where it is missing")
    parser.add_argument("--slice", type=int, default=512, help="side of the drawn slices")
    options = parser.parse_args()
    options.root = options.root.absolute()
    speeds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ways = ways_of(options, Path(folder))
        for turn in range(options.rounds):
            # who goes first alternates: a machine that warms up or slows down favours none
            for name in list(ways) if turn % 2 == 0 else list(ways)[::-1]:
                speeds.setdefault(name, []).append(ways[name]())
    print("## Training through the command line against bare loops\n")
    rows = [(name, ratios(speeds["fit"], speeds[name]), spread(speeds[name])) for name in ways]
    print(table(("way", "fit / this way", "images/s"), rows))
    print(
        f"\n{options.rounds} rounds of {options.steps} steps of {options.batch_size}x{options.size}x{options.size}, "
        f"{options.encoder}, {options.precision}, medians (lowest to highest). {machine()}"
    )


if __name__ == "__main__":
    main()
