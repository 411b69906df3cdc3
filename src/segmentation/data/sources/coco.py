"""COCO: one JSON file with outlines of objects for many images."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.outlined import OutlinedSource
from segmentation.data.pairing import SPLIT_WORDS, composed, natural
from segmentation.data.polygons import Polygon, decode_runs, polygon, rasterise
from segmentation.data.problems import DataError, FileError, grouped
from segmentation.data.sample import Part, Sample
from segmentation.data.source import Lists
from segmentation.data.stated_sizes import check_stated
from segmentation.data.walking import walk
from segmentation.errors import InputError, nearest
from segmentation.inference.classes import IGNORE_INDEX, Classes

BACKGROUND = "background"

Runs = dict[str, Any]
"""COCO's run lengths: ``size`` [H, W] and ``counts``, a list or a compressed text."""


@dataclass(frozen=True)
class Outline:
    """One annotation.

    Attributes:
        category: Its name.
        crowd: Whether it is a region in which single objects are not outlined.
        shape: Polygons, of which the union counts, or run lengths.
    """

    category: str
    crowd: bool
    shape: list[Polygon] | Runs


@dataclass
class Picture:
    """One entry of ``images``.

    Attributes:
        name: Of the file, as written.
        size: (H, W) in pixels.
        file: Where it is.
        split: ``train``, ``val``, ``test``, or empty.
        labels: The annotation file, or None for one without annotations.
        outlines: Of this image.
    """

    name: str
    size: tuple[int, int]
    file: Path
    split: str = ""
    labels: Path | None = None
    outlines: list[Outline] = field(default_factory=list)


