"""labelme: a JSON file with outlines beside each image."""

import base64
import binascii
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.outlined import OutlinedSource
from segmentation.data.pairing import composed, natural
from segmentation.data.polygons import FARTHEST, polygon, rasterise
from segmentation.data.problems import DataError, FileError, grouped
from segmentation.data.reading import is_image, read_pixels
from segmentation.data.sample import Part, Sample
from segmentation.data.source import Lists
from segmentation.data.stated_sizes import check_stated
from segmentation.data.walking import walk
from segmentation.data.words import split_template
from segmentation.errors import InputError, nearest
from segmentation.inference.classes import IGNORE_INDEX, Classes

BACKGROUND = "background"
BACKGROUNDS = (BACKGROUND, "_background_")
IGNORED = "__ignore__"

SHAPES = ("polygon", "rectangle", "circle", "mask")


@dataclass(frozen=True)
class Shape:
    """One shape: its label, its kind of ``SHAPES``, (N, 2) points in pixels, the pixels of a mask, and its group.

    Shapes of one label and group are parts of one object.
    """

    label: str
    kind: str
    points: NDArray[np.float64]
    pixels: NDArray[np.bool_] | None = None
    group: int | None = None


@dataclass(frozen=True)
class Annotation:
    """One JSON file: the image it belongs to, (H, W) where it says so, and its shapes in order."""

    file: Path
    image: Path
    size: tuple[int, int] | None
    shapes: tuple[Shape, ...]


