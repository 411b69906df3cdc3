"""A folder of images and a folder of masks that go by the same names."""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.masks import MaskValues
from segmentation.data.reading import IMAGE_SUFFIXES, is_image, read_pixels, read_values
from segmentation.data.source import Part, Sample, Source
from segmentation.errors import InputError
from segmentation.inference.classes import IGNORE_INDEX, Classes

SHOWN = 10  # names in each list of a message

# parts of the names that people give such folders, for the suggestion when the stated ones are missing
IMAGE_WORDS = ("image", "img", "photo", "picture", "input", "frame", "slice", "volume")
MASK_WORDS = ("mask", "label", "annot", "truth", "segm", "target", "gt")


class FolderSource(Source):
    """``root/images/NAME.*`` with ``root/masks/NAME.*``, paired by name and never by order.

    The id of a sample is the image's path below ``images`` without its suffix (``patient3/slice.07``),
    and its mask has the same path below ``masks``, with ``mask_suffix`` before the file's suffix. File
    formats may differ and may be mixed. Hidden files and files of other kinds are passed over.

    Args:
        root: Folder of the data set.
        classes: Names in the order of the mask values; by default background and foreground.
        images: Folder of the images below ``root``.
        masks: Folder of the masks below ``root``; None for images without labels.
        in_channels: Channels of the images. A grey image stored as RGB is read as 1 channel, an opaque
            alpha channel is dropped, and everything else that differs is refused.
        mask_values: File value -> class index or ``ignore_index``, when the files hold other values than
            class indices, for example ``{0: 0, 255: 1}``.
        mask_suffix: What the masks' names have after the images', for example ``_segmentation``.
        colors: RGB in 0..255 for each class, to paint predictions with.
        ignore_index: Mask value of the pixels that do not count.

    Raises:
        InputError: When the arguments do not fit each other.
    """

    def __init__(
        self,
        root: str | Path,
        classes: list[str] | None = None,
        images: str = "images",
        masks: str | None = "masks",
        in_channels: int = 3,
        mask_values: dict[int, int] | None = None,
        mask_suffix: str = "",
        colors: list[list[int]] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        if in_channels < 1:
            raise InputError(f"data.source.in_channels is {in_channels}; an image has at least 1 channel")
        names = ["background", "foreground"] if classes is None else classes
        self.classes = Classes(tuple(names), _colors(colors or []), ignore_index)
        self.in_channels = in_channels
        self.values = MaskValues(self.classes, mask_values)
        self.root = Path(root).expanduser()
        self.images = images
        self.masks = masks
        self.mask_suffix = mask_suffix

    def samples(self) -> list[Sample]:
        """The images in natural order: slice 2 before slice 10, sub-folder by sub-folder."""
        self._check_folders()
        image_folder = self.root / self.images
        mask_folder = None if self.masks is None else self.root / self.masks
        images = _files(image_folder, without=mask_folder)
        masks = {} if mask_folder is None else _files(mask_folder, without=image_folder)
        empty = [
            _empty(folder)
            for folder, files in ((image_folder, images), (mask_folder, masks))
            if folder is not None and not files
        ]
        if empty:
            raise InputError("; ".join(empty))
        problems = [_doubled(images, image_folder)]
        if mask_folder is not None:
            problems += [_doubled(masks, mask_folder), *self._unpaired(images, masks)]
        told = [problem for problem in problems if problem]
        if told:
            raise InputError(f"{self.root.absolute()} cannot be paired:\n  " + "\n  ".join(told))
        return [
            Sample(id, (Part(images[id][0]),), None if mask_folder is None else Part(masks[id + self.mask_suffix][0]))
            for id in sorted(images, key=_natural)
        ]

    def read_image(self, sample: Sample) -> NDArray[Any]:
        """As stored, (H, W, C)."""
        part = sample.images[0]
        return _expected_channels(read_pixels(part), self.in_channels, part)

    def read_mask(self, sample: Sample) -> NDArray[np.uint8]:
        """Class indices (H, W)."""
        if sample.mask is None:
            raise InputError(f"{sample.id} has no mask; set data.source.masks to the folder of the masks")
        return self.values.decode(read_values(sample.mask), sample.mask)

    def _check_folders(self) -> None:
        if not self.root.is_dir():
            above = next(parent for parent in self.root.absolute().parents if parent.is_dir())
            raise InputError(
                f"data.source.root: {self.root.absolute()} "
                f"{'is no folder' if self.root.exists() else 'does not exist'}; {above} holds {_folders_text(above)}"
            )
        settings = {"images": self.images} if self.masks is None else {"images": self.images, "masks": self.masks}
        missing = [name for name in settings.values() if not (self.root / name).is_dir()]
        if missing:
            looked = " and ".join(f"{self.root / name}" for name in missing)
            raise InputError(
                f"{looked} {'do' if len(missing) > 1 else 'does'} not exist; {self.root.absolute()} holds "
                f"{_folders_text(self.root)}.{self._folder_cure(missing)}"
            )
        if self.masks is not None and (self.root / self.images).samefile(self.root / self.masks):
            raise InputError(f"images and masks are both in {self.root / self.images}; put them into two folders")

    def _folder_cure(self, missing: list[str]) -> str:
        folders = _folders(self.root)
        mask = _guess(folders, MASK_WORDS)
        image = _guess([name for name in folders if name != mask], IMAGE_WORDS)
        if image is None and mask is not None and len(folders) == 2:
            image = next(name for name in folders if name != mask)
        if image is None and self.images in missing and any(is_image(path) for path in self.root.iterdir()):
            image = "."
        cures = []
        if self.images in missing:
            cures.append(f"data.source.images: {image or 'FOLDER'}")
        if self.masks in missing:
            cures.append(f"data.source.masks: {mask or 'FOLDER (null for images without labels)'}")
        return f" Set {', '.join(cures)}"

    def _unpaired(self, images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> list[str]:
        image_folder, mask_folder = self.root / self.images, self.root / str(self.masks)
        wanted = {id + self.mask_suffix for id in images}
        lonely_images = [images[id][0] for id in sorted(images, key=_natural) if id + self.mask_suffix not in masks]
        lonely_masks = [masks[id][0] for id in sorted(masks, key=_natural) if id not in wanted]
        expected = f"{mask_folder}/NAME{self.mask_suffix}.*"
        problems = [
            _names(lonely_images, image_folder, "image", f"in {image_folder} without a mask {expected}"),
            _names(lonely_masks, mask_folder, "mask", f"in {mask_folder} without an image in {image_folder}"),
        ]
        suffix = _common_suffix(images, masks)
        if lonely_images and suffix is not None:
            problems.append(f'Set data.source.mask_suffix: "{suffix}"')
        return problems


def _colors(colors: list[list[int]]) -> tuple[tuple[int, int, int], ...]:
    for color in colors:
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise InputError(f"data.source.colors holds {color}; a colour is [red, green, blue], each 0..255")
    return tuple((red, green, blue) for red, green, blue in colors)


def _files(folder: Path, without: Path | None) -> dict[str, list[Path]]:
    """Images below a folder by id; more than one where only their suffixes differ."""
    found: dict[str, list[Path]] = {}
    for here, folders, names in os.walk(folder):
        folders[:] = [
            name for name in folders if not name.startswith(".") and not (without and Path(here, name) == without)
        ]
        for name in names:
            path = Path(here, name)
            if is_image(path):
                found.setdefault((path.parent / path.stem).relative_to(folder).as_posix(), []).append(path)
    return found


def _natural(id: str) -> tuple[list[list[tuple[int, str]]], str]:
    """Sort key: numbers by value, sub-folder by sub-folder; the id itself decides between 01 and 1."""
    parts = [re.split(r"([0-9]+)", part) for part in id.split("/")]
    return [[(int(text), "") if text.isdecimal() else (-1, text) for text in part] for part in parts], id


def _empty(folder: Path) -> str:
    others = Counter(
        path.suffix.lower() or path.name
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )
    holds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
    return f"{folder.absolute()} holds no image ({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)}), " + (
        f"only files of other kinds: {holds}" if holds else "it is empty"
    )


def _names(paths: list[Path], folder: Path, what: str, fault: str) -> str:
    """``3 images FAULT: a.png, b.png, c.png``; nothing for no paths."""
    if not paths:
        return ""
    return f"{len(paths)} {what}{'s' if len(paths) > 1 else ''} {fault}: " + _first(
        [path.relative_to(folder).as_posix() for path in paths]
    )


def _doubled(files: dict[str, list[Path]], folder: Path) -> str:
    doubles = [sorted(files[id]) for id in sorted(files, key=_natural) if len(files[id]) > 1]
    if not doubles:
        return ""
    named = [" = ".join(path.relative_to(folder).as_posix() for path in paths) for paths in doubles]
    return f"{len(doubles)} name{'s' if len(doubles) > 1 else ''} twice in {folder}, keep one of each: {_first(named)}"


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _common_suffix(images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> str | None:
    """What every image's mask has after the image's name, when it is the same text for all."""
    first = min(images, key=_natural)
    candidates = [id.removeprefix(first) for id in masks if id.startswith(first)]
    fitting = [suffix for suffix in candidates if "/" not in suffix and all(id + suffix in masks for id in images)]
    return min(fitting, key=len, default=None)


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _folders_text(folder: Path) -> str:
    folders = _folders(folder)
    return f"the folders {_first([f'{name}/' for name in folders])}" if folders else "no folders"


def _guess(folders: list[str], words: tuple[str, ...]) -> str | None:
    """The one folder whose name has one of the words in it."""
    fitting = [name for name in folders if any(word in name.lower() for word in words)]
    return fitting[0] if len(fitting) == 1 else None


def _expected_channels(pixels: NDArray[Any], expected: int, part: Part) -> NDArray[Any]:
    """The pixels with ``expected`` channels where nothing is lost by it.

    Raises:
        InputError: With both shapes and the setting that fits the file.
    """
    kept = pixels
    if kept.shape[-1] in (2, 4) and kept.shape[-1] > expected and _opaque(kept[..., -1]):
        kept = kept[..., :-1]
    if kept.shape[-1] == 3 and expected == 1 and (kept == kept[..., :1]).all():
        kept = kept[..., :1]
    if kept.shape[-1] == expected:
        return np.ascontiguousarray(kept)
    height, width, stored = pixels.shape
    kind = {1: "grey", 2: "grey with transparency", 3: "RGB", 4: "RGBA"}.get(stored, f"{stored}-channel")
    raise InputError(
        f"image {part} is {kind}, shape {(height, width, stored)}; data.source.in_channels says "
        f"{(height, width, expected)}. Set data.source.in_channels: {stored}, or save every image of the data set "
        f"with {expected} channel{'s' if expected > 1 else ''}"
    )


def _opaque(alpha: NDArray[Any]) -> bool:
    full = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    return bool((alpha == full).all())
