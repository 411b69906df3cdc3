"""A draw depends on (seed, epoch, k) alone, whoever loads it; scoring counts every image once."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from segmentation.data.augmentation import Augmentation
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.dataset import DrawSampler, Item, Reader, SizeBatches, TrainingDraws, WholeImages
from segmentation.data.sample import Sample
from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.errors import InputError

SOURCE = SyntheticSource(slices=6, size=64)


def draws_of(seed: int = 0, draws: int = 12, crop: int | None = 32, augment: str = "em") -> TrainingDraws:
    return TrainingDraws(Reader(SOURCE), SOURCE.samples(), draws, crop, Augmentation(augment), seed)


def content(item: Item) -> tuple[str, bytes, bytes]:
    return item["id"], item["image"].numpy().tobytes(), item["mask"].numpy().tobytes()


def loaded(workers: int, context: str | None = None, **options: float) -> list[Any]:
    """Ids, images and masks of all batches of two epochs."""
    data = SegmentationDataModule(
        SOURCE,
        folds=3,
        fold=2,
        crop=32,
        batch_size=3,
        samples_per_epoch=10,
        augment="em",
        workers=workers,
        seed=7,
        **options,
    )
    data.setup("fit")
    loader = data.train_dataloader()
    if context is not None:
        loader.multiprocessing_context = context
    batches = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        batches += [(batch["id"], batch["image"].tolist(), batch["mask"].tolist()) for batch in loader]
    return batches


def test_a_draw_is_a_function_of_seed_epoch_and_number() -> None:
    places = [(epoch, k) for epoch in range(3) for k in range(12)]
    first, second = draws_of(seed=3), draws_of(seed=3)
    forward = {place: content(first[place]) for place in places}
    assert {place: content(second[place]) for place in reversed(places)} == forward


def test_draws_differ_between_numbers_epochs_and_seeds() -> None:
    drawn = {
        content(draws[epoch, k])
        for draws in (draws_of(seed=0), draws_of(seed=1))
        for epoch in range(3)
        for k in range(12)
    }
    assert len(drawn) == 2 * 3 * 12


def test_one_image_is_cropped_and_augmented_anew_each_time() -> None:
    one = TrainingDraws(Reader(SOURCE), SOURCE.samples()[:1], 8, 32, Augmentation("none"), 0)
    assert len({content(one[epoch, k]) for epoch in range(2) for k in range(8)}) == 16


def test_every_sample_is_drawn_equally_often() -> None:
    draws = draws_of(draws=4, crop=8, augment="none")
    order = [draws[epoch, k]["id"] for epoch in range(9) for k in range(4)]  # 36 draws of 6 samples
    rounds = [order[start : start + 6] for start in range(0, 36, 6)]
    assert all(sorted(ids) == sorted(sample.id for sample in SOURCE.samples()) for ids in rounds)
    assert len({tuple(ids) for ids in rounds}) > 1  # in another order each time


def test_the_order_of_the_samples_is_that_of_the_seed() -> None:
    orders = {
        tuple(draws_of(seed=seed, draws=6, crop=8, augment="none")[0, k]["id"] for k in range(6)) for seed in range(4)
    }
    assert len(orders) > 1


def test_an_item_holds_the_crop_as_stored() -> None:
    item = draws_of(crop=None, augment="none")[0, 0]
    sample = next(sample for sample in SOURCE.samples() if sample.id == item["id"])
    np.testing.assert_array_equal(item["image"], SOURCE.read_image(sample).transpose(2, 0, 1))
    np.testing.assert_array_equal(item["mask"], SOURCE.read_mask(sample))
    assert (item["image"].dtype, item["mask"].dtype) == (torch.uint8, torch.uint8)


# torch finds three workers too many on a machine with two cores
@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes:UserWarning")
def test_any_number_of_workers_loads_the_same_batches() -> None:
    alone = loaded(workers=0)
    assert len(alone) == 6  # 10 draws in batches of 3, twice: the tenth is dropped
    assert len({str(images) for _, images, _ in alone}) == 6
    assert loaded(workers=1) == alone
    assert loaded(workers=3) == alone


def test_spawned_workers_load_what_forked_ones_do() -> None:
    assert loaded(workers=1, context="spawn") == loaded(workers=1, context="fork")


def test_workers_look_and_mix_as_one_process_does() -> None:
    options = {"foreground_crops": 0.3, "boundary_crops": 0.4, "cutmix": 0.4, "copy_paste": 0.4}
    alone = loaded(workers=0, **options)
    assert loaded(workers=1, **options) == alone
    assert any(" + " in sample_id for ids, _, _ in alone for sample_id in ids)


def test_two_processes_share_out_the_draws_of_one() -> None:
    single = list(DrawSampler(10, epoch=2))
    ranks = [list(DrawSampler(10, rank, world=2, epoch=2)) for rank in range(2)]
    assert single == [(2, k) for k in range(10)]
    assert [draw for pair in zip(*ranks, strict=True) for draw in pair] == single
    draws = draws_of()
    assert len({content(draws[draw]) for rank in ranks for draw in rank}) == 10


def test_every_process_takes_the_same_number_of_draws() -> None:
    samplers = [DrawSampler(10, rank, world=3) for rank in range(3)]
    assert [len(sampler) for sampler in samplers] == [3, 3, 3]
    assert sorted(draw for sampler in samplers for draw in sampler) == [(0, k) for k in range(9)]


def test_a_sampler_starts_where_training_stopped() -> None:
    sampler = DrawSampler(10, rank=1, world=2, epoch=4, start=3)
    sampler.set_epoch(4)  # as Lightning does at the start of the resumed epoch
    assert list(sampler) == [(4, 7), (4, 9)]
    assert len(sampler) == 5  # of a whole epoch: Lightning counts the batches taken itself
    sampler.set_epoch(5)
    assert list(sampler) == [(5, 1), (5, 3), (5, 5), (5, 7), (5, 9)]


def test_a_sampler_that_starts_at_the_end_goes_on_with_the_next_epoch() -> None:
    sampler = DrawSampler(6, epoch=4, start=6)
    sampler.set_epoch(4)
    assert list(sampler) == [(5, k) for k in range(6)]


def test_a_batch_holds_images_of_one_size_and_every_image_is_in_one() -> None:
    sizes = [(8, 8), (4, 6), (8, 8), (6, 4), (8, 8), (4, 6)]
    batches = list(SizeBatches(sizes, batch_size=2))
    assert all(len({sizes[index] for index, _ in batch}) == 1 for batch in batches)
    assert max(map(len, batches)) == 2
    assert sorted(index for batch in batches for index, _ in batch) == list(range(6))
    assert all(counted for batch in batches for _, counted in batch)


@pytest.mark.parametrize(("count", "world"), [(5, 2), (1, 2), (2, 4), (4, 2), (7, 3)])
def test_processes_score_every_image_once_in_as_many_steps(count: int, world: int) -> None:
    ranks = [SizeBatches([(8, 8)] * count, 1, rank, world) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {-(-count // world)}
    items = [item for rank in ranks for batch in rank for item in batch]
    assert sorted(index for index, counted in items if counted) == list(range(count))
    assert sum(not counted for _, counted in items) == -count % world


def test_larger_batches_are_dealt_to_processes_whole() -> None:
    sizes = [(8, 8), (4, 4), (8, 8), (4, 4), (8, 8)]
    ranks = [list(SizeBatches(sizes, 2, rank, 2)) for rank in range(2)]
    # 8x8: (0, 2), (4); 4x4: (1, 3): three batches, so the second process gets a filler
    assert ranks == [[[(0, True), (2, True)], [(1, True), (3, True)]], [[(4, True)], [(0, False)]]]


def test_a_filler_counts_nothing_and_names_nothing() -> None:
    images = WholeImages(Reader(SOURCE), SOURCE.samples())
    real, filler = images[0, True], images[0, False]
    assert (real["id"], filler["id"]) == ("slice-000", "")
    assert (filler["mask"] == 255).all()
    assert filler["mask"].shape == real["mask"].shape
    assert set(real["mask"].unique().tolist()) == {0, 1}
    np.testing.assert_array_equal(filler["image"], real["image"])


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (np.zeros((8, 6, 1), np.uint8), "a.png is 8x6 (HxW), its mask 8x8; image and mask must be of one size"),
        (np.zeros((8, 8, 3), np.uint8), "a.png has 3 channels, the configuration says 1; set data.source"),
    ],
)
def test_a_reader_refuses_what_does_not_fit(source_of: Callable[..., Any], image: np.ndarray, told: str) -> None:
    source = source_of({"a": (image, np.zeros((8, 8), np.uint8))})
    with pytest.raises(InputError) as caught:
        Reader(source)(source.samples()[0])
    assert told in str(caught.value)


def test_a_process_that_is_not_forked_gets_no_copy_of_what_is_kept() -> None:
    reader, sample = Reader(SOURCE), SOURCE.samples()[0]
    reader.kept[sample.id] = np.zeros((512, 512, 1), np.uint8), np.zeros((512, 512), np.uint8)
    there = pickle.loads(pickle.dumps(reader))
    assert len(pickle.dumps(reader)) < 10_000
    assert there(sample)[0].shape == SOURCE.read_image(sample).shape  # it reads for itself
    assert sample.id in reader.kept


def test_a_reader_takes_what_it_keeps_from_memory(source_of: Callable[..., Any]) -> None:
    pair = np.ones((4, 4, 1), np.uint8), np.zeros((4, 4), np.uint8)
    source = source_of({"a": pair})
    reader = Reader(source)
    reader.kept["a"] = pair
    assert reader(Sample("a", ())) == pair
    assert source.reads == []
