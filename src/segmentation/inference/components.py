"""Connected pixels that are too few, absorbed by what surrounds them: in a whole map, or as its rows come in."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]

_NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0))


def absorb(labels: Labels, fewer_than: int, holes: bool = False) -> Labels:
    """Give small components the class beside them.

    A component is a set of 4-connected pixels of one class. A small one takes the class that it shares the longest
    border with (pairs of 4-neighbours; the first of equal ones), counting only neighbours that stay what they are;
    class 0 without any. All change at once, so that no order matters. As in ``remove_small_objects`` and
    ``remove_small_holes`` of scikit-image, a component at the edge of the image counts with the pixels that are there.

    Args:
        labels: (H, W) class indices.
        fewer_than: Components with fewer pixels are small.
        holes: Look at the components of class 0 instead of those of all other classes.

    Returns:
        (H, W) class indices.
    """
    return _absorb(labels, None, fewer_than, holes, ends=True)[0]


def absorb_rows(blocks: Iterable[Labels], fewer_than: int, holes: bool = False) -> Iterator[Labels]:
    """``absorb`` of a map that comes in blocks of rows.

    A row leaves once no row below can change it: its components have ended or are large. So no more than twice
    ``fewer_than`` rows and a block wait, mostly far fewer.

    Args:
        blocks: (h, W) class indices, from top to bottom.
        fewer_than: As for ``absorb``.
        holes: As for ``absorb``.

    Yields:
        (h', W) class indices, from top to bottom; together as many rows as came in.
    """
    waiting: Labels | None = None
    left: Labels | None = None  # the last row that left, as it left; ``waiting`` begins with it as it came
    for block in chain(blocks, (None,)):
        if block is not None:
            waiting = block if waiting is None else np.concatenate([waiting, block])
        if waiting is None:
            return
        absorbed, ready = _absorb(waiting, left, fewer_than, holes, ends=block is None)
        first = 0 if left is None else 1
        if ready > first:
            yield absorbed[first:ready]
            left, waiting = absorbed[ready - 1], waiting[ready - 1 :]


def _absorb(labels: Labels, left: Labels | None, fewer_than: int, holes: bool, ends: bool) -> tuple[Labels, int]:
    """The map with its small components absorbed, and how many of its rows are final.

    Args:
        labels: (H, W), as they came.
        left: (W,) what became of the first row when it was decided; None at the top of the image.
        fewer_than: As for ``absorb``.
        holes: As for ``absorb``.
        ends: Whether the last row is the last of the image.
    """
    parts = _components(labels, holes)
    small = np.bincount(parts.ravel()) < fewer_than
    small[0] = False  # no component that is looked at
    target = np.zeros(len(small), np.uint8)
    known = np.zeros_like(small)
    if left is not None:
        known[parts[0]] = True
        small[parts[0]] = left != labels[0]
        target[parts[0]] = left
    undecided = np.zeros_like(small)
    if not ends:
        undecided[parts[-1]] = True
        undecided &= small
    if not small.any():
        return labels, len(labels)
    beside, waits = _surroundings(labels, parts, small & ~known, small, undecided)
    target[small & ~known] = beside
    absorbed = labels.copy()
    changes = small[parts]
    absorbed[changes] = target[parts[changes]]
    open_rows = waits[parts].any(1)
    return absorbed, int(open_rows.argmax()) if open_rows.any() else len(labels)


def _surroundings(
    labels: Labels,
    parts: NDArray[np.integer[Any]],
    asked: NDArray[np.bool_],
    small: NDArray[np.bool_],
    undecided: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The class beside each component that is asked for, and which components wait for an undecided one."""
    rows, columns = np.nonzero(asked[parts])
    own = parts[rows, columns]
    number, classes = np.cumsum(asked) - 1, int(labels.max()) + 1
    borders = np.zeros(int(asked.sum()) * classes, np.intp)
    waits = undecided.copy()
    for down, right in _NEIGHBOURS:
        y, x = rows + down, columns + right
        inside = (y >= 0) & (y < labels.shape[0]) & (x >= 0) & (x < labels.shape[1])
        y, x, of = y[inside], x[inside], own[inside]
        other = parts[y, x]
        stays = ~small[other]
        pairs = number[of[stays]] * classes + labels[y[stays], x[stays]]
        borders += np.bincount(pairs, minlength=len(borders))
        waits[of[undecided[other]]] = True
    return borders.reshape(-1, classes).argmax(1), waits


def _components(labels: Labels, holes: bool) -> NDArray[np.integer[Any]]:
    """(H, W) numbers of the components from 1 on; 0 where none is looked at."""
    from skimage.measure import label  # not needed where a threshold alone decides

    # a mask of two values is labelled several times faster than more classes
    looked_at = labels == 0 if holes else labels if labels.max() > 1 else labels == 1
    parts: NDArray[np.integer[Any]] = label(looked_at, connectivity=1)
    return parts
