"""Who trains, validates and tests: blocks, shares, groups, the data set's own lists, and files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmentation.data.sample import Part, Sample
from segmentation.data.splits import read_split, split, unused, write_split
from segmentation.errors import InputError


def samples_of(count: int, group_size: int | None = None) -> list[Sample]:
    """``s00``, ``s01``, ... with masks; ``group_size`` neighbours share a group."""
    return [
        Sample(
            f"s{number:02d}",
            (Part(Path(f"{number}.png")),),
            (Part(Path(f"{number}-mask.png")),),
            None if group_size is None else f"patient {number // group_size}",
        )
        for number in range(count)
    ]


def rare_class(samples: Any) -> np.ndarray:
    """Pixels (N, 2): the samples s00 to s06 hold class 1."""
    return np.array([[90, 10] if sample.id in ids(range(7)) else [100, 0] for sample in samples])


def ids(numbers: Any) -> list[str]:
    return [f"s{number:02d}" for number in numbers]


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        split(*args, **options)
    return str(caught.value)


def test_five_folds_of_thirty_are_blocks_of_six() -> None:
    for fold in range(5):
        result = split(samples_of(30), folds=5, fold=fold)
        block = range(6 * fold, 6 * fold + 6)
        assert result["val"] == ids(block)
        assert result["train"] == ids(number for number in range(30) if number not in block)
        assert result["test"] == []


@pytest.mark.parametrize(("count", "folds"), [(7, 3), (30, 4), (5, 5), (2, 2)])
def test_folds_that_do_not_divide_still_hold_every_sample_once(count: int, folds: int) -> None:
    blocks = [split(samples_of(count), folds=folds, fold=fold)["val"] for fold in range(folds)]
    assert [sample_id for block in blocks for sample_id in block] == ids(range(count))
    lengths = [len(block) for block in blocks]
    assert max(lengths) - min(lengths) <= 1


def test_the_holdout_of_pages_of_one_file_is_its_end() -> None:
    """Neighbouring slices look alike: drawn at random, the validation slices would lie between trained ones."""
    mask = (Part(Path("mask.png")),)
    pages = [Sample(f"s{number:02d}", (Part(Path("stack.tif"), number),), mask) for number in range(10)]
    result = split(pages, val_fraction=0.2, test_fraction=0.1)
    assert (result["val"], result["test"]) == (["s07", "s08"], ["s09"])
    assert split(pages, val_fraction=0.2, kind="random")["val"] != ["s08", "s09"]
    volumes = [Sample(one.id, one.images, mask, f"v{number // 2}") for number, one in enumerate(pages)]
    files = [Sample(one.id, (Part(Path(f"{one.id}.tif")),), mask, f"v{n // 2}") for n, one in enumerate(pages)]
    assert split(volumes, val_fraction=0.2) == split(files, val_fraction=0.2)  # whole volumes are drawn at random


def test_the_holdout_has_its_share_and_keeps_the_order() -> None:
    result = split(samples_of(20), val_fraction=0.25, test_fraction=0.2)
    assert [len(result[name]) for name in ("train", "val", "test")] == [12, 4, 4]  # 20 - 4 = 16, a quarter of it is 4
    assert sorted(result["train"] + result["val"] + result["test"]) == ids(range(20))
    for part in result.values():
        assert part == sorted(part)


def test_the_holdout_is_the_same_in_every_call_and_release() -> None:
    assert split(samples_of(10)) == split(samples_of(10))
    assert split(samples_of(10))["val"] == ["s04", "s06"]  # numpy keeps this stream; other ids would be other scores


def test_a_share_of_few_samples_is_at_least_one() -> None:
    result = split(samples_of(2), val_fraction=0.01)
    assert (len(result["train"]), len(result["val"])) == (1, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"folds": 4, "fold": 0},
        {"folds": 4, "fold": 2, "test_fraction": 0.3},
        {"val_fraction": 0.3, "test_fraction": 0.3},
    ],
)
def test_a_group_never_straddles(options: dict[str, Any]) -> None:
    samples = samples_of(24, group_size=3)
    result = split(samples, **options)
    group_of = {sample.id: sample.group for sample in samples}
    groups = {name: {group_of[sample_id] for sample_id in part} for name, part in result.items()}
    assert groups["train"] and groups["val"]
    assert not groups["train"] & groups["val"]
    assert not groups["test"] & (groups["train"] | groups["val"])
    assert sum(len(part) for part in result.values()) == 24


def test_folds_count_groups() -> None:
    samples = samples_of(9, group_size=3)
    assert split(samples, folds=3, fold=1)["val"] == ids([3, 4, 5])
    assert "data.folds is 4 for 3 samples or groups; give 2 to 3" in refusal(samples, folds=4, fold=0)


def test_members_of_a_group_need_no_neighbourhood() -> None:
    samples = [
        Sample(f"s{number:02d}", (), (Part(Path("mask.png")),), "left" if number % 2 else "right")
        for number in range(6)
    ]
    result = split(samples, folds=2, fold=0)
    assert (result["val"], result["train"]) == (ids([0, 2, 4]), ids([1, 3, 5]))


def test_lists_of_the_data_set_win_over_fractions() -> None:
    lists = {"train": ids([0, 3]), "val": ids([2]), "test": ids([5, 4])}
    assert split(samples_of(8), lists, val_fraction=0.9, test_fraction=0.9) == lists


def test_folds_that_the_data_sets_own_list_would_leave_without_effect_are_refused() -> None:
    told = refusal(samples_of(8), {"val": ids([1, 2])}, folds=4, fold=0)
    assert "data.folds is 4, but the data set brings its own validation set of 2 samples, which would be used" in told
    assert "leave data.folds and data.fold out, or give the split you want as data.split_file" in told


def test_a_test_list_alone_leaves_the_rest_to_folds() -> None:
    result = split(samples_of(12), {"test": ids([0, 11])}, folds=5, fold=1)
    assert result["test"] == ids([0, 11])
    assert result["val"] == ids([3, 4])
    assert result["train"] == ids([1, 2, 5, 6, 7, 8, 9, 10])


def test_a_train_list_alone_gives_the_others_their_share() -> None:
    result = split(samples_of(12), {"train": ids(range(10))}, val_fraction=0.2)
    assert len(result["val"]) == 2
    assert sorted(result["train"] + result["val"]) == ids(range(10))  # 10 and 11 are in no list and stay out


@pytest.mark.parametrize("group_size", [None, 3])
@pytest.mark.parametrize("kind", ["contiguous", "random", "stratified"])
def test_folds_of_every_kind_hold_every_sample_once_and_no_group_twice(kind: Any, group_size: int | None) -> None:
    samples = samples_of(37, group_size)
    results = [split(samples, folds=4, fold=fold, kind=kind, class_pixels=rare_class) for fold in range(4)]
    assert sorted(sample_id for result in results for sample_id in result["val"]) == ids(range(37))
    group_of = {sample.id: sample.group or sample.id for sample in samples}
    parts = [{group_of[sample_id] for sample_id in result["val"]} for result in results]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert sum(map(len, parts)) == len(set(group_of.values()))
    for result in results:
        assert result["val"] == sorted(result["val"])
        assert sorted(result["train"] + result["val"]) == ids(range(37))


def test_random_folds_are_not_neighbours_and_contiguous_shares_are_the_end() -> None:
    assert split(samples_of(30), folds=5, fold=0, kind="random")["val"] != ids(range(6))
    result = split(samples_of(10), val_fraction=0.25, test_fraction=0.2, kind="contiguous")
    assert result == {"train": ids(range(6)), "val": ids([6, 7]), "test": ids([8, 9])}


def test_stratified_parts_hold_a_rare_class_each() -> None:
    """The first seven of forty hold it: contiguous blocks would have it in one."""
    for fold in range(5):
        held = split(samples_of(40), folds=5, fold=fold, kind="stratified", class_pixels=rare_class)["val"]
        assert 1 <= len(set(held) & set(ids(range(7)))) <= 2
    result = split(samples_of(40), test_fraction=0.3, val_fraction=0.3, kind="stratified", class_pixels=rare_class)
    assert [len(result[name]) for name in ("train", "val", "test")] == [20, 8, 12]
    assert all(set(part) & set(ids(range(7))) for part in result.values())


def test_a_stratified_split_of_nothing_is_refused_as_any() -> None:
    lists = {"train": [], "test": ids([0])}
    told = [refusal(samples_of(3), lists, kind=kind, class_pixels=rare_class) for kind in ("random", "stratified")]
    assert "leave none for 'train'" in told[0]
    assert told[0] == told[1]


def test_masks_are_read_only_where_a_stratified_split_is_drawn() -> None:
    def never(_: Any) -> Any:
        raise AssertionError("masks were read")

    lists = {"train": ids([0]), "val": ids([1]), "test": ids([2])}
    assert split(samples_of(4), lists, kind="stratified", class_pixels=never) == lists
    for kind in (None, "contiguous", "random"):
        split(samples_of(4), kind=kind, class_pixels=never)


def test_lists_that_share_a_group_are_refused_naming_it() -> None:
    told = refusal(samples_of(9, group_size=3), {"val": ids([0, 1]), "test": ids([2])})
    assert "the data set's own training, validation and test sets: the group 'patient 0' is in val and in test" in told


def test_a_group_that_a_list_splits_off_trains_no_more() -> None:
    result = split(samples_of(9, group_size=3), {"val": ids([0, 1])})
    assert result["train"] == ids(range(3, 9))


def test_unlabelled_samples_are_left_out() -> None:
    bare = [Sample("bare", (Part(Path("bare.png")),))]
    with_bare = samples_of(3) + bare + samples_of(6)[3:]
    for options in ({"folds": 3, "fold": 1}, {"val_fraction": 0.4}):
        assert split(with_bare, **options) == split(samples_of(6), **options)
    assert "none of the 1 samples has a mask" in refusal(bare)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"folds": 5, "fold": 5}, "data.fold is 5; with data.folds 5 give 0 to 4"),
        ({"folds": 5, "fold": -1}, "data.fold is -1; with data.folds 5 give 0 to 4"),
        ({"folds": 5}, "data.fold is None; with data.folds 5 give 0 to 4"),
        ({"fold": 2}, "data.fold is 2, but data.folds is not given"),
        ({"folds": 11, "fold": 0}, "data.folds is 11 for 10 samples or groups; give 2 to 10"),
        ({"folds": 1, "fold": 0}, "data.folds is 1 for 10 samples or groups; give 2 to 10"),
        ({"val_fraction": 1.0}, "data.val_fraction is 1.0; give a share from 0 to below 1"),
        ({"val_fraction": float("nan")}, "data.val_fraction is nan"),
        ({"test_fraction": -0.1}, "data.test_fraction is -0.1; give a share from 0 to below 1"),
        ({"val_fraction": 0.0}, "10 labelled samples leave none for 'val' (val_fraction 0.0"),
        ({"val_fraction": 0.99}, "10 labelled samples leave none for 'train' (val_fraction 0.99"),
    ],
)
def test_a_number_out_of_range_is_refused(options: dict[str, Any], told: str) -> None:
    assert told in refusal(samples_of(10), **options)


def test_one_sample_cannot_be_split() -> None:
    assert "1 labelled samples leave none for 'train'" in refusal(samples_of(1))


def test_lists_that_leave_nothing_to_train_on_are_refused() -> None:
    assert "leave none for 'train'" in refusal(samples_of(4), {"val": ids([0, 1]), "test": ids([2, 3])})


def test_unknown_and_doubled_ids_of_lists_are_refused() -> None:
    told = refusal(samples_of(4), {"val": ["s01", "s77", "s78"]})
    assert "2 samples do not exist or have no mask: s77, s78; the data have 4 labelled samples such as s00" in told
    assert "in more than one place: s01" in refusal(samples_of(4), {"val": ids([1]), "test": ids([1])})


def test_a_written_split_reads_back(tmp_path: Path) -> None:
    result = split(samples_of(10), test_fraction=0.2)
    write_split(tmp_path / "split.json", result)
    assert read_split(tmp_path / "split.json", samples_of(10)) == result


def test_a_split_file_may_use_fewer_samples_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text('{"train": ["s03"], "val": ["s01"], "unused": ["s00", "s02"]}')
    bare = Sample("bare", ())
    assert read_split(path, [*samples_of(4), bare]) == {"train": ["s03"], "val": ["s01"], "test": []}


def test_unused_samples_are_written_where_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    result = split(samples_of(4))
    write_split(path, result, unused(result, samples_of(4)))
    assert list(json.loads(path.read_text())) == ["train", "val", "test"]
    result = split(samples_of(6), {"train": ids([0, 1, 2]), "val": ids([5])})
    write_split(path, result, unused(result, [*samples_of(6), Sample("bare", ())]))
    assert json.loads(path.read_text())["unused"] == ids([3, 4])
    assert read_split(path, samples_of(6)) == result


def test_a_split_file_that_forgets_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text('{"train": ["s00"], "val": ["s01"], "unused": ["s02"]}')
    with pytest.raises(InputError) as caught:
        read_split(path, samples_of(8))
    assert str(caught.value) == (
        f"data.split_file {path}: 5 labelled samples are in none of the sets, such as s03, s04, s05; "
        'add them to a set or to "unused", or remove data.split_file'
    )


def test_a_split_file_that_shares_a_group_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ids([0, 1]), "val": ids([2, 3])}))
    with pytest.raises(InputError, match=f"{path}: the group 'patient 0' is in train and in val"):
        read_split(path, samples_of(4, group_size=3))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"train": ["s00"', "cannot be read as a split"),
        ('["s00", "s01"]', 'it is JSON: {"train": [ids], "val": [ids], "test": [ids]}'),
        ("3", "cannot be read as a split"),
        ('{"train": 3}', "cannot be read as a split"),
        ('{"trian": ["s00"], "val": ["s01"]}', "unknown lists trian"),
        ('{"train": ["s00", "s99"], "val": ["s01"]}', "1 samples do not exist or have no mask: s99"),
        ('{"train": ["s00"], "val": ["s00"]}', "samples in more than one place: s00; list each once"),
        ('{"train": ["s00"], "val": ["s01"], "unused": ["s00", "s02"]}', "samples in more than one place: s00"),
        ('{"train": ["s00", "s00"], "val": ["s01"]}', "samples in more than one place: s00; list each once"),
    ],
)
def test_a_wrong_split_file_is_refused_by_name(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_split(path, samples_of(3))
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_or_binary_split_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.json", "binary.json"):
        with pytest.raises(InputError, match=f"{name} cannot be read as a split"):
            read_split(tmp_path / name, samples_of(3))


def test_a_split_file_that_lists_an_unlabelled_sample_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["s00"], "val": ["bare"]}))
    with pytest.raises(InputError, match="have no mask: bare"):
        read_split(path, [*samples_of(2), Sample("bare", ())])
