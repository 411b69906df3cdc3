"""Multi-page TIFF stacks: volumes and their labels, slice by slice."""

from pathlib import Path

from segmentation.data.problems import DataError, FileError, grouped
from segmentation.data.reading import pages
from segmentation.data.sample import Part, Sample, with_neighbours
from segmentation.data.sources.folder import FolderSource
from segmentation.errors import InputError
from segmentation.inference.classes import IGNORE_INDEX


class TiffStackSource(FolderSource):
    """``root/images/X.tif`` with ``root/masks/X.tif``, each a stack of as many pages.

    A page is a sample ``X-000``, ``X-001`` and so on. One stack and its labels can be named as files:
    ``images: train-volume.tif``, ``masks: train-labels.tif``; more are paired by patterns as in FolderSource.
    With several stacks the slices of one stack stay together in a split; with one, ``data.folds`` makes
    contiguous blocks, because neighbouring slices are nearly the same.

    Args:
        root: Folder of the data set.
        classes: Names in the order of the class indices, or a file below ``root`` that names them.
        images: Stack, or pattern of the stacks.
        masks: The same for the labels; None for stacks without labels.
        in_channels: Channels of a page.
        context: Neighbouring slices on each side that are stacked to channels, so that the network sees
            ``(2 * context + 1) * in_channels``; the first and last slice stand in for those beyond the ends.
        mask_values: As in FolderSource.
        ignore_unknown: As in FolderSource.
        colors: RGB in 0..255 for each class.
        ignore_index: Class index of the pixels that do not count.

    Raises:
        InputError: When the arguments do not fit each other.
    """

    def __init__(
        self,
        root: str | Path,
        classes: list[str] | str | None = None,
        images: str = "images",
        masks: str | None = "masks",
        in_channels: int = 1,
        context: int = 0,
        mask_values: dict[int, int] | dict[str, list[int] | list[list[int]]] | str | None = None,
        ignore_unknown: bool = False,
        colors: list[list[int]] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        if context < 0:
            raise InputError(f"data.source.context is {context}; give the number of neighbouring slices, 0 or more")
        super().__init__(
            root,
            classes,
            images,
            masks,
            in_channels,
            mask_values,
            ignore_unknown,
            colors=colors,
            ignore_index=ignore_index,
        )
        self.context = context
        self.in_channels = in_channels * (2 * context + 1)

    def _paired(self) -> list[Sample]:
        stacks = super()._paired()
        counts = {
            stack.id: [pages(part.path, stack=True) for part in (*stack.images, *stack.masks)] for stack in stacks
        }
        uneven = grouped(
            FileError(
                f"{stack.images[0].path} with {stack.masks[0].path}",
                f"{counts[stack.id][0]} pages, its labels have {counts[stack.id][1]}",
                "a page of labels is needed for every page of a stack; save channels of one image as (H, W, C)",
            )
            for stack in stacks
            if len(set(counts[stack.id])) > 1
        )
        slices = [
            self._slice(stack, page, counts[stack.id][0], several=len(stacks) > 1)
            for stack in stacks
            if len(set(counts[stack.id])) == 1
            for page in range(counts[stack.id][0])
        ]
        if uneven:
            raise DataError(uneven, slices)
        self._splits = {
            sample.id: self._splits[sample.id.rsplit("-", 1)[0]]
            for sample in slices
            if sample.id.rsplit("-", 1)[0] in self._splits
        }
        return slices

    def _slice(self, stack: Sample, page: int, count: int, *, several: bool) -> Sample:
        return Sample(
            f"{stack.id}-{page:0{max(3, len(str(count - 1)))}d}",
            with_neighbours(stack.images[0].path, page, count, self.context),
            tuple(Part(part.path, page) for part in stack.masks),
            stack.id if several else None,
        )
