"""Drawn stacks of tissue slices with exact truth, for a first run and for tests without a download."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segmentation.data.sample import Part, Sample
from segmentation.data.source import Source
from segmentation.errors import InputError
from segmentation.inference.classes import Classes

Array = NDArray[np.float32]
Box = tuple[slice, slice]

MARGIN = 70  # pixels of tissue around the picture: cells outside shape those at the rim


class SyntheticSource(Source):
    """Slices that look like serial-section electron microscopy of neural tissue.

    Dark membranes (class 0) part the cells (class 1). Mitochondria, vesicles and reticulum are as dark
    as membranes but belong to the cells, so that no threshold on the grey value solves the task.

    Args:
        slices: Length of the stack. Slice ``i`` is the same in a stack of any length.
        size: Side of the square slices in pixels, or [height, width]; at least 8. Cells are 20 to 90
            pixels across and membranes 4 to 8 whatever the size.
        seed: Another seed is other tissue.

    Raises:
        InputError: When an argument is out of its range.
    """

    def __init__(self, slices: int = 30, size: int | list[int] = 512, seed: int = 0) -> None:
        sides = [size, size] if isinstance(size, int) else list(size)
        if slices < 1:
            raise InputError(f"slices is {slices}; a stack has at least 1 slice")
        if len(sides) != 2 or min(sides) < 8:
            raise InputError(f"size is {size}; give one side or [height, width], each at least 8 pixels")
        if seed < 0:
            raise InputError(f"seed is {seed}; give 0 or a positive integer")
        self.classes = Classes(("membrane", "cell"))
        self.in_channels = 1
        self.slices = slices
        self.height, self.width = sides
        self.seed = seed

    def samples(self) -> list[Sample]:
        """``slice-000`` and the slices below it, in order."""
        parts = [Part(Path("synthetic"), index) for index in range(self.slices)]
        return [Sample(f"slice-{part.page:03d}", (part,), (part,)) for part in parts]

    def read_image(self, sample: Sample) -> NDArray[Any]:
        """(H, W, 1) uint8."""
        return self._draw(sample)[0][..., None].copy()

    def read_mask(self, sample: Sample) -> NDArray[np.uint8]:
        """(H, W), 0 on membranes and 1 in cells."""
        return self._draw(sample)[1].copy()

    def _draw(self, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return _remembered(self.seed, sample.images[0].page or 0, self.height, self.width)


def draw_slice(seed: int, index: int, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One slice: a pure function of its arguments.

    Returns:
        The image (H, W) in 0..255 and its mask (H, W), 0 on membranes and 1 in cells.
    """
    tissue = _grow(seed, height, width)
    cut = _cut(tissue, index)
    half_width = _half_width(tissue, cut)
    rng = np.random.default_rng([*tissue.seed, 1, index])
    grey = _cytoplasm(tissue, cut)
    _add_reticulum(grey, cut)
    _add_vesicles(grey, tissue, cut, rng)
    _add_mitochondria(grey, tissue, cut)
    grey = _with_membranes(grey, tissue, cut, half_width)
    return _photograph(grey, rng), (cut.depth > half_width).astype(np.uint8)


# Image and mask of a sample are asked for one after the other, and training comes back to each.
_remembered = lru_cache(maxsize=32)(draw_slice)


@dataclass(frozen=True)
class _Tissue:
    """What all slices share: N cells, each a capsule (a thick line) that wanders with depth."""

    seed: tuple[int, int, int]  # with height and width
    center: Array  # (N, 2) in (y, x)
    radius: Array
    length: Array  # half the line's
    angle: Array
    phase: Array  # (N, 3) where in its wandering a cell is in slice 0
    speed: Array  # (N, 3) radians per slice
    grey: Array
    mitochondrion: NDArray[np.bool_]
    vesicles: NDArray[np.bool_]


@dataclass(frozen=True)
class _Cut:
    """One slice through the tissue: what is where."""

    seed: tuple[int, int, int]
    index: int
    y: Array  # (H, W) positions of the pixels, bent so that straight borders become curved
    x: Array
    center: Array  # (N, 2) of the cells
    angle: Array
    cell: NDArray[np.intp]  # (H, W) the cell a pixel lies in
    neighbour: NDArray[np.intp]  # (H, W) the other cell that is nearest
    depth: Array  # (H, W) pixels from the border between the two

    def field(self, scale: int, channel: int) -> Array:
        """Smooth noise over the picture that changes slowly from slice to slice."""
        return _noise(self.depth.shape, scale, self.index, (*self.seed, 3, scale, channel))


