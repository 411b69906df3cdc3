"""``export``: a checkpoint as one ONNX file, which is kept if it answers as the checkpoint does."""

import shlex
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from segmentation.commands.out import check_files
from segmentation.data.inputs import find_jobs
from segmentation.data.replacing import replaced
from segmentation.data.spreading import spread
from segmentation.errors import InputError
from segmentation.evaluation.names import title_of
from segmentation.evaluation.scored import Scored, scored_of
from segmentation.inference.predictor import Description
from segmentation.model.checkpoint import checkpoints_of
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import description_of, load_module

try:
    from segmentation.deployment.export import Exported, tile_of
    from segmentation.deployment.export import export as write_onnx
    from segmentation.deployment.metadata import Precision
    from segmentation.deployment.parity import ChangedScoreError, Example, Parity, check
    from segmentation.deployment.quantization import LIMIT
except ModuleNotFoundError as error:
    raise InputError(f"export needs onnx, onnxscript and onnxruntime ({error}): pip install -e '.[deploy]'") from error

ItemT = TypeVar("ItemT")

COMPARED, CALIBRATING, SCANNED = 8, 16, 4
"""Images for the comparison, for the ranges of int8, and for its sensitivity scan."""

LIMITS = (LIMIT, LIMIT / 2, LIMIT / 4)
"""How much int8 may change the probabilities: less where a score tells that it was too much."""

SIDE = 512
"""Of the parts of images that int8 is made with, in pixels; more only costs time."""


