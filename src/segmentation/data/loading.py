"""Loaders: how data sets become batches, in processes of their own."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from segmentation.data.dataset import DrawSampler, Item
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
            # of its own: else starting workers draws from the global generator and shifts dropout
            generator=torch.Generator().manual_seed(seed),
            **options,
        )

    def state_dict(self) -> dict[str, Any]:
        """Nothing; its being there is what Lightning looks for."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


class TrainingLoader(Loader):
    """Epoch after epoch; the first batches of the next one are drawn while the last one of an epoch is trained on."""

    def __init__(self, dataset: Dataset[Item], workers: int, seed: int, **options: Any) -> None:
        super().__init__(dataset, workers, seed, **options)
        self._is_ahead = False

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override] # torch names a class of its own
        """The batches of the sampler's epoch."""
        # torch keeps the iterator of workers that stay; Lightning takes it away with them
        begun = self._iterator if self._is_ahead else None
        self._is_ahead = False
        return self._with_the_next(super().__iter__() if begun is None else begun)

    def _with_the_next(self, batches: Iterator[Any]) -> Iterator[Any]:
        sampler = self.sampler
        if not isinstance(sampler, DrawSampler):  # overfit_batches has its own
            yield from batches
            return
        last = sampler.left // (self.batch_size or 1)
        for number, batch in enumerate(batches, start=1):
            if number == last:
                sampler.set_epoch(sampler.epoch + 1)
                super().__iter__()
                self._is_ahead = True
            yield batch
            if number == last:
                return  # the iterator is at the next epoch by now


def default_workers() -> int:
    """Half the cores this process may use, at least 1 and at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, max(1, cores // 2))


def _collate(items: list[Item]) -> Any:
    sizes = {tuple(item["mask"].shape) for item in items}
    if len(sizes) > 1:  # also one size, once a transform has turned some of the images
        raise InputError(
            f"images of the sizes {sorted(sizes)} (HxW) cannot share a batch; "
            "set data.crop to a side in pixels and leave what changes sizes, such as RandomScale, out of data.augment, "
            "or set data.batch_size: 1"
        )
    return default_collate(items)


def _start_worker(_worker: int) -> None:
    # schedulers send SIGTERM to all processes: the main one still finishes its step and writes a checkpoint
    # and so does a terminal with Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2  # slow, and not for the command line to wait for

    cv2.setNumThreads(0)  # a worker is already one of several processes
