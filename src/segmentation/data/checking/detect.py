"""A folder -> the source that reads it, with every argument it needs."""

import inspect
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmentation.data.channels import one_if_grey, without_opaque_alpha
from segmentation.data.checking.layouts import Layout, find
from segmentation.data.checking.listing import list_files
from segmentation.data.checking.peek import fused, peek
from segmentation.data.checking.values import Meaning, meaning, touch_told
from segmentation.data.class_tables import ClassTable, read_class_table
from segmentation.data.problems import DataError
from segmentation.data.reading import read_pixels
from segmentation.data.sample import Part, Sample
from segmentation.data.source import Source, known_sources
from segmentation.data.spreading import spread
from segmentation.data.words import role
from segmentation.errors import InputError

_READ = 8
"""Images whose channels are looked at, and those whose outlines are."""

SETTLE = (
    "say which with a config of your own (data.source.class_path and its init_args; fit --data.source.help FolderSource "
    "lists them), or give as root the folder that holds only the data set that is meant"
)


@dataclass(frozen=True)
class Detected:
    """What reads a folder.

    Attributes:
        layout: How its files lie.
        meaning: What the masks' values mean; None where the source knows it.
        arguments: All of the source's, with ``root``; plain values.
        source: The source itself.
        reasons: Argument -> one sentence why, where there is something to say.
    """

    layout: Layout
    meaning: Meaning | None
    arguments: dict[str, Any]
    source: Source
    reasons: dict[str, str]


def source_of(root: Path) -> Source:
    """The source that reads a folder.

    Raises:
        InputError: When nothing is recognised or several things are, with what was seen and what settles it.
    """
    return describe(root).source


def describe(root: Path) -> Detected:
    """Recognise a folder, and look into some images and masks for what the names do not say.

    Raises:
        InputError: As ``source_of``, and when nothing can be made of the masks' values.
    """
    layout = _unique(Path(root))
    known = known_sources()[layout.source]
    accepted = inspect.signature(known).parameters
    folder = Path(root).expanduser() / layout.below
    arguments: dict[str, Any] = {"root": str(folder), **layout.arguments}
    table = None if layout.table is None else read_class_table(layout.table)
    reasons: dict[str, str] = {name: layout.seen for name in ("images", "masks", "annotations") if name in arguments}
    meant = "mask_values" in accepted
    if layout.source == "VOCSource":
        painted = peek([part for sample in _samples(known(**arguments)) for part in sample.masks]).colored
        own = table if layout.table is not None and _is_own(layout.table, folder) else None
        meant = painted and own is None  # else the masks hold class indices, or the colours of the table
        if own is not None and layout.table is not None:
            decoded = own.decodes and painted
            arguments["classes"] = layout.table.name if decoded else list(own.names)
            reasons["classes"] = f"the {'colours' if decoded else 'names'} in {layout.table.name}"
    source = known(**arguments)
    samples = _samples(source)
    if "in_channels" in accepted:
        channels, why = _channels(samples)
        arguments["in_channels"], reasons["in_channels"] = channels, why
    read = _meaning(samples, arguments, table) if meant else None
    if read is not None:
        arguments |= read.arguments
        reasons |= read.reasons
    if "separate_objects" in accepted and source.numbers_objects and (told := _touching(source, samples)):
        arguments["separate_objects"], reasons["separate_objects"] = True, told
    return Detected(layout, read, arguments, known(**arguments), reasons)


def _unique(root: Path) -> Layout:
    layouts = find(root)
    if not layouts:
        raise InputError(
            f"{root} is not recognised: {_seen(root)}no images with masks whose names go together, no COCO, labelme, "
            "PASCAL VOC or Cityscapes files, no stack with labels. Put the images into images/ and their masks into "
            f"masks/ with the image's name (a_mask.png for a.jpg will do), or {SETTLE}"
        )
    if len(layouts) > 1:
        apart = len({layout.below for layout in layouts}) == len(layouts)
        told = "".join(
            f"\n  {layout.seen}"
            + (f" in {layout.below}/" if layout.below and layout.below not in layout.seen else "")
            + (f": check --root {shlex.quote(str(root / layout.below))}" if apart else "")
            for layout in layouts[:10]
        )
        raise InputError(f"{root} can be read in {len(layouts)} ways:{told}\n{SETTLE[:1].upper()}{SETTLE[1:]}")
    return layouts[0]


