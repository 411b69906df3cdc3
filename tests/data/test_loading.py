"""Epochs of training batches: the draws of each in order, and the next one begun before it is asked for."""

import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from segmentation.data.dataset import DrawSampler, Item
from segmentation.data.loading import TrainingLoader, default_workers


class Draws(Dataset[Item]):
    """The image of a draw is (epoch, k); a file of this name is left in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, draw: tuple[int, int]) -> Item:
        epoch, k = draw
        (self.folder / f"{epoch}-{k}").touch()
        return {"image": torch.tensor(draw), "mask": torch.zeros(1, 1), "id": f"{epoch}-{k}", "maps": {}}


def loader(workers: int, draws: int = 4, start: int = 0) -> TrainingLoader:
    sampler = DrawSampler(draws, epoch=3, start=start)
    return TrainingLoader(Draws(Path()), workers, 0, batch_size=2, sampler=sampler, drop_last=True)


def epoch(batches: TrainingLoader) -> list[list[str]]:
    return [batch["id"] for batch in batches]


@pytest.mark.parametrize("workers", [0, 1])
def test_epochs_follow_each_other(workers: int) -> None:
    batches = loader(workers)
    expected = [[[f"{number}-0", f"{number}-1"], [f"{number}-2", f"{number}-3"]] for number in (3, 4, 5)]
    assert [epoch(batches) for _ in range(3)] == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_epoch_is_shorter_and_the_next_one_whole(workers: int) -> None:
    batches = loader(workers, draws=7, start=4)  # the seventh draw fills no batch
    assert epoch(batches) == [["3-4", "3-5"]]
    assert epoch(batches) == [["4-0", "4-1"], ["4-2", "4-3"], ["4-4", "4-5"]]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_that_is_left_early_is_over(workers: int) -> None:
    """As with trainer.limit_train_batches; Lightning tells the sampler the number of each epoch."""
    batches = loader(workers)
    assert next(iter(batches))["id"] == ["3-0", "3-1"]
    batches.sampler.set_epoch(4)
    assert epoch(batches) == [["4-0", "4-1"], ["4-2", "4-3"]]


def test_workers_that_were_ended_are_started_anew() -> None:
    batches = loader(1)
    epoch(batches)
    batches._iterator._shutdown_workers()  # as Lightning does
    batches._iterator = None
    assert epoch(batches) == [["4-0", "4-1"], ["4-2", "4-3"]]


def test_the_next_epoch_is_drawn_while_the_last_batch_of_one_is_trained_on() -> None:
    batches = iter(loader(1))
    next(batches)
    assert not Path("4-0").exists()
    next(batches)
    patience = time.monotonic() + 60
    while not Path("4-0").exists() and time.monotonic() < patience:
        time.sleep(0.01)
    assert Path("4-0").exists()


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (7, 3), (64, 8)])
def test_half_the_cores_load_at_most_eight(cores: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores), raising=False)
    assert default_workers() == workers
