"""A checkpoint, or several, as a function from raw pixels to labels."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median_low
from typing import Any, Protocol
from zipfile import ZipFile

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import ArrayLike, NDArray

from segmentation.errors import InputError
from segmentation.inference import tiling
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.inference.flips import Tta
from segmentation.inference.intensity import Intensity
from segmentation.model.application import TOGETHER
from segmentation.model.module import SegmentationModule, read_extras
from segmentation.model.precision import autocast, usable_precision

BEST = "checkpoints/best.ckpt"
"""In a run folder."""

RUN = "[0-9]*-[0-9]*"
"""Names of the run folders of a config: the time when they began."""


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


class Predictor:
    """Raw pixels of any size -> labels, as ``predict``, ``validate`` and ``test`` give them.

    Args:
        modules: Trained modules of the same classes and channels; their probabilities are averaged.
        device: ``cpu``, ``cuda``, ...; None for a GPU where there is one.

    Attributes:
        decision: Of the module; of several modules, the mean threshold and the median sizes.

    Raises:
        InputError: When the modules differ in classes or channels.
    """

    def __init__(self, modules: Sequence[SegmentationModule], device: str | None = None) -> None:
        self.device = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.modules = [module.eval().to(self.device) for module in modules]
        first = self.modules[0]
        for module in self.modules:
            if module.classes.names != first.classes.names or _channels(module) != _channels(first):
                raise InputError(
                    f"the checkpoints do not belong together: {list(first.classes.names)} in {_channels(first)} channels "
                    f"and {list(module.classes.names)} in {_channels(module)}"
                )
        self.decision = Decision(
            fmean(module.decision.threshold for module in self.modules),
            median_low(module.decision.smallest_object for module in self.modules),
            median_low(module.decision.largest_hole for module in self.modules),
        )
        self.tiling = replace(first.application.tiling, batch=TOGETHER.get(self.device.type, 1))

    @property
    def classes(self) -> Classes:
        """What the labels mean."""
        return self.modules[0].classes

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return _channels(self.modules[0])

    @property
    def trained_on(self) -> frozenset[str]:
        """Digests of the pixels of the training images (``data.survey.digest``), where they are known."""
        return frozenset(digest for module in self.modules for digest in module.trained_on.values()) - {""}

    def __call__(self, image: ArrayLike | Pixels) -> NDArray[np.uint8]:
        """Labels of an image; of a memory map, no more than a row of tiles is in memory at once.

        Args:
            image: (H, W) or (H, W, C), raw pixels of the type the network was trained on.

        Returns:
            (H, W) class indices.

        Raises:
            InputError: For another number of channels or pixel type.
        """
        return np.concatenate(list(self.decision.stream(block[0] for _, block in self.bands([self._check(image)]))))

    def probabilities(self, image: ArrayLike | Pixels) -> NDArray[np.float32]:
        """(H, W) or (H, W, C) raw pixels -> (K, H, W) in 0..1; two planes for a binary task.

        Raises:
            InputError: For another number of channels or pixel type.
        """
        return np.concatenate([block[0] for _, block in self.bands([self._check(image)])], axis=1)

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(K, H, W) probabilities -> (H, W) class indices by the stored decision."""
        return self.decision.labels(probabilities).astype(np.uint8)

    def bands(self, images: Sequence[Pixels]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Probabilities of images of one size, from top to bottom.

        Args:
            images: B images (H, W, C).

        Yields:
            (start, block): rows of probabilities (B, K, h, W) from row ``start`` on; in order, together all H.

        Raises:
            InputError: For another number of channels or pixel type.
        """
        images = [self._check(image) for image in images]

        def rows(start: int, stop: int) -> NDArray[Any]:
            return np.stack([image[start:stop] for image in images]).transpose(0, 3, 1, 2)

        height, width = images[0].shape[:2]
        bands = tiling.bands(self._predict, rows, (height, width), self.tiling)
        if self.modules[0].application.agglomeration is not None:  # looks at whole objects
            whole = torch.cat([block for _, block in bands], dim=2)
            bands = iter([(0, self.modules[0].application.closed(whole))])
        for start, block in bands:
            yield start, block.cpu().numpy()

    def _predict(self, tiles: NDArray[Any]) -> torch.Tensor:
        """(N, C, h, w) raw pixels -> mean probabilities (N, K, h, w) of the modules, on the device."""
        answers = []
        for module in self.modules:
            pixels = (module.intensity or Intensity())(tiles.transpose(0, 2, 3, 1))
            # a copy: torch takes no read-only arrays, which PIL gives
            batch = torch.from_numpy(np.array(pixels, order="C")).permute(0, 3, 1, 2).to(self.device)
            precision = usable_precision(module.precision or "32-true", self.device.type)
            with torch.inference_mode(), autocast(precision, self.device.type):
                answers.append(module.predict_tile(batch))
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(0)

    def _check(self, image: ArrayLike | Pixels) -> Pixels:
        pixels: Any = image if isinstance(getattr(image, "dtype", None), np.dtype) else np.asarray(image)
        shape = pixels.shape
        if len(shape) not in (2, 3) or (*shape, 1)[2] != self.in_channels or 0 in shape:
            wanted = "(H, W) or (H, W, 1)" if self.in_channels == 1 else f"(H, W, {self.in_channels})"
            raise InputError(f"the image has the shape {shape}; the network takes {wanted}")
        for module in self.modules:
            (module.intensity or Intensity()).check(pixels.dtype)
        checked: Pixels = pixels[..., None] if len(shape) == 2 else pixels
        return checked


def _channels(module: SegmentationModule) -> int:
    return int(module.hparams["in_channels"])


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (
        RuntimeError,
        AssertionError,
    ) as error:  # torch's, for a name it does not know and a device that is not there
        raise InputError(
            f"the device {name!r} cannot be used ({str(error).splitlines()[0]}); try cpu or cuda"
        ) from error
    return device


def load(
    ckpt_path: str | Path | Sequence[str | Path],
    device: str | None = None,
    threshold: float | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    tta: Tta | None = None,
    tta_scales: list[float] | None = None,
    agglomeration: float | None = None,
) -> Predictor:
    """A predictor from checkpoints; needs no config, no network access and no command line.

    Args:
        ckpt_path: A ``.ckpt`` file of ``fit`` or a folder, as for ``checkpoints_of``, or several of them, whose
            probabilities are averaged.
        device: ``cpu``, ``cuda``, ...; None for a GPU where there is one.
        threshold: Instead of the stored one, 0..1; for binary tasks.
        tile: Longest side in pixels that goes through the network at once; None for the stored one, as below.
        overlap: Share of a tile that it has in common with the next.
        tta: Test-time augmentation: none, flips or d4.
        tta_scales: Sizes of the image, as factors, whose probabilities are averaged.
        agglomeration: Mean boundary probability below which two fragments are one object, 0..1; needs the whole image in
            memory.

    Example:
        >>> predictor = segmentation.load("runs/isbi/20260101-120000/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> labels = predictor(image)  # doctest: +SKIP

    Raises:
        InputError: When a file is missing, damaged, or not a checkpoint of this program.
    """
    options = {
        "threshold": threshold,
        "tile": tile,
        "overlap": overlap,
        "tta": tta,
        "tta_scales": tta_scales,
        "agglomeration": agglomeration,
    }
    given = {name: value for name, value in options.items() if value is not None}
    paths = [ckpt_path] if isinstance(ckpt_path, str | Path) else ckpt_path
    return Predictor([load_module(file, given) for path in paths for file in checkpoints_of(path)], device)


def checkpoints_of(path: str | Path) -> list[Path]:
    """The files behind a checkpoint: a file, or a folder.

    Args:
        path: A ``.ckpt`` file, a run folder (its best), a folder of runs such as ``runs/isbi`` (the best of the newest
            run that has one), or a folder of ``crossval`` (the best of each fold).

    Raises:
        InputError: When there is none.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    if (path / BEST).is_file():
        return [path / BEST]
    folds, runs = (sorted(path.glob(f"{folder}/{BEST}")) for folder in ("fold*", RUN))
    if runs and not folds:
        rank_zero_info(f"{path}: its newest run, {runs[-1]}")
    found = folds or runs[-1:]
    if not found:
        raise InputError(f"{path} holds no run ({BEST}), no runs (TIME/{BEST}) and no folds (fold0/{BEST}, ...)")
    return found


def load_module(ckpt_path: str | Path, options: dict[str, Any] | None = None) -> SegmentationModule:
    """The trained module on the CPU; errors as in ``load``.

    Args:
        ckpt_path: The file.
        options: Arguments of the module instead of the stored ones; none that its weights depend on.
    """
    checkpoint = read_checkpoint(ckpt_path)
    stored = checkpoint["hyper_parameters"]
    if options and "threshold" in options and len(stored["classes"]["names"]) > 2:
        raise InputError(
            f"a threshold is for two classes; this checkpoint has {len(stored['classes']['names'])}, leave it out"
        )
    try:
        module = SegmentationModule(**stored)
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    except (InputError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{ckpt_path} does not fit this version of the program ({_first_sentence(error)}); "
            "load it with the version that wrote it, or train anew"
        ) from error
    module.set_inference(**options or {})
    return module


def read_checkpoint(ckpt_path: str | Path) -> dict[str, Any]:
    """The dictionary of a checkpoint file, read without running any code in it; errors as in ``load``."""
    path = Path(ckpt_path)
    if not path.is_file():
        raise InputError(f"the checkpoint {path} does not exist")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        read_extras(checkpoint)
        with ZipFile(path) as parts:  # torch does not look at the checksums of the weights
            damaged = parts.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            f"{path} cannot be read as a checkpoint ({_first_sentence(error)}); it may be cut or of another program"
        ) from error
    return checkpoint


def _first_sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].split(". ")[0]
