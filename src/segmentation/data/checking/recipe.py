"""Which config fits a data set and this machine: every setting with its reason, and the YAML that says both."""

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import yaml

from segmentation.data.checking.findings import Facts
from segmentation.data.free_memory import free_memory
from segmentation.data.numbered import SEPARATE
from segmentation.data.problems import Problem
from segmentation.data.sample import Sample
from segmentation.data.source import Lists
from segmentation.data.splits import Split
from segmentation.inference.classes import Classes

BYTES_PER_PIXEL = {"cpu": 1400, "cuda": 1600}
"""Of training per pixel of a batch, with its gradients. Measured on a CPU in float32, batches of 8 and 16 crops of
256 pixels: smp.Unet with resnet18 takes 1400 to 1440 bytes (790 in bfloat16), with resnet34 1530. The GPU's is that
of resnet34 rounded up, and was not measured on one."""

ENCODERS = {"cpu": "resnet18", "cuda": "resnet34"}

LARGEST_CROP = {"cpu": 256, "cuda": 512}

LARGEST_BATCH = {"cpu": 8, "cuda": 16}

STRIDE = 32
"""Of the encoders: a crop that is a multiple of it needs no padding."""

EPOCHS = 50

DRAWS = 200
"""Crops in an epoch of few images, so that an epoch is worth its validation."""

NUMBERED = "^(.+)[_/-][A-Za-z]*[0-9]+$"
"""PREFIX_NUMBER or FOLDER/NUMBER, as frames of a video or slices of a patient are called."""

_GROUPS = 5  # of fewer, one in a list leaves little to train on: a person decides

WIDTH = 118


@dataclass(frozen=True)
class Machine:
    """What trains.

    Attributes:
        device: cpu or cuda.
        memory: Bytes that are free on it.
    """

    device: str
    memory: int


@dataclass(frozen=True)
class Choice:
    """One setting of a config.

    Attributes:
        key: Its place, ``data.crop``.
        value: Plain: str, numbers, lists, dicts.
        reason: One sentence; empty where the value says it.
    """

    key: str
    value: Any
    reason: str = ""


def this_machine() -> Machine:
    """The GPU where there is one, else the CPU, with its free memory."""
    if torch.cuda.is_available():
        return Machine("cuda", torch.cuda.mem_get_info()[0])
    return Machine("cpu", free_memory())


