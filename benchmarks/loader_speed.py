"""The loader alone: crops a second on one core, what each transform costs, and how fast workers start.

python benchmarks/loader_speed.py --config configs/isbi_resnet18.yaml --draws 100
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from printing import machine, spread, table

from segmentation.data.augmentation import Augmentation
from segmentation.data.configured import data_of
from segmentation.data.crops import random_crop
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.dataset import DrawSampler, TrainingDraws
from segmentation.data.loading import Loader
from segmentation.data.presets import PRESETS


def milliseconds(draw: Callable[[int], object], draws: int, rounds: int) -> list[float]:
    """Of one draw, by round."""
    draw(0)
    taken = []
    for turn in range(rounds):
        began = time.perf_counter()
        for number in range(draws):
            draw(turn * draws + number)
        taken.append((time.perf_counter() - began) / draws * 1000)
    return taken


def whole_draws(draws: TrainingDraws, count: int, rounds: int) -> str:
    """Crops a second of one core: reading, cropping, augmentation, conversion."""
    taken = milliseconds(lambda number: draws[number // len(draws), number % len(draws)], count, rounds)
    return spread([1000 / each for each in taken], 0)


def transforms(draws: TrainingDraws, preset: str, crop: int, count: int, rounds: int) -> list[tuple[str, ...]]:
    """A row for each transform of a preset: its share of the draws, and its milliseconds in one of them and on average."""
    pixels = draws.reader(draws.samples[0])
    image, mask = (np.ascontiguousarray(array) for array in random_crop(*pixels, crop, np.random.default_rng(0)))
    rows: list[tuple[str, ...]] = []
    for step in PRESETS[preset]:
        ((name, options),) = step.items()
        always = Augmentation([{name: options | {"p": 1.0}}])
        taken = milliseconds(lambda seed: always(image, mask, seed), count, rounds)  # noqa: B023 - called at once
        rows.append((name, f"{options['p']:g}", spread(taken), f"{median(taken) * options['p']:.2f}"))
    return rows


def starts(data: SegmentationDataModule, method: str, batches: int) -> tuple[float, float, float]:
    """Seconds to the first batch of one worker, to the first batch of the next epoch, and crops a second of it."""
    draws = data.training_draws()
    loader = Loader(
        draws,
        1,
        0,
        batch_size=data.batch_size,
        sampler=DrawSampler(batches * data.batch_size),
        multiprocessing_context=method,
    )
    firsts = []
    speed = 0.0
    for _ in range(2):
        began = time.perf_counter()
        batch_of = iter(loader)
        next(batch_of)
        firsts.append(time.perf_counter() - began)
        began = time.perf_counter()
        rest = sum(len(batch["id"]) for batch in batch_of)
        speed = rest / (time.perf_counter() - began)
    return firsts[0], firsts[1], speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path(__file__).parents[1] / "configs" / "isbi_resnet18.yaml")
    parser.add_argument("--drawn", type=int, help="side of drawn slices, instead of the data of the config")
    parser.add_argument("--presets", nargs="+", default=["em", "em_strong", "natural"])
    parser.add_argument("--draws", type=int, default=100, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--methods", nargs="+", default=["fork", "spawn"], help="how a worker is started")
    options = parser.parse_args()
    drawn = {"class_path": "SyntheticSource", "init_args": {"slices": 10, "size": options.drawn}}
    source = {} if options.drawn is None else {"source": drawn}
    cv2.setNumThreads(0)
    print("## The loader alone\n")
    speeds = []
    for preset in ("none", "flips", *options.presets):
        data = data_of(options.config, crop=options.crop, augment=preset, **source)
        data.prepare_data()
        data.setup("fit")
        speeds.append((preset, whole_draws(data.training_draws(), options.draws, options.rounds)))
    print(table(("preset", "crops/s of one core"), speeds))
    for preset in options.presets:
        print(f"\nTransforms of `{preset}`, milliseconds:\n")
        rows = transforms(data.training_draws(), preset, options.crop, options.draws, options.rounds)
        print(table(("transform", "share of the draws", "one", "a draw"), rows))
    print()
    methods = [(method, *starts(data, method, max(2, options.draws // data.batch_size))) for method in options.methods]
    rows = [(name, f"{first:.2f}", f"{turn * 1000:.0f}", f"{speed:.0f}") for name, first, turn, speed in methods]
    print(table(("worker started by", "first batch, s", "first batch of the next epoch, ms", "crops/s"), rows))
    print(
        f"\nCrops of {options.crop}x{options.crop}, {options.rounds} rounds of {options.draws}, medians (lowest to highest); "
        f"the workers augment by `{data.augment}`, batches of {data.batch_size}. {machine()}"
    )


if __name__ == "__main__":
    main()
