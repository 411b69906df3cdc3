"""Draw k of epoch e -> arrays. What a draw gives depends on (seed, e, k) alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from segmentation.data.crops import ANYWHERE, Pair, Target, random_crop
from segmentation.data.mixing import UNMIXED, Mixing, paste
from segmentation.data.problems import FileError
from segmentation.data.sample import Sample
from segmentation.data.source import Source
from segmentation.data.unlabelled import read_unlabelled
from segmentation.errors import InputError
from segmentation.inference.intensity import Intensity

if TYPE_CHECKING:
    from segmentation.data.augmentation import Augmentation

Draw = tuple[int, int]
"""(epoch, number of the draw in the epoch over all processes)."""

Maps = Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]]
"""What a loss must know of a mask beyond its pixels: a function from the mask (H, W) to a map (..., H, W), by name."""


class Item(TypedDict):
    """One image of a batch: image (C, H, W) uint8 or float32, mask (H, W) uint8, id, maps (..., H, W) of the mask."""

    image: Tensor
    mask: Tensor
    id: str
    maps: dict[str, Tensor]


class Reader:
    """Reads samples and checks them, one without masks as all ignored; keeps those it is told to keep decoded in memory.

    Args:
        source: The data set.
        intensity: What raw pixels become; None leaves them as stored.
    """

    def __init__(self, source: Source, intensity: Intensity | None = None) -> None:
        self.source = source
        self.intensity = intensity
        self.kept: dict[str, Pair] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept: a loader process that is not forked would get a copy of it all."""
        return vars(self) | {"kept": {}}

    def __call__(self, sample: Sample) -> Pair:
        """Image (H, W, C) uint8 or float32 and mask (H, W) uint8.

        Raises:
            InputError: Naming the file when it cannot be read, or image and mask do not fit.
        """
        try:
            image, mask = self.kept.get(sample.id) or self.read(sample)
        except FileError as error:
            raise InputError(str(error)) from error  # torch rebuilds what a loader process raises from its text alone
        return (image if self.intensity is None else self.intensity(image)), mask

    def read(self, sample: Sample) -> Pair:
        """As ``__call__``, always from disk and as stored."""
        if not sample.masks:
            return read_unlabelled(sample, self.source.in_channels, self.source.classes)
        image, mask = self.source.read_image(sample), self.source.read_mask(sample)
        if image.shape[:2] != mask.shape:
            raise FileError(
                _place(sample),
                f"is {image.shape[0]}x{image.shape[1]} (HxW), its mask {mask.shape[0]}x{mask.shape[1]}",
                "image and mask must be of one size",
            )
        if image.shape[2] != self.source.in_channels:
            raise FileError(
                _place(sample),
                f"has {image.shape[2]} channels, the configuration says {self.source.in_channels}",
                f"set data.source.in_channels: {image.shape[2]}",
            )
        return image, mask


class TrainingDraws(Dataset[Item]):
    """Random crops, augmented, some of them mixed.

    Every sample is drawn equally often: draw number ``g`` over the whole run takes place ``g mod n``
    of a permutation that is new every ``n`` draws.

    Args:
        reader: Reads a sample.
        samples: The n training samples.
        draws: Draws in an epoch, over all processes.
        crop: Side of the square crop in pixels, or None for whole images. Smaller images are
            continued by reflection.
        augmentation: Applied to the crop.
        seed: Of everything random.
        target: Chooses the pixel that a crop must hold.
        mixing: Chooses what a draw gets of a second one, a random sample cropped and augmented like the first; the id
            is then ``first + second``.
        maps: What the loss must know of the mask of each draw.
    """

    def __init__(
        self,
        reader: Reader,
        samples: Sequence[Sample],
        draws: int,
        crop: int | None,
        augmentation: "Augmentation",
        seed: int,
        target: Target = ANYWHERE,
        mixing: Mixing = UNMIXED,
        maps: Maps | None = None,
    ) -> None:
        self.reader = reader
        self.samples = list(samples)
        self.draws = draws
        self.target = target
        self.mixing = mixing
        self.maps: Maps = maps or {}
        self.crop = crop
        self.augmentation = augmentation
        self.seed = seed
        self._permutation: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        return self.draws

    def __getitem__(self, draw: Draw | int) -> Item:
        """The item of a draw; the same in every process, worker and run. A number alone is a draw of epoch 0."""
        epoch, k = (0, draw) if isinstance(draw, int) else draw  # overfit_batches counts the items itself
        sample = self.samples[self._index(epoch * self.draws + k)]
        # streams of their own: draws that look for nothing and are not mixed are those of a run without these options
        targeting, mixing = (np.random.default_rng([self.seed, epoch, k, stream]) for stream in (1, 2))
        image, mask = self._augmented(sample, np.random.default_rng([self.seed, epoch, k]), targeting)
        name = sample.id
        replaced = self.mixing(mixing)
        if replaced is not None:
            other = self.samples[int(mixing.integers(len(self.samples)))]
            second = self._augmented(other, mixing, mixing)
            image, mask = paste((image, mask), second, replaced(second[1], mixing))
            name += f" + {other.id}"
        return _item(image, mask, name, self.maps)

    def _augmented(self, sample: Sample, random: np.random.Generator, targeting: np.random.Generator) -> Pair:
        image, mask = self.reader(sample)
        if self.crop is not None:
            image, mask = random_crop(image, mask, self.crop, random, self.target(mask, targeting))
        return self.augmentation(image, mask, int(random.integers(2**31)))

    def _index(self, number: int) -> int:
        cycle, place = divmod(number, len(self.samples))
        if self._permutation[0] != cycle:
            order = np.random.default_rng([self.seed, cycle, 1]).permutation(len(self.samples))
            self._permutation = (cycle, order)
        return int(self._permutation[1][place])