@lru_cache(maxsize=4)
def _grow(seed: int, height: int, width: int) -> _Tissue:
    """Pack capsules, the thickest first, until few gaps are left."""
    rng = np.random.default_rng([seed, height, width, 0])
    extent = np.array([height, width]) + 2 * MARGIN
    count = int(extent.prod()) // 300
    radius = 5 + 25 * np.sort(rng.random(count))[::-1] ** 4
    length = radius * rng.exponential(0.9, count).clip(0, 2)
    angle = rng.normal(rng.uniform(0, np.pi), 0.7, count)
    center = rng.random((count, 2)) * extent - MARGIN
    kept = _without_overlap(center, radius, length, angle)
    count = len(kept)
    grey = np.where(rng.random(count) < 0.08, 122, rng.normal(153, 9, count))
    return _Tissue(
        seed=(seed, height, width),
        center=center[kept].astype(np.float32),
        radius=radius[kept].astype(np.float32),
        length=length[kept].astype(np.float32),
        angle=angle[kept].astype(np.float32),
        phase=rng.uniform(0, 2 * np.pi, (count, 3)).astype(np.float32),
        speed=(rng.choice([-1, 1], (count, 3)) * rng.uniform(0.15, 0.4, (count, 3))).astype(np.float32),
        grey=grey.astype(np.float32),
        mitochondrion=rng.random(count) < 0.4,
        vesicles=rng.random(count) < 0.45,
    )


def _without_overlap(center: Any, radius: Any, length: Any, angle: Any) -> list[int]:
    along = np.stack([np.sin(angle), np.cos(angle)], -1) * length[:, None]
    knots = center[:, None] + np.linspace(-1, 1, 5)[:, None] * along[:, None]  # (N, 5, 2) points on the line
    kept: list[int] = []
    for i in range(len(center)):
        apart = np.hypot(*(center[kept] - center[i]).T)
        near = np.array(kept, int)[apart < radius[kept] + length[kept] + radius[i] + length[i]]
        apart = np.linalg.norm(knots[near][:, :, None] - knots[i], axis=-1).min((1, 2), initial=np.inf)
        if (apart > 0.95 * (radius[near] + radius[i])).all():
            kept.append(i)
    return kept


def _cut(tissue: _Tissue, index: int) -> _Cut:
    _, height, width = tissue.seed
    swing = np.cos(tissue.phase + tissue.speed * index)
    center = tissue.center + 9 * swing[:, :2]
    radius = tissue.radius * (1 + 0.25 * swing[:, 2])
    angle = tissue.angle + 0.3 * swing[:, 0]
    y, x = _bent_grid(tissue, index)
    nearest, second = np.full((2, height, width), 999, np.float32)
    cell, neighbour = np.zeros((2, height, width), np.int32)
    for i in np.flatnonzero(_surfaces(center, radius, tissue.length, angle)):
        box = _box(center[i], tissue.length[i] + 1.5 * radius[i] + 60, height, width)
        d = _to_line(y[box] - center[i, 0], x[box] - center[i, 1], tissue.length[i], angle[i]) - radius[i]
        closest, closer = d < nearest[box], d < second[box]
        neighbour[box] = np.where(closest, cell[box], np.where(closer, i, neighbour[box]))
        cell[box] = np.where(closest, i, cell[box])
        second[box] = np.minimum(second[box], np.maximum(nearest[box], d))
        nearest[box] = np.minimum(nearest[box], d)
    depth = _to_border((second - nearest) * np.float32(0.5))
    return _Cut(tissue.seed, index, y, x, center, angle, cell.astype(np.intp), neighbour.astype(np.intp), depth)


def _surfaces(center: Array, radius: Array, length: Array, angle: Array) -> NDArray[np.bool_]:
    """Which cells are wide enough in this slice to show more than their membrane."""
    offset = center[:, None] - center
    gap = _to_line(offset[..., 0], offset[..., 1], length, angle) - radius + radius[:, None]
    np.fill_diagonal(gap, np.inf)
    shown: NDArray[np.bool_] = gap.min(1) > 9
    return shown


