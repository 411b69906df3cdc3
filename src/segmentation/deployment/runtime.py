"""Exported files as a function from raw pixels to labels: numpy and onnxruntime, no torch."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segmentation.deployment import metadata
from segmentation.errors import InputError
from segmentation.inference.application import TOGETHER
from segmentation.inference.flips import Tta
from segmentation.inference.predictor import Description, Predictor
from segmentation.inference.resizing import resized

try:
    import onnxruntime
except ModuleNotFoundError as error:
    raise InputError(f"exported files need onnxruntime ({error}): pip install onnxruntime") from error

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
"""Short names of what computes."""


def load(
    onnx_path: str | Path | Sequence[str | Path],
    *,
    threshold: float | None = None,
    smallest_object: int | None = None,
    largest_hole: int | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    tta: Tta | None = None,
    tta_scales: Sequence[float] | None = None,
    agglomeration: float | None = None,
    neighbour_weight: float | None = None,
    threads: int | None = None,
    providers: Sequence[str] = ("cpu",),
) -> Predictor:
    """A predictor from files of ``export``, which answers as ``segmentation.load`` of their checkpoints does.

    Only smallest object, largest hole and ``agglomeration`` need scikit-image and scipy too. With ``tta_scales``, a file
    that takes uint8 gets rounded pixels where a checkpoint gets fractions, and single probabilities differ by up to 0.02.

    Args:
        onnx_path: An ``.onnx`` file, or several, whose probabilities are averaged.
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
        threads: Of the CPU; None for one on each core that this process may use.
        providers: What computes, the first choice first: cpu, cuda, tensorrt, or any name of onnxruntime's. What none of
            them can compute goes to those that onnxruntime itself would take next.

    Example:
        >>> predictor = load("model.onnx")  # doctest: +SKIP
        >>> labels = predictor(image)  # doctest: +SKIP

    Raises:
        InputError: When a file is missing, damaged, or not of this program; for a provider that is not there.
    """
    options = {
        "tile": tile,
        "overlap": overlap,
        "tta": tta,
        "tta_scales": tta_scales and tuple(tta_scales),
        "agglomeration": agglomeration,
    }
    decided = {"threshold": threshold, "smallest_object": smallest_object, "largest_hole": largest_hole}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    wanted = _providers(providers)
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; give 1 or more")
    networks = []
    for path in [onnx_path] if isinstance(onnx_path, str | Path) else onnx_path:
        content, stored = metadata.read(path)
        description = _description(path, stored)
        session = _session(path, content, wanted, threads)
        _check(path, session, description)
        networks.append(OnnxNetwork(session, replace(_decided(description, decided), **given)))
    return Predictor(networks, neighbour_weight)


class OnnxNetwork:
    """An exported file as the network of a ``Predictor``.

    Args:
        session: With an input ``pixels`` and an output ``probabilities``.
        description: Of the network.

    Raises:
        InputError: When the description has values outside their range.
    """

    def __init__(self, session: onnxruntime.InferenceSession, description: Description) -> None:
        self.description = description
        self.together = TOGETHER["cuda"] if session.get_providers()[0] == PROVIDERS["cuda"] else 1
        self._session = session
        self._application = description.application
        self._dtype = np.dtype(np.uint8 if session.get_inputs()[0].type == "tensor(uint8)" else np.float32)

    def __call__(self, tiles: NDArray[Any], /) -> NDArray[np.float32]:
        """As ``Network`` says."""
        answer: NDArray[np.float32] = self._application.averaged(self._probabilities, resized, tiles, self.together)
        return answer

    def _probabilities(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """(B, C, h, w) -> (B, K, h, w) of one view."""
        height, width = pixels.shape[-2:]
        if pixels.dtype != self._dtype:  # another size of an 8-bit image
            pixels = np.rint(pixels)
        side = self.description.fixed
        if side is not None:
            pixels = np.pad(pixels, ((0, 0), (0, 0), (0, side - height), (0, side - width)), mode="edge")
        feed = {metadata.PIXELS: np.ascontiguousarray(pixels, self._dtype)}
        probabilities: NDArray[np.float32] = self._session.run([metadata.PROBABILITIES], feed)[0]
        return probabilities[..., :height, :width]


def _providers(names: Sequence[str]) -> list[str]:
    """Those asked for, then those that onnxruntime would take after them."""
    there = onnxruntime.get_available_providers()
    asked = [PROVIDERS.get(name, name) for name in names]
    missing = [name for name, provider in zip(names, asked, strict=True) if provider not in there]
    if missing or not asked:
        raise InputError(
            f"onnxruntime has no provider {', '.join(missing) or 'without a name'} here; it has {', '.join(there)} "
            "(pip install onnxruntime-gpu in place of onnxruntime for cuda and tensorrt)"
        )
    after = there[there.index(asked[-1]) + 1 :]
    return asked + [provider for provider in after if provider not in asked]


def _session(
    path: str | Path, content: bytes, providers: Sequence[str], threads: int | None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = threads or _usable_threads()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime raises many kinds
        raise InputError(
            f"{path} cannot be run by onnxruntime {onnxruntime.__version__} ({str(error).splitlines()[0]}); "
            "update onnxruntime, or export the checkpoint anew"
        ) from error
    if session.get_providers()[0] != providers[0]:  # onnxruntime goes on with the CPU
        raise InputError(
            f"the provider {providers[0]} of onnxruntime cannot start: there is no such device, or its libraries are "
            "missing; take cpu"
        )
    return session


def _usable_threads() -> int:
    """0, onnxruntime's own choice, unless this process may use only some of the cores, at which it does not look."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if usable is None or usable == os.cpu_count() else usable


def _description(path: str | Path, stored: dict[str, Any]) -> Description:
    try:
        description = Description.from_dict(stored)
        _ = description.application  # looks at the ranges
    except (InputError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} does not fit this version of the program ({type(error).__name__}: {error}); export the checkpoint anew"
        ) from error
    return description


def _check(path: str | Path, session: onnxruntime.InferenceSession, description: Description) -> None:
    """Refuse a graph that is not the one which is described."""
    inputs = [(tensor.name, *tensor.shape[1:2]) for tensor in session.get_inputs()]
    outputs = [tensor.name for tensor in session.get_outputs()]
    if inputs != [(metadata.PIXELS, description.in_channels)] or metadata.PROBABILITIES not in outputs:
        raise InputError(
            f"{path} takes {inputs} and gives {outputs}; pixels of {description.in_channels} channels and probabilities "
            "are expected. Export the checkpoint anew"
        )


def _decided(description: Description, decided: Mapping[str, Any]) -> Description:
    given = {name: value for name, value in decided.items() if value is not None}
    if "threshold" in given and not description.classes.binary:
        raise InputError(f"a threshold is for two classes; this file has {len(description.classes)}, leave it out")
    return replace(description, decision=replace(description.decision, **given))