class LabelmeSource(OutlinedSource):
    """A folder with JSON files of labelme beside their images, sub-folders included.

    Class 0 is the background, to which ``_background_`` belongs too; what is labelled ``__ignore__`` does not
    count. Shapes lie on top of each other in the order of the file, as labelme's own export has them. A file
    without shapes is all background; an image without a file is no part of the data set. The id of a sample is
    the path of its JSON file without suffix. Folders called train, val or test are the data set's own split.

    Polygons, rectangles, circles and masks are filled. Lines and points have no inside and are refused.

    Args:
        root: Folder of the data set.
        classes: Labels in the order of the class indices from 1; others are refused, because they are typed by
            hand. By default all that are used, sorted.
        in_channels: Channels of the images.
        colors: RGB in 0..255 for each class with the background, to paint predictions with.
        ignore_index: Class index of the pixels that do not count.
        separate_objects: As in CocoSource.

    Raises:
        InputError: When the arguments do not fit each other; without ``classes`` also when no label can be read.
    """

    def __init__(
        self,
        root: str | Path,
        classes: list[str] | None = None,
        in_channels: int = 3,
        colors: list[list[int]] | None = None,
        ignore_index: int = IGNORE_INDEX,
        separate_objects: bool = False,
    ) -> None:
        self.root = Path(root).expanduser()
        if classes is None:
            annotations, problems = self._content
            used = {shape.label for annotation in annotations.values() for shape in annotation.shapes}
            classes = sorted(used - {*BACKGROUNDS, IGNORED}, key=natural)
            if not classes:
                raise (
                    DataError(grouped(problems))
                    if problems
                    else InputError(
                        f"the JSON files below {self.root.absolute()} label nothing; outline objects with labelme, or set "
                        "data.source.classes"
                    )
                )
        names = (BACKGROUND, *(name for name in classes if name not in (*BACKGROUNDS, IGNORED)))
        stated = Classes.from_dict({"names": names, "colors": colors or [], "ignore_index": ignore_index})
        super().__init__(stated, in_channels, separate_objects)
        self.index_of = {name: index for index, name in enumerate(names)}
        self.index_of |= dict.fromkeys(BACKGROUNDS, 0) | {IGNORED: ignore_index}

    def samples(self) -> list[Sample]:
        """The annotated images in natural order of their names."""
        annotations, problems = self._content
        unknown = [
            FileError(
                annotation.file,
                f"has the label {label!r}; data.source.classes are {', '.join(self.classes.names[1:])}",
                f"add it there, or correct it in the file{nearest(label, list(self.classes.names[1:]))}",
            )
            for annotation in annotations.values()
            for label in dict.fromkeys(shape.label for shape in annotation.shapes)
            if label not in self.index_of
        ]
        samples = [
            Sample(id, (Part(annotation.image),), (Part(annotation.file),)) for id, annotation in annotations.items()
        ]
        if problems or unknown:
            refused = {Path(error.file) for error in unknown}
            there = [sample for sample in samples if sample.masks[0].path not in refused]
            raise DataError(grouped([*problems, *unknown]), there)
        return samples

    def lists(self) -> Lists | None:
        """What the folders are called, such as train and val, where each file lies in such a folder."""
        lists: dict[str, list[str]] = {}
        for sample_id in self._content[0]:
            _, name = split_template(PurePosixPath(sample_id).parent.as_posix())
            if name is None:
                return None
            lists.setdefault(name, []).append(sample_id)
        return lists or None

    def read_outlines(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """The shapes, filled; a number for each shape, or for those of one label and group id. The later lie on top."""
        annotation = self._content[0][sample.id]
        if annotation.size is not None:
            check_stated(annotation.size, annotation.file, sample.images[0])
        height, width = annotation.size or read_pixels(sample.images[0]).shape[:2]
        mask, objects = np.zeros((height, width), np.uint8), np.zeros((height, width), np.int32)
        numbers: dict[tuple[str, int], int] = {}
        for number, shape in enumerate(annotation.shapes, start=1):
            inside, index = _inside(shape, (height, width)), self.index_of[shape.label]
            if shape.group is not None:
                number = numbers.setdefault((shape.label, shape.group), number)
            mask[inside] = index
            objects[inside] = 0 if index in (0, self.classes.ignore_index) else number
        return mask, objects

    @cached_property
    def _content(self) -> tuple[dict[str, Annotation], list[InputError]]:
        """Annotations by id in natural order, and what is wrong with the others."""
        if not self.root.is_dir():
            raise InputError(f"data.source.root: {self.root.absolute()} is no folder; give that of the JSON files")
        files = [here / name for here, names in walk(self.root) for name in names if name.lower().endswith(".json")]
        if not files:
            raise InputError(f"{self.root.absolute()} holds no JSON file; give the folder that labelme saved to")
        annotations: dict[str, Annotation] = {}
        problems: list[InputError] = []
        for id, file in sorted(((_id(file, self.root), file) for file in files), key=lambda pair: natural(pair[0])):
            try:
                annotations[id] = _annotation(file)
            except DataError as error:
                problems += [FileError(problem.files[0], problem.fault, problem.cure) for problem in error.problems]
            except InputError as error:
                problems.append(error)
        return annotations, problems


def _id(file: Path, root: Path) -> str:
    return file.relative_to(root).with_suffix("").as_posix()


def _annotation(file: Path) -> Annotation:
    """Read a file.

    Raises:
        DataError: Naming all that is wrong with its shapes.
        FileError: When it is no file of labelme, or its image is not there.
    """
    try:
        stored: Any = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise FileError(file, f"cannot be read as JSON ({error})", "save it anew with labelme") from error
    if not isinstance(stored, dict) or not isinstance(stored.get("shapes"), list):
        raise FileError(file, "is no file of labelme (no list 'shapes')", "remove it from the data set")
    shapes: list[Shape] = []
    faults: list[InputError] = []
    for entry in stored["shapes"]:
        try:
            shapes.append(_shape(entry))
        except ValueError as error:
            faults.append(FileError(file, str(error), "correct or remove it in labelme"))
    if faults:
        raise DataError(grouped(faults))
    height, width = stored.get("imageHeight"), stored.get("imageWidth")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0 else None
    return Annotation(file, _image(file, stored), size, tuple(shapes))


def _image(file: Path, stored: dict[str, Any]) -> Path:
    """The image at the path that the file states, or beside the file under its stated or the file's own name."""
    stated = str(stored.get("imagePath") or "").replace("\\", "/")
    candidates = [file.parent / stated, file.parent / Path(stated).name] if stated else []
    for path in candidates:
        if path.is_file():
            return path
    # by other spellings of umlauts, and by the name of the file
    images = sorted(path for path in file.parent.glob("*") if is_image(path))
    for part, wanted in (("name", Path(stated).name), ("stem", file.stem)):
        beside = [path for path in images if composed(getattr(path, part)) == composed(wanted)]
        if len(beside) == 1:
            return beside[0]
    if stored.get("imageData"):
        raise FileError(
            file,
            "has its image embedded only (imageData)",
            "save the image beside it under the name of imagePath, for example with labelme_export_json",
        )
    raise FileError(
        file, f"is of the image {stated or '(no imagePath)'}, which does not exist", "add it beside the file"
    )


def _shape(entry: Any) -> Shape:
    """Check a shape.

    Raises:
        ValueError: Saying what is wrong with it.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
        raise ValueError("has a shape without a label")
    label, kind, points = entry["label"], entry.get("shape_type") or "polygon", entry.get("points")
    group = entry.get("group_id") if isinstance(entry.get("group_id"), int) else None
    if kind not in SHAPES:
        raise ValueError(f"has a {kind}, which has no inside; {', '.join(SHAPES)} have one")
    if kind == "polygon":
        return Shape(label, kind, _told(points, label, kind), group=group)
    corners = np.asarray(points, np.float64) if _pairs(points) else np.empty(0)
    if corners.shape != (2, 2) or not (np.abs(corners) < FARTHEST).all():
        raise ValueError(f"has a {kind} '{label}' that is not of 2 points")
    return Shape(label, kind, corners, _pixels(entry.get("mask")) if kind == "mask" else None, group)


def _told(points: Any, label: str, kind: str) -> NDArray[np.float64]:
    try:
        return polygon(points)
    except ValueError as error:
        raise ValueError(f"has a {kind} '{label}' that {error}") from None


def _pairs(points: Any) -> bool:
    return isinstance(points, list) and all(
        isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(value, (int, float)) for value in pair)
        for pair in points
    )


def _pixels(text: Any) -> NDArray[np.bool_]:
    """The base64 PNG of a mask."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text))) as image:
            return np.array(image.convert("L")) > 0
    except (TypeError, OSError, binascii.Error) as error:
        raise ValueError("has a mask whose pixels cannot be decoded") from error


def _inside(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool: the pixels whose centres lie inside."""
    if shape.kind == "polygon":
        return rasterise([shape.points], size)
    (x0, y0), (x1, y1) = shape.points
    if shape.kind == "rectangle":
        return rasterise([np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])], size)
    if shape.kind == "circle":  # its centre and a point of its line
        y, x = np.ogrid[: size[0], : size[1]]
        inside: NDArray[np.bool_] = (x + 0.5 - x0) ** 2 + (y + 0.5 - y0) ** 2 <= (x1 - x0) ** 2 + (y1 - y0) ** 2
        return inside
    filled = np.zeros(size, np.bool_)
    assert shape.pixels is not None
    left, top = round(x0), round(y0)
    placed = filled[max(top, 0) :, max(left, 0) :]
    pixels = shape.pixels[max(-top, 0) :, max(-left, 0) :][: placed.shape[0], : placed.shape[1]]
    placed[: pixels.shape[0], : pixels.shape[1]] = pixels
    return filled