def _box(center: Array, reach: float, height: int, width: int) -> Box:
    (top, left), (bottom, right) = (center - reach).astype(int), (center + reach).astype(int)
    return slice(max(0, top), max(0, min(height, bottom))), slice(max(0, left), max(0, min(width, right)))


def _to_line(y: Array, x: Array, length: Any, angle: Any) -> Array:
    """Distance to the line of +-``length`` through the origin."""
    sin, cos = np.sin(angle), np.cos(angle)
    along = (y * sin + x * cos).clip(-length, length)
    distance: Array = np.hypot(y - along * sin, x - along * cos)
    return distance


def _to_border(gap: Array) -> Array:
    """Pixels from the border, given half the difference of two distances, which rises slower in acute corners."""
    slope = np.zeros_like(gap)
    for axis in (0, 1):
        step = np.abs(np.diff(gap, axis=axis))
        before = np.concatenate([step.take([0], axis), step], axis)
        after = np.concatenate([step, step.take([-1], axis)], axis)
        slope += np.maximum(before, after) ** 2  # the gap has its valley on the border: a mean of both would vanish
    depth: Array = gap / np.sqrt(slope).clip(0.45, 1)
    return depth


def _bent_grid(tissue: _Tissue, index: int) -> tuple[Array, Array]:
    """Positions of the pixels, displaced in bows as wide as cells and in ripples as wide as borders."""
    _, height, width = tissue.seed
    y, x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    for axis, grid in enumerate((y, x)):
        for scale, amplitude in ((60, 12), (30, 5), (15, 2.2)):
            grid += amplitude * _noise((height, width), scale, index, (*tissue.seed, 2, scale, axis))
    return y, x


def _noise(shape: tuple[int, ...], scale: int, index: int, seed: tuple[int, ...]) -> Array:
    """Gaussian noise of unit variance, smooth over ``scale`` pixels and about five slices."""
    rows, columns = (_bumps(side, scale) for side in shape)
    start, turned = np.random.default_rng(seed).standard_normal((2, rows.shape[1], columns.shape[1]), np.float32)
    knots = start * float(np.cos(0.25 * index)) + turned * float(np.sin(0.25 * index))
    # einsum, as a product this small keeps all threads of a BLAS spinning, in every worker.
    field: Array = np.einsum("yk,kx->yx", rows, np.einsum("kl,xl->kx", knots, columns))
    return field


