"""``convert``: a data set of any source -> index masks, COCO or labelme files."""

import csv
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rich.progress import MofNCompleteColumn, Progress

from segmentation.data.class_tables import NOT_CLASSES
from segmentation.data.configured import data_of
from segmentation.data.outlining import CocoDocument, labelme_content
from segmentation.data.problems import DataError, FileError, grouped
from segmentation.data.reading import read_pixels
from segmentation.data.replacing import write_json
from segmentation.data.sample import Sample
from segmentation.data.source import Source
from segmentation.data.sources.coco import BACKGROUND
from segmentation.data.sources.folder import FolderSource
from segmentation.data.sources.labelme import BACKGROUNDS, IGNORED
from segmentation.data.splits import write_split
from segmentation.data.unknown_values import UnknownValuesError, unknown_values
from segmentation.errors import InputError
from segmentation.inference.classes import Classes
from segmentation.typed import typed

Form = Literal["masks", "coco", "labelme"]

SPLIT = "split.json"
GROUPS = "groups.csv"

IGNORED_COLOR = (224, 224, 192)
"""What PASCAL VOC paints ignored pixels with."""

NOT_OUTLINED = {"masks": (), "coco": (BACKGROUND,), "labelme": (*BACKGROUNDS, IGNORED)}
"""Names that a form has for pixels of no class."""


