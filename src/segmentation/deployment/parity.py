"""The parity gate: an exported file answers as the checkpoint that it was made of, or it is not kept."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from segmentation.deployment import metadata, runtime
from segmentation.deployment.export import middle, tile_of
from segmentation.deployment.metadata import LABELS, PIXELS, PROBABILITIES, Precision
from segmentation.errors import InputError
from segmentation.inference.decision import Decision
from segmentation.inference.predictor import Predictor
from segmentation.metrics.scores import Scores
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import TorchNetwork

PROBABILITY = 1e-4
"""Largest difference of a probability that a float32 file may have: sums in another order give up to 1e-5."""

SCORE: dict[Precision, float] = {"float16": 2e-3, "int8": 5e-3}
"""Largest change of a score, where probabilities are rounded more.

A float16 number has 11 bits, which moves probabilities by some 1e-3, but a score only by the few pixels at the threshold:
more means that numbers overflowed. int8 has 8 bits: 0.005 is less than what two trainings with other seeds differ.
"""

LARGEST = 2048
"""Pixels: of larger images the middle is compared."""


class ChangedScoreError(InputError):
    """The file of fewer bits runs, but a score is not that of the checkpoint."""


class Example(NamedTuple):
    """An image that the file is tried on: its name, (H, W, C) as stored, (H, W) class indices where they are known."""

    name: str
    image: NDArray[Any]
    mask: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class View:
    """An image, or a part of it, as the checkpoint and the file see it.

    Attributes:
        name: Of the image.
        kind: ``whole``, ``odd`` or ``8x8``.
        size: (H, W).
        difference: Largest of a probability; infinite where the file gives no number.
        place: (row, column) of it in the view.
        differing: Share of the labels that differ.
    """

    name: str
    kind: str
    size: tuple[int, int]
    difference: float
    place: tuple[int, int]
    differing: float

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, {self.size[0]}x{self.size[1]})"


@dataclass(frozen=True)
class Parity:
    """How an exported file and its checkpoint compare.

    Attributes:
        views: Each image at three sizes.
        scores: Of the whole images: score -> (of the checkpoint, of the file). Where an image has no mask, the
            checkpoint's labels are the truth.
    """

    views: tuple[View, ...]
    scores: dict[str, tuple[float, float]]


def check(
    path: Path, module: SegmentationModule, examples: Sequence[Example], advance: Callable[[], None] | None = None
) -> Parity:
    """Run an exported file and the checkpoint on the same images.

    The checkpoint computes in float32 on the CPU, whatever it was trained in. Test-time augmentation and closed gaps are
    left out on both sides: they are the same code, and a gap that closes or not would hide what the network does.

    Args:
        path: The file.
        module: What it was made of; stays as it is.
        examples: Real images; each is taken whole, as a part with odd sides, and as 8x8 pixels.
        advance: Called after each example.

    Returns:
        What was measured, all of it within the tolerance of the file's precision.

    Raises:
        ChangedScoreError: Above the tolerance of a score.
        InputError: Above that of the probabilities, with the image and the place; for a file that does not run.
    """
    if not examples:
        raise InputError("without an image nothing can be compared; give raw images as --images FOLDER")
    content, stored = metadata.read(path)
    before, after = _checkpoint(module), _file(path)
    session = onnxruntime.InferenceSession(content, _quiet(), providers=["CPUExecutionProvider"])
    scores = module.scores_at(module.decision), module.scores_at(module.decision)
    views = []
    for example in examples:
        for kind, part in views_of(example.image.shape[:2]).items():
            image = example.image[part]
            expected = before.probabilities(image)
            found = _answer(after, image, f"{example.name} ({kind}, {image.shape[0]}x{image.shape[1]})")
            views.append(_view(example.name, kind, expected, found, before.decision))
            if kind == "whole":
                mask = before.labels(expected) if example.mask is None else example.mask[part]
                for one, probabilities in zip(scores, (expected, found), strict=True):
                    _add(one, probabilities, mask)
        _check_labels(session, example, before)
        if advance is not None:
            advance()
    pairs = zip(*(_values(one).items() for one in scores), strict=True)
    parity = Parity(tuple(views), {name: (value, other) for (name, value), (_, other) in pairs})
    _refuse(parity, stored["precision"])
    return parity


def views_of(size: tuple[int, ...]) -> dict[str, tuple[slice, slice]]:
    """Rows and columns of the three views of an image (H, W): of 512x512 they are 512x512, 387x501 and 8x8."""
    height, width = (min(length, LARGEST) for length in size)
    odd = int(height * 387 / 512) | 1, int(width * 501 / 512) | 1
    return {"whole": middle(size, (height, width)), "odd": middle(size, odd), "8x8": middle(size, (8, 8))}


def _checkpoint(module: SegmentationModule) -> Predictor:
    copied = deepcopy(module)
    copied.precision = "32-true"
    copied.set_inference(tta="none", tta_scales=None, agglomeration=None)
    return Predictor([TorchNetwork(copied, "cpu")])


def _file(path: Path) -> Predictor:
    network: Any = runtime.load(path, tta="none", tta_scales=[1.0]).networks[0]
    network.description = replace(network.description, agglomeration=None)
    return Predictor([network])


def _answer(after: Predictor, image: NDArray[Any], name: str) -> NDArray[np.float32]:
    try:
        return after.probabilities(image)
    except InputError:
        raise
    except Exception as error:  # onnxruntime raises many kinds
        raise InputError(f"the file does not run on {name}: {str(error).splitlines()[0]}; it is not kept") from error


def _quiet() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return options


def _check_labels(session: Any, example: Example, before: Predictor) -> None:
    """The output ``labels``, which programs of others may use, are those of the output ``probabilities``."""
    pixels = tile_of(example.image, before.networks[0].description, 512)
    probabilities, labels = session.run([PROBABILITIES, LABELS], {PIXELS: pixels})
    wrong = np.argwhere(Decision(before.decision.threshold).labels(probabilities[0]) != labels[0])
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"the labels of the file are not those of its probabilities at {example.name}, row {row}, column {column}; "
            "it is not kept"
        )


def _view(name: str, kind: str, expected: NDArray[np.float32], found: NDArray[np.float32], decision: Decision) -> View:
    differences = np.abs(expected - found).max(0)
    differences[~np.isfinite(differences)] = math.inf
    row, column = np.unravel_index(int(differences.argmax()), differences.shape)
    by_pixel = Decision(decision.threshold)
    differing = by_pixel.labels(expected) != by_pixel.labels(found)
    return View(
        *(name, kind, (differences.shape[0], differences.shape[1])),
        difference=float(differences.max()),
        place=(int(row), int(column)),
        differing=float(differing.mean()),
    )


def _add(scores: Scores, probabilities: NDArray[np.float32], mask: NDArray[np.uint8]) -> None:
    truth = torch.from_numpy(mask.astype(np.int64))[None]
    scores.update(torch.from_numpy(probabilities)[None], truth, torch.zeros(1))


def _values(scores: Scores) -> dict[str, float]:
    _, values = scores.compute()
    chosen = ("loss", "threshold", "smallest_object", "largest_hole")
    return {name: value for name, value in values.items() if name not in chosen}


def _refuse(parity: Parity, precision: Precision) -> None:
    worst = max(parity.views, key=lambda view: view.difference)
    largest = PROBABILITY if precision == "float32" else 1.0  # infinite where a number overflowed
    if worst.difference > largest:
        raise InputError(
            f"the {precision} file does not answer as the checkpoint: at {worst}, row {worst.place[0]}, column "
            f"{worst.place[1]}, a probability differs by {worst.difference:.3g} (at most {largest:g}); it is not kept"
        )
    if precision == "float32":
        return
    changes = {name: abs(value - other) for name, (value, other) in parity.scores.items()}
    # a class that is nowhere has no score, on one side or on both; the means over classes show it all the same
    name = max(changes, key=lambda score: -1.0 if math.isnan(changes[score]) else changes[score])
    if changes[name] > SCORE[precision]:
        value, other = parity.scores[name]
        farthest = max(parity.views, key=lambda view: view.differing)
        raise ChangedScoreError(
            f"the {precision} file changes {name} from {value:.4f} to {other:.4f} (at most by {SCORE[precision]:g}); most "
            f"labels differ at {farthest}: {farthest.differing:.2%}; it is not kept"
        )
