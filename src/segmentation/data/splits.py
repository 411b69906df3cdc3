"""Which samples train, validate and test. The datamodule alone decides, through here."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segmentation.data.groups import check_together
from segmentation.data.replacing import write_json
from segmentation.data.sample import Sample, stacks
from segmentation.data.source import Lists
from segmentation.data.stratification import stratified
from segmentation.errors import InputError

Split = dict[str, list[str]]
"""Sample ids under ``train``, ``val`` and ``test``."""

Kind = Literal["contiguous", "random", "stratified"]

ClassPixels = Callable[[Sequence[Sample]], NDArray[np.int64]]
"""Labelled samples -> (N, K) pixels of each class in each."""

OWN = "the data set's own training, validation and test sets"
NAMES = ("train", "val", "test")
UNUSED = "unused"
"""In a split file: the labelled samples that are meant to be in no list."""


def split(
    samples: Sequence[Sample],
    lists: Lists | None = None,
    folds: int | None = None,
    fold: int | None = None,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    kind: Kind | None = None,
    class_pixels: ClassPixels | None = None,
) -> Split:
    """Deal the labelled samples to training, validation and test.

    A list that the data set brings is taken as it is. What it lacks is drawn from the samples in no
    list or in ``train``: one of ``folds`` parts of equal size, or a share. Samples of one group stay
    together and count as one; where a list holds a part of a group, the rest of it is left out. The same
    data give the same split for every seed.

    ==============  ============================================================================
    ``contiguous``  neighbours in the source's order stay together; a share is taken from its end
    ``random``      drawn with a fixed seed
    ``stratified``  each part with its share of the images and pixels of every class
    ==============  ============================================================================

    Args:
        samples: All samples in the source's order; those without a mask are left out.
        lists: The data set's own ``train``, ``val`` and ``test`` lists, any of them missing.
        folds: Number of parts.
        fold: Which part validates, from 0.
        val_fraction: Share that validates when there are no folds; 0..1.
        test_fraction: Share that tests when the data set has no test set; 0..1.
        kind: How parts and shares are drawn; None for contiguous folds and random shares, contiguous ones of the pages
            of one file, whose neighbours are alike.
        class_pixels: Counts the classes, called once and only for ``stratified``.

    Raises:
        InputError: When a number is out of range, a listed id does not exist, a group is in two lists,
            the lists leave ``folds`` without effect, or nothing is left to train or validate on.
    """
    labelled = [sample for sample in samples if sample.masks]
    if not labelled:
        raise InputError(f"none of the {len(samples)} samples has a mask; training and scoring need labelled samples")
    dealt = {name: list(ids) for name, ids in (lists or {}).items()}
    _check_known(dealt, labelled)
    check_together(dealt, labelled, OWN)
    if "val" in dealt and folds is not None:
        raise InputError(
            f"data.folds is {folds}, but the data set brings its own validation set of {len(dealt['val'])} samples, which "
            "would be used; leave data.folds and data.fold out, or give the split you want as data.split_file"
        )
    taken = set(dealt.get("val", ())) | set(dealt.get("test", ()))
    groups = {sample.group for sample in labelled if sample.id in taken and sample.group is not None}
    pool = [sample for sample in labelled if sample.id not in taken and sample.group not in groups]
    if "train" in dealt:
        trained = set(dealt["train"])
        pool = [sample for sample in pool if sample.id in trained]
    units = _units(pool)
    content: dict[str, NDArray[np.int64]] = {}
    if kind == "stratified" and not {"val", "test"} <= set(dealt):
        assert class_pixels is not None
        content = dict(zip((sample.id for sample in pool), class_pixels(pool), strict=True))
    pages = len(units) == len(pool) and len(stacks(pool)) < len(pool)
    drawn = kind or ("contiguous" if pages else "random")
    if "test" not in dealt:
        dealt["test"], units = _draw(units, test_fraction, "data.test_fraction", drawn, content)
    if "val" not in dealt:
        if folds is not None:
            dealt["val"], units = _fold(units, folds, fold, kind or "contiguous", content)
        elif fold is not None:
            raise InputError(f"data.fold is {fold}, but data.folds is not given; set data.folds to the number of parts")
        else:
            dealt["val"], units = _draw(units, val_fraction, "data.val_fraction", drawn, content)
    result = {
        "train": [sample.id for unit in units for sample in unit],
        "val": dealt["val"],
        "test": dealt["test"],
    }
    for name in ("train", "val"):
        if not result[name]:
            raise InputError(
                f"{len(labelled)} labelled samples leave none for '{name}' "
                f"(val_fraction {val_fraction}, test_fraction {test_fraction}, folds {folds}); "
                "add samples or change the fractions"
            )
    return result


def unused(split_: Split, samples: Sequence[Sample]) -> list[str]:
    """Ids of the labelled samples in none of the lists, in the source's order."""
    listed = {sample_id for name in NAMES for sample_id in split_.get(name, ())}
    return [sample.id for sample in samples if sample.masks and sample.id not in listed]


