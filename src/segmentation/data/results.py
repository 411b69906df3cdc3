"""What is written for an image: labels, index, probabilities, foreground, overlay, objects, as its rows come in."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from segmentation.data.placement import Placement
from segmentation.data.windows import LARGE, Rows
from segmentation.data.writing import Png, Table, Tiff
from segmentation.inference import objects
from segmentation.inference.classes import Classes, overlay, value_range
from segmentation.inference.decision import Decision

Kind = Literal["labels", "index", "probabilities", "foreground", "overlay", "objects"]

SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "labels": (".png", ".tif"),
    "index": (".png", ".tif"),
    "probabilities": (".tif",),
    "foreground": (".tif",),
    "overlay": (".png", ".tif"),
    "objects": (".tif", ".csv"),
}
"""Of the files of each kind: a PNG or a TIFF, but a picture and a table of objects."""

DTYPES: dict[Kind, str] = {"probabilities": "float16", "foreground": "float32", "objects": "uint32"}
"""Of pixels; all others are uint8."""

COLUMNS = ("id", "class", "area", "centroid_y", "centroid_x", "y0", "x0", "y1", "x1")
"""Of the table of objects; pixels, the box half-open. In front of them the page (from 0) of a stack."""

BAND = 256
"""Rows that are painted at once."""


def result_paths(out: Path, kind: Kind, name: Path) -> list[Path]:
    """Every file that a result can be; ``name`` is relative and without suffix."""
    return [out / kind / name.parent / (name.name + suffix) for suffix in SUFFIXES[kind]]


def is_done(out: Path, kind: Kind, name: Path) -> bool:
    """Whether a result is there in full."""
    return (all if kind == "objects" else any)(path.exists() for path in result_paths(out, kind, name))


class Results:
    """The files of one input; a context manager that writes all of them at its end, or none after an exception.

    An image is a PNG, except that stacks, georeferenced images, those of more than ``LARGE`` pixels, probabilities,
    foreground and objects are TIFF.

    Args:
        out: Folder with a folder for each kind.
        name: Of the results, relative and without suffix.
        kinds: What to write.
        classes: Of the labels.
        decision: From probabilities to labels.
        method: How touching objects are told apart.
        stack: Several pages come.
        placement: Resolution and georeferencing that the files keep.
        large: Pixels from which on the TIFF has tiles.

    Raises:
        WriteError: When the disk refuses.
    """

    def __init__(
        self,
        out: Path,
        name: Path,
        kinds: Sequence[Kind],
        classes: Classes,
        decision: Decision,
        *,
        method: objects.Method = "components",
        stack: bool = False,
        placement: Placement | None = None,
        large: int = LARGE,
    ) -> None:
        self.out, self.name, self.kinds = out, name, kinds
        self.classes, self.decision, self.method = classes, decision, method
        self.stack, self.placement, self.large = stack, placement or Placement(), large
        self._files: dict[Kind, Png | Tiff] = {}
        self._table: Table | None = None
        self._open = ExitStack()
        self._page = 0

    def add(
        self,
        image: NDArray[Any] | Rows,
        blocks: Iterable[NDArray[np.float32]],
        advance: Callable[[float], object] = lambda _: None,
    ) -> None:
        """Take the next page.

        Args:
            image: (H, W, C), all pages of one size.
            blocks: Its probabilities (K, h, W) from top to bottom.
            advance: Is told the share of the page that each block is.
        """
        height, width = image.shape[:2]
        if self._page == 0:
            self._open_files((height, width))
        span = _span(image) if "overlay" in self.kinds else None
        kept: list[NDArray[np.float32]] = []
        labelled: list[NDArray[np.uint8]] = []

        def passing() -> Iterator[NDArray[np.float32]]:
            for block in blocks:
                if "probabilities" in self._files:
                    self._files["probabilities"].add(block.astype(np.float16))
                if "foreground" in self._files:
                    self._files["foreground"].add(block[1:].sum(axis=0))
                if "objects" in self._files and self.method == "watershed":
                    kept.append(block)
                advance(block.shape[1] / height)
                yield block

        start = 0
        for labels in self.decision.stream(passing()):
            if "labels" in self._files:
                self._files["labels"].add(self._shown(labels))
            if "index" in self._files:
                self._files["index"].add(labels)
            if "overlay" in self._files:
                for top in range(0, len(labels), BAND):
                    part = labels[top : top + BAND]
                    rows = image[start + top : start + top + len(part)]
                    self._files["overlay"].add(overlay(rows, part, self.classes.tints, span=span))
            if "objects" in self._files:
                labelled.append(labels)
            start += len(labels)
        if "objects" in self._files:
            self._add_objects(np.concatenate(labelled), np.concatenate(kept, axis=1) if kept else None)
        self._page += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open.__exit__(*exception)
        if exception[0] is None:
            written = {file.path for file in self._files.values()}
            for kind in set(self.kinds) - {"objects"}:
                for earlier in set(result_paths(self.out, kind, self.name)) - written:
                    earlier.unlink(missing_ok=True)  # of the other format, which would contradict this one

    def _open_files(self, size: tuple[int, int]) -> None:
        tiled = size[0] * size[1] > self.large
        picture = not (self.stack or tiled or self.placement.geotiff)
        for kind in self.kinds:
            path, *more = result_paths(self.out, kind, self.name)
            painted = kind == "labels" and not self.classes.binary
            if picture and path.suffix == ".png":
                file: Png | Tiff = Png(path, self.classes.colors if painted else (), self.placement)
            else:
                file = Tiff(
                    path.with_name(self.name.name + ".tif"),
                    size,
                    DTYPES.get(kind, "uint8"),
                    planes=len(self.classes) if kind == "probabilities" else 1,
                    colored=painted or kind == "overlay",
                    tiled=tiled,
                    placement=self.placement,
                )
            self._open.enter_context(file)
            self._files[kind] = file
            if kind == "objects":
                self._table = self._open.enter_context(Table(more[0], ["page"] * self.stack + list(COLUMNS)))

    def _shown(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.classes.binary:
            return labels * np.uint8(255)
        return labels if isinstance(self._files["labels"], Png) else self.classes.paint(labels)

    def _add_objects(self, labels: NDArray[np.uint8], probabilities: NDArray[np.float32] | None) -> None:
        threshold = self.decision.threshold if self.classes.binary else 0.5
        ids = objects.instances(labels, probabilities, self.method, threshold)
        self._files["objects"].add(ids.astype(np.uint32))
        assert self._table is not None
        for found in objects.measure(ids, labels):
            values = (found.id, self.classes.names[found.class_index], found.area, *found.centroid, *found.box)
            self._table.rows.append([self._page] * self.stack + list(values))


def _span(image: NDArray[Any] | Rows) -> tuple[float, float] | None:
    """What an overlay stretches: the smallest and largest value that it shows; None for uint8, shown as stored."""
    if image.dtype == np.uint8:
        return None
    found = [value_range(image[top : top + BAND]) for top in range(0, image.shape[0], BAND)]
    spans = [span for span in found if span is not None]
    return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None
