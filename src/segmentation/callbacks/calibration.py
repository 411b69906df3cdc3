"""The sizes of the decision, chosen once after ``fit`` on the best checkpoint."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import ceil
from statistics import median_low
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from segmentation.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints
from segmentation.callbacks.tables import ScoreTable
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.inference import tiling
from segmentation.inference.decision import Decision, class_mean, dice, iou
from segmentation.metrics.em import true_segments, v_scores
from segmentation.model.checkpoint import read_checkpoint
from segmentation.model.module import Batch, SegmentationModule
from segmentation.model.precision import autocast, usable_precision
from segmentation.model.predictor import load_module

SHARES = tuple(2.0**power for power in (-15, -13, -11, -9, -7))
"""Sizes that are tried, as shares of the median validation image: 8, 32, 128, 512 and 2048 pixels of 512x512."""

GAIN = 1e-4
"""A size must raise the score by more than this; less is a few pixels."""

MOST_PIXELS = 2**26
"""Of the validation images that choose, 256 of 512x512; of more, every second, third, ... batch is taken."""

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Labels pixel by pixel and truth of an image, (H, W) each."""


class Calibration(Callback):
    """Chooses smallest object and largest hole on the validation samples, by the score that chose the threshold.

    Each is one of six sizes, 0 among them, and differs from 0 only where that gains. The result is written into the
    best checkpoint; the last one stays as it is, so that a resumed run goes on as it would have.

    Args:
        table: Gets the scores at the decision that was chosen.
    """

    def __init__(self, table: ScoreTable) -> None:
        self.table = table

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose, on all processes together; nothing without a best checkpoint."""
        path = Checkpoints.of(trainer).best_model_path
        data: Any = trainer.datamodule  # type: ignore[attr-defined] # set by the CLI
        if not path:
            return
        module = load_module(path).eval().to(trainer.strategy.root_device)
        precision = usable_precision(module.precision or "32-true", module.device.type)
        with torch.inference_mode(), autocast(precision, module.device.type):  # as validate has it
            chosen = _choose(trainer, module, data)
            # otherwise the scores were logged at it; the EM scores of the labels are not taken while fit validates
            if chosen != Decision(chosen.threshold) or "em" in module.score_kinds:
                self.table.final = _scores(module, chosen, _batches(trainer, module, data))
        trainer.strategy.barrier("calibration")  # all have read the file
        if trainer.is_global_zero and chosen != module.decision:
            checkpoint = read_checkpoint(path)
            checkpoint["segmentation"]["decision"] = chosen.to_dict()
            AtomicCheckpointIO().save_checkpoint(checkpoint, path)


def sizes_for(area: int) -> list[int]:
    """The sizes in pixels that are tried for images of an area, ascending from 0."""
    return [0, *sorted({round(area * share) for share in SHARES} - {0, 1})]


def choose_sizes(
    start: Decision,
    free: Sequence[str],
    sizes: Sequence[int],
    score: Callable[[Sequence[Decision]], NDArray[np.float64]],
) -> tuple[Decision, float, float]:
    """Choose the sizes one after the other, each only where it gains.

    Args:
        start: With 0 for each size that is to be chosen.
        free: Those: ``smallest_object``, ``largest_hole``, or both.
        sizes: What each can be in pixels, ascending from 0.
        score: The score of each of several decisions; higher is better, NaN where it is undefined.

    Returns:
        The decision, the score of ``start`` and that of the decision.
    """
    chosen, reached = start, []
    for name in free:
        options = [replace(chosen, **{name: size}) for size in sizes]
        scores = score(options)
        gains = np.nan_to_num(scores - scores[0])
        best = int(gains.argmax()) if gains.max() > GAIN else 0
        chosen = options[best]
        reached += [float(scores[0]), float(scores[best])]
    return chosen, reached[0], reached[-1]


def _choose(trainer: Trainer, module: SegmentationModule, data: SegmentationDataModule) -> Decision:
    given = {name: module.hparams[name] for name in ("smallest_object", "largest_hole")}
    start = Decision(module.decision.threshold, **{name: size or 0 for name, size in given.items()})
    free = [name for name, size in given.items() if size is None]
    if module.application.agglomeration is not None and "largest_hole" in free:
        free.remove("largest_hole")  # a closed gap is a small hole, and filling it merges what was parted
    if not free:
        return start
    # of a large data set not every sample was surveyed
    sizes = [data.records[key].size for key in data.split["val"] if key in data.records]
    areas = [height * width for height, width in sizes]
    pixels = sum(areas) / len(areas) * len(data.split["val"])
    pairs = list(_pairs(module, _batches(trainer, module, data, every=ceil(pixels / MOST_PIXELS))))

    def score(decisions: Sequence[Decision]) -> NDArray[np.float64]:
        counts = torch.from_numpy(_counts(pairs, decisions, module)).to(module.device)
        return _score(trainer.strategy.reduce(counts, reduce_op="sum").cpu().numpy(), module)

    chosen, before, after = choose_sizes(start, free, sizes_for(median_low(areas)), score)
    gained = [f"{name.replace('_', ' ')} {size} pixels" for name in free if (size := getattr(chosen, name))]
    if gained:
        criterion = module.hparams["criterion"]
        rank_zero_info(f"Decision: {', '.join(gained)}; {criterion} of validation {before:.4f} -> {after:.4f}")
    else:
        names = " or ".join(name.replace("_", " ") for name in free)
        rank_zero_info(f"Decision: no {names} gains on the validation samples")
    return chosen


def _batches(
    trainer: Trainer, module: SegmentationModule, data: SegmentationDataModule, every: int = 1
) -> Iterator[Batch]:
    """This process's share of the validation samples, of which every so many batches are taken."""
    loader, limit = data.val_dataloader(), trainer.limit_val_batches
    count = limit if isinstance(limit, int) else int(len(loader) * limit)
    for batch in islice(loader, 0, count, every):
        yield data.on_after_batch_transfer(move_data_to_device(batch, module.device), 0)


