"""PASCAL VOC, and every data set in its layout."""

from pathlib import Path

from segmentation.data.sources.folder import FolderSource
from segmentation.inference.classes import IGNORE_INDEX

CLASSES = [
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]


class VOCSource(FolderSource):
    """``root/JPEGImages/X.jpg`` with ``root/SegmentationClass/X.png``, palette PNGs of class indices, 255 = ignore.

    Images without a mask are left out: PASCAL VOC 2012 (Everingham et al. 2010, doi 10.1007/s11263-009-0275-4)
    has masks for 2,913 of its 17,125 images. The lists are ``ImageSets/Segmentation/train.txt`` and ``val.txt``
    where they are there.

    Args:
        root: Folder that holds ``JPEGImages``, for PASCAL's own archive ``VOCdevkit/VOC2012``.
        classes: Names in the order of the class indices, or a file below ``root`` that names them; by default
            PASCAL's 21.
        mask_values: As in FolderSource, for masks that are no palette PNGs.
        colors: RGB in 0..255 for each class; by default the palette of PASCAL VOC.
        ignore_index: Class index of the pixels that do not count.
    """

    def __init__(
        self,
        root: str | Path = "data/VOCdevkit/VOC2012",
        classes: list[str] | str | None = None,
        mask_values: dict[int, int] | dict[str, list[int] | list[list[int]]] | str | None = None,
        colors: list[list[int]] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        lists = "ImageSets/Segmentation/{split}.txt"
        there = any((Path(root).expanduser() / lists.format(split=name)).is_file() for name in ("train", "val"))
        super().__init__(
            root,
            CLASSES if classes is None else classes,
            "JPEGImages",
            "SegmentationClass",
            unlabelled=True,
            lists=lists if there else None,
            mask_values=mask_values,
            colors=colors,
            ignore_index=ignore_index,
        )
