"""The random state of a step is that of its seed, epoch, batch and process, whatever was drawn before."""

import itertools
from types import SimpleNamespace
from typing import Any

import torch

from segmentation.callbacks.randomness import StepSeed


def drawn(seed: int, epoch: int, batch: int, rank: int) -> tuple[float, ...]:
    trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    torch.rand(3)
    StepSeed(seed).on_train_batch_start(trainer, None, None, batch)
    return tuple(torch.rand(4).tolist())


def test_every_seed_epoch_batch_and_process_has_a_state_of_its_own() -> None:
    places = list(itertools.product((0, 1), repeat=4))
    first = {place: drawn(*place) for place in places}
    assert len(set(first.values())) == 16
    assert {place: drawn(*place) for place in reversed(places)} == first
