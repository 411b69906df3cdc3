"""Images and masks that go together by their names, in one folder, two, or many."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.data.channels import as_grey
from segmentation.data.class_tables import ClassTable, read_class_table
from segmentation.data.list_files import read_lists
from segmentation.data.mask_values import MaskMeaning
from segmentation.data.masks import MaskRule
from segmentation.data.numbered import numbers
from segmentation.data.pairing import Key, Pattern, aligned, collect, natural
from segmentation.data.problems import DataError, Problem
from segmentation.data.reading import IMAGE_SUFFIXES, is_image, read_values
from segmentation.data.sample import Part, Sample
from segmentation.data.source import Lists, Source
from segmentation.data.walking import walk
from segmentation.data.words import role
from segmentation.errors import InputError
from segmentation.inference.classes import IGNORE_INDEX, Classes

SHOWN = 10  # folders in a message

ONE_CLASS: MaskMeaning = {0: 0, 1: 1, 255: 1}
"""What the mask of one class may hold where nothing is stated."""


class FolderSource(Source):
    """Images and masks paired by name, never by order; file formats may differ and may be mixed.

    ``images`` and ``masks`` are patterns of names below ``root``: ``{stem}`` is what an image and its mask
    share, sub-folders included, and the id of the sample. Hidden files and files of other kinds are passed over.

    ==================================================  ============================================================
    ``root/images/X.jpg``, ``root/masks/X.png``         the defaults
    ``root/images/X.jpg``, ``root/masks/X_mask.png``    ``masks: masks/{stem}_mask``
    ``root/X.jpg``, ``root/X_mask.png``                 ``images: "{stem}"``, ``masks: "{stem}_mask"``
    ``root/train/X.png``, ``root/trainannot/X.png``     ``images: "{split}/{stem}"``, ``masks: "{split}annot/{stem}"``
    ``root/images/t01.tif``, ``root/masks/seg01.tif``   ``images: images/t{stem}``, ``masks: masks/seg{stem}``
    ``root/rgb/X.png``, ``root/depth/X.png``            ``images: [rgb, depth]``, ``in_channels: 4``
    ``root/images/X_0000.png``, ``X_0001.png``          ``images: ["images/{stem}_0000", "images/{stem}_0001"]``
    ``root/masks/CLASS/X.png``                          ``masks: "masks/{class}/{stem}"``; later classes lie on top
    ==================================================  ============================================================

    Args:
        root: Folder of the data set.
        classes: Names in the order of the class indices, or a file below ``root`` that names them
            (classes.txt, labelmap.txt, class_dict.csv, _classes.csv, classes.json); by default background
            and foreground.
        images: Pattern of the images; several are parts that are stacked to channels.
        masks: Pattern of the masks; None for images without labels.
        in_channels: Channels of the images, all parts together. A grey image stored as RGB is read as 1
            channel, a grey one among RGB images as 3 equal ones, an opaque alpha channel is dropped, and
            everything else that differs is refused.
        mask_values: What the masks' values mean, when they are not class indices: a mapping such as
            {0: 0, 255: 1}, colours such as {road: [128, 0, 0]}, ">=128", objects or separate_objects.
        ignore_unknown: Ignore pixels whose value means nothing, instead of refusing the mask.
        unlabelled: Whether images may lack a mask; they are then left out of training.
        lists: Text files with a sample in each line: {train: train.txt, val: val.txt} or "lists/{split}.txt".
        colors: RGB in 0..255 for each class, to paint predictions with.
        ignore_index: Class index of the pixels that do not count.

    Raises:
        InputError: When the arguments do not fit each other.
    """

    def __init__(
        self,
        root: str | Path,
        classes: list[str] | str | None = None,
        images: str | list[str] = "images",
        masks: str | None = "masks",
        in_channels: int = 3,
        mask_values: dict[int, int] | dict[str, list[int] | list[list[int]]] | str | None = None,
        ignore_unknown: bool = False,
        unlabelled: bool = False,
        lists: dict[str, str] | str | None = None,
        colors: list[list[int]] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        if in_channels < 1:
            raise InputError(f"data.source.in_channels is {in_channels}; an image has at least 1 channel")
        self.root = Path(root).expanduser()
        table = read_class_table(self.root / classes) if isinstance(classes, str) else None
        names = table.names if table else classes or ["background", "foreground"]
        painted = colors or (table.colors if table and table.colors else ())
        self.classes = Classes.from_dict({"names": names, "colors": painted, "ignore_index": ignore_index})
        self.in_channels = in_channels
        texts = [images] if isinstance(images, str) else images
        if not texts:
            raise InputError("data.source.images is empty; give the folder of the images")
        self.images = [Pattern(self.root, text, "data.source.images") for text in texts]
        self.masks = None if masks is None else Pattern(self.root, masks, "data.source.masks")
        if self.masks is not None and any(self.masks.same(pattern) for pattern in self.images):
            raise InputError(
                f"images and masks are both {masks!r} in {self.root}; put them into two folders, or tell them apart by "
                'name: data.source.masks: "{stem}_mask"'
            )
        by_class = self.masks is not None and "{class}" in self.masks.text
        stated = mask_values if table is None or mask_values is not None else _of_table(table, self.classes)
        self.mask_rule = MaskRule(
            Classes(self.classes.names[:2], ignore_index=ignore_index) if by_class else self.classes,
            ONE_CLASS if by_class and stated is None else stated,
            ignore_unknown,
        )
        self.numbers_objects = self.mask_rule.values.objects and not by_class
        self.separate_objects = self.mask_rule.values.separate and not by_class
        self.by_class = by_class
        self.unlabelled = unlabelled
        self.list_files = lists
        self._samples: list[Sample] | None = None
        self._splits: dict[str, str] = {}

    @property
    def patterns(self) -> list[Pattern]:
        """Of the images and, where there are any, of the masks."""
        return [*self.images, *([] if self.masks is None else [self.masks])]

    def samples(self) -> list[Sample]:
        """The images in natural order: slice 2 before slice 10, sub-folder by sub-folder."""
        if self._samples is None:
            self._check_folders()
            self._samples = self._paired()
        return self._samples

    def lists(self) -> Lists | None:
        """From the list files, else from what ``{split}`` or the group ``split`` stands for."""
        if self.list_files is not None:
            ids = [sample.id for sample in self.samples()]
            return read_lists(self.list_files, self.root, ids, self.images)
        if "split" not in self.images[0].expression.groupindex:
            return None
        lists: dict[str, list[str]] = {}
        for sample in self.samples():
            if sample.masks and sample.id in self._splits:
                lists.setdefault(self._splits[sample.id], []).append(sample.id)
        return lists or None

    def read_mask(self, sample: Sample) -> NDArray[np.uint8]:
        """Class indices (H, W)."""
        if not sample.masks:
            raise InputError(f"{sample.id} has no mask; set data.source.masks to the folder of the masks")
        if not self.by_class:
            return self._decoded(sample.masks[0])
        planes = [self._decoded(part) for part in sample.masks]
        labels, ignored = np.zeros_like(planes[0]), np.zeros(planes[0].shape, bool)
        for part, here in zip(sample.masks, planes, strict=True):  # in the order of the classes
            if labels.shape != here.shape:
                raise InputError(f"mask {part} is of another size than the masks of other classes")
            labels[here == 1] = self.classes.names.index(self._key(part.path).name)
            ignored |= here == self.classes.ignore_index
        labels[ignored & (labels == 0)] = self.classes.ignore_index  # another class may know these pixels
        return labels

    def read_objects(self, sample: Sample) -> NDArray[np.int32] | None:
        """The numbers of masks whose ``mask_values`` are ``objects`` or ``separate_objects``."""
        return numbers(as_grey(read_values(sample.masks[0]))) if self.numbers_objects else None

    def _decoded(self, part: Part) -> NDArray[np.uint8]:
        return self.mask_rule.decode(read_values(part, colors=self.mask_rule.values.channels > 1), part)

    def _key(self, path: Path) -> Key:
        key = self.masks.key(path) if self.masks is not None else None
        assert key is not None
        return key

    def _paired(self) -> list[Sample]:
        parts = [
            collect(pattern, [other for other in self.patterns if other is not pattern]) for pattern in self.images
        ]
        masks = {} if self.masks is None else collect(self.masks, self.images)
        one_pair = all(pattern.literal for pattern in self.patterns)
        if one_pair and masks and parts[0]:  # two files that are named go together whatever their names
            masks = {next(iter(parts[0])): next(iter(masks.values()))}
        parts = [parts[0], *(aligned(part, parts[0]) for part in parts[1:])]
        masks = aligned(masks, parts[0])
        empty = [
            Problem(_empty(pattern), cure=self._pattern_cure(parts[0], pattern) if pattern is self.masks else "")
            for pattern, files in zip(self.patterns, [*parts, masks], strict=False)
            if not files and not (pattern is self.masks and self.unlabelled)
        ]
        if empty:
            raise DataError(empty)
        labels: dict[Key, dict[str, Path]] = {}
        for key, paths in masks.items():
            labels.setdefault(Key(key.stem, key.split), {})[key.name] = paths[0]
        problems = [_doubled(files) for files in [*parts, masks]] + self._unpaired(parts, labels)
        if self.by_class:
            problems.append(self._unknown_folders(masks))
        images = sorted((key for key in parts[0] if all(key in part for part in parts)), key=_order)
        samples = [
            Sample(key.sample, tuple(Part(part[key][0]) for part in parts), self._mask_parts(labels.get(key, {})))
            for key in images
        ]
        self._splits = {key.sample: key.split for key in images if key.split}
        told = [problem for problem in problems if problem is not None]
        if told:
            raise DataError(told, [sample for sample in samples if sample.masks or self.masks is None])
        return samples

    def _mask_parts(self, by_class: dict[str, Path]) -> tuple[Part, ...]:
        names = list(self.classes.names)
        known = [name for name in by_class if not self.by_class or name in names]
        return tuple(Part(by_class[name]) for name in sorted(known, key=lambda name: names.index(name) if name else 0))

    def _unpaired(
        self, parts: Sequence[dict[Key, list[Path]]], labels: dict[Key, dict[str, Path]]
    ) -> list[Problem | None]:
        everywhere = {key for key in parts[0] if all(key in part for part in parts)}
        problems: list[Problem | None] = [
            _problem(
                [path for key in sorted(part, key=_order) if key not in everywhere for path in part[key][:1]],
                "image without its other parts",
                f"every image needs all of {', '.join(pattern.full for pattern in self.images)}",
            )
            for part in parts
            if len(parts) > 1
        ]
        if self.masks is None:
            return problems
        lonely = [parts[0][key][0] for key in sorted(everywhere, key=_order) if key not in labels]
        cure = "" if everywhere & set(labels) else self._pattern_cure(parts[0], self.masks)
        if not self.unlabelled:
            problems.append(
                _problem(
                    lonely,
                    f"image without a mask {self.masks.full}",
                    cure or "add the masks, or set data.source.unlabelled: true to leave these images out",
                )
            )
        known = set(parts[0])
        problems.append(
            _problem(
                [path for key in sorted(labels, key=_order) if key not in known for path in labels[key].values()],
                f"mask without an image {self.images[0].full}",
                cure or "add the images, or move these masks away",
            )
        )
        return problems

    def _pattern_cure(self, images: dict[Key, list[Path]], masks: Pattern) -> str:
        """What every image's mask has after the image's name, when it is the same text for all."""
        if masks.regular or self.by_class or not images:
            return ""
        folder = masks.full.rpartition("/")[0]
        everything = Pattern(masks.root, f"{folder}/{{stem}}" if folder else "{stem}", masks.setting)
        labels = collect(everything)
        first = min(images, key=_order)
        ends = [key.stem.removeprefix(first.stem) for key in labels if key.stem.startswith(first.stem)]
        fitting = [
            end for end in ends if "/" not in end and all(Key(key.stem + end, key.split) in labels for key in images)
        ]
        named = everything.full.replace("{stem}", "{stem}" + min(fitting, key=len)) if any(fitting) else ""
        return f'set data.source.masks: "{named}"' if named and named != masks.full else ""

    def _unknown_folders(self, masks: dict[Key, list[Path]]) -> Problem | None:
        files = [paths[0] for key, paths in masks.items() if key.name not in self.classes.names[1:]]
        names = sorted({key.name for key in masks} - set(self.classes.names[1:]))
        told = ", ".join(["background", *sorted({key.name for key in masks})])
        return _problem(
            files, f"mask in a folder that is no class ({', '.join(names)})", f"set data.source.classes: [{told}]"
        )

    def _check_folders(self) -> None:
        if not self.root.is_dir():
            above = next(parent for parent in self.root.absolute().parents if parent.is_dir())
            raise InputError(
                f"data.source.root: {self.root.absolute()} "
                f"{'is no folder' if self.root.exists() else 'does not exist'}; {above} holds {_folders_text(above)}"
            )
        missing = [pattern for pattern in self.patterns if not pattern.place.exists()]
        if missing:
            looked = " and ".join(str(pattern.place) for pattern in missing)
            raise InputError(
                f"{looked} {'do' if len(missing) > 1 else 'does'} not exist; {self.root.absolute()} holds "
                f"{_folders_text(self.root)}. {self._folder_cure(missing)}"
            )

    def _folder_cure(self, missing: list[Pattern]) -> str:
        folders = _folders(self.root)
        mask, image = _guess(folders, "mask"), _guess(folders, "image")
        if image is None and mask is not None and len(folders) == 2:
            image = next(name for name in folders if name != mask)
        if image is None and any(is_image(path) for path in self.root.iterdir()):
            image = "."
        guesses = {
            "data.source.images": image or "FOLDER",
            "data.source.masks": mask or "FOLDER (null for images without labels)",
        }
        cures = [f"{setting}: {guesses[setting]}" for setting in sorted({pattern.setting for pattern in missing})]
        root = shlex.quote(str(self.root))
        return f"Set {', '.join(cures)}, or let python -m segmentation check --root {root} write a config"


def _of_table(table: ClassTable, classes: Classes) -> MaskMeaning:
    """What the masks' values mean by a class table; its colours, or its numbers where they are not 0, 1, 2 ..."""
    ignored = classes.ignore_index
    if table.values is not None:
        identity = table.values == tuple(range(len(table.values)))
        if identity and not table.ignored:
            return None
        stated = {value: index for index, value in enumerate(table.values)}
        return stated | {value: ignored for value in table.ignored if isinstance(value, int)} | {ignored: ignored}
    if table.colors is not None and table.decodes:
        named: dict[str, list[int] | list[list[int]]] = {
            name: list(color) for name, color in zip(table.names, table.colors, strict=True)
        }
        return named | table.ignored_colors
    return None


