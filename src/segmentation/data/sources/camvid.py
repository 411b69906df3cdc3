"""CamVid: road scenes in the layout of SegNet."""

from pathlib import Path

from segmentation.data.sources.folder import FolderSource

COLORS = {
    "sky": [128, 128, 128],
    "building": [128, 0, 0],
    "pole": [192, 192, 128],
    "road": [128, 64, 128],
    "sidewalk": [60, 40, 222],
    "tree": [128, 128, 0],
    "sign_symbol": [192, 128, 128],
    "fence": [64, 64, 128],
    "car": [64, 0, 128],
    "pedestrian": [64, 64, 0],
    "bicyclist": [0, 128, 192],
}
VOID = 11


class CamVidSource(FolderSource):
    """``root/train/X.png`` with ``root/trainannot/X.png``, also ``val`` and ``test``: 11 classes, 11 = void.

    Brostow et al. 2009, doi 10.1016/j.patrec.2008.04.005; the 11 classes, the split and the size 480x360 are
    those of SegNet (Badrinarayanan et al. 2017, doi 10.1109/TPAMI.2016.2644615).

    Args:
        root: Folder that holds ``train`` and ``trainannot``.
    """

    def __init__(self, root: str | Path = "data/camvid") -> None:
        super().__init__(
            root,
            list(COLORS),
            "{split}/{stem}",
            "{split}annot/{stem}",
            colors=list(COLORS.values()),
            ignore_index=VOID,
        )