def convert(
    *,
    out: Path,
    to: Form,
    root: Path | None = None,
    config: Path | None = None,
    images: str | None = None,
    masks: str | None = None,
    classes: list[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Rewrite the labelled images of a data set in another form; images are copied as they are.

    The data set is --root, a folder whose form is recognised; or --config, a config with data.source; or
    --images with --masks, for example the index masks that predict wrote. Masks and outlines in these forms
    stand for exactly the same pixels.

    Args:
        out: Folder to write to.
        to: masks: images/, masks/ (PNG of class indices with a palette) and classes.json. coco: images/ and
            annotations.json, an annotation for each object. labelme: a JSON file beside each image. Objects are those
            that the masks tell apart, else connected components. Class 0 is background and has no outlines.
        root: Folder of the data set.
        config: A YAML file with data.source, such as the config.yaml of a run.
        images: Folder or pattern of images.
        masks: Folder or pattern of their masks.
        classes: Names in the order of the mask values, with images and masks.
        overwrite: Replace files of an earlier conversion; others in the folder are kept.

    Raises:
        InputError: For a data set that is not in order, and for results that exist.
    """
    source = _source(root, config, images, masks, classes)
    samples = [sample for sample in source.samples() if sample.masks]
    if not samples:
        raise InputError("none of the samples has a mask; there is nothing to convert")
    _check_names(source.classes, to)
    patterns = source.patterns if config is not None and isinstance(source, FolderSource) else []
    folders = [pattern.folder for pattern in patterns if not pattern.literal]
    _check_outside(out, *map(str, filter(None, (root, images, masks, *folders))))
    targets = [_target(sample, out, to) for sample in samples]
    _check_results(samples, targets, out, to, overwrite=overwrite)
    channels = _channels(source, _check_samples(source, samples))
    with _writing(out), Progress(*_COLUMNS) as progress:
        document = CocoDocument(source.classes)
        for sample, target in progress.track(list(zip(samples, targets, strict=True)), description="write"):
            mask, objects = source.read_mask(sample), source.read_objects(sample)
            target.image.parent.mkdir(parents=True, exist_ok=True)
            _write_image(source, sample, target.image)
            if to == "masks":
                _write_index(target.labels, mask, source.classes)
            elif to == "labelme":
                write_json(
                    target.labels, labelme_content(target.image.name, mask, objects, source.classes), indent=None
                )
            else:
                document.add(target.image.relative_to(out / "images").as_posix(), mask, objects)
        if to == "masks":
            stored = source.classes.to_dict()
            write_json(out / "classes.json", {"classes": stored.pop("names"), **stored}, indent=None)
        elif to == "coco":
            write_json(out / "annotations.json", document.content(), indent=None)
        options = [*_write_split(source, samples, out), *_write_groups(samples, out)]
    if channels != 3:
        options += ["--data.source.in_channels", str(channels)]
    _tell(source, samples, out, to, options)


_COLUMNS = (*Progress.get_default_columns(), MofNCompleteColumn())


@dataclass(frozen=True)
class Target:
    """Where a sample goes: its image, and the file of its labels (COCO: that of all samples)."""

    image: Path
    labels: Path


def _source(
    root: Path | None, config: Path | None, images: str | None, masks: str | None, classes: list[str] | None
) -> Source:
    if (root is None) + (config is None) + (images is None and masks is None) != 2:
        raise InputError("give the data set once: --root FOLDER, --config FILE, or --images with --masks")
    if classes is not None and images is None:
        raise InputError("--classes go with --images and --masks; another data set has its own")
    if config is not None:
        source = data_of(config).source
        source.prepare()
        return source
    if root is not None:
        from segmentation.data.checking.detect import source_of

        detected: Source = source_of(root)
        return detected
    if images is None or masks is None:
        raise InputError("--images and --masks go together; give both")
    full = [str(Path(text).resolve()) for text in (images, masks)]
    common = os.path.commonpath(full)
    below = [Path(text).relative_to(common).as_posix() for text in full]
    return FolderSource(common, classes, images=below[0], masks=below[1])


def _check_names(classes: Classes, to: Form) -> None:
    lost = [name for name in classes.names[1:] if name in NOT_OUTLINED[to]]
    if lost:
        raise InputError(
            f"the class {lost[0]!r} would be lost: {to} has this name for what has no outline; rename the class, make it "
            "the first one, or convert to masks"
        )


def _check_outside(out: Path, *inputs: str) -> None:
    """Files in the folder of the data set would be images of the data set from then on."""
    for text in inputs:
        if Path(text).resolve() in (out.resolve(), *out.resolve().parents):
            raise InputError(
                f"--out {out} lies in {text}, so that its files would be read as further ones; give another"
            )


def _target(sample: Sample, out: Path, to: Form) -> Target:
    suffix = sample.images[0].path.suffix if _is_file(sample) else ".tif"
    if to == "labelme":
        return Target(out / f"{sample.id}{suffix}", out / f"{sample.id}.json")
    labels = out / "masks" / f"{sample.id}.png" if to == "masks" else out / "annotations.json"
    return Target(out / "images" / f"{sample.id}{suffix}", labels)


def _is_file(sample: Sample) -> bool:
    """Whether the image is one whole file, which can be copied as it is."""
    return len(sample.images) == 1 and sample.images[0].page is None and sample.images[0].path.is_file()


def _check_results(samples: list[Sample], targets: list[Target], out: Path, to: Form, *, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder as --out")
    paths = {path for target in targets for path in (target.image, target.labels)} | {out / SPLIT, out / GROUPS}
    if to == "masks":
        paths.add(out / "classes.json")
    read = {part.path.resolve() for sample in samples for part in (*sample.images, *sample.masks)}
    onto = sorted(path for path in paths if path.resolve() in read)
    if onto:
        raise InputError(f"{onto[0]} is a file of the data set and would be overwritten; give another --out")
    existing = sorted(path for path in paths if path.exists())
    if existing and not overwrite:
        raise InputError(
            f"{len(existing)} files exist, such as {existing[0]}; nothing overwritten. Give another --out, or "
            "--overwrite"
        )


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or out} cannot be written ({error.strerror}); give another --out") from error


def _check_samples(source: Source, samples: list[Sample]) -> set[int]:
    """Read everything once, so that what is wrong is told at once and before the first file is written.

    Returns:
        The numbers of channels that images have.
    """
    faults: list[InputError] = []
    channels: set[int] = set()
    with Progress(*_COLUMNS) as progress:
        for sample in progress.track(samples, description="check"):
            try:
                image = read_pixels(sample.images[0]) if _is_file(sample) else source.read_image(sample)
                channels.add(image.shape[2])
                mask = source.read_mask(sample)
                if image.shape[:2] != mask.shape:
                    raise FileError(
                        sample.images[0] if sample.images else sample.id,
                        f"is {image.shape[0]}x{image.shape[1]} (HxW), its mask {mask.shape[0]}x{mask.shape[1]}",
                        "they must be of one size",
                    )
            except InputError as error:
                faults.append(error)
    if faults:
        values = [error for error in faults if isinstance(error, UnknownValuesError)]
        raise DataError([*unknown_values(values), *grouped(error for error in faults if error not in values)])
    return channels


def _channels(source: Source, found: set[int]) -> int:
    """What ``in_channels`` must say: a source that has its default of 3 may have read grey images."""
    if source.in_channels == 3 and len(found) == 1 and not found <= {3, 4}:  # an opaque alpha counts for nothing
        return found.pop()
    return source.in_channels


def _write_image(source: Source, sample: Sample, path: Path) -> None:
    if _is_file(sample):
        shutil.copyfile(sample.images[0].path, path)
        return
    pixels = source.read_image(sample)
    colored = pixels.shape[2] == 3 and pixels.dtype == np.uint8
    tifffile.imwrite(
        path,
        pixels[..., 0] if pixels.shape[2] == 1 else pixels,
        photometric="rgb" if colored else "minisblack",
        planarconfig=None if pixels.shape[2] == 1 else "contig",
        compression="zlib",
    )


def _write_index(path: Path, mask: NDArray[np.uint8], classes: Classes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(classes)] = classes.colors
    colors[classes.ignore_index] = IGNORED_COLOR
    picture = Image.fromarray(mask)
    picture.putpalette(colors.tobytes())
    picture.save(path)


def _write_split(source: Source, samples: list[Sample], out: Path) -> list[str]:
    """Save the data set's own lists as a split, where they say what trains and what validates; gives the option for it."""
    labelled = {sample.id for sample in samples}
    own = source.lists() or {}
    lists = {name: [id for id in ids if id in labelled] for name, ids in own.items()}
    if not lists.get("train") or not lists.get("val"):
        if own:
            print(
                "The data set has sets of its own, but not both a training and a validation set; they were not written."
            )
        return []
    write_split(out / SPLIT, {"train": lists["train"], "val": lists["val"], "test": lists.get("test", [])})
    return ["--data.split_file", str(out / SPLIT)]


def _write_groups(samples: list[Sample], out: Path) -> list[str]:
    """Save which samples belong together, such as the slices of one stack; gives the option for it."""
    if all(sample.group is None for sample in samples):
        return []
    with (out / GROUPS).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerows([("id", "group"), *((sample.id, sample.group or sample.id) for sample in samples)])
    return ["--data.group", str(out / GROUPS)]


def _tell(source: Source, samples: list[Sample], out: Path, to: Form, options: list[str]) -> None:
    """What was written, and the command that trains on it."""
    classes = source.classes
    kind, written = {
        "masks": ("FolderSource", f"{out}/images, {out}/masks and {out}/classes.json"),
        "coco": ("CocoSource", f"{out}/images and {out}/annotations.json"),
        "labelme": ("LabelmeSource", f"JSON files beside the images in {out}"),
    }[to]
    words = ["fit", "--data.source", kind, "--data.source.root", out]
    if to == "masks" and not any(name.lower() in NOT_CLASSES for name in classes.names):
        words += ["--data.source.classes", "classes.json"]
    elif to != "coco":
        words += ["--data.source.classes", json.dumps(classes.names if to == "masks" else classes.names[1:])]
    if to == "masks" and classes.binary and classes.ignore_index == 255:
        # else masks with 255 and no 1 would be taken for masks of 0 and 255
        words += ["--data.source.mask_values", "{0: 0, 1: 1, 255: 255}"]
    if to != "masks" and source.separate_objects:
        words += ["--data.source.separate_objects", "true"]
    if classes.ignore_index != 255:
        words += ["--data.source.ignore_index", str(classes.ignore_index)]
    print(f"{len(samples)} samples of the classes {', '.join(classes.names)}: {written}")
    if to != "masks" and classes.names[0] != BACKGROUND:
        print(f"Class 0, {classes.names[0]}, has no outlines and comes back as {BACKGROUND}.")
    print(f"  {typed(*words, *options)}")
