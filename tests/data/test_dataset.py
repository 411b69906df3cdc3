"""A draw depends on (seed, epoch, k) alone, whoever loads it; scoring counts every image once."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from segmentation.data.augmentation import Augmentation
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.dataset import DrawSampler, Item, Reader, SizeBatches, TrainingDraws, WholeImages, random_crop
from segmentation.data.source import Sample
from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.errors import InputError

SOURCE = SyntheticSource(slices=6, size=64)


def draws_of(seed: int = 0, draws: int = 12, crop: int | None = 32, augment: str = "em") -> TrainingDraws:
    return TrainingDraws(Reader(SOURCE), SOURCE.samples(), draws, crop, Augmentation(augment), seed)


def content(item: Item) -> tuple[str, bytes, bytes]:
    return item["id"], item["image"].numpy().tobytes(), item["mask"].numpy().tobytes()


def positions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose pixels say where they come from, and a mask that says the same modulo 251."""
    image = np.arange(height * width).reshape(height, width, 1)
    return image, (image[..., 0] % 251).astype(np.uint8)


def loaded(workers: int, context: str | None = None) -> list[Any]:
    """Ids, images and masks of all batches of two epochs."""
    data = SegmentationDataModule(
        SOURCE, folds=3, fold=2, crop=32, batch_size=3, samples_per_epoch=10, augment="em", workers=workers, seed=7
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


def test_an_item_holds_the_crop_as_stored() -> None:
    item = draws_of(crop=None, augment="none")[0, 0]
    sample = next(sample for sample in SOURCE.samples() if sample.id == item["id"])
    np.testing.assert_array_equal(item["image"], SOURCE.read_image(sample).transpose(2, 0, 1))
    np.testing.assert_array_equal(item["mask"], SOURCE.read_mask(sample))
    assert (item["image"].dtype, item["mask"].dtype) == (torch.uint8, torch.int64)


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


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (5, 300), (300, 5), (255, 257)])
def test_a_small_image_is_continued_by_reflection(shape: tuple[int, int]) -> None:
    image, mask = positions(*shape)
    height, width = shape
    for seed in range(5):
        cropped, labels = random_crop(image, mask, 256, np.random.default_rng(seed))
        assert (cropped.shape, labels.shape) == ((256, 256, 1), (256, 256))
        np.testing.assert_array_equal(labels, cropped[..., 0] % 251)
        rows, columns = np.divmod(cropped[..., 0], width)
        assert (rows == rows[:, :1]).all()
        assert (columns == columns[:1]).all()
        for length, places in ((height, rows[:, 0]), (width, columns[0])):
            assert set(np.abs(np.diff(places))) <= {0, 1}  # neighbours stay neighbours, also across a reflection
            assert set(places) == set(range(length)) or length > 256
            ends = np.flatnonzero(np.diff(places))
            assert length == 1 or np.diff(ends, prepend=-1, append=255).max() <= 2  # the rim is doubled, not drawn out


def test_the_places_of_reflected_images_vary() -> None:
    image, mask = positions(8, 8)
    first = {int(random_crop(image, mask, 20, np.random.default_rng(seed))[0][0, 0, 0]) for seed in range(60)}
    assert len(first) > 20


def test_crops_are_windows_at_all_places() -> None:
    image, mask = positions(5, 6)
    corners = set()
    for seed in range(60):
        cropped, labels = random_crop(image, mask, 4, np.random.default_rng(seed))
        top, left = divmod(int(cropped[0, 0, 0]), 6)
        np.testing.assert_array_equal(cropped, image[top : top + 4, left : left + 4])
        np.testing.assert_array_equal(labels, mask[top : top + 4, left : left + 4])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(2) for left in range(3)}


def test_plain_crops_are_those_of_every_earlier_release() -> None:
    """The digest was taken before crops could have a target; other crops would be other runs."""
    image, mask = positions(40, 50)
    digest = hashlib.blake2b(digest_size=8)
    for epoch in range(3):
        for k in range(8):
            random = np.random.default_rng([5, epoch, k])
            for size in (16, 45, 64):
                for values, kind in zip(random_crop(image, mask, size, random), ("<i8", "u1"), strict=True):
                    digest.update(values.astype(kind).tobytes())
            digest.update(str(int(random.integers(2**31))).encode())
    assert digest.hexdigest() == "2dcf9d8365f44020"


