"""Two draws in one: pixels of a second draw replace those of the first, each with its own label."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from segmentation.data.crops import Pair
from segmentation.data.shares import one_of

Replaced = NDArray[np.bool_]
"""(H, W): which pixels the second draw gives."""


@dataclass(frozen=True)
class Mixing:
    """Chooses which draws are mixed, and how.

    Attributes:
        cutmix: Share of the draws that get a rectangle of another one: ``rectangle``.
        copy_paste: Share of the draws that get objects of another one: ``objects``.
        classes: Those whose connected pixels are objects.
    """

    cutmix: float = 0.0
    copy_paste: float = 0.0
    classes: tuple[int, ...] = ()

    def __call__(
        self, random: np.random.Generator
    ) -> Callable[[NDArray[np.uint8], np.random.Generator], Replaced] | None:
        """What chooses the pixels by the mask of the second draw; None for a draw that stays as it is."""
        return one_of({self._rectangle: self.cutmix, self._objects: self.copy_paste}, random)

    def _rectangle(self, mask: NDArray[np.uint8], random: np.random.Generator) -> Replaced:
        return rectangle(mask.shape, random)

    def _objects(self, mask: NDArray[np.uint8], random: np.random.Generator) -> Replaced:
        return objects(mask, self.classes, random)


UNMIXED = Mixing()


def paste(first: Pair, second: Pair, replaced: Replaced) -> Pair:
    """New arrays: the first draw, where it is replaced the second one at the same place.

    Args:
        first: Image (H, W, C) and mask (H, W).
        second: Image (h, w, C) and mask (h, w); whole images may be of another size.
        replaced: (h, w). What lies outside the first draw is left out.
    """
    image, mask = first[0].copy(), first[1].copy()
    height, width = np.minimum(mask.shape, replaced.shape)
    common = np.s_[:height, :width]
    image[common][replaced[common]] = second[0][common][replaced[common]]
    mask[common][replaced[common]] = second[1][common][replaced[common]]
    return image, mask


def rectangle(shape: tuple[int, ...], random: np.random.Generator) -> Replaced:
    """The rectangle of CutMix (Yun et al. 2019, doi:10.1109/ICCV.2019.00612).

    Its sides are those of the picture times sqrt(1 - lambda), lambda from Beta(1, 1), so that it is a share 1 - lambda
    of the picture. Its centre is anywhere in the picture, and what lies outside is cut off.

    Args:
        shape: (H, W).
        random: What is drawn from.
    """
    share = float(np.sqrt(1 - random.beta(1.0, 1.0)))
    replaced = np.zeros(shape, np.bool_)
    replaced[tuple(_span(length, share, random) for length in shape)] = True
    return replaced


def objects(mask: NDArray[np.uint8], classes: tuple[int, ...], random: np.random.Generator) -> Replaced:
    """The objects of Simple Copy-Paste (Ghiasi et al. 2021, doi:10.1109/CVPR46437.2021.00294).

    An object is a set of 4-connected pixels of one class. At least one is taken, any number as likely as another; none
    where there are none. Rims are not blended, which made no difference in the paper.

    Args:
        mask: (H, W) class indices.
        classes: Those that are objects; neither the background nor ignored pixels.
        random: What is drawn from.
    """
    sought = np.where(np.isin(mask, classes), mask.astype(np.int64) + 1, 0)
    numbered, count = label(sought, return_num=True, connectivity=1)
    taken = np.zeros(count + 1, np.bool_)
    if count:
        taken[1 + random.permutation(count)[: random.integers(1, count + 1)]] = True
    replaced: Replaced = taken[numbered]
    return replaced


def _span(length: int, share: float, random: np.random.Generator) -> slice:
    centre, reach = int(random.integers(length)), int(length * share) // 2
    return slice(max(0, centre - reach), centre + reach)
