"""Cityscapes: the 19 training classes from the label ids."""

from pathlib import Path

from segmentation.data.problems import DataError
from segmentation.data.sample import Sample
from segmentation.data.sources.folder import FolderSource
from segmentation.inference.classes import IGNORE_INDEX

CLASSES: dict[str, tuple[int, list[int]]] = {
    "road": (7, [128, 64, 128]),
    "sidewalk": (8, [244, 35, 232]),
    "building": (11, [70, 70, 70]),
    "wall": (12, [102, 102, 156]),
    "fence": (13, [190, 153, 153]),
    "pole": (17, [153, 153, 153]),
    "traffic light": (19, [250, 170, 30]),
    "traffic sign": (20, [220, 220, 0]),
    "vegetation": (21, [107, 142, 35]),
    "terrain": (22, [152, 251, 152]),
    "sky": (23, [70, 130, 180]),
    "person": (24, [220, 20, 60]),
    "rider": (25, [255, 0, 0]),
    "car": (26, [0, 0, 142]),
    "truck": (27, [0, 0, 70]),
    "bus": (28, [0, 60, 100]),
    "train": (31, [0, 80, 100]),
    "motorcycle": (32, [0, 0, 230]),
    "bicycle": (33, [119, 11, 32]),
}
"""Name -> label id and colour, in the order of the train ids."""

LABEL_IDS = range(-1, 34)


class CityscapesSource(FolderSource):
    """``root/leftImg8bit/train/CITY/X_leftImg8bit.png`` with ``root/gtFine/train/CITY/X_gtFine_labelIds.png``.

    Cordts et al. 2016, doi 10.1109/CVPR.2016.350. The label ids become the 19 train ids, all others are
    ignored. The lists are ``train`` and ``val``; the public masks of ``test`` are empty, so it is left out.

    Args:
        root: Folder that holds ``leftImg8bit`` and ``gtFine``.
    """

    def __init__(self, root: str | Path = "data/cityscapes") -> None:
        train_ids = {label_id: index for index, (label_id, _) in enumerate(CLASSES.values())}
        super().__init__(
            root,
            list(CLASSES),
            "leftImg8bit/{split}/{stem}_leftImg8bit",
            "gtFine/{split}/{stem}_gtFine_labelIds",
            mask_values={label_id % 256: train_ids.get(label_id, IGNORE_INDEX) for label_id in LABEL_IDS},
            unlabelled=True,
            colors=[color for _, color in CLASSES.values()],
        )

    def _paired(self) -> list[Sample]:
        try:
            return [sample for sample in super()._paired() if not sample.id.startswith("test/")]
        except DataError as error:
            kept = [sample for sample in error.samples if not sample.id.startswith("test/")]
            raise DataError(error.problems, kept) from error
