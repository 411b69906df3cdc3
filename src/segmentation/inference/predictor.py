"""Trained networks, whatever computes them, as a function from raw pixels to labels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median_low
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segmentation.errors import InputError
from segmentation.inference import tiling
from segmentation.inference.application import Application, application_of
from segmentation.inference.arrays import mean, to_numpy
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.inference.flips import Tta
from segmentation.inference.intensity import Intensity


class Pixels(Protocol):
    """An image (H, W, C) of which rows can be read: an array, a memory map, or a file that is read by windows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored pixels."""

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """(h, W, C): these rows."""


@dataclass(frozen=True)
class Description:
    """What a trained network needs besides its weights.

    Attributes:
        classes: What the labels mean.
        in_channels: Of an image.
        intensity: From stored pixels to those of the network.
        decision: From probabilities to labels.
        tile: Longest side in pixels that goes through the network at once, unless ``fixed``.
        overlap: Share of a tile that it has in common with the next.
        tta: Test-time augmentation.
        tta_scales: Sizes of the image, as factors, whose probabilities are averaged.
        agglomeration: Level of ``close_gaps``; None for none.
        fixed: The only H and W that the network takes; None for any.
        trained_on: Sample id -> digest of its pixels, or ``""`` where it is not known.
        context: Neighbouring pages on each side of a stack that are channels of an image.
    """

    classes: Classes
    in_channels: int
    intensity: Intensity
    decision: Decision
    tile: int = 1024
    overlap: float = 0.25
    tta: Tta = "none"
    tta_scales: tuple[float, ...] = (1.0,)
    agglomeration: float | None = None
    fixed: int | None = None
    trained_on: Mapping[str, str] = field(default_factory=dict)
    context: int = 0

    @property
    def task(self) -> str:
        """Classes and input of the network in words; networks that differ in them do not belong together."""
        pages = f" of {2 * self.context + 1} pages" if self.context else ""
        return f"{list(self.classes.names)} in {self.in_channels} channels{pages}"

    @property
    def application(self) -> Application:
        """How the network is applied to whole images.

        Raises:
            InputError: For values outside their range.
        """
        return application_of(vars(self), len(self.classes), self.fixed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the metadata of exported files hold them."""
        return {
            **vars(self),
            "classes": self.classes.to_dict(),
            "intensity": self.intensity.to_dict(),
            "decision": self.decision.to_dict(),
            "tta_scales": list(self.tta_scales),
            "trained_on": dict(self.trained_on),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Description":
        """The inverse of ``to_dict``; other entries are passed over.

        Raises:
            InputError: For values outside their range.
            KeyError, TypeError, ValueError: For what no version wrote.
        """
        return cls(
            Classes.from_dict(values["classes"]),
            values["in_channels"],
            Intensity.from_dict(values["intensity"]),
            Decision(**values["decision"]),
            values["tile"],
            values["overlap"],
            values["tta"],
            tuple(values["tta_scales"]),
            values["agglomeration"],
            values["fixed"],
            values["trained_on"],
            values.get("context", 0),  # absent before networks were asked with neighbours
        )


class Network(Protocol):
    """One trained network, as torch or another program computes it."""

    @property
    def description(self) -> Description:
        """What it needs besides its weights."""

    @property
    def together(self) -> int:
        """Tiles that go through it at once."""

    def __call__(self, tiles: NDArray[Any], /) -> Any:
        """Probabilities of tiles.

        Args:
            tiles: (N, C, h, w) uint8 or float32, after the intensity rule; h and w are at most the tile.

        Returns:
            (N, K, h, w) float32, averaged over the views and scales of the description; array or tensor.
        """


class Predictor:
    """Raw pixels of any size -> labels, as ``predict``, ``validate`` and ``test`` give them.

    Args:
        networks: Of the same classes and channels; their probabilities are averaged. The first one says how
            images are cut into tiles, which are no larger than a network takes, and which gaps are closed.
        neighbour_weight: Of the slices before and after in a ``stack``, as for ``close_gaps_in_stack``; None for slices
            by themselves.

    Attributes:
        decision: Of the network; of several networks, the mean threshold and the median sizes.
        tiling: Of images that are larger than a tile.

    Raises:
        InputError: When the networks differ in classes or channels; for a negative weight, or one where gaps are not closed.
    """

    def __init__(self, networks: Sequence[Network], neighbour_weight: float | None = None) -> None:
        if neighbour_weight is not None and not neighbour_weight >= 0:
            raise InputError(f"--neighbour_weight is {neighbour_weight}; give 0 or more, such as 0.3")
        self.networks = list(networks)
        self.neighbour_weight = neighbour_weight
        described = [network.description for network in self.networks]
        first = described[0]
        for other in described:
            if other.task != first.task:
                raise InputError(f"the networks do not belong together: {first.task} and {other.task}")
        decisions = [description.decision for description in described]
        self.decision = Decision(
            fmean(decision.threshold for decision in decisions),
            median_low(decision.smallest_object for decision in decisions),
            median_low(decision.largest_hole for decision in decisions),
        )
        self._application = first.application
        if neighbour_weight is not None and self._application.agglomeration is None:
            raise InputError(
                f"--neighbour_weight {neighbour_weight:g} says how much neighbouring slices count when gaps are closed; "
                "give --agglomeration too, 0.6 for membranes"
            )
        sides = [self._application.tiling.tile, *(each.fixed for each in described if each.fixed is not None)]
        self.tiling = replace(self._application.tiling, tile=min(sides), batch=self.networks[0].together)

    @property
    def classes(self) -> Classes:
        """What the labels mean."""
        return self.networks[0].description.classes

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.networks[0].description.in_channels

    @property
    def context(self) -> int:
        """Neighbouring pages on each side of a stack that are channels of an image."""
        return self.networks[0].description.context

    @property
    def trained_on(self) -> frozenset[str]:
        """Digests of the pixels of the training images (``data.digest``), where they are known."""
        digests = (digest for network in self.networks for digest in network.description.trained_on.values())
        return frozenset(digests) - {""}

    def __call__(self, image: ArrayLike | Pixels) -> NDArray[np.uint8]:
        """Labels of an image; of a memory map, no more than a row of tiles is in memory at once.

        Args:
            image: (H, W) or (H, W, C), raw pixels of the type the network was trained on.

        Returns:
            (H, W) class indices.

        Raises:
            InputError: For another number of channels or pixel type.
        """
        return np.concatenate(list(self.decision.stream(block[0] for _, block in self.bands([image]))))

    def probabilities(self, image: ArrayLike | Pixels) -> NDArray[np.float32]:
        """(H, W) or (H, W, C) raw pixels -> (K, H, W) in 0..1; two planes for a binary task.

        Raises:
            InputError: For another number of channels or pixel type.
        """
        return np.concatenate([block[0] for _, block in self.bands([image])], axis=1)

    def stack(self, images: Iterable[ArrayLike | Pixels]) -> Iterator[NDArray[np.float32]]:
        """Probabilities of the slices of a stack, with ``neighbour_weight`` each with regard to its neighbours.

        Args:
            images: As for ``probabilities``, in order.

        Yields:
            (K, H, W) for each slice; with ``neighbour_weight`` when the slice after it has been taken.

        Raises:
            InputError: For another number of channels or pixel type.
        """
        if self.neighbour_weight is None:
            yield from map(self.probabilities, images)
        else:
            whole = (np.concatenate([block[0] for _, block in self._bands([image])], axis=1) for image in images)
            yield from self._application.closed_stack(whole, self.neighbour_weight)

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(K, H, W) probabilities -> (H, W) class indices by the stored decision."""
        return self.decision.labels(probabilities).astype(np.uint8)

    def bands(self, images: Sequence[ArrayLike | Pixels]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Probabilities of images of one size, from top to bottom.

        Args:
            images: B images (H, W, C).

        Yields:
            (start, block): rows of probabilities (B, K, h, W) from row ``start`` on; in order, together all H.

        Raises:
            InputError: For another number of channels or pixel type, and for pixels that are NaN or infinite.
        """
        blocks = self._bands(images)
        if self._application.agglomeration is not None:  # looks at whole objects
            blocks = iter([(0, self._application.closed(np.concatenate([block for _, block in blocks], axis=2)))])
        yield from blocks

    def _bands(self, images: Sequence[ArrayLike | Pixels]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """As ``bands``, gaps not closed."""
        checked = [self._check(image) for image in images]

        def rows(start: int, stop: int) -> NDArray[Any]:
            pixels = np.stack([image[start:stop] for image in checked])
            if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
                raise InputError(
                    "an image holds pixels that are NaN or infinite, which would blank all around them; repair it"
                )
            return pixels.transpose(0, 3, 1, 2)

        height, width = checked[0].shape[:2]
        bands = tiling.bands(self._predict, rows, (height, width), self.tiling)
        yield from ((start, to_numpy(block)) for start, block in bands)

    def _predict(self, tiles: NDArray[Any]) -> Any:
        """(N, C, h, w) raw pixels -> mean probabilities (N, K, h, w) of the networks."""
        answers = []
        for network in self.networks:
            pixels = network.description.intensity(tiles.transpose(0, 2, 3, 1))
            answers.append(network(pixels.transpose(0, 3, 1, 2)))
        return mean(answers)

    def _check(self, image: ArrayLike | Pixels) -> Pixels:
        pixels: Any = image if isinstance(getattr(image, "dtype", None), np.dtype) else np.asarray(image)
        shape = pixels.shape
        if len(shape) not in (2, 3) or (*shape, 1)[2] != self.in_channels or 0 in shape:
            all_of = f"(H, W, {self.in_channels}), parts in several files as channels of one"
            wanted = "(H, W) or (H, W, 1)" if self.in_channels == 1 else all_of
            raise InputError(f"the image has the shape {shape}; the network takes {wanted}")
        for network in self.networks:
            network.description.intensity.check(pixels.dtype)
        checked: Pixels = pixels[..., None] if len(shape) == 2 else pixels
        return checked