class CocoSource(OutlinedSource):
    """Images with the outlines of a COCO instance file (COCO itself, CVAT, Label Studio, Roboflow, ...).

    Class 0 is the background. Where outlines overlap, the later class lies on top. Crowd regions
    (``iscrowd: 1``) are ignored wherever no object lies. An image without outlines is all background; a file
    without ``annotations`` has unlabelled images. The id of a sample is its file name without suffix, after
    ``train/``, ``val/`` or ``test/`` where the files are of splits.

    ==================================================  =======================================================
    ``root/annotations.json``, ``root/images/X.jpg``    the defaults
    COCO 2017                                           ``annotations: "annotations/instances_{split}2017.json"``,
                                                        ``images: "{split}2017"``
    Roboflow                                            ``annotations: "{split}/_annotations.coco.json"``,
                                                        ``images: "{split}"``
    ==================================================  =======================================================

    Args:
        root: Folder of the data set.
        annotations: The JSON file below ``root``; ``{split}`` stands for train, val, test and their other names.
        images: Folder below ``root`` that the file names begin in; ``{split}`` as in ``annotations``. A file that
            is not at its path is looked for by its name in that folder and below.
        classes: Categories in the order of the class indices from 1, the others become background; or
            {class: [categories]} to join some. By default all of the file in the order of their ids.
        in_channels: Channels of the images.
        colors: RGB in 0..255 for each class with the background, to paint predictions with.
        ignore_index: Class index of the pixels that do not count.
        separate_objects: Where two objects touch, the pixels of both are background, so that a network learns to
            part them: for cells.

    Raises:
        InputError: When the arguments do not fit each other; without ``classes`` also when the file cannot
            be read.
    """

    def __init__(
        self,
        root: str | Path,
        annotations: str = "annotations.json",
        images: str = "images",
        classes: list[str] | dict[str, list[str]] | None = None,
        in_channels: int = 3,
        colors: list[list[int]] | None = None,
        ignore_index: int = IGNORE_INDEX,
        separate_objects: bool = False,
    ) -> None:
        self.root = Path(root).expanduser()
        self.annotations = annotations
        self.images = images
        if classes is None:
            classes = self._content.categories
        groups = classes if isinstance(classes, dict) else {name: [name] for name in classes}
        if not groups:
            raise InputError(f"{self.root / annotations} has no categories; outline objects of at least one")
        names = (BACKGROUND, *(name for name in groups if name != BACKGROUND))
        stated = Classes.from_dict({"names": names, "colors": colors or [], "ignore_index": ignore_index})
        super().__init__(stated, in_channels, separate_objects)
        self.class_of = {category: names.index(name) for name, members in groups.items() for category in members}

    def samples(self) -> list[Sample]:
        """The images in natural order of their names."""
        content = self._content
        samples = [
            Sample(id, (Part(picture.file),), (Part(picture.labels),) if picture.labels else ())
            for id, picture in sorted(content.pictures.items(), key=lambda item: natural(item[0]))
        ]
        missing = [
            FileError(
                f"data.source.classes: {name}",
                f"is no category of {self.annotations}",
                f"write it as the file does{nearest(name, content.categories)}",
            )
            for name in self.class_of
            if name not in content.categories and name != BACKGROUND
        ]
        if content.problems or missing:
            there = [sample for sample in samples if sample.images[0].path.is_file()]
            raise DataError(grouped([*missing, *content.problems]), there)
        return samples

    def lists(self) -> Lists | None:
        """The labelled images of each file, where there is one for each split."""
        lists: dict[str, list[str]] = {}
        for sample in self.samples():
            picture = self._content.pictures[sample.id]
            if picture.split and sample.masks:
                lists.setdefault(picture.split, []).append(sample.id)
        return lists or None

    def read_outlines(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """The annotations, filled, with a number for each; where some lie on top of each other, those of the upper one."""
        picture = self._content.pictures[sample.id]
        check_stated(picture.size, sample.masks[0].path, sample.images[0])
        mask, objects = np.zeros(picture.size, np.uint8), np.zeros(picture.size, np.int32)
        crowds = np.zeros(picture.size, np.bool_)
        counted = [outline for outline in picture.outlines if outline.category in self.class_of]
        ordered = sorted(counted, key=lambda outline: self.class_of[outline.category])
        for number, outline in enumerate(ordered, start=1):
            try:
                inside = _inside(outline, picture.size)
            except ValueError as error:
                where = f"{picture.labels}: a {outline.category} of the image {picture.name}"
                raise FileError(where, str(error), "export it anew") from error
            if outline.crowd:
                crowds |= inside
            else:
                mask[inside] = self.class_of[outline.category]
                objects[inside] = number if self.class_of[outline.category] else 0
        mask[crowds & (mask == 0)] = self.classes.ignore_index
        return mask, objects

    def _files(self) -> list[tuple[Path, str]]:
        """The annotation files that there are, each with its split, or with an empty text."""
        path = self.root / self.annotations
        if "{split}" not in self.annotations:
            if not path.is_file():
                near = sorted(file.relative_to(self.root).as_posix() for file in self.root.glob("**/*.json"))[:5]
                there = f"{self.root} holds {', '.join(near)}" if near else f"there is no JSON file below {self.root}"
                raise InputError(f"{path} does not exist; {there}. Set data.source.annotations")
            return [(path, "")]
        found = []
        for split, words in SPLIT_WORDS.items():
            paths = [self.root / self.annotations.replace("{split}", word) for word in words]
            there_are = [path for path in paths if path.is_file()]
            if len(there_are) > 1:
                raise InputError(f"{' and '.join(map(str, there_are))} are both of the split {split}; keep one")
            found += [(path, split) for path in there_are]
        if not found:
            raise InputError(
                f"no file fits data.source.annotations {path}; {{split}} is one of "
                f"{', '.join(word for words in SPLIT_WORDS.values() for word in words)}"
            )
        return found

    def _folder(self, split: str) -> Path:
        words = SPLIT_WORDS[split] if split else ("",)
        folders = [self.root / self.images.replace("{split}", word) for word in words]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    @cached_property
    def _content(self) -> "_Content":
        """All files, each read once; outlines stay as numbers until a mask is read."""
        content = _Content()
        for file, split in self._files():
            folder = _Folder(self._folder(split))
            document = _Document(file, split, folder)
            for picture in document.pictures.values():
                id = "/".join([split, *folder.parts(picture)] if split else folder.parts(picture))
                if id in content.pictures:
                    document.fault(picture.name, "is listed twice, or another differs in its suffix only", "keep one")
                content.pictures[id] = picture
            content.categories += [name for name in document.categories.values() if name not in content.categories]
            content.problems += document.problems
        if not content.pictures and not content.problems:
            raise InputError(f"{self.root / self.annotations} lists no images; export it anew")
        return content


@dataclass
class _Content:
    """What the annotation files say: pictures by id, names of categories, faults."""

    pictures: dict[str, Picture] = field(default_factory=dict)
    categories: list[str] = field(default_factory=list)
    problems: list[InputError] = field(default_factory=list)


class _Folder:
    """Finds a file by its path, or by its name alone where that is unique."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, name: str) -> Path:
        """The path that ``name`` means; it may not exist."""
        stated = self.path / name
        if stated.is_file():
            return stated
        found = self._by_name.get(composed(stated.name), [])
        found = [path for path in found if path.name == stated.name] or found
        return found[0] if len(found) == 1 else stated

    def parts(self, picture: Picture) -> list[str]:
        """The id of a picture as folders and name, which never leads out of a folder."""
        inside = picture.file.is_relative_to(self.path)
        path = picture.file.relative_to(self.path) if inside else Path(picture.name)
        return [part for part in path.with_suffix("").parts if part not in ("..", ".", path.anchor)]

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for here, names in walk(self.path):
            for name in names:
                found.setdefault(composed(name), []).append(here / name)
        return found


class _Document:
    """One annotation file: what it says, and what is wrong with it."""

    def __init__(self, file: Path, split: str, folder: _Folder) -> None:
        self.file = file
        self.problems: list[InputError] = []
        try:
            stored = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise FileError(file, f"cannot be read as JSON ({error})", "export the annotations anew") from error
        if not isinstance(stored, dict) or not isinstance(stored.get("images"), list):
            raise FileError(file, "has no list 'images'", "give a COCO instance file as data.source.annotations")
        try:
            names = {int(entry["id"]): str(entry["name"]) for entry in stored.get("categories") or ()}
        except (TypeError, KeyError, ValueError) as error:
            raise FileError(file, f"has categories without id or name ({error})", "export it anew") from error
        # by the texts of the ids: some tools write 1 in one place and "1" in another
        self.categories = {str(number): names[number] for number in sorted(names)}
        self.pictures: dict[str, Picture] = {}
        annotations = stored.get("annotations")
        for entry in stored["images"]:
            self._add_picture(entry, split, folder, labelled=annotations is not None)
        for entry in annotations or ():
            self._add_outline(entry)

    def fault(self, what: str, fault: str, cure: str) -> None:
        """Note what is wrong with one entry."""
        self.problems.append(FileError(f"{self.file.name}: {what}", fault, cure))

    def _add_picture(self, entry: Any, split: str, folder: _Folder, *, labelled: bool) -> None:
        try:
            number, name = str(entry["id"]), str(entry["file_name"]).replace("\\", "/")
            size = int(entry["height"]), int(entry["width"])
        except (TypeError, KeyError, ValueError, OverflowError):  # Infinity is a number in Python's JSON
            size = 0, 0
        if min(size) < 1:
            self.fault(f"image {str(entry)[:80]}", "lacks one of id, file_name, height and width", "export it anew")
            return
        if number in self.pictures:
            self.fault(f"image id {number}", "is there twice", "give each image an id of its own")
        picture = Picture(name, size, folder.find(name), split, self.file if labelled else None)
        if not picture.file.is_file():
            fault = f"does not exist, and {self.file.name} lists it"
            cure = "add the image, or set data.source.images to its folder"
            self.problems.append(FileError(picture.file, fault, cure))
        self.pictures[number] = picture

    def _add_outline(self, entry: Any) -> None:
        if not isinstance(entry, dict):
            self.fault(f"annotation {str(entry)[:40]}", "is no JSON object", "export it anew")
            return
        what = f"annotation {entry.get('id')}"
        for key, table, known in (
            ("image_id", "images", self.pictures),
            ("category_id", "categories", self.categories),
        ):
            if str(entry.get(key)) not in known:
                self.fault(f"{what} ({key} {entry.get(key)})", f"has no {key} of '{table}'", "correct or remove it")
                return
        picture = self.pictures[str(entry["image_id"])]
        try:
            shape = _shape(entry.get("segmentation"))
        except ValueError as error:
            self.fault(f"{what} (image {picture.name})", str(error), "correct or remove it")
            return
        category = self.categories[str(entry["category_id"])]
        picture.outlines.append(Outline(category, bool(entry.get("iscrowd", 0)), shape))


def _shape(segmentation: Any) -> list[Polygon] | Runs:
    """What an annotation outlines.

    Raises:
        ValueError: Saying why it is no outline.
    """
    if isinstance(segmentation, dict) and "counts" in segmentation:
        return segmentation
    if not segmentation or not isinstance(segmentation, list):
        raise ValueError("has no segmentation (a box is no outline)")
    return [polygon(corners) for corners in segmentation]


def _inside(outline: Outline, size: tuple[int, int]) -> NDArray[np.bool_]:
    if isinstance(outline.shape, dict):
        return decode_runs(outline.shape, size)
    return rasterise(outline.shape, size)