@lru_cache(maxsize=64)
def _bumps(side: int, scale: int) -> Array:
    """(side, knots) values of Gaussian bumps one ``scale`` apart; rows of norm 1 keep the variance."""
    weights = np.exp(-((np.arange(side)[:, None] / scale - np.arange(-2, side // scale + 4)) ** 2))
    bumps: Array = (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
    return bumps


def _lot(tissue: _Tissue, cut: _Cut, column: int) -> Array:
    """A number in 0..1 drawn for each border, the same from both of its sides."""
    turn = tissue.phase[:, column] / np.float32(2 * np.pi)
    total = turn[cut.cell] + turn[cut.neighbour]
    return total - np.floor(total)


def _half_width(tissue: _Tissue, cut: _Cut) -> Array:
    return (2.55 + 0.9 * _lot(tissue, cut, 0) + 0.3 * cut.field(14, 0)).clip(2, 4.2)


def _cytoplasm(tissue: _Tissue, cut: _Cut) -> Array:
    """The grey of each cell, uneven, with dark clouds in those that hold vesicles."""
    clouds = (cut.field(7, 0) - 0.6).clip(0) * (0.3 + 0.7 * tissue.vesicles[cut.cell])
    grey: Array = tissue.grey[cut.cell] + 6 * cut.field(14, 1) + 6 * cut.field(30, 0) - 28 * clouds
    return grey.astype(np.float32)


def _add_reticulum(grey: Array, cut: _Cut) -> None:
    """Thin dark lines within a cell, the easiest to take for membranes."""
    line = np.exp(-((cut.field(30, 1) / 0.06) ** 2)) * (cut.field(30, 2) > 0.5)
    grey -= 45 * line * ((cut.depth - 5) / 3).clip(0, 1)


def _add_vesicles(grey: Array, tissue: _Tissue, cut: _Cut, rng: np.random.Generator) -> None:
    """Dark dots and rings, some pixels across."""
    height, width = grey.shape
    count = height * width // 250
    y, x = rng.integers(0, height, count), rng.integers(0, width, count)
    fits = tissue.vesicles[cut.cell[y, x]] & (cut.depth[y, x] > 6)
    y, x = y[fits, None, None], x[fits, None, None]
    offset = np.arange(-6, 7)
    radius = rng.choice([0.8, 2.4, 2.4, 3.4], y.shape)
    ring = rng.uniform(30, 100, y.shape) * np.exp(-((np.hypot(offset[:, None], offset) - radius) ** 2) / 1.2)
    y, x, ring = np.broadcast_arrays(y + offset[:, None], x + offset, ring)
    seen = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    np.subtract.at(grey, (y[seen], x[seen]), ring[seen].astype(np.float32))


def _add_mitochondria(grey: Array, tissue: _Tissue, cut: _Cut) -> None:
    swirl, patchy = 2 * cut.field(14, 2), cut.field(14, 3).clip(0, 1)
    for i in np.flatnonzero(tissue.mitochondrion & (tissue.radius > 10)):
        turn = tissue.phase[i, 0]
        size = tissue.radius[i] * (0.45 + 0.05 * turn)
        middle = cut.center[i] + 0.4 * tissue.radius[i] * np.array([np.sin(turn), np.cos(turn)], np.float32)
        box = _box(middle, 2 * size + 40, *grey.shape)
        if grey[box].size == 0:
            continue
        y, x = cut.y[box] - middle[0], cut.x[box] - middle[1]
        sin, cos = np.sin(cut.angle[i]), np.cos(cut.angle[i])
        along, across = y * sin + x * cos, y * cos - x * sin
        oval = size * (1 - np.hypot(along / (1.3 * size), across / size) ** 1.5) + 0.5 * swirl[box]
        wall = np.where(cut.cell[box] == i, cut.depth[box] - 5, -9)
        inward = -2 * np.logaddexp(-oval / 2, -wall / 2)  # the smaller of the two, with rounded corners
        level = 84 + 10 * np.sin(3 * turn) + 24 * patchy[box] * np.sin(across + swirl[box])
        rim = np.exp(-(((inward - 1) / 1.4) ** 2))
        grey[box] += 0.95 * (inward / 1.5).clip(0, 1) * (level - grey[box]) - 25 * rim


def _with_membranes(grey: Array, tissue: _Tissue, cut: _Cut, half_width: Array) -> Array:
    """Membranes fade in places; some are cut obliquely, wide and faint, some bear the dark cloud of a synapse."""
    oblique = _lot(tissue, cut, 1) < 0.2
    strength = (0.95 + 0.2 * cut.field(22, 0)).clip(0.3, 1.15) * np.where(oblique, 0.6, 1)
    line = strength / (1 + np.exp((cut.depth - half_width + 0.3) / np.where(oblique, 1.8, 0.6)))
    synapse = (cut.field(22, 1) - 0.8).clip(0, 0.8) * (_lot(tissue, cut, 2) > 0.5)
    cloud = synapse * np.exp(-((cut.depth / (half_width + 5)) ** 2))
    dark: Array = grey + (60 - grey) * line.clip(0, 1) - 75 * cloud
    return dark.astype(np.float32)


def _photograph(grey: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, grain with the spectrum of ISBI 2012, uneven light, and a contrast of this slice's own."""
    white = rng.standard_normal(grey.shape, np.float32)
    coarse, light = (_noise(grey.shape, scale, 0, tuple(rng.integers(0, 2**31, 2).tolist())) for scale in (5, 160))
    image = ndimage.gaussian_filter(grey + 42 * white, 0.85) + 7 * white + 8 * coarse + 8 * light
    image = 130 + rng.uniform(0.95, 1.2) * (image - 130) + rng.normal(0, 4)
    pixels: NDArray[np.uint8] = image.clip(0, 255).astype(np.uint8)
    return pixels
