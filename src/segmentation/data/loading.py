"""Loaders: how data sets become batches, in processes of their own."""

import os
import signal
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from segmentation.data.augmentation import use_one_thread
from segmentation.data.dataset import Item
from segmentation.errors import InputError


class Loader(DataLoader[Item]):
    """Batches of a data set. Says to Lightning that it can be resumed; its position is the sampler's.

    Args:
        dataset: What is loaded.
        workers: Processes that load; 0 for this one.
        seed: Of the loader's own random numbers.
        options: Sampler or batch sampler, and further arguments of torch's loader.
    """

    def __init__(self, dataset: Dataset[Item], workers: int, seed: int, **options: Any) -> None:
        super().__init__(
            dataset,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_start_worker,
            collate_fn=_collate,
            pin_memory=torch.cuda.is_available(),
            # of its own: else starting workers draws from the global generator and shifts dropout
            generator=torch.Generator().manual_seed(seed),
            **options,
        )

    def state_dict(self) -> dict[str, Any]:
        """Nothing; its being there is what Lightning looks for."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


def default_workers() -> int:
    """Half the cores this process may use, at least 1 and at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores // 2))


def _collate(items: list[Item]) -> Any:
    sizes = {tuple(item["mask"].shape) for item in items}
    if len(sizes) > 1:  # also one size, once a transform has turned some of the images
        raise InputError(
            f"images of the sizes {sorted(sizes)} (HxW) cannot share a batch; "
            "set data.crop to a side in pixels, or data.batch_size: 1"
        )
    return default_collate(items)


def _start_worker(_worker: int) -> None:
    # schedulers send SIGTERM to all processes: the main one still finishes its step and writes a checkpoint
    # and so does a terminal with Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_one_thread()