def export(
    *,
    ckpt_path: Path,
    out: Path,
    precision: Precision = "float32",
    config: Path | None = None,
    images: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write a checkpoint as one ONNX file, which takes raw pixels and gives probabilities and labels.

    Normalisation, padding, activation and threshold are in the file, and what else prediction needs in its metadata:
    predict takes it as --onnx, without torch. It is run on validation images beside the checkpoint, and kept only if
    both agree.

    Args:
        ckpt_path: A checkpoint of fit, a run folder (its best), or a folder of runs such as runs/isbi (its newest run).
        out: File to write, .onnx.
        precision: float32; float16 for GPUs, half the size; int8 for CPUs, a quarter of the size, calibrated on training
            images.
        config: What the data are; the config.yaml of the run by default.
        images: Raw images (a folder, a file or a glob) to compare with instead, where the data of the run are not there;
            int8 is calibrated on them too.
        overwrite: Replace a file that is there already.

    Raises:
        InputError: For anything that the user can mend; for a network that ONNX cannot express; for a file that does not
            answer as the checkpoint, which is not kept.
    """
    if out.suffix != ".onnx":
        raise InputError(f"--out is {out}; give the name of a file that ends in .onnx, such as model.onnx")
    check_files(out, overwrite=overwrite)
    files = checkpoints_of(ckpt_path)
    if len(files) > 1:
        raise InputError(
            f"{ckpt_path} is a cross-validation of {len(files)} folds; export each by itself, such as "
            f"--ckpt_path {shlex.quote(str(files[0]))}, "
            "and give predict all files as --onnx"
        )
    module = load_module(files[0])
    described = description_of(module)
    scored: Scored | None = None
    if images is None:
        scored = _scored(files[0], config)
        examples = _validation(scored)
    else:
        examples = _raw(images, described)
    console = Console(markup=False, highlight=False)
    calibration: list[NDArray[Any]] = []
    tried: list[NDArray[Any]] = []
    if precision == "int8":
        validation = [example.image for example in examples]
        calibration = _tiles(validation if scored is None else _training(scored), described, CALIBRATING)
        tried = _tiles(validation, described, SCANNED)
        console.print(
            "Quantizing; where 8 bits change too much, each layer is tried by itself, which takes minutes",
            soft_wrap=True,
        )
    with replaced(out) as temporary:
        written, parity = _written(module, temporary, precision, (calibration, tried), examples, console)
    _tell(console, out, module, written, parity)


def _written(
    module: SegmentationModule,
    path: Path,
    precision: Precision,
    tiles: tuple[list[NDArray[Any]], list[NDArray[Any]]],
    examples: Sequence[Example],
    console: Console,
    limits: Sequence[float] = LIMITS,
) -> tuple[Exported, Parity]:
    """Write the file and compare it; with int8 once more with fewer layers of 8 bits where a score has changed."""
    written = write_onnx(module, path, precision, *tiles, limits[0])
    try:
        with Progress(transient=True) as progress:
            task = progress.add_task("compare", total=len(examples))
            return written, check(path, module, examples, lambda: progress.advance(task))
    except ChangedScoreError as error:
        if precision != "int8" or len(limits) == 1:
            raise
        console.print(f"{error}; once more, with more layers in float32", soft_wrap=True)
    return _written(module, path, precision, tiles, examples, console, limits[1:])


def _scored(file: Path, config: Path | None) -> Scored:
    try:
        # whether they were trained on is no matter: the file is compared, not judged
        return scored_of(file, "val", config, "cpu", allow_seen=True)[0]
    except InputError as error:
        raise InputError(f"{error}\nWithout the data of the run, give raw images as --images FOLDER") from error


def _validation(scored: Scored) -> list[Example]:
    samples = scored.data.samples(spread(scored.ids, COMPARED))
    return [Example(sample.id, *scored.data.reader(sample)) for sample in samples]


def _training(scored: Scored) -> list[NDArray[Any]]:
    samples = scored.data.samples(spread(scored.data.split["train"], CALIBRATING))
    return [scored.data.reader(sample)[0] for sample in samples]


def _raw(images: Path, description: Description) -> list[Example]:
    """Images without masks, as ``predict`` reads them."""
    channels, context = description.in_channels, description.context
    jobs = [job.of_channels(channels, context) for job in find_jobs([str(images)])]
    pages = [(job, number) for job in jobs for number in range(job.pages)]
    examples = []
    for job, number in spread(pages, COMPARED):
        part, pixels = job.part(number), job.read(number, channels, context)
        if pixels.shape[2] != channels:
            raise InputError(f"{part} has {pixels.shape[2]} channels, the checkpoint takes {channels}")
        try:
            description.intensity.check(pixels.dtype)
        except InputError as error:
            raise InputError(f"{part}: {error}") from error
        examples.append(Example(str(part), pixels))
    return examples


def _tiles(images: Sequence[NDArray[Any]], description: Description, count: int) -> list[NDArray[Any]]:
    return [tile_of(image, description, SIDE) for image in images[:count]]


def _tell(console: Console, out: Path, module: SegmentationModule, written: Exported, parity: Parity) -> None:
    settings = module.hparams
    network = " ".join(filter(None, (settings["network"], settings["encoder"])))
    console.print(
        f"{out}: {network}, {written.bytes / 1e6:.1f} MB, ONNX opset {written.opset}, input pixels {written.dtype} "
        f"(B, {settings['in_channels']}, {module.network.fixed or 'H'}, {module.network.fixed or 'W'})",
        soft_wrap=True,
    )
    if written.quantization is not None:
        found = written.quantization
        kept = [*found.outermost, *(f"{name} ({found.changes[name]:.4f} by itself)" for name in found.sensitive)]
        console.print(f"8 bits change a probability by {found.change:.4f} on average", soft_wrap=True)
        console.print(f"In float32, at an end of the network or sensitive: {', '.join(kept)}", soft_wrap=True)
    sizes = Table(
        "compared with the checkpoint", "images", "largest difference\nof a probability", "labels that differ"
    )
    order = sorted(parity.views, key=lambda view: view.kind, reverse=True)
    for kind, group in groupby(order, key=lambda view: view.kind):
        views = list(group)
        height, width = max(view.size for view in views)
        sizes.add_row(
            f"{kind}, {height}x{width}" if kind != "8x8" else kind,
            str(len(views)),
            f"{max(view.difference for view in views):.1e}",
            f"{np.mean([view.differing for view in views]):.3%}",
        )
    console.print(sizes)
    scores = Table("score", "checkpoint", "file", "change")
    for name, (before, after) in parity.scores.items():
        if "/" not in name:
            scores.add_row(title_of(name), f"{before:.4f}", f"{after:.4f}", f"{after - before:+.5f}")
    console.print(scores)
    if module.precision not in (None, "32-true"):
        console.print(
            "The checkpoint was compared in float32, without test-time augmentation and closed gaps; "
            f"predict runs it in {module.precision} where the machine has that.",
            soft_wrap=True,
        )
