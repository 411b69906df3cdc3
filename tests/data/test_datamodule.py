"""Batches as the model takes them, checks that the stage needs, and training that resumes at any batch."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer

from segmentation.data.crops import Target
from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.mixing import Mixing
from segmentation.data.sources.folder import FolderSource
from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.errors import InputError

SourceOf = Callable[..., Any]


def data_of(source: Any, stage: str | None = "fit", **options: Any) -> SegmentationDataModule:
    data = SegmentationDataModule(
        source, **{"crop": 8, "batch_size": 2, "augment": "none", "workers": 0, "folds": 3, "fold": 2} | options
    )
    if stage is not None:
        data.setup(stage)
    return data


def arrays(*values: float, dtype: str = "uint8", size: tuple[int, int] = (8, 8)) -> dict[str, Any]:
    """An image of each value, with a mask that is class 1 in its first row."""
    mask = np.zeros(size, np.uint8)
    mask[0] = 1
    return {f"s{number}": (np.full((*size, 1), value, dtype), mask) for number, value in enumerate(values)}


def refusal(make: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        make()
    return str(caught.value)


def test_a_training_batch_is_raw_pixels_channels_first(folder_data: Path) -> None:
    data = data_of(FolderSource(folder_data), crop=16, augment="natural")
    batch = next(iter(data.train_dataloader()))
    assert (batch["image"].shape, batch["image"].dtype) == ((2, 3, 16, 16), torch.uint8)
    assert (batch["mask"].shape, batch["mask"].dtype) == ((2, 16, 16), torch.uint8)
    assert batch["image"].max() > 100  # not normalised
    assert set(batch["mask"].unique().tolist()) <= {0, 1}
    assert all(sample_id in data.split["train"] for sample_id in batch["id"])


def test_an_evaluation_batch_is_the_whole_image_as_stored(folder_data: Path) -> None:
    source = FolderSource(folder_data)
    data = data_of(source, "validate", augment="natural")
    samples = {sample.id: sample for sample in source.samples()}
    batches = list(data.val_dataloader())
    assert [batch["id"] for batch in batches] == [["04"], ["05"]]
    for batch in batches:
        sample = samples[batch["id"][0]]
        np.testing.assert_array_equal(batch["image"][0], source.read_image(sample).transpose(2, 0, 1))
        np.testing.assert_array_equal(batch["mask"][0], source.read_mask(sample))
        assert batch["mask"].dtype == torch.uint8
        assert data.on_after_batch_transfer(batch, 0)["mask"].dtype == torch.int64  # on the device


def test_16_bit_images_arrive_as_0_to_1_with_statistics_alike(source_of: SourceOf) -> None:
    # 13107 and 52428 are a fifth and four fifths of 65535
    data = data_of(source_of(arrays(13107, 52428, 13107, 52428, 0, 65535, dtype="uint16")), intensity="range")
    batches = list(data.train_dataloader())
    assert {batch["image"].dtype for batch in batches} == {torch.float32}
    values = torch.cat([batch["image"] for batch in batches]).unique()
    assert values.tolist() == pytest.approx([0.2, 0.8])
    assert torch.cat([batch["image"] for batch in data.val_dataloader()]).unique().tolist() == [0, 1]
    mean, std = data.statistics()
    assert (mean, std) == (pytest.approx([0.5]), pytest.approx([0.3]))
    assert data.intensity.dtype == "uint16"


def test_float_images_arrive_as_they_are(source_of: SourceOf) -> None:
    data = data_of(source_of(arrays(-1000, 3000, 500, dtype="float64")), intensity="range")
    values = torch.cat([batch["image"] for batch in data.train_dataloader()])
    assert values.dtype == torch.float32
    assert values.unique().tolist() == [-1000, 3000]
    assert data.statistics() == ([1000], [2000])


@pytest.mark.parametrize(
    ("rule", "seen"), [(None, [0, 1]), ("percentile", [0, 1]), ("max", [0.2, 1]), ("none", [100, 500])]
)
def test_the_rule_for_deep_pixels_is_fitted_to_the_training_images(
    source_of: SourceOf, rule: Any, seen: list[float]
) -> None:
    data = data_of(source_of(arrays(100, 500, 100, 500, 50, 700, dtype="uint16")), intensity=rule)
    assert data.intensity.rule == (rule or "percentile")
    values = torch.cat([batch["image"] for batch in data.train_dataloader()])
    assert values.unique().tolist() == pytest.approx(seen)
    mean, std = data.statistics()
    assert mean == pytest.approx([sum(seen) / 2])
    assert std == pytest.approx([(seen[1] - seen[0]) / 2])
    brighter = torch.cat([batch["image"] for batch in data.val_dataloader()])
    clipped = {"max": [0.1, 1.4], "none": [50, 700]}.get(data.intensity.rule, [0, 1])
    assert brighter.unique().tolist() == pytest.approx(clipped)


def test_statistics_are_of_the_training_images_alone(source_of: SourceOf) -> None:
    data = data_of(source_of(arrays(10, 20, 10, 20, 200, 250)))
    data.setup("test")
    assert data.split["val"] == ["s4", "s5"]
    assert data.statistics() == ([15], [5])


@pytest.mark.parametrize(("eval_batch_size", "expected"), [(1, [1, 1, 1, 1, 1]), (2, [2, 1, 2]), (8, [3, 2])])
def test_evaluation_batches_hold_one_size(source_of: SourceOf, eval_batch_size: int, expected: list[int]) -> None:
    mixed = arrays(0, 1, 2) | {f"wide{number}": pair for number, pair in enumerate(arrays(3, 4, size=(8, 12)).values())}
    lists = {"train": ["s0"], "val": ["s1"], "test": ["s2", "wide0", "s0x", "wide1", "s1x"]}
    mixed |= {"s0x": mixed["s0"], "s1x": mixed["s1"]}
    source = source_of(mixed, lists=lists)
    data = data_of(source, "test", eval_batch_size=eval_batch_size, folds=None, fold=None)
    batches = list(data.test_dataloader())
    assert [len(batch["id"]) for batch in batches] == expected
    assert sorted(sample_id for batch in batches for sample_id in batch["id"]) == sorted(lists["test"])
    for batch in batches:
        assert batch["image"].shape[0] == batch["mask"].shape[0] == len(batch["id"])


def test_without_a_test_list_the_validation_samples_are_tested(source_of: SourceOf) -> None:
    data = data_of(source_of(arrays(*range(6))), "test")
    assert data.tests_on_validation
    assert [batch["id"][0] for batch in data.test_dataloader()] == data.split["val"] == ["s4", "s5"]
    assert list(data.evaluated("test")) == ["s4", "s5"]


def test_a_test_list_is_tested(source_of: SourceOf) -> None:
    data = data_of(source_of(arrays(*range(6)), lists={"test": ["s0", "s3"]}), "test")
    assert not data.tests_on_validation
    assert [batch["id"][0] for batch in data.test_dataloader()] == ["s0", "s3"]
    assert [batch["id"][0] for batch in data_of(data.source, "validate").val_dataloader()] == data.split["val"]


def test_training_images_of_several_sizes_need_a_crop(source_of: SourceOf) -> None:
    mixed = {"wide": arrays(3, size=(8, 12))["s0"]} | arrays(0, 1, 2, 4)
    message = refusal(lambda: data_of(source_of(mixed), crop=None))
    assert "training images have 2 sizes, such as [(8, 8), (8, 12)]" in message
    assert "set data.crop to a side in pixels, or data.batch_size: 1" in message
    assert data_of(source_of(mixed), crop=8).records
    shapes = {
        tuple(batch["mask"].shape) for batch in data_of(source_of(mixed), crop=None, batch_size=1).train_dataloader()
    }
    assert shapes == {(1, 8, 8), (1, 8, 12)}


def test_an_augmentation_that_changes_sizes_is_named_among_the_cures(source_of: SourceOf) -> None:
    data = data_of(source_of(arrays(*range(6))), crop=8, augment=[{"RandomScale": {"scale_limit": 0.5, "p": 1}}])
    message = refusal(lambda: list(data.train_dataloader()))
    assert "cannot share a batch" in message
    assert "leave what changes sizes, such as RandomScale, out of data.augment" in message


def test_a_stage_reads_only_what_it_needs(source_of: SourceOf) -> None:
    broken = arrays(*range(6))
    broken["s0"] = InputError("s0.png is torn"), broken["s0"][1]
    source = source_of(broken)
    data_of(source, "validate")
    assert sorted(source.reads) == ["s4", "s5"]
    assert "s0.png is torn" in refusal(lambda: data_of(source, "fit"))


def test_the_split_is_known_without_reading_pixels(source_of: SourceOf) -> None:
    source = source_of(arrays(*range(6)))
    data = data_of(source, stage=None)
    assert data.split == {"train": ["s0", "s1", "s2", "s3"], "val": ["s4", "s5"], "test": []}
    assert (data.classes["names"], data.in_channels) == (["background", "lesion"], 1)
    assert source.reads == []


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_leaves_the_global_random_state_alone(source_of: SourceOf, workers: int) -> None:
    """Dropout would depend on the number of workers."""
    data = data_of(source_of(arrays(*range(6))), workers=workers, augment="em")
    before = torch.get_rng_state()
    list(data.train_dataloader())
    list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_second_setup_reads_nothing_again(source_of: SourceOf) -> None:
    source = source_of(arrays(*range(6)))
    data = data_of(source)
    before, statistics = list(source.reads), data.statistics()
    assert sorted(before) == [f"s{number}" for number in range(6)]
    for stage in ("fit", "validate", "test"):
        data.setup(stage)
    list(data.train_dataloader())
    list(data.val_dataloader())  # decoded images were kept, as they fit into memory
    assert source.reads == before
    assert data.statistics() == statistics


def test_a_second_setup_surveys_no_others_of_very_many(source_of: SourceOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmentation.data.survey.SURVEYED", 3)
    source = source_of(arrays(*range(20)))
    data = data_of(source)
    before, kept = list(source.reads), set(data.reader.kept)
    assert len(data.records) == len(before) == 3
    data.setup("fit")
    assert source.reads == before
    assert set(data.reader.kept) == kept
    assert len(data.records) == 3


@pytest.mark.parametrize(("count", "batch_size"), [(16, 6), (7, 2), (5, 5), (9, 4)])
def test_every_training_image_is_seen_equally_often(source_of: SourceOf, count: int, batch_size: int) -> None:
    """Draws that would be dropped at the end of an epoch take no place in a round of the images."""
    data = data_of(
        source_of(arrays(*range(count + 1))), folds=None, fold=None, val_fraction=1 / (count + 1), batch_size=batch_size
    )
    assert len(data.split["train"]) == count
    loader = data.train_dataloader()
    seen: Counter[str] = Counter()
    for epoch in range(12):
        loader.sampler.set_epoch(epoch)
        seen.update(id for batch in loader for id in batch["id"])
    assert len(seen) == count
    assert max(seen.values()) - min(seen.values()) <= 1


def test_what_does_not_fit_into_memory_is_read_when_drawn(source_of: SourceOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segmentation.data.datamodule.free_memory", lambda: 0)
    source = source_of(arrays(*range(6)))
    data = data_of(source)
    source.reads.clear()
    assert [batch["id"][0] for batch in data.val_dataloader()] == ["s4", "s5"]
    assert source.reads == ["s4", "s5"]


def test_fit_says_once_who_trains_on_what(source_of: SourceOf, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("segmentation.data.datamodule.rank_zero_info", told.append)
    data = data_of(source_of(arrays(*range(6))))
    data.setup("fit")  # the command line sets up before the trainer does
    # one row of eight is class 1
    assert told == ["Data: 4 train, 2 val, 0 test; training pixels: background 87.5%, lesion 12.5%"]


def test_fit_says_how_many_samples_are_in_no_list(source_of: SourceOf, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("segmentation.data.datamodule.rank_zero_info", told.append)
    data_of(source_of(arrays(*range(6)), lists={"train": ["s0"], "val": ["s5"]}), folds=None, fold=None)
    assert told[0].startswith("Data: 1 train, 1 val, 0 test, 4 in none of them; training pixels: ")


def with_lesions(*holders: int, count: int = 20) -> dict[str, Any]:
    """Images of which only ``holders`` have a pixel of class 1."""
    masks = np.zeros((count, 8, 8), np.uint8)
    masks[list(holders), 0, 0] = 1
    return {f"s{number}": (np.full((8, 8, 1), number, np.uint8), masks[number]) for number in range(count)}


def test_a_stratified_split_reads_the_masks_once_and_no_image(source_of: SourceOf) -> None:
    source = source_of(with_lesions(0, 1, 2, 3))
    for fold in range(4):
        data = data_of(source, stage=None, folds=4, fold=fold, split_kind="stratified", seed=fold)
        assert len(data.split["val"]) == 5
        assert len({"s0", "s1", "s2", "s3"} & set(data.split["val"])) == 1
        assert data.split == data_of(source, stage=None, folds=4, fold=fold, split_kind="stratified", workers=2).split
    assert source.reads == []


def test_a_stratified_split_names_every_mask_that_cannot_be_read(source_of: SourceOf) -> None:
    broken = with_lesions(0, count=6)
    for key in ("s1", "s4"):
        broken[key][1][:] = 7
    message = refusal(lambda: data_of(source_of(broken), stage=None, split_kind="stratified").split)
    assert "s1-mask.png" in message
    assert "s4-mask.png" in message


def test_a_group_replaces_the_sources_and_is_kept_together(source_of: SourceOf) -> None:
    pairs = dict(zip((f"p{number // 3}_{number}" for number in range(12)), arrays(*range(12)).values(), strict=True))
    data = data_of(source_of(pairs), stage=None, folds=4, fold=1, group="^[^_]+")
    assert data.split["val"] == ["p1_3", "p1_4", "p1_5"]
    message = refusal(lambda: data_of(source_of(pairs), stage=None, group="^q").split)
    assert "12 of 12 labelled samples do not match, such as p0_0, p0_1, p0_2" in message


def test_class_pixels_are_of_the_training_images_alone(source_of: SourceOf) -> None:
    pairs = with_lesions(0, 1, 5, count=6)
    data = data_of(source_of(pairs))
    data.setup("test")
    assert data.split["val"] == ["s4", "s5"]
    assert data.class_pixels() == [4 * 64 - 2, 2]
    pairs["s5"][1][:] = 1
    assert data_of(source_of(pairs)).class_pixels() == [4 * 64 - 2, 2]


def test_foreground_crops_look_for_what_is_rare_in_the_training_images(source_of: SourceOf) -> None:
    pairs = {f"s{number}": (np.zeros((32, 32, 1), np.uint8), np.ones((32, 32), np.uint8)) for number in range(6)}
    for _, mask in pairs.values():
        mask[30, 2] = 0  # background is the rare one here
    data = data_of(source_of(pairs), samples_per_epoch=20, foreground_crops=1.0)
    assert all((batch["mask"] == 0).any((1, 2)).all() for batch in data.train_dataloader())


def test_ignored_pixels_and_the_most_common_class_are_not_looked_for_and_no_objects(source_of: SourceOf) -> None:
    mask = np.full((16, 16), 2, np.uint8)  # 2 is the most common class
    mask[0, :4], mask[5, 5] = 0, 255
    pairs = {f"s{number}": (np.zeros((16, 16, 1), np.uint8), mask) for number in range(3)}
    source = source_of(pairs, names=("background", "cell", "vessel"))
    draws = data_of(source, foreground_crops=0.2, boundary_crops=0.3, cutmix=0.4, copy_paste=0.5).training_draws()
    assert draws.target == Target(0.2, 0.3, classes=(0, 1), ignore_index=255)
    assert draws.mixing == Mixing(0.4, 0.5, classes=(0, 1))


def test_digests_tell_copies_and_strangers(source_of: SourceOf) -> None:
    data = data_of(source_of(arrays(0, 1, 2, 3, 1, 5)))  # s4, which validates, is a copy of s1
    assert list(data.trained_on()) == ["s0", "s1", "s2", "s3"]
    assert data.evaluated("validate")["s4"] == data.trained_on()["s1"]
    assert data.evaluated("validate")["s5"] not in data.trained_on().values()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "data.batch_size is 0; give 1 or more"),
        ({"eval_batch_size": -1}, "data.eval_batch_size is -1; give 1 or more"),
        ({"crop": 0}, "data.crop is 0; give 1 or more"),
        ({"samples_per_epoch": 0}, "data.samples_per_epoch is 0; give 1 or more"),
        ({"workers": -1}, "data.workers is -1; give 0 or more"),
        ({"seed": -1}, "data.seed is -1; give 0 or more"),
        ({"foreground_crops": 1.5}, "data.foreground_crops is 1.5; give a share from 0 to 1"),
        ({"copy_paste": -0.1}, "data.copy_paste is -0.1; give a share from 0 to 1"),
        (
            {"foreground_crops": 0.4, "boundary_crops": 0.7},
            "data.foreground_crops 0.4 and data.boundary_crops 0.7 are more than all draws; "
            "give shares that add up to at most 1",
        ),
        (
            {"cutmix": 0.6, "copy_paste": 0.6},
            "data.cutmix 0.6 and data.copy_paste 0.6 are more than all draws; give shares that add up to at most 1",
        ),
        (
            {"boundary_crops": 0.5, "crop": None},
            "data.boundary_crops is 0.5, but without data.crop the whole images are drawn; "
            "set data.crop to a side in pixels, or leave data.boundary_crops out",
        ),
        (
            {"foreground_crops": 0.5, "crop": None},
            "data.foreground_crops is 0.5, but without data.crop the whole images are drawn; "
            "set data.crop to a side in pixels, or leave data.foreground_crops out",
        ),
    ],
)
def test_a_number_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    assert refusal(lambda: data_of(SyntheticSource(3, 8), stage=None, **options)) == message


def test_a_split_file_wins_over_folds(source_of: SourceOf, tmp_path: Path) -> None:
    lists = {"train": ["s5", "s1"], "val": ["s0"], "test": ["s3"]}
    (tmp_path / "split.json").write_text(json.dumps(lists | {"unused": ["s2", "s4"]}))
    data = data_of(source_of(arrays(*range(6))), split_file=str(tmp_path / "split.json"))
    assert data.split == lists
    assert data.unused == ["s2", "s4"]
    assert {sample_id for batch in data.train_dataloader() for sample_id in batch["id"]} == {"s1", "s5"}


@pytest.mark.parametrize(
    ("lists", "stage", "message"),
    [
        ({"val": ["s0"]}, "fit", "lists 0 train, 1 val, 0 test samples; fit needs train and val"),
        ({"train": ["s0"]}, "fit", "lists 1 train, 0 val, 0 test samples; fit needs train and val"),
        ({"test": ["s0"]}, "validate", "lists 0 train, 0 val, 1 test samples; validate needs val"),
        ({"train": ["s0"]}, "test", "lists 1 train, 0 val, 0 test samples; test needs test or val"),
    ],
)
def test_a_split_file_without_what_the_stage_needs_is_refused(
    source_of: SourceOf, tmp_path: Path, lists: dict[str, list[str]], stage: str, message: str
) -> None:
    unused = {"unused": [f"s{number}" for number in range(3) if [f"s{number}"] not in lists.values()]}
    (tmp_path / "split.json").write_text(json.dumps(lists | unused))
    source = source_of(arrays(*range(3)))
    assert message in refusal(lambda: data_of(source, stage, split_file=str(tmp_path / "split.json")))


def test_an_epoch_is_whole_batches_of_its_draws(source_of: SourceOf) -> None:
    source = source_of(arrays(*range(6)))  # 4 to train on
    assert [len(batch["id"]) for batch in data_of(source, batch_size=3, samples_per_epoch=11).train_dataloader()] == [
        3
    ] * 3
    assert [len(batch["id"]) for batch in data_of(source, batch_size=3).train_dataloader()] == [3]
    assert [len(batch["id"]) for batch in data_of(source, batch_size=64).train_dataloader()] == [4]  # not none


class Watcher(LightningModule):
    """Notes the pixels it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[str], int]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch["id"], int(batch["image"].sum())))
        return self.weight.sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Validation has to run, as its end is a place to save."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Saver(Callback):
    """Saves at every one of three places where Lightning's callbacks save."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.save_checkpoint(f"batch-{trainer.global_step}.ckpt")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(f"validation-{trainer.global_step}.ckpt")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(f"epoch-{trainer.global_step}.ckpt")


def trained(draws: int, ckpt_path: str | None = None, workers: int = 0) -> list[tuple[int, list[str], int]]:
    module = Watcher()
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[] if ckpt_path else [Saver()],
    )
    data = SegmentationDataModule(
        SyntheticSource(5, 32),
        crop=16,
        batch_size=2,
        samples_per_epoch=draws,
        boundary_crops=0.5,
        cutmix=0.4,
        copy_paste=0.3,
        augment="em",
        workers=workers,
    )
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True if ckpt_path else None)
    return module.seen


@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # Lightning's advice for large data
@pytest.mark.parametrize("draws", [6, 7])  # 7: the last one fills no batch
def test_a_run_resumed_anywhere_sees_what_the_uninterrupted_one_saw(draws: int) -> None:
    whole = trained(draws)
    assert len(whole) == 9
    assert len({pixels for _, _, pixels in whole}) == 9
    stops = [f"batch-{step}" for step in (1, 2, 3, 4, 8)] + [
        f"{place}-{step}" for place in ("validation", "epoch") for step in (3, 6, 9)
    ]
    for stop in stops:
        assert trained(draws, f"{stop}.ckpt") == whole[int(stop.split("-")[1]) :], stop


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_run_resumed_with_workers_sees_the_same() -> None:
    whole = trained(6)
    assert trained(6, "batch-4.ckpt", workers=1) == whole[4:]


def test_groups_are_kept_together_in_a_split_file_too(source_of: SourceOf, tmp_path: Path) -> None:
    lists = {"train": ["s0", "s1"], "val": ["s2"], "test": []}
    (tmp_path / "split.json").write_text(json.dumps(lists))
    options = {"folds": None, "fold": None, "split_file": str(tmp_path / "split.json")}
    told = refusal(lambda: data_of(source_of(arrays(0, 1, 2)), group="^s", **options).split)
    assert "the group 's' is in train and in val" in told
    apart = data_of(source_of(arrays(0, 1, 2)), group=".+", **options)
    assert [sample.group for sample in apart.samples(apart.split["val"])] == ["s2"]


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda", True)])
def test_a_training_on_the_cpu_takes_no_memory_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, pinned: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = data_of(SyntheticSource(slices=6, size=64))
    data.trainer = Trainer(accelerator="cpu", logger=False)
    monkeypatch.setattr(type(data.trainer.strategy), "root_device", torch.device(device))
    assert data.train_dataloader().pin_memory == data.val_dataloader().pin_memory == pinned