def _order(key: Key) -> Any:
    return natural(key.sample)


def _empty(pattern: Pattern) -> str:
    others = Counter(Path(name).suffix.lower() or name for _, names in walk(pattern.folder) for name in names)
    holds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
    wanted = f"no image {pattern.full} ({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)})"
    return f"{pattern.folder.absolute()} holds {wanted}, " + (f"only files such as {holds}" if holds else "it is empty")


def _problem(paths: list[Path], fault: str, cure: str) -> Problem | None:
    """Nothing for no paths."""
    if not paths:
        return None
    return Problem(fault, tuple(map(str, paths)), cure)


def _doubled(files: dict[Key, list[Path]]) -> Problem | None:
    doubles = [sorted(files[key]) for key in sorted(files, key=_order) if len(files[key]) > 1]
    named = [Path(" = ".join([str(paths[0]), *(path.name for path in paths[1:])])) for paths in doubles]
    return _problem(named, "one name twice, in different formats", "keep one of each")


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _folders_text(folder: Path) -> str:
    folders = _folders(folder)
    if not folders:
        return "no folders"
    more = f" and {len(folders) - SHOWN} more" if len(folders) > SHOWN else ""
    return "the folders " + ", ".join(f"{name}/" for name in folders[:SHOWN]) + more


def _guess(folders: list[str], said: str) -> str | None:
    """The one folder whose name says image or mask."""
    fitting = [name for name in folders if role(name) == said]
    return fitting[0] if len(fitting) == 1 else None
