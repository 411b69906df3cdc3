"""A checkpoint as a function from raw pixels to labels."""

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from segmentation.errors import InputError
from segmentation.inference import tiling
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.inference.intensity import Intensity
from segmentation.model.module import SegmentationModule, read_extras
from segmentation.model.precision import autocast, usable_precision


class Predictor:
    """Raw pixels of any size -> labels, as ``predict``, ``validate`` and ``test`` give them.

    Args:
        module: A trained module.
        device: ``cpu``, ``cuda``, ...; None for a GPU where there is one.
        threshold: Instead of the one stored in the checkpoint, 0..1; for binary tasks.
    """

    def __init__(self, module: SegmentationModule, device: str | None = None, threshold: float | None = None) -> None:
        self.device = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.module = module.eval().to(self.device)
        self.precision = usable_precision(module.precision or "32-true", self.device.type)
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"the threshold is {threshold}; give a probability from 0 to 1")
        if threshold is not None and not module.classes.binary:
            raise InputError(f"a threshold is for two classes; this checkpoint has {len(module.classes)}, leave it out")
        self.decision = module.decision if threshold is None else Decision(threshold)

    @property
    def classes(self) -> Classes:
        """What the labels mean."""
        return self.module.classes

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return int(self.module.hparams["in_channels"])

    def __call__(self, image: ArrayLike) -> NDArray[np.uint8]:
        """Labels of an image.

        Args:
            image: (H, W) or (H, W, C), raw pixels of the type the network was trained on.

        Returns:
            (H, W) class indices.

        Raises:
            InputError: For another number of channels or pixel type.
        """
        return self.labels(self.probabilities(image))

    def probabilities(self, image: ArrayLike) -> NDArray[np.float32]:
        """(H, W) or (H, W, C) raw pixels -> (K, H, W) in 0..1; two planes for a binary task.

        Raises:
            InputError: For another number of channels or pixel type.
        """
        pixels = self._check(np.asarray(image))
        # a copy: torch takes no read-only arrays, which PIL gives
        batch = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))[None].to(self.device)
        with torch.inference_mode(), autocast(self.precision, self.device.type):
            probabilities = self.module.probabilities(tiling.run(self.module, batch))
        result: NDArray[np.float32] = probabilities[0].cpu().numpy()
        return result

    def labels(self, probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(K, H, W) probabilities -> (H, W) class indices by the stored decision."""
        return self.decision.labels(probabilities).astype(np.uint8)

    def _check(self, image: NDArray[Any]) -> NDArray[Any]:
        pixels = image[..., None] if image.ndim == 2 else image
        if pixels.ndim != 3 or pixels.shape[2] != self.in_channels or 0 in pixels.shape:
            wanted = "(H, W) or (H, W, 1)" if self.in_channels == 1 else f"(H, W, {self.in_channels})"
            raise InputError(f"the image has the shape {image.shape}; the network takes {wanted}")
        return (self.module.intensity or Intensity())(pixels)


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


def load(ckpt_path: str | Path, device: str | None = None, threshold: float | None = None) -> Predictor:
    """A predictor from a checkpoint; needs no config, no network access and no command line.

    Args:
        ckpt_path: A ``.ckpt`` file of ``fit``.
        device: ``cpu``, ``cuda``, ...; None for a GPU where there is one.
        threshold: Instead of the stored one, 0..1; for binary tasks.

    Example:
        >>> predictor = segmentation.load("runs/isbi/20260101-120000/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> labels = predictor(image)  # doctest: +SKIP

    Raises:
        InputError: When the file is missing, damaged, or not a checkpoint of this program.
    """
    return Predictor(load_module(ckpt_path), device, threshold)


def load_module(ckpt_path: str | Path) -> SegmentationModule:
    """The trained module on the CPU; errors as in ``load``."""
    checkpoint = read_checkpoint(ckpt_path)
    try:
        module = SegmentationModule(**checkpoint["hyper_parameters"])
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    except (InputError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{ckpt_path} does not fit this version of the program ({_first_sentence(error)}); "
            "load it with the version that wrote it, or train anew"
        ) from error
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
