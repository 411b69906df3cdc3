"""What losses need of a mask beyond its pixels; computed from each augmented mask by the loaders, in numpy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, find_objects
from skimage.measure import label
from skimage.morphology import skeletonize

from segmentation.metrics.boundary import distances


def unet_weights(
    mask: NDArray[np.uint8], *, background: int, ignore_index: int, w0: float, sigma: float
) -> NDArray[np.float32]:
    """How much the gaps between neighbouring objects count: ``w0 exp(-(d1 + d2)^2 / (2 sigma^2))``.

    Args:
        mask: (H, W) class indices or ``ignore_index``.
        background: The class between the objects, which are the 4-connected pieces of each other class.
        ignore_index: Of pixels that are of no object.
        w0: Weight of a gap without width.
        sigma: In pixels.

    Returns:
        (H, W), 0 in objects and where d1 + d2, the distances to the two nearest objects, is above 4 sigma.
    """
    labels = label(np.where(mask == ignore_index, background, mask), background=background, connectivity=1)
    reach = 4 * sigma
    nearest, second = two_nearest(labels, reach)
    gap = nearest.astype(np.float64) + second
    weights = w0 * np.exp(-(gap**2) / (2 * sigma**2))
    return np.where((labels == 0) & (gap <= reach), weights, 0).astype(np.float32)


def two_nearest(labels: NDArray[np.integer[Any]], reach: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distances to the nearest and to the second nearest object.

    Each object is looked at in its own surroundings alone, which makes many of them cheap.

    Args:
        labels: (H, W), 0 for no object, else its number from 1.
        reach: In pixels; what is further away may be found further than it is, or not at all.

    Returns:
        Two (H, W) in pixels, from pixel centre to pixel centre, 0 in the object itself; infinite where none was found.
    """
    nearest, second = (np.full(labels.shape, np.inf, np.float32) for _ in range(2))
    margin = int(np.ceil(reach))
    for number, box in enumerate(find_objects(labels), 1):
        if box is None:  # a number that no pixel has
            continue
        around = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        distance = distances(labels[around] == number)
        near, far = nearest[around], second[around]
        np.minimum(far, np.maximum(near, distance), out=far)
        np.minimum(near, distance, out=near)
    return nearest, second


def tubed_skeleton(mask: NDArray[np.uint8], *, indices: Sequence[int], tube: int) -> NDArray[np.float32]:
    """The centre lines of classes, thickened within the class.

    Args:
        mask: (H, W) class indices or ``ignore_index``.
        indices: The classes.
        tube: Steps to the four neighbours by which a centre line is thickened to each side, 1 or more.

    Returns:
        (H, W), 1 on a thickened centre line of the class that the pixel is of, else 0.
    """
    tubes = np.zeros(mask.shape, np.bool_)
    for index in indices:
        pixels = mask == index
        if pixels.any():
            tubes |= binary_dilation(skeletonize(pixels), iterations=tube) & pixels
    return tubes.astype(np.float32)


def signed_distances(
    mask: NDArray[np.uint8], *, indices: Sequence[int], ignore_index: int, reach: float
) -> NDArray[np.float32]:
    """Distance to the boundary of each class, negative within it, in units of ``reach`` and cut off at -1 and 1.

    The boundary lies halfway between a pixel of the class and one that is not. Where a class is absent, it is
    infinitely far away (1); where it fills the mask, its boundary is (-1).

    Args:
        mask: (H, W) class indices or ``ignore_index``.
        indices: The T classes.
        ignore_index: Of pixels that make no boundary and get 0.
        reach: In pixels.

    Returns:
        (T, H, W) in -1..1.
    """
    counted = mask != ignore_index
    planes = np.zeros((len(indices), *mask.shape), np.float32)
    for plane, index in zip(planes, indices, strict=True):
        inside, outside = (mask == index) & counted, (mask != index) & counted
        plane[outside] = distances(inside)[outside] - 0.5
        plane[inside] = 0.5 - distances(outside)[inside]
    return (np.clip(planes, -reach, reach) / reach).astype(np.float32)