@pytest.mark.parametrize("target", [(0, 0), (4, 5), (2, 3)])
def test_crops_with_a_target_are_all_the_windows_that_hold_it(target: tuple[int, int]) -> None:
    image, mask = positions(5, 6)
    corners = {
        divmod(int(random_crop(image, mask, 3, np.random.default_rng(seed), target)[0][0, 0, 0]), 6)
        for seed in range(200)
    }
    holding = {
        (top, left)
        for top in range(3)
        for left in range(4)
        if top <= target[0] < top + 3 and left <= target[1] < left + 3
    }
    assert corners == holding


def test_a_target_stays_in_view_where_the_image_is_continued_by_reflection() -> None:
    image, mask = positions(4, 30)
    for seed in range(50):
        cropped, _ = random_crop(image, mask, 10, np.random.default_rng(seed), (3, 17))
        assert cropped.shape == (10, 10, 1)
        assert (cropped == 3 * 30 + 17).any()


def lesion_draws(source_of: Callable[..., Any], share: float, draws: int = 400, seed: int = 0) -> TrainingDraws:
    """One image 64x64 with a lesion of class 1 of 2x2 pixels, all different; crops of 8."""
    image, mask = positions(64, 64)[0], np.zeros((64, 64), np.uint8)
    mask[40:42, 7:9] = 1
    source = source_of({"a": (image, mask)})
    return TrainingDraws(Reader(source), source.samples(), draws, 8, Augmentation("none"), seed, share)


def test_with_foreground_crops_1_every_crop_holds_the_lesion(source_of: Callable[..., Any]) -> None:
    draws = lesion_draws(source_of, 1.0)
    masks = [draws[0, k]["mask"].numpy() for k in range(200)]
    assert all((mask == 1).any() for mask in masks)
    assert len({mask.tobytes() for mask in masks}) > 40  # at all places of the crop


def test_the_share_of_foreground_crops_is_kept_and_the_others_are_as_without(source_of: Callable[..., Any]) -> None:
    plain, half = lesion_draws(source_of, 0.0), lesion_draws(source_of, 0.5)
    same = [content(plain[1, k]) == content(half[1, k]) for k in range(400)]
    assert abs(sum(same) - 200) < 3.5 * 10  # binomial: deviation sqrt(400 / 4) = 10
    assert all((half[1, k]["mask"] == 1).any() for k in range(400) if not same[k])


def test_foreground_crops_are_a_function_of_seed_epoch_and_number(source_of: Callable[..., Any]) -> None:
    first, again = lesion_draws(source_of, 0.7), lesion_draws(source_of, 0.7)
    forward = [content(first[epoch, k]) for epoch in range(2) for k in range(20)]
    backward = [content(again[epoch, k]) for epoch in reversed(range(2)) for k in reversed(range(20))]
    assert forward == backward[::-1]
    assert forward != [content(lesion_draws(source_of, 0.7, seed=1)[epoch, k]) for epoch in range(2) for k in range(20)]


def test_an_image_of_the_common_class_alone_is_cropped_plainly(source_of: Callable[..., Any]) -> None:
    image, mask = positions(20, 20)[0], np.full((20, 20), 1, np.uint8)
    mask[0, 0] = 255  # ignored is not looked for
    source = source_of({"a": (image, mask)})
    plain, sought = (
        TrainingDraws(Reader(source), source.samples(), 30, 8, Augmentation("none"), 0, share, 1)
        for share in (0.0, 1.0)
    )
    assert [content(plain[0, k]) for k in range(30)] == [content(sought[0, k]) for k in range(30)]


def test_classes_are_sought_alike_however_large_they_are(source_of: Callable[..., Any]) -> None:
    image, mask = positions(60, 60)[0], np.zeros((60, 60), np.uint8)
    mask[:10, :20] = 1
    mask[50, 50] = 2
    source = source_of({"a": (image, mask)}, names=("background", "lesion", "vessel"))
    draws = TrainingDraws(Reader(source), source.samples(), 400, 8, Augmentation("none"), 0, 1.0, 0)
    held = sum(bool((draws[0, k]["mask"] == 2).any()) for k in range(400))
    assert abs(held - 200) < 3.5 * 10


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


def test_a_reader_takes_what_it_keeps_from_memory(source_of: Callable[..., Any]) -> None:
    pair = np.ones((4, 4, 1), np.uint8), np.zeros((4, 4), np.uint8)
    source = source_of({"a": pair})
    reader = Reader(source)
    reader.kept["a"] = pair
    assert reader(Sample("a", ())) == pair
    assert source.reads == []