def _pairs(module: SegmentationModule, batches: Iterator[Batch]) -> Iterator[Pair]:
    by_pixel = Decision(module.decision.threshold)
    for batch in batches:
        probabilities = module.application.closed(
            tiling.run(module.predict_tile, batch["image"], module.application.tiling)
        )
        labels = by_pixel.labels(probabilities).cpu().numpy().astype(np.uint8)
        yield from zip(labels, batch["mask"].cpu().numpy().astype(np.uint8), strict=True)


def _scores(module: SegmentationModule, decision: Decision, batches: Iterator[Batch]) -> dict[str, float]:
    """What ``validate`` logs at a decision."""
    module.stage_scores = module.scores_at(decision)
    for index, batch in enumerate(batches):
        module.validation_step(batch, index)
    _, values = module.stage_scores.compute()
    return {name: float(np.float32(value)) for name, value in values.items()}  # Lightning logs float32


def _counts(pairs: Sequence[Pair], decisions: Sequence[Decision], module: SegmentationModule) -> NDArray[np.float64]:
    """What the criterion is computed from, summed over images: (decisions, ...)."""
    totals = []
    for labels, mask in pairs:
        sized = labels
        counts: list[NDArray[Any]] = []
        for decision in decisions:
            before, sized = sized, decision.sized(labels)
            same = bool(counts) and np.array_equal(sized, before)
            counts.append(counts[-1] if same else _count(sized, mask, module))
        totals.append(np.stack(counts))
    total: NDArray[np.float64] = np.sum(totals, axis=0, dtype=np.float64)
    return total


def _count(labels: NDArray[np.uint8], mask: NDArray[np.uint8], module: SegmentationModule) -> NDArray[Any]:
    """(K, K) pixels [truth, predicted]; for V_Rand (2,): its sum over slices, and their number."""
    if module.hparams["criterion"] == "v_rand":
        cell = mask == 1
        return np.array([v_scores(true_segments(cell), labels == 1)[0], 1] if cell.any() else [0, 0], np.float64)
    known, classes = mask != module.classes.ignore_index, len(module.classes)
    pairs = mask[known].astype(np.intp) * classes + labels[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _score(counts: NDArray[np.float64], module: SegmentationModule) -> NDArray[np.float64]:
    """(decisions, ...) as from ``_counts`` -> (decisions,), higher is better."""
    criterion, target = module.hparams["criterion"], module.hparams["target_class"]
    if criterion == "v_rand":
        with np.errstate(invalid="ignore"):  # no slice with a cell
            return counts[:, 0] / counts[:, 1]
    by_class = (dice if criterion == "dice" else iou)(counts)
    return class_mean(by_class) if target is None else by_class[:, module.classes.names.index(target)]
