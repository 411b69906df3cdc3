"""Which samples train, validate and test. The datamodule alone decides, through here."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segmentation.data.source import Lists, Sample
from segmentation.errors import InputError

Split = dict[str, list[str]]
"""Sample ids under ``train``, ``val`` and ``test``."""


def split(
    samples: Sequence[Sample],
    lists: Lists | None = None,
    folds: int | None = None,
    fold: int | None = None,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
) -> Split:
    """Deal the labelled samples to training, validation and test.

    A list that the data set brings is taken as it is. What it lacks is drawn from the samples in no
    list or in ``train``: with ``folds`` as one contiguous block of neighbours, else as a random share
    that is the same for every seed. Samples of one group stay together.

    Args:
        samples: All samples in the source's order; those without a mask are left out.
        lists: The data set's own ``train``, ``val`` and ``test`` lists, any of them missing.
        folds: Number of blocks.
        fold: Which block validates, from 0.
        val_fraction: Share that validates when there are no folds; 0..1.
        test_fraction: Share that tests when the data set has no test list; 0..1.

    Raises:
        InputError: When a number is out of range, a listed id does not exist, or nothing is left to
            train or validate on.
    """
    labelled = [sample for sample in samples if sample.mask is not None]
    if not labelled:
        raise InputError(f"none of the {len(samples)} samples has a mask; training and scoring need labelled samples")
    dealt = {name: list(ids) for name, ids in (lists or {}).items()}
    _check_known(dealt, labelled)
    taken = set(dealt.get("val", ())) | set(dealt.get("test", ()))
    pool = [sample for sample in labelled if sample.id not in taken]
    if "train" in dealt:
        trained = set(dealt["train"])
        pool = [sample for sample in pool if sample.id in trained]
    units = _units(pool)
    if "test" not in dealt:
        dealt["test"], units = _draw(units, test_fraction, "data.test_fraction")
    if "val" not in dealt:
        if folds is not None:
            dealt["val"], units = _block(units, folds, fold)
        elif fold is not None:
            raise InputError(
                f"data.fold is {fold}, but data.folds is not given; set data.folds to the number of blocks"
            )
        else:
            dealt["val"], units = _draw(units, val_fraction, "data.val_fraction")
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


def read_split(path: Path, samples: Sequence[Sample]) -> Split:
    """A split saved earlier.

    Raises:
        InputError: When the file is unreadable or names samples that do not exist.
    """
    try:
        stored = json.loads(path.read_text())
        unknown = [name for name in list(stored) if name not in ("train", "val", "test")]
        if unknown:
            raise ValueError(f"unknown lists {', '.join(unknown)}")
        result = {name: [str(sample_id) for sample_id in stored.get(name, [])] for name in ("train", "val", "test")}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"data.split_file {path} cannot be read as a split ({error}); "
            'it is JSON: {"train": [ids], "val": [ids], "test": [ids]}'
        ) from error
    _check_known(result, [sample for sample in samples if sample.mask is not None], path)
    return result


def write_split(path: Path, split_: Split) -> None:
    """Save a split as JSON, one id a line so that two splits can be compared by eye."""
    path.write_text(json.dumps(split_, indent=1) + "\n")


def _check_known(lists: Split, samples: Sequence[Sample], path: Path | str = "the data set's own lists") -> None:
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


def _draw(units: list[list[Sample]], fraction: float, name: str) -> tuple[list[str], list[list[Sample]]]:
    if not 0 <= fraction < 1:
        raise InputError(f"{name} is {fraction}; give a share from 0 to below 1")
    if fraction == 0:
        return [], units
    count = max(1, round(len(units) * fraction))
    # a fixed seed: runs with other seeds stay comparable, and never score what an earlier one trained on
    drawn = set(np.random.default_rng(0).permutation(len(units))[:count].tolist())
    chosen = [sample.id for index, unit in enumerate(units) if index in drawn for sample in unit]
    return chosen, [unit for index, unit in enumerate(units) if index not in drawn]


def _block(units: list[list[Sample]], folds: int, fold: int | None) -> tuple[list[str], list[list[Sample]]]:
    if not 2 <= folds <= len(units):
        raise InputError(f"data.folds is {folds} for {len(units)} samples or groups; give 2 to {len(units)}")
    if fold is None or not 0 <= fold < folds:
        raise InputError(f"data.fold is {fold}; with data.folds {folds} give 0 to {folds - 1}")
    start, stop = (len(units) * edge // folds for edge in (fold, fold + 1))
    return [sample.id for unit in units[start:stop] for sample in unit], units[:start] + units[stop:]