def _seen(root: Path, most: int = 4) -> str:
    """The folders with most images, and the folder of masks beside the root if there is one."""
    folders = sorted(list_files(root).images.items(), key=lambda item: -len(item[1]))[:most]
    told = [f"{len(names)} images in {folder or '.'}/" for folder, names in folders]
    beside = [path.name for path in root.absolute().parent.iterdir() if path.is_dir() and role(path.name) == "mask"]
    if told and beside and role(root.absolute().name) != "mask":
        told.append(f"{beside[0]}/ lies beside it (check --root {shlex.quote(str(root.parent))} sees both)")
    return "".join(f"{part}, " for part in told or ["no images at all"])


def _is_own(table: Path, folder: Path) -> bool:
    return table.parent == folder


def _samples(source: Source) -> list[Sample]:
    """Those in order; what is wrong with the rest is told by the survey."""
    try:
        return source.samples()
    except DataError as error:
        return list(error.samples)


def _meaning(samples: Sequence[Sample], arguments: dict[str, Any], table: ClassTable | None) -> Meaning | None:
    masks = [part for sample in samples for part in sample.masks]
    if not masks:
        return None
    by_class = "{class}" in str(arguments.get("masks"))
    table = None if by_class else table
    seen = peek(masks, table=table)
    if len(seen.pixels) == 1 and seen.masks < len(masks):  # what is looked for may be in few of them
        seen = peek(masks, len(masks), table)
    if not by_class:
        return meaning(seen, table)
    reason = {"classes": "a folder or name of masks for each class, after the background"}
    if set(seen.pixels) <= {0, 1, 255}:
        return Meaning({"classes": arguments["classes"]}, reason)
    read = meaning(seen, None)  # of one class: background and foreground
    kept = {name: value for name, value in read.arguments.items() if name == "mask_values"}
    return Meaning({"classes": arguments["classes"], **kept}, {**read.reasons, **reason})


def _channels(samples: Sequence[Sample]) -> tuple[int, str]:
    """The channels that most images have: 1 when all that are seen are grey, stored as RGB or not, 3 with RGB among them."""
    step = max(1, len(samples) // _READ)
    stored, least = Counter[int](), Counter[int]()
    for sample in list(samples)[::step][:_READ]:
        try:
            kinds = [_kind(part) for part in sample.images]
        except (InputError, OSError):
            continue
        stored[sum(kind[0] for kind in kinds)] += 1
        least[sum(kind[1] for kind in kinds)] += 1
    if not stored:
        return 3, "assumed: none of the images looked at can be read"  # the survey names the files
    if len(least) == 1:
        channels = next(iter(least))
        grey = " (grey, stored as RGB)" if channels not in stored else ""
        return channels, f"{channels} channel{'s' if channels > 1 else ''}{grey} in the images looked at"
    if set(least) == {1, 3}:
        return 3, "some of the images looked at are RGB; grey ones are read as three equal channels"
    channels = stored.most_common(1)[0][0]
    return channels, f"most of the images looked at have {channels}; others have {', '.join(map(str, sorted(stored)))}"


def _touching(source: Source, samples: Sequence[Sample]) -> str:
    """What is said of outlined objects that touch; nothing where none does."""
    counts = []
    for sample in spread([sample for sample in samples if sample.masks], _READ):
        try:
            objects = source.read_objects(sample)
        except (InputError, OSError):  # the survey names the file
            continue
        counts += [] if objects is None else [fused(objects)]
    return f"objects are outlined in {len(counts)} images looked at; {touch_told(sum(counts))}" if any(counts) else ""


def _kind(part: Part) -> tuple[int, int]:
    """Channels without an opaque alpha, and 1 where they are all equal."""
    pixels = without_opaque_alpha(read_pixels(part))
    return pixels.shape[2], one_if_grey(pixels).shape[2]
