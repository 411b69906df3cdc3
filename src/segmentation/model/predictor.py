"""A checkpoint, or several, as a function from raw pixels to labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.errors import InputError
from segmentation.inference.application import TOGETHER
from segmentation.inference.flips import Tta
from segmentation.inference.intensity import Intensity
from segmentation.inference.predictor import Description, Predictor
from segmentation.model.checkpoint import checkpoints_of, first_sentence, read_checkpoint
from segmentation.model.module import SegmentationModule
from segmentation.model.precision import autocast, usable_precision


def load(
    ckpt_path: str | Path | Sequence[str | Path],
    device: str | None = None,
    threshold: float | None = None,
    smallest_object: int | None = None,
    largest_hole: int | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    tta: Tta | None = None,
    tta_scales: list[float] | None = None,
    agglomeration: float | None = None,
    neighbour_weight: float | None = None,
) -> Predictor:
    """A predictor from checkpoints; needs no config, no network access and no command line.

    Args:
        ckpt_path: A ``.ckpt`` file of ``fit`` or a folder, as for ``checkpoints_of``, or several of them, whose
            probabilities are averaged.
        device: ``cpu``, ``cuda``, ...; None for a GPU where there is one.
        threshold: Instead of the stored one, 0..1; for binary tasks.
        smallest_object: Instead of the stored one, in pixels; 0 keeps all objects.
        largest_hole: Instead of the stored one, in pixels; 0 fills none.
        tile: Longest side in pixels that goes through the network at once; None for the stored one, as below.
        overlap: Share of a tile that it has in common with the next.
        tta: Test-time augmentation: none, flips or d4.
        tta_scales: Sizes of the image, as factors, whose probabilities are averaged.
        agglomeration: Mean boundary probability below which two fragments are one object, 0..1; needs the whole image in
            memory.
        neighbour_weight: How much the slices before and after count when gaps are closed in a ``stack``, such as 0.3.

    Example:
        >>> predictor = segmentation.load("runs/isbi/20260101-120000/checkpoints/best.ckpt")  # doctest: +SKIP
        >>> labels = predictor(image)  # doctest: +SKIP

    Raises:
        InputError: When a file is missing, damaged, or not a checkpoint of this program; for an exported ``.onnx``
            file, which ``segmentation.deployment.runtime.load`` takes, without torch.
    """
    options = {
        "threshold": threshold,
        "smallest_object": smallest_object,
        "largest_hole": largest_hole,
        "tile": tile,
        "overlap": overlap,
        "tta": tta,
        "tta_scales": tta_scales,
        "agglomeration": agglomeration,
    }
    given = {name: value for name, value in options.items() if value is not None}
    paths = [ckpt_path] if isinstance(ckpt_path, str | Path) else ckpt_path
    modules = [load_module(file, given) for path in paths for file in checkpoints_of(path)]
    return Predictor([TorchNetwork(module, device) for module in modules], neighbour_weight)


class TorchNetwork:
    """A trained module as the network of a ``Predictor``, in the precision of its training where the device has it.

    Args:
        module: Trained.
        device: ``cpu``, ``cuda``, ...; None for a GPU where there is one.

    Raises:
        InputError: When the device cannot be used.
    """

    def __init__(self, module: SegmentationModule, device: str | None = None) -> None:
        self.device = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.module = module.eval().to(self.device)
        self.description = description_of(module)
        self.together = TOGETHER.get(self.device.type, 1)

    def __call__(self, tiles: NDArray[Any], /) -> torch.Tensor:
        """As ``Network`` says; the answer stays on the device."""
        # a copy: torch takes no read-only arrays, which PIL gives
        pixels = torch.from_numpy(np.array(tiles.transpose(0, 2, 3, 1), order="C"))
        precision = usable_precision(self.module.precision or "32-true", self.device.type)
        with torch.inference_mode(), autocast(precision, self.device.type):
            return self.module.predict_tile(pixels.permute(0, 3, 1, 2).to(self.device))


def description_of(module: SegmentationModule) -> Description:
    """What a trained module needs besides its weights."""
    settings = module.hparams
    return Description(
        module.classes,
        int(settings["in_channels"]),
        module.intensity or Intensity(),
        module.decision,
        settings["tile"],
        settings["overlap"],
        settings["tta"],
        module.application.scales,
        settings["agglomeration"],
        module.network.fixed,
        module.trained_on,
        module.context,
    )


def load_module(ckpt_path: str | Path, options: Mapping[str, Any] | None = None) -> SegmentationModule:
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
    except InputError as error:
        raise InputError(f"{ckpt_path} cannot be loaded here: {error}") from error
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{ckpt_path} does not fit this version of the program ({first_sentence(error)}); "
            "load it with the version that wrote it, or train anew"
        ) from error
    module.set_inference(**options or {})
    return module


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
