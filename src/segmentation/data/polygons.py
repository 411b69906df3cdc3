"""Outlines and run lengths <-> masks. The only file that knows how an outline becomes pixels."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

Polygon: TypeAlias = NDArray[np.float64]
"""(N, 2) x and y of at least three corners; pixel (x, y) covers [x, x+1) x [y, y+1)."""

FARTHEST = 1e6  # pixels from the image; the rasteriser walks along every edge, however long it is


def polygon(values: Any) -> Polygon:
    """Corners from a flat list x0, y0, x1, ... or from a list of pairs.

    Raises:
        ValueError: Saying what makes them no polygon.
    """
    try:
        corners = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ValueError("holds points that are no pairs of numbers") from None
    if corners.size % 2 or corners.ndim > 2 or (corners.ndim == 2 and corners.size and corners.shape[1] != 2):
        raise ValueError("holds points that are no pairs of numbers")
    if corners.size < 6:
        raise ValueError("has fewer than 3 points")
    if not (np.abs(corners) < FARTHEST).all():  # also for NaN
        raise ValueError(f"has points that are not finite or beyond {FARTHEST:.0f} pixels")
    return corners.reshape(-1, 2)


def rasterise(polygons: Sequence[Polygon], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The union of polygons, each filled by the even-odd rule as COCO's evaluation does it.

    Args:
        polygons: May reach over the image's borders.
        size: (H, W) in pixels.

    Returns:
        (H, W) bool; of polygons with integer corners along pixel edges exactly the pixels inside.
    """
    if not polygons:
        return np.zeros(size, np.bool_)
    runs = coco.frPyObjects([np.asarray(corners, np.float64).ravel().tolist() for corners in polygons], *size)
    filled: NDArray[np.bool_] = coco.decode(coco.merge(runs)).astype(np.bool_)
    return filled


def decode_runs(runs: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """COCO's run lengths, a list or a compressed text, -> (H, W) bool.

    Raises:
        ValueError: When they are no run lengths of an image of this size.
    """
    counts = runs.get("counts")
    stated = runs.get("size", list(size))
    if not isinstance(counts, (list, str, bytes)):
        raise ValueError(
            f"has run lengths whose counts are {str(counts)[:40]}; a list or a compressed text is expected"
        )
    if not isinstance(stated, (list, tuple)) or list(stated) != list(size):
        raise ValueError(f"has run lengths for the size {stated}, the image is {list(size)} (HxW)")
    lengths = counts if isinstance(counts, list) else _decompressed(counts)
    if not all(isinstance(count, int) and count >= 0 for count in lengths) or sum(lengths) != size[0] * size[1]:
        raise ValueError(f"has run lengths that do not sum to the {size[0] * size[1]} pixels of the image")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size[1], size[0]).T


def _decompressed(text: str | bytes) -> list[int]:
    """COCO's compressed text as a list; pycocotools itself fills what a short text leaves open with stray memory.

    A character is 48 plus a digit of 5 bits, lowest digit first, plus 32 where the number goes on. From the fourth on, a
    number is the difference to the last but one.
    """
    lengths: list[int] = []
    number = place = 0
    for code in map(ord, text) if isinstance(text, str) else text:
        digit = code - 48
        if not 0 <= digit < 64:
            raise ValueError(f"has run lengths with the character {chr(code)!r}, which no compressed text has")
        number |= (digit & 31) << 5 * place
        place += 1
        if not digit & 32:
            if digit & 16:
                number -= 1 << 5 * place  # the highest bit is the sign
            lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
            number = place = 0
    if place:
        raise ValueError("has run lengths whose compressed text breaks off")
    return lengths


