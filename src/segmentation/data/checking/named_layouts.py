"""Layouts that are known by name: Cityscapes, PASCAL VOC, COCO and labelme."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from segmentation.data.checking.listing import Listing, is_below, join, shown
from segmentation.data.spreading import spread
from segmentation.data.words import split_template

_WHOLE = 16 * 2**20
"""Bytes up to which a JSON file is parsed; of a larger one only the beginning and the end are searched."""

_LOOKED = 8
"""JSON files of one folder that are opened, the largest and some evenly spread."""

_FOLDERS = 50


@dataclass(frozen=True)
class Named:
    """A layout known by name.

    Attributes:
        source: Name of the class that reads it.
        arguments: Of that class, without ``root``.
        below: Folder below the root that is the source's root.
        seen: What was recognised.
        count: Images or annotation files.
        folders: That belong to it, below the root.
        notes: What a person should know.
    """

    source: str
    arguments: dict[str, Any]
    below: str
    seen: str
    count: int
    folders: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_named(listing: Listing) -> list[Named]:
    """All that are found, in the order in which the first is to be believed."""
    return [*_cityscapes(listing), *_voc(listing), *_coco(listing), *_labelme(listing)]


def _cityscapes(listing: Listing) -> list[Named]:
    found = []
    for parent in _parents(listing, "leftImg8bit", "gtFine"):
        count = sum(
            name.endswith("_gtFine_labelIds.png")
            for folder, names in listing.images.items()
            if is_below(folder, join(parent, "gtFine"))
            for name in names
        )
        if count:
            seen = f"{count} masks *_gtFine_labelIds.png in gtFine/ beside leftImg8bit/: the layout of Cityscapes"
            found.append(Named("CityscapesSource", {}, parent, seen, count, (parent,)))
    return found


def _voc(listing: Listing) -> list[Named]:
    found = []
    for parent in _parents(listing, "JPEGImages", "SegmentationClass"):
        masks = len(listing.images.get(join(parent, "SegmentationClass"), []))
        images = len(listing.images.get(join(parent, "JPEGImages"), []))
        if masks and images:
            seen = f"{images} images in JPEGImages/ and {masks} masks in SegmentationClass/: the layout of PASCAL VOC"
            others = [folder for folder in listing.folders if _parent(folder) == parent and "Segmentation" in folder]
            copies = [PurePosixPath(folder).name for folder in others if not folder.endswith("/SegmentationClass")]
            copies = [name for name in copies if name != "SegmentationClass"]
            notes = (f"{', '.join(copies)}: copies for viewing or masks of objects, not read",) if copies else ()
            found.append(Named("VOCSource", {}, parent, seen, masks, (parent,), notes))
    return found


def _coco(listing: Listing) -> list[Named]:
    files: dict[tuple[str, str], dict[str | None, int]] = {}
    lacking = []
    for folder in spread(list(listing.others), _FOLDERS):
        for name in _jsons(listing, folder):
            file = join(folder, name)
            names = _coco_names(listing.root / file)
            if names is None:
                continue
            images = _folder_of(listing, names)
            if images is None:
                lacking.append(file)
                continue
            where, of_images = split_template(images)
            template, of_file = split_template(file)
            if of_file is None or (of_images not in (None, of_file)):
                where, template, of_file = images, file, None
            files.setdefault((template, where), {})[of_file] = len(names)
    best = _only_instances(files)
    found = []
    for (template, where), splits in best.items():
        names = sorted(str(split) for split in splits if split)
        if len(splits) == 1 and names:  # one split alone is a plain file
            template, where = _literal(listing, template, where, names[0])
        count = sum(splits.values())
        arguments = {"annotations": template, "images": where or "."}
        told = f" for {', '.join(names)}" if len(names) > 1 else ""
        seen = f"COCO annotations {shown(template)}{told} of images in {shown(where) or 'the same folder'}"
        folders = [folder for folder in listing.images if _fits(folder, where)]
        found.append(Named("CocoSource", arguments, "", seen, count, tuple(folders) or ("",)))
    return found


def _labelme(listing: Listing) -> list[Named]:
    folders = []
    for folder in spread(list(listing.others), _FOLDERS):
        names = _jsons(listing, folder)
        if any(_is_labelme(listing.root / join(folder, name)) for name in names):
            folders.append(folder)
    if not folders:
        return []
    common = os.path.commonpath(folders) if all(folders) else ""
    count = sum(name.lower().endswith(".json") for folder in folders for name in listing.others[folder])
    seen = f"{count} labelme files (JSON with shapes and imagePath) in {shown(common) or 'the folder'}"
    return [Named("LabelmeSource", {}, common, seen, count, tuple(folders))]


def _parents(listing: Listing, first: str, second: str) -> list[str]:
    """Folders that hold both."""
    folders = set(listing.folders)
    with_first = [_parent(folder) for folder in listing.folders if PurePosixPath(folder).name == first]
    return [parent for parent in with_first if join(parent, second) in folders]


def _parent(folder: str) -> str:
    return folder.rpartition("/")[0]


def _jsons(listing: Listing, folder: str) -> list[str]:
    names = [name for name in listing.others.get(folder, []) if name.lower().endswith(".json")]
    if len(names) <= _LOOKED:
        return names
    largest = max(names, key=lambda name: _bytes(listing.root / join(folder, name)))
    return [largest, *spread(names, _LOOKED - 1)]


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _coco_names(path: Path) -> list[str] | None:
    """The file names in a COCO file, of a large one the first; None when it is none."""
    try:
        if _bytes(path) > _WHOLE:
            return _searched_names(path)
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
            return None
        names = [image["file_name"] for image in content["images"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return [name for name in names if isinstance(name, str)] or None


def _searched_names(path: Path) -> list[str] | None:
    with path.open("rb") as file:
        begin = file.read(_WHOLE // 4)
        file.seek(-_WHOLE // 4, os.SEEK_END)
        text = (begin + file.read()).decode("utf-8", "replace")
    keys = set(re.findall(r'"(images|annotations|categories|segmentation|category_id)"\s*:', text))
    names = re.findall(r'"file_name"\s*:\s*"([^"]+)"', text)
    return names if {"images", "category_id"} <= keys and names else None


def _is_labelme(path: Path) -> bool:
    if _bytes(path) > 16 * _WHOLE:
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def _folder_of(listing: Listing, names: Sequence[str]) -> str | None:
    """The folder below which the most of some file names are, at least half of them."""
    tried = [PurePosixPath(name.replace("\\", "/")) for name in spread(list(names), 20)]
    stored = {folder: set(files) for folder, files in listing.images.items()}
    votes: dict[str, int] = {}
    for path in tried:
        parent = "" if str(path.parent) == "." else str(path.parent)
        for folder, files in stored.items():
            if path.name in files:
                # with its sub-folder where that exists, else by its name alone
                outer = folder[: -len(parent)].rstrip("/") if parent and _ends_with(folder, parent) else folder
                votes[outer] = votes.get(outer, 0) + 1
    best = min(votes, key=lambda folder: (-votes[folder], len(folder), folder), default=None)
    return best if best is not None and votes[best] * 2 >= len(tried) else None


def _ends_with(folder: str, parent: str) -> bool:
    return folder == parent or folder.endswith(f"/{parent}")


def _only_instances(
    files: dict[tuple[str, str], dict[str | None, int]],
) -> dict[tuple[str, str], dict[str | None, int]]:
    """COCO itself has keypoints and captions of the same images; its instances are meant."""
    folders = [where for _, where in files]
    return {
        (template, where): splits
        for (template, where), splits in files.items()
        if folders.count(where) == 1
        or "instances" in template
        or not any("instances" in other for other, folder in files if folder == where)
    }


def _literal(listing: Listing, template: str, where: str, split: str) -> tuple[str, str]:
    """A template back to the one file and folder that it stands for."""
    files = [join(folder, name) for folder, names in listing.others.items() for name in names]
    file = next(file for file in files if split_template(file) == (template, split))
    folders = [folder for folder in listing.images if split_template(folder) == (where, split)]
    return file, folders[0] if folders else where


def _fits(folder: str, where: str) -> bool:
    expression = re.escape(where).replace(re.escape("{split}"), "[^/]+")
    return not where or re.match(rf"{expression}(/|$)", folder) is not None