class DrawSampler(Sampler[Draw]):
    """The draws of this process: rank, rank + world, rank + 2 world, ... of each epoch.

    Args:
        draws: Draws in an epoch, over all processes.
        rank: Of this process.
        world: Number of processes.
        epoch: Where training starts or is resumed.
        start: Draws of this process that were already taken in that epoch.
    """

    def __init__(self, draws: int, rank: int = 0, world: int = 1, epoch: int = 0, start: int = 0) -> None:
        self.count = draws // world  # the same for every process, or gradients would wait for ever
        self.rank = rank
        self.world = world
        self.epoch = epoch
        self.start = start
        if start >= self.count:
            self.epoch, self.start = epoch + 1, 0

    @property
    def left(self) -> int:
        """Draws of this process in its epoch."""
        return self.count - self.start

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        if epoch > self.epoch:
            self.epoch, self.start = epoch, 0

    def __iter__(self) -> Iterator[Draw]:
        for step in range(self.start, self.count):
            yield self.epoch, self.rank + step * self.world

    def __len__(self) -> int:
        return self.count


class WholeImages(Dataset[Item]):
    """Whole images as they are, for scoring. Index ``(i, counted)``; not counted = the mask is all ignored."""

    def __init__(self, reader: Reader, samples: Sequence[Sample], maps: Maps | None = None) -> None:
        self.reader = reader
        self.samples = list(samples)
        self.maps: Maps = maps or {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: tuple[int, bool]) -> Item:
        """One sample; a filler has the id ``""`` so that nothing is written for it."""
        place, counted = index
        sample = self.samples[place]
        image, mask = self.reader(sample)
        if counted:
            return _item(image, mask, sample.id, self.maps)
        ignored = np.full_like(mask, self.reader.source.classes.ignore_index)
        return _item(image, ignored, "", self.maps)


class SizeBatches(Sampler[list[tuple[int, bool]]]):
    """Batches of images of one size, dealt to processes one by one.

    A process with no batch left gets a filler that counts nothing, so that all take part in the same
    number of steps.

    Args:
        sizes: (H, W) of each sample.
        batch_size: Largest number of images in a batch.
        rank: Of this process.
        world: Number of processes.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], batch_size: int, rank: int = 0, world: int = 1) -> None:
        by_size: dict[tuple[int, int], list[int]] = {}
        for index, size in enumerate(sizes):
            by_size.setdefault(size, []).append(index)
        batches = [
            [(index, True) for index in indices[start : start + batch_size]]
            for indices in by_size.values()
            for start in range(0, len(indices), batch_size)
        ]
        fillers = [[(0, False)]] * (-len(batches) % world)
        self.batches = (batches + fillers)[rank::world]

    def __iter__(self) -> Iterator[list[tuple[int, bool]]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _item(image: NDArray[Any], mask: NDArray[np.uint8], name: str, maps: Maps) -> Item:
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return {
        "image": pixels,
        "mask": torch.from_numpy(mask.astype(np.uint8)),
        "id": name,
        "maps": {key: torch.from_numpy(of(mask)) for key, of in maps.items()},
    }


def _place(sample: Sample) -> str:
    return str(sample.images[0]) if sample.images else sample.id
