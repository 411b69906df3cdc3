"""Masks -> the content of COCO and labelme files: an outline for each object."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from segmentation.data.polygons import Polygon, area, encode_runs, trace
from segmentation.data.sources.labelme import IGNORED
from segmentation.inference.classes import Classes

Objects = NDArray[np.int32] | None
"""Numbers of objects (H, W), 0 = none; None where masks do not tell them apart."""


def outlined(mask: NDArray[np.uint8], objects: Objects, classes: Classes) -> Iterator[tuple[int, list[Polygon]]]:
    """The objects of a mask.

    Args:
        mask: (H, W) class indices.
        objects: Of the same image. They are outlined whole, pixels included that ``separate_objects`` took from the mask.
        classes: Of the data set.

    Yields:
        Class index and the outlines of the parts of an object. Without numbers each connected component is one.
    """
    if objects is None:
        for index in _classes(mask, classes):
            yield from ((index, [corners]) for corners in trace(mask == index))
        return
    inside = np.where(mask == classes.ignore_index, 0, objects)
    for number, box in enumerate(find_objects(inside), start=1):
        if box is None:
            continue
        region = inside[box] == number
        index = 1 if classes.binary else int(mask[box][region].max())
        if index:
            corner = np.array([box[1].start, box[0].start])
            yield index, [corners + corner for corners in trace(region)]


def labelme_content(name: str, mask: NDArray[np.uint8], objects: Objects, classes: Classes) -> dict[str, Any]:
    """A JSON file of labelme.

    Args:
        name: Of the image file beside it.
        mask: (H, W) class indices.
        objects: As for ``outlined``; the parts of one object have a group id in common.
        classes: Of the data set.
    """
    outlines = [
        *((classes.names[index], parts) for index, parts in outlined(mask, objects, classes)),
        *((IGNORED, [corners]) for corners in trace(mask == classes.ignore_index)),
    ]
    shapes = [
        {
            "label": label,
            "points": corners.tolist(),
            "group_id": number if len(parts) > 1 else None,
            "shape_type": "polygon",
            "flags": {},
        }
        for number, (label, parts) in enumerate(outlines, start=1)
        for corners in parts
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": mask.shape[0],
        "imageWidth": mask.shape[1],
    }


class CocoDocument:
    """A COCO file in the making.

    Args:
        classes: Of the data set; its first has no category.
    """

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, name: str, mask: NDArray[np.uint8], objects: Objects) -> None:
        """An image by its file name, with an annotation for each object, and a crowd region for what is ignored."""
        self.images.append(
            {"id": len(self.images) + 1, "file_name": name, "height": mask.shape[0], "width": mask.shape[1]}
        )
        for index, parts in outlined(mask, objects, self.classes):
            corners = np.concatenate(parts)
            low, high = corners.min(0), corners.max(0)
            outlines = [part.ravel().tolist() for part in parts]
            self._annotate(index, outlines, sum(map(area, parts)), [*low, *(high - low)], crowd=False)
        ignored = mask == self.classes.ignore_index
        if ignored.any():
            x, y = (np.flatnonzero(ignored.any(axis)) for axis in (0, 1))
            box = [x[0], y[0], x[-1] - x[0] + 1, y[-1] - y[0] + 1]
            # a crowd region is of a category, which says nothing here
            self._annotate(1, encode_runs(ignored), float(ignored.sum()), box, crowd=True)

    def _annotate(self, category: int, segmentation: Any, area: float, box: list[Any], *, crowd: bool) -> None:
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": len(self.images),
                "category_id": category,
                "segmentation": segmentation,
                "area": area,
                "bbox": [float(value) for value in box],
                "iscrowd": int(crowd),
            }
        )

    def content(self) -> dict[str, Any]:
        """The file: images, annotations, categories."""
        names = enumerate(self.classes.names[1:], start=1)
        categories = [{"id": index, "name": name, "supercategory": ""} for index, name in names]
        return {"images": self.images, "annotations": self.annotations, "categories": categories}


def _classes(mask: NDArray[np.uint8], classes: Classes) -> list[int]:
    """Those in a mask that have outlines."""
    return [int(index) for index in np.unique(mask) if index not in (0, classes.ignore_index)]
