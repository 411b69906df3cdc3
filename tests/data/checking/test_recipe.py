"""The config that fits: what is chosen for which data, and that its YAML says just that."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from segmentation.data.checking.findings import Channel, Facts
from segmentation.data.checking.recipe import (
    BYTES_PER_PIXEL,
    NUMBERED,
    Choice,
    Machine,
    choose,
    flow,
    mixed,
    to_dict,
    to_yaml,
)
from segmentation.data.groups import regrouped
from segmentation.data.sample import Part, Sample
from segmentation.data.splits import split
from segmentation.inference.classes import Classes

CPU = Machine("cpu", 16 * 2**30)
BINARY = Classes(("background", "lesion"))
THREE = Classes(("background", "car", "sign"))


def samples(count: int, name: str = "image{:04d}", page: bool = False) -> list[Sample]:
    path = Path("x.tif")
    return [
        Sample(name.format(i), (Part(path, i if page else None),), (Part(path, i if page else None),))
        for i in range(count)
    ]


def facts(
    size: tuple[int, int] = (512, 512),
    pixels: tuple[float, ...] = (0.7, 0.3),
    images: tuple[float, ...] = (1, 1),
    channels: int = 3,
    dtype: str = "uint8",
) -> Facts:
    channel = Channel(0, 4000, 500, 100, (1, 2, 3, 4, 5, 6, 1500), (1.0,), (0, 4000))
    return Facts(10, {size: 10}, {channels: 10}, {dtype: 10}, pixels, images, 0.0, 0, (channel,) * channels)


def chosen(
    labelled: list[Sample],
    found: Facts,
    classes: Classes = BINARY,
    machine: Machine = CPU,
    lists: dict[str, list[str]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    arguments = {"root": "d", "classes": list(classes.names), **more}
    choices = choose("FolderSource", arguments, {}, labelled, lists, classes, found, machine)
    return {choice.key: choice.value for choice in choices}


def test_yaml_holds_the_values_and_the_reasons() -> None:
    choices = [
        Choice("data.source.class_path", "FolderSource"),
        Choice("data.source.init_args.mask_values", {0: 0, 255: 1}, "0 and 255"),
        Choice("data.source.init_args.images", "{split}/{stem}"),
        Choice("data.crop", 128, "long " * 40),
        Choice("data.group", "^(.+)_[0-9]+$"),
        Choice("model.encoder_weights", None),
        Choice("model.loss", {"bce": 1, "dice": 0.5}),
    ]
    text = to_yaml(choices, ["head", ""])
    assert yaml.safe_load(text) == {
        "data": {
            "source": {
                "class_path": "FolderSource",
                "init_args": {"mask_values": {0: 0, 255: 1}, "images": "{split}/{stem}"},
            },
            "crop": 128,
            "group": "^(.+)_[0-9]+$",
        },
        "model": {"encoder_weights": None, "loss": {"bce": 1, "dice": 0.5}},
    }
    assert to_dict(choices) == yaml.safe_load(text)
    assert text.startswith("# head\n#\n") and "{0: 0, 255: 1}  # 0 and 255\n" in text
    assert max(map(len, text.splitlines())) <= 120 and text.count("    # long") == 0 and "  # long long" in text


@pytest.mark.parametrize(
    "value", ["yes", "null", "1e-3", "a: b", "#x", ">=128", "ä", "", 0.001, [1, [2, 3]], ["on", "off"]]
)
def test_a_value_in_one_line_is_read_as_it_was(value: object) -> None:
    assert "\n" not in flow(value)
    assert yaml.safe_load(f"key: {flow(value)}  # reason") == {"key": value}


@pytest.mark.parametrize(
    ("size", "machine", "crop"),
    [
        ((512, 512), CPU, 256),
        ((300, 200), CPU, 192),
        ((31, 400), CPU, 32),
        ((1000, 1000), Machine("cuda", 80 * 2**30), 512),
    ],
)
def test_a_crop_is_a_multiple_of_the_stride_within_the_image(
    size: tuple[int, int], machine: Machine, crop: int
) -> None:
    assert chosen(samples(10), facts(size), machine=machine)["data.crop"] == crop


@pytest.mark.parametrize("gigabytes", [0.1, 0.5, 1, 2, 64])
def test_a_batch_takes_half_of_the_memory_at_most(gigabytes: float) -> None:
    batch = chosen(samples(10), facts(), machine=Machine("cpu", int(gigabytes * 2**30)))["data.batch_size"]
    assert batch == 2 or batch * 256 * 256 * BYTES_PER_PIXEL["cpu"] <= gigabytes * 2**29
    assert batch == {0.1: 2, 0.5: 2, 1: 4, 2: 8, 64: 8}[gigabytes]


def test_few_images_are_drawn_from_many_times_and_many_once() -> None:
    few, many = chosen(samples(10), facts()), chosen(samples(500), facts())
    assert few["data.samples_per_epoch"] >= 200 and few["data.samples_per_epoch"] % few["data.batch_size"] == 0
    assert many["data.samples_per_epoch"] is None


def test_own_lists_are_left_alone() -> None:
    given = chosen(samples(50), facts(), lists={"train": ["image0000"], "val": ["image0001"]})
    assert not {"data.folds", "data.val_fraction", "data.test_fraction", "data.split_kind", "data.group"} & given.keys()


def test_slices_of_a_stack_validate_as_a_block() -> None:
    given = chosen(samples(30, page=True), facts(channels=1))
    assert (given["data.folds"], given["data.fold"]) == (5, 4) and "data.val_fraction" not in given
    assert chosen(samples(3, page=True), facts(channels=1))["data.val_fraction"] == 0.2


def test_numbered_grey_images_of_one_size_are_taken_for_slices() -> None:
    slices = samples(30, "{}")
    assert chosen(slices, facts(channels=1))["data.folds"] == 5
    assert "data.folds" not in chosen(slices, facts(channels=3))
    assert "data.folds" not in chosen([*slices[:7], *slices[8:]], facts(channels=1))


def test_a_test_list_needs_enough_samples() -> None:
    assert "data.test_fraction" not in chosen(samples(39), facts())
    assert chosen(samples(40), facts())["data.test_fraction"] == 0.15


def test_a_class_in_few_images_stratifies() -> None:
    assert "data.split_kind" not in chosen(samples(10), facts(images=(1, 0.6)))
    assert chosen(samples(10), facts(images=(1, 0.4)))["data.split_kind"] == "stratified"  # of 10 images
    assert chosen(samples(30), facts(images=(1, 0.1)))["data.split_kind"] == "stratified"


@pytest.mark.parametrize(
    ("names", "grouped"),
    [
        ([f"patient{p}_{i}" for p in range(5) for i in range(3)], True),
        ([f"p{p}/slice{i}" for p in range(5) for i in range(3)], True),
        ([f"patient{p}_{i}" for p in range(4) for i in range(3)], False),  # four groups
        ([f"ISIC_{i:07d}" for i in range(30)], False),  # one group
        ([f"patient{p}_{i}" for p in range(5) for i in range(3)] + ["other"], False),
        ([f"a{p}_0" for p in range(30)], False),  # each alone
    ],
)
def test_prefixes_become_groups_where_they_are_the_rule(names: list[str], grouped: bool) -> None:
    labelled = [Sample(name, (Part(Path(name)),), (Part(Path(name)),)) for name in names]
    assert ("data.group" in chosen(labelled, facts())) == grouped


def test_few_prefixes_in_several_lists_are_a_warning_with_the_group() -> None:
    labelled = [sample for patient in range(4) for sample in samples(10, f"patient{patient}_{{:02d}}")]
    drawn = split(labelled)
    (warning,) = mixed(labelled, drawn)
    assert "patient0, patient1, patient2, patient3" in warning.fault
    assert warning.cure.endswith(f"fit --data.group '{NUMBERED}'")
    assert mixed(labelled, split(regrouped(labelled, NUMBERED))) == []
    assert mixed(samples(30), split(samples(30))) == []  # no prefixes
    assert mixed(samples(30, "patient_{:02d}"), split(samples(30, "patient_{:02d}"))) == []  # one
    two = labelled[:20]
    (warning,) = mixed(two, split(two, test_fraction=0.15))
    assert warning.cure.endswith("--data.test_fraction 0")
    assert split(regrouped(two, NUMBERED), test_fraction=0)["val"]


def test_deep_images_are_scaled_by_percentiles() -> None:
    assert chosen(samples(9), facts(dtype="uint16"))["data.intensity"] == "percentile"
    assert chosen(samples(9), facts())["data.intensity"] == "range"


@pytest.mark.parametrize(
    ("channels", "dtype", "augment"),
    [(1, "uint16", "em"), (3, "uint8", "natural"), (3, "uint16", "flips"), (5, "uint8", "flips")],
)
def test_augmentation_follows_the_pixels(channels: int, dtype: str, augment: str) -> None:
    assert chosen(samples(9), facts(channels=channels, dtype=dtype))["data.augment"] == augment


def test_rare_classes_are_weighted_where_the_loss_can_and_sought_by_crops() -> None:
    plenty = chosen(samples(9), facts(pixels=(0.6, 0.3, 0.1), images=(1, 1, 1)), THREE)
    assert "model.class_weights" not in plenty and "data.foreground_crops" not in plenty
    assert plenty["model.loss"] == {"ce": 1, "dice": 1}
    rare = chosen(samples(9), facts(pixels=(0.97, 0.028, 0.002), images=(1, 1, 1)), THREE)
    assert rare["model.class_weights"] == "auto" and rare["data.foreground_crops"] == 0.33
    lesion = chosen(samples(9), facts(pixels=(0.99, 0.01)))
    assert lesion["model.loss"] == {"bce": 1, "dice": 1} and "model.class_weights" not in lesion
    assert lesion["data.foreground_crops"] == 0.33


def test_gaps_between_objects_that_touch_count_more() -> None:
    apart = chosen(samples(9), facts(), mask_values="objects")
    assert apart["model.loss"] == {"bce": 1, "dice": 1}
    for arguments in ({"mask_values": "separate_objects"}, {"separate_objects": True}):  # of folders, of outlines
        assert chosen(samples(9), facts(), **arguments)["model.loss"] == {"unet": 1, "dice": 1}