def choose(
    source: str,
    arguments: dict[str, Any],
    reasons: dict[str, str],
    samples: Sequence[Sample],
    lists: Lists | None,
    classes: Classes,
    facts: Facts,
    machine: Machine,
) -> list[Choice]:
    """A whole config for ``fit``.

    Args:
        source: Name of the source's class.
        arguments: Its arguments, ``root`` among them.
        reasons: Argument -> why it has this value; ``source`` -> why this source.
        samples: Of the source.
        lists: Its own lists.
        classes: Its classes.
        facts: Of its labelled samples.
        machine: That will train.
    """
    labelled = [sample for sample in samples if sample.masks]
    split, training = _split(labelled, lists, classes, facts)
    sampling = _sampling(training, facts, machine)
    chosen = {choice.key: choice.value for choice in sampling}
    separate = arguments.get("mask_values") == SEPARATE or "separate_objects" in arguments
    steps = EPOCHS * max(1, (chosen["data.samples_per_epoch"] or training) // chosen["data.batch_size"])
    return [
        Choice("data.source.class_path", source, reasons.get("source", "")),
        *(Choice(f"data.source.init_args.{name}", value, reasons.get(name, "")) for name, value in arguments.items()),
        *split,
        *sampling,
        *_pixels(facts),
        *_rare(classes, facts),
        *_model(classes, facts, machine, separate),
        Choice("checkpoint.monitor", "val/iou", "the mean over the classes, each of which counts alike"),
        Choice(
            "trainer.max_epochs",
            EPOCHS,
            f"{steps:,} steps in all: more when the best val/iou came at the end, fewer when it takes too long",
        ),
    ]


def to_dict(choices: Sequence[Choice]) -> dict[str, Any]:
    """A config as plain values."""
    config: dict[str, Any] = {}
    for choice in choices:
        *parents, name = choice.key.split(".")
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = choice.value
    return config


def to_yaml(choices: Sequence[Choice], head: Sequence[str]) -> str:
    """A config as text.

    Args:
        choices: Those of one parent follow each other.
        head: Lines of the comment at the top.
    """
    lines = [f"# {line}".rstrip() for line in head]
    above: list[str] = []
    for choice in choices:
        *parents, name = choice.key.split(".")
        shared = next((i for i, (a, b) in enumerate(zip(above, parents, strict=False)) if a != b), None)
        depth = min(len(above), len(parents)) if shared is None else shared
        lines += [f"{'  ' * level}{parents[level]}:" for level in range(depth, len(parents))]
        above = parents
        lines += _line(name, choice, "  " * len(parents))
    return "\n".join(lines) + "\n"


def _line(name: str, choice: Choice, indent: str) -> list[str]:
    setting = f"{indent}{name}: {flow(choice.value)}"
    reason = " ".join(choice.reason.split())
    if not reason:
        return [setting]
    if len(setting) + len(reason) + 4 <= WIDTH:
        return [f"{setting}  # {reason}"]
    return [*(f"{indent}# {line}" for line in textwrap.wrap(reason, WIDTH - len(indent) - 2)), setting]


def flow(value: Any) -> str:
    """A plain value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.strip().removesuffix("\n...")


def mixed(samples: Sequence[Sample], split: Split) -> list[Problem]:
    """A warning where images of one prefix, such as ``patient3_07``, are in several sets: few groups are not kept together.

    Args:
        samples: Of the source.
        split: As it was drawn, not the source's own.
    """
    labelled = [sample for sample in samples if sample.masks]
    prefixes = _several(labelled)
    lists = [{_prefix(sample_id) for sample_id in ids} for ids in split.values()]
    if len(prefixes) < 2 or not any(sum(prefix in found for found in lists) > 1 for prefix in prefixes):
        return []
    test = " --data.test_fraction 0" if split.get("test") and _units(labelled, NUMBERED) == 2 else ""
    return [
        Problem(
            f"the images of {', '.join(prefixes)} are spread over train, val and test: if these are patients or scenes, "
            "the score is better than it will be on new ones",
            cure=f"if they are, keep each in one set: fit --data.group '{NUMBERED}'{test}",
        )
    ]


def _split(labelled: Sequence[Sample], lists: Lists | None, classes: Classes, facts: Facts) -> tuple[list[Choice], int]:
    """The settings, and how many samples they leave to train on."""
    own = {name: len(ids) for name, ids in (lists or {}).items() if ids}
    if "val" in own:
        return [], own.get("train", len(labelled) - own["val"] - own.get("test", 0))
    pool = own.get("train", len(labelled) - own.get("test", 0))
    group, why = (None, "") if own else _group(labelled)
    units = _units(labelled, group)
    chosen = [] if group is None else [Choice("data.group", group, why)]
    stack = sum(sample.images[0].page is not None for sample in labelled) > len(labelled) / 2
    stack = stack or (set(facts.channels) == {1} and len(facts.sizes) == 1 and _numbered(labelled))
    if stack and units >= 5 and not own:
        reason = (
            "neighbouring slices look alike: the last fifth validates as a whole, not slices between those trained on"
        )
        return [Choice("data.folds", 5, reason), Choice("data.fold", 4)], pool * 4 // 5
    rare = [
        name
        for name, share in zip(classes.names, facts.class_images, strict=True)
        if 0 < share < 0.2 or (0 < share < 1 and share * facts.count < 5)
    ]
    if rare:
        shown = ", ".join(rare[:3]) + (f" and {len(rare) - 3} more" if len(rare) > 3 else "")
        reason = f"few images hold {shown}: by chance a set could have none"
        chosen.append(Choice("data.split_kind", "stratified", reason))
    chosen.append(Choice("data.val_fraction", 0.2, f"of {pool} labelled samples; they choose the best checkpoint"))
    held = 0.0
    if len(labelled) >= 40 and units >= 10 and not own:
        held = 0.15
        chosen.append(Choice("data.test_fraction", held, "set apart for `test`: nothing is chosen by them"))
    return chosen, max(1, round(pool * (1 - held) * 0.8))


def _units(labelled: Sequence[Sample], group: str | None) -> int:
    if group is not None:
        return len({_prefix(sample.id) for sample in labelled})
    return len({sample.group or sample.id for sample in labelled})


def _numbered(samples: Sequence[Sample]) -> bool:
    """Whether the ids are one name with consecutive numbers, as the slices of a volume are."""
    found = [re.fullmatch(r"(.*?)(\d+)", sample.id) for sample in samples]
    numbers = sorted(int(match[2]) for match in found if match)
    alike = len({match[1] for match in found if match}) == 1
    return (
        alike and len(numbers) == len(samples) >= 10 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    )


def _group(labelled: Sequence[Sample]) -> tuple[str | None, str]:
    """The pattern of ids like ``patient3_07``, where they are the rule, and why."""
    several = _several(labelled)
    if len(several) < _GROUPS:
        return None, ""
    return NUMBERED, (
        f"ids like {next(sample.id for sample in labelled if _prefix(sample.id) == several[0])}: "
        f"{_units(labelled, NUMBERED)} groups such as '{several[0]}', kept together because images of one look alike; "
        "remove this line if they do not"
    )


def _several(labelled: Sequence[Sample]) -> list[str]:
    """The prefixes of more than one id, where all ids have a prefix and most share theirs."""
    prefixes = Counter(_prefix(sample.id) for sample in labelled)
    several = [prefix for prefix, count in prefixes.items() if count >= 2]
    grouped = sum(prefixes[prefix] for prefix in several)
    if "" in prefixes or any(sample.group for sample in labelled) or grouped < len(labelled) / 2:
        return []
    return several


def _prefix(sample_id: str) -> str:
    found = re.search(NUMBERED, sample_id)
    return found[1] if found and found[1] else ""


def _sampling(training: int, facts: Facts, machine: Machine) -> list[Choice]:
    limit, side = LARGEST_CROP[machine.device], facts.shortest_side(0.1)
    crop = max(STRIDE, min(limit, side // STRIDE * STRIDE))
    why = f"a multiple of {STRIDE}" + (
        f" within the shortest side of most images ({side})"
        if crop < limit
        else f"; more is slow on a {_name(machine)}"
    )
    few = training < DRAWS
    per_crop = BYTES_PER_PIXEL[machine.device] * crop * crop
    fitting = max(2, int(machine.memory * 0.5 // per_crop))  # the other half is for images, weights and loaders
    batch = _power_of_two(min(LARGEST_BATCH[machine.device], fitting, max(2, DRAWS if few else training)))
    draws = -(-DRAWS // batch) * batch
    return [
        Choice("data.crop", crop, why),
        Choice(
            "data.batch_size",
            batch,
            f"about {batch * per_crop / 2**30:.1f} GiB of the {machine.memory / 2**30:.0f} GiB free on this {_name(machine)}",
        ),
        Choice(
            "data.samples_per_epoch",
            draws if few else None,
            f"random crops: {training} training images alone would make an epoch too short"
            if few
            else f"one crop for each of the {training} training images",
        ),
    ]


def _pixels(facts: Facts) -> list[Choice]:
    channels, dtype = next(iter(facts.channels)), next(iter(facts.dtypes))
    if dtype == "uint8":
        intensity = Choice("data.intensity", "range", "8-bit images fill their range")
    else:
        low, high = facts.intensity[0].percentiles[0], facts.intensity[0].percentiles[-1]
        reason = f"{dtype} images hold {low:.6g} to {high:.6g} in the first channel, a part of what the type can hold"
        intensity = Choice("data.intensity", "percentile", reason)
    if channels == 1:
        augment = Choice("data.augment", "em", "grey: turned, flipped, bent and shaded; natural where up must stay up")
    elif channels == 3 and dtype == "uint8":
        augment = Choice("data.augment", "natural", "RGB: scaled, shaded and flipped left-right; up stays up")
    else:
        augment = Choice("data.augment", "flips", f"{channels} channels of {dtype}: colour transforms would mix them")
    return [intensity, augment]


def _rare(classes: Classes, facts: Facts) -> list[Choice]:
    foreground = 1 - facts.class_pixels[facts.common]
    if not 0 < foreground < 0.05:
        return []
    reason = (
        f"{foreground:.2%} of the pixels are not '{classes.names[facts.common]}': a third of the crops goes to them"
    )
    return [Choice("data.foreground_crops", 0.33, reason)]


def _model(classes: Classes, facts: Facts, machine: Machine, separate: bool) -> list[Choice]:
    chosen = [
        Choice("model.network", "Unet"),
        Choice("model.encoder", ENCODERS[machine.device], f"what a {_name(machine)} trains in reasonable time"),
        Choice("model.encoder_weights", None, "imagenet, downloaded once, is far better on photographs"),
    ]
    shares = [share for share in facts.class_pixels if share > 0]
    rarest = min(shares)
    rare = len(shares) > 1 and rarest < 0.02 * (sum(shares) - rarest) / (len(shares) - 1)
    name = f"'{classes.names[facts.class_pixels.index(rarest)]}' has {rarest:.2%} of the pixels"
    if separate:
        return [*chosen, Choice("model.loss", {"unet": 1, "dice": 1}, "unet counts the gaps between objects more")]
    if classes.binary:
        # Dice of two classes counts the foreground alone and takes no weights: better than weighted bce without it
        reason = f"{name}: dice counts by area however small it is, and so needs no class_weights" if rare else ""
        return [*chosen, Choice("model.loss", {"bce": 1, "dice": 1}, reason)]
    chosen.append(Choice("model.loss", {"ce": 1, "dice": 1}))
    if rare:
        chosen.append(Choice("model.class_weights", "auto", f"{name}, under 2% of the mean of the others"))
    return chosen


def _name(machine: Machine) -> str:
    return "GPU" if machine.device == "cuda" else "CPU"


def _power_of_two(value: int) -> int:
    return 1 << (value.bit_length() - 1)
