"""Maps of the masks in a batch: those that the loss asks for, of the mask as it is, whoever loads it."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.dataset import Reader, WholeImages
from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.model.losses.loss import Loss

SOURCE = SyntheticSource(slices=6, size=64)
LOSS = Loss({"unet": 1, "skeleton_recall": 1, "boundary": 1}, SOURCE.classes)


def data_of(workers: int = 0) -> SegmentationDataModule:
    data = SegmentationDataModule(
        SOURCE, folds=3, fold=2, crop=32, batch_size=2, samples_per_epoch=4, augment="em", workers=workers, seed=7
    )
    data.maps = LOSS.maps
    data.setup("fit")
    return data


def loaded(workers: int) -> list[dict[str, Any]]:
    loader = data_of(workers).train_dataloader()
    return [{name: planes.tolist() for name, planes in batch["maps"].items()} for batch in loader]


def assert_of_the_mask(maps: dict[str, torch.Tensor], mask: torch.Tensor) -> None:
    assert maps.keys() == LOSS.maps.keys()
    for name, make in LOSS.maps.items():
        expected = np.stack([make(one) for one in mask.numpy().astype(np.uint8)])
        assert maps[name].dtype == torch.float32
        np.testing.assert_array_equal(maps[name], expected)


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader"])
def test_the_maps_of_a_batch_are_those_of_its_masks(loader: str) -> None:
    batches = list(getattr(data_of(), loader)())
    for batch in batches:
        assert_of_the_mask(batch["maps"], batch["mask"])
    assert any(batch["maps"][name].any() for batch in batches for name in LOSS.maps)


def test_maps_depend_on_no_worker() -> None:
    alone = loaded(workers=0)
    assert len(alone) == 2
    assert loaded(workers=2) == alone


def test_maps_can_be_handed_to_a_process_that_shares_no_memory() -> None:
    mask = SOURCE.read_mask(SOURCE.samples()[0])
    for make in LOSS.maps.values():
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(make))(mask), make(mask))


def test_without_a_loss_that_needs_them_there_are_none() -> None:
    data = data_of()
    data.maps = Loss({"bce": 1, "dice": 1}, SOURCE.classes).maps
    for batch in (*data.train_dataloader(), *data.val_dataloader()):
        assert batch["maps"] == {}


def test_a_filler_has_maps_of_the_same_shapes(source_of: Callable[..., Any]) -> None:
    mask = np.zeros((8, 9), np.uint8)
    mask[2:4] = 1
    source = source_of({"a": (np.zeros((8, 9, 1), np.uint8), mask)})
    images = WholeImages(Reader(source), source.samples(), LOSS.maps)
    real, filler = images[0, True], images[0, False]
    for name, planes in real["maps"].items():
        assert planes.shape == filler["maps"][name].shape
        assert planes.any() or name == "unet"  # one object alone
        assert not filler["maps"][name].any()