def encode_runs(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """(H, W) bool -> COCO's uncompressed run lengths, column by column and the zeros first."""
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def area(corners: Polygon) -> float:
    """Enclosed pixels, by the shoelace formula; a hole on its bridge counts as outside."""
    x, y = corners.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def trace(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Outlines along the pixel edges, such that ``rasterise(trace(mask), mask.shape)`` is ``mask``.

    Args:
        mask: (H, W) bool.

    Returns:
        One polygon with integer corners for each component of pixels that share sides, in the order of
        their first pixels. A hole is joined to the outline above it by a vertical bridge of no width, there
        and back.
    """
    edges = _Edges(np.asarray(mask, np.bool_))
    holes: list[list[int]] = []
    outlines: list[list[int]] = []
    for ring in edges.rings():
        (outlines if edges.clockwise(ring) else holes).append(ring)
    # the lowest hole first: what hangs on a hole is complete when the hole itself is hung up
    hung: dict[int, list[tuple[int, list[tuple[int, int]]]]] = {}
    for ring in sorted(holes, key=edges.top, reverse=True):
        highest = min((edge for edge in ring if edges.step[edge] == _LEFT), key=lambda edge: edges.end[edge][::-1])
        place = ring.index(highest) + 1
        x, y = edges.end[highest]
        above = edges.above(x, y)
        corners = _walk(edges, ring[place:] + ring[:place], hung)
        hung.setdefault(above, []).append((x, [*corners, (x, y)]))
    return [_corners_only(_walk(edges, ring, hung)) for ring in sorted(outlines, key=edges.top)]


_RIGHT, _DOWN, _LEFT, _UP = range(4)


class _Edges:
    """The straight edges between a mask and its background, directed so that the mask is on their right."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        padded = np.pad(mask, 1).astype(np.int8)
        self.mask = mask
        self.start: list[tuple[int, int]] = []
        self.end: list[tuple[int, int]] = []
        self.step: list[int] = []
        tops = np.diff(padded, axis=0)[:, 1:-1]  # (H+1, W); 1 where the mask is below the edge
        sides = np.diff(padded, axis=1)[1:-1].T  # (W+1, H); 1 where the mask is to the right of the edge
        for changes, sign, step in ((tops, 1, _RIGHT), (tops, -1, _LEFT), (sides, 1, _UP), (sides, -1, _DOWN)):
            lines, starts, stops = _runs(changes == sign)
            if step == _RIGHT:
                self.keys = lines * (mask.shape[1] + 1) + starts  # sorted; edges of this kind come first
            swap = step in (_LEFT, _UP)
            for line, first, last in zip(lines.tolist(), starts.tolist(), stops.tolist(), strict=True):
                ends = ((line, first), (line, last)) if step in (_UP, _DOWN) else ((first, line), (last, line))
                self.start.append(ends[swap])
                self.end.append(ends[not swap])
                self.step.append(step)

    def rings(self) -> list[list[int]]:
        """The closed walks; where two pixels touch at a corner only, a walk turns right and parts them."""
        leaving = {(*start, step): edge for edge, (start, step) in enumerate(zip(self.start, self.step, strict=True))}
        rings = []
        while leaving:
            first, edge = next(iter(leaving.items()))
            ring: list[int] = []
            while True:
                ring.append(edge)
                del leaving[(*self.start[edge], self.step[edge])]
                right, left = ((*self.end[edge], (self.step[edge] + turn) % 4) for turn in (1, 3))
                follows = right if right in leaving or right == first else left
                if follows == first:
                    break
                edge = leaving[follows]
            rings.append(ring)
        return rings

    def clockwise(self, ring: list[int]) -> bool:
        """Whether a ring goes around pixels of the mask, not around a hole."""
        return self.step[min(ring, key=lambda edge: self.start[edge][::-1])] == _RIGHT

    def top(self, ring: list[int]) -> tuple[int, int]:
        """(y, x) of a ring's highest, then leftmost corner."""
        x, y = min((self.start[edge] for edge in ring), key=lambda corner: corner[::-1])
        return y, x

    def above(self, x: int, y: int) -> int:
        """The first horizontal edge that is met in column ``x`` upwards from the pixel above row ``y``."""
        column = self.mask[:y, x]
        reached = y - int(np.argmin(column[::-1])) if not column.all() else 0
        return int(np.searchsorted(self.keys, reached * (self.mask.shape[1] + 1) + x, side="right")) - 1


def _walk(
    edges: _Edges, ring: list[int], hung: Mapping[int, list[tuple[int, list[tuple[int, int]]]]]
) -> list[tuple[int, int]]:
    """The corners of a ring, with what hangs on its edges visited on the way."""
    corners = []
    for edge in ring:
        corners.append(edges.start[edge])
        y = edges.start[edge][1]
        for x, hole in sorted(hung.get(edge, ())):
            corners += [(x, y), *hole, (x, y)]
    return corners


def _runs(flags: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Line, start and stop of every run of True along the second axis."""
    steps = np.diff(np.pad(flags, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(steps == 1)
    return lines, starts, np.nonzero(steps == -1)[1]


def _corners_only(corners: list[tuple[int, int]]) -> Polygon:
    """Without the points at which the walk goes straight on."""
    points = np.asarray(corners)
    points = points[(points != np.roll(points, 1, axis=0)).any(1)]
    steps = np.sign(np.roll(points, -1, axis=0) - points)
    turns: Polygon = points[(steps != np.roll(steps, 1, axis=0)).any(1)].astype(np.float64)
    return turns