def read_split(path: Path, samples: Sequence[Sample]) -> Split:
    """A split saved earlier.

    Raises:
        InputError: When the file is unreadable, names samples that do not exist, leaves out labelled
            samples that are not under ``unused``, or has a group in two lists.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        unknown = [name for name in list(stored) if name not in (*NAMES, UNUSED)]
        if unknown:
            raise ValueError(f"unknown lists {', '.join(unknown)}")
        lists = {name: [str(sample_id) for sample_id in stored.get(name, [])] for name in (*NAMES, UNUSED)}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"data.split_file {path} cannot be read as a split ({error}); "
            'it is JSON: {"train": [ids], "val": [ids], "test": [ids]}'
        ) from error
    labelled = [sample for sample in samples if sample.masks]
    _check_known(lists, labelled, path)
    meant = set(lists[UNUSED])
    left_out = [sample_id for sample_id in unused(lists, labelled) if sample_id not in meant]
    if left_out:
        raise InputError(
            f"data.split_file {path}: {len(left_out)} labelled samples are in none of the sets, such as "
            f'{", ".join(left_out[:3])}; add them to a set or to "{UNUSED}", or remove data.split_file'
        )
    result = {name: lists[name] for name in NAMES}
    check_together(result, labelled, path)
    return result


def write_split(path: Path, split_: Split, unused_: Sequence[str] = ()) -> None:
    """Save a split as JSON, one id a line so that two splits can be compared by eye.

    Args:
        path: Of the file.
        split_: Its lists.
        unused_: Labelled samples in none of them; named in the file when there are any.
    """
    lists = split_ | ({UNUSED: list(unused_)} if unused_ else {})
    write_json(path, lists)


def _check_known(lists: Split, samples: Sequence[Sample], path: Path | str = OWN) -> None:
    known = {sample.id for sample in samples}
    unknown = [sample_id for ids in lists.values() for sample_id in ids if sample_id not in known]
    counts = Counter(sample_id for ids in lists.values() for sample_id in ids)
    doubled = [sample_id for sample_id, count in counts.items() if count > 1]
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} samples do not exist or have no mask: {', '.join(unknown[:5])}; "
            f"the data have {len(known)} labelled samples such as {', '.join(sorted(known)[:3])}"
        )
    if doubled:
        raise InputError(f"{path}: samples in more than one place: {', '.join(doubled[:5])}; list each once")


def _units(samples: Sequence[Sample]) -> list[list[Sample]]:
    units: dict[str, list[Sample]] = {}
    for sample in samples:
        key = f"sample {sample.id}" if sample.group is None else f"group {sample.group}"
        units.setdefault(key, []).append(sample)
    return list(units.values())


def _draw(
    units: list[list[Sample]], fraction: float, name: str, kind: Kind, content: dict[str, NDArray[np.int64]]
) -> tuple[list[str], list[list[Sample]]]:
    if not 0 <= fraction < 1:
        raise InputError(f"{name} is {fraction}; give a share from 0 to below 1")
    if fraction == 0:
        return [], units
    count = max(1, round(len(units) * fraction))
    rest = len(units) - count
    if kind == "contiguous":  # the end of a film or a series is what a model of its beginning is for
        return _taken(units, _deal(units, [rest, count], kind, content)[1])
    return _taken(units, _deal(units, [count, rest], kind, content)[0])


def _fold(
    units: list[list[Sample]], folds: int, fold: int | None, kind: Kind, content: dict[str, NDArray[np.int64]]
) -> tuple[list[str], list[list[Sample]]]:
    if not 2 <= folds <= len(units):
        raise InputError(f"data.folds is {folds} for {len(units)} samples or groups; give 2 to {len(units)}")
    if fold is None or not 0 <= fold < folds:
        raise InputError(f"data.fold is {fold}; with data.folds {folds} give 0 to {folds - 1}")
    edges = [len(units) * edge // folds for edge in range(folds + 1)]
    sizes = [stop - start for start, stop in pairwise(edges)]
    return _taken(units, _deal(units, sizes, kind, content)[fold])


def _deal(
    units: list[list[Sample]], sizes: Sequence[int], kind: Kind, content: dict[str, NDArray[np.int64]]
) -> list[list[int]]:
    """Places of the units in each of the parts."""
    if kind == "stratified" and units:
        pixels = [np.stack([content[sample.id] for sample in unit]) for unit in units]
        return stratified(
            np.stack([(counts > 0).sum(0) for counts in pixels]), np.stack([counts.sum(0) for counts in pixels]), sizes
        )
    # a fixed seed: runs with other seeds stay comparable, and never score what an earlier one trained on
    order = np.arange(len(units)) if kind == "contiguous" else np.random.default_rng(0).permutation(len(units))
    return [sorted(part.tolist()) for part in np.split(order, np.cumsum(sizes)[:-1])]


def _taken(units: list[list[Sample]], places: Sequence[int]) -> tuple[list[str], list[list[Sample]]]:
    taken = set(places)
    return [sample.id for place in sorted(taken) for sample in units[place]], [
        unit for place, unit in enumerate(units) if place not in taken
    ]
