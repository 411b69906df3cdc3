"""``predict``: files, folders, globs and stacks -> labels a person can look at."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, groupby, islice, tee
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from rich.progress import MofNCompleteColumn, Progress

from segmentation.data.channels import in_channels
from segmentation.data.digest import digest
from segmentation.data.inputs import Job, find_jobs
from segmentation.data.object_counts import COLUMNS, COUNTS, write_counts
from segmentation.data.placement import placement_of
from segmentation.data.problems import FileError
from segmentation.data.results import Kind, Results, is_done, result_paths
from segmentation.data.sample import Part
from segmentation.data.windows import LARGE, Rows, open_rows, rows_in_channels
from segmentation.data.writing import Table, WriteError
from segmentation.errors import InputError
from segmentation.inference.flips import Tta
from segmentation.inference.objects import Method
from segmentation.inference.predictor import Predictor

FAILURES = "failures.csv"
"""In the output folder: each input that could not be predicted, and why."""

FAILURE_COLUMNS = ("file", "reason")


@dataclass(frozen=True)
class Page:
    """One image of a job, or why there is none."""

    job: Job
    part: Part
    image: NDArray[Any] | Rows | InputError


def predict(
    inputs: list[str],
    *,
    ckpt_path: str | list[str] | None = None,
    onnx: str | list[str] | None = None,
    out: Path = Path("predictions"),
    write: str = "labels,index",
    threshold: float | None = None,
    smallest_object: int | None = None,
    largest_hole: int | None = None,
    tile: int | None = None,
    overlap: float | None = None,
    tta: Tta | None = None,
    tta_scales: list[float] | None = None,
    agglomeration: float | None = None,
    neighbour_weight: float | None = None,
    instances: Method = "components",
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Label images, folders and stacks with a checkpoint or an exported file, or with the mean of several.

    Each kind of result has a folder of its own below ``out``, with the names and sub-folders of the inputs.
    A multi-page TIFF gives a multi-page TIFF, an image of more than 64 megapixels a tiled one, in bounded memory.
    Resolution and georeferencing are kept. A file that cannot be predicted is reported, listed in
    ``failures.csv``, and the others go on.

    Args:
        inputs: Files, folders (with all below them) and globs.
        ckpt_path: One or several checkpoints of fit, run folders, or a folder of crossval; the probabilities of
            several are averaged.
        onnx: Instead of checkpoints, one or several files of export, which need no torch.
        out: Folder of the results.
        write: Kinds separated by commas. labels: 8-bit picture to look at, 0/255 for two classes, the classes'
            colours for more. index: class indices. probabilities: float16 TIFF (K, H, W). foreground: float32 TIFF
            (H, W) of the probability of all classes but the first, a page for each slice of a stack. overlay: the
            labels over the image. objects: a TIFF with a number for each object, a CSV with class, area, centroid
            and box, and over all images ``objects.csv`` with how many there are.
        threshold: Instead of the one stored in the checkpoint or exported file; for two classes.
        smallest_object: Instead of the stored one, in pixels; 0 keeps all objects.
        largest_hole: Instead of the stored one, in pixels; 0 fills none.
        tile: Longest side in pixels that goes through the network at once; by default the stored one.
        overlap: Share of a tile that it has in common with the next; by default the stored one.
        tta: Test-time augmentation: none, flips (mean of 4 mirror images) or d4 (of 8 flips and quarter turns).
        tta_scales: Sizes of the image, as factors, whose probabilities are averaged, such as 0.75 1 1.25.
        agglomeration: Objects that touch through gaps in their boundary are parted: the mean boundary probability below
            which two fragments are one object, 0.6 for membranes; two classes, whole image in memory.
        neighbour_weight: How much the pages before and after count when gaps are closed in a stack of serial sections,
            0.3 for membranes; three pages are in memory.
        instances: How objects are told apart. components: connected pixels of a class. watershed: objects that
            touch are parted where the probability sinks between them.
        device: cpu, cuda, ...; a GPU where there is one. With onnx cpu, cuda, tensorrt or a provider of onnxruntime; the
            CPU by default.
        resume: Leave inputs alone whose results are all there.
        overwrite: Replace results that are there already; they are removed before the first new one is written.

    Raises:
        InputError: For inputs that do not exist or would share a result; for results that exist; at the end,
            when some inputs could not be predicted.
    """
    if bool(ckpt_path) == bool(onnx):
        both = "not both" if onnx else "one of the two"
        raise InputError(f"give a checkpoint as --ckpt_path or an exported file as --onnx, {both}")
    kinds = _kinds(write)
    jobs = find_jobs(inputs, out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder as --out")
    if neighbour_weight is not None and all(job.pages == 1 for job in jobs):
        raise InputError(
            "--neighbour_weight asks the pages before and after, but no input has several; "
            "save serial sections as one multi-page TIFF, or leave it out"
        )
    left = _left(jobs, kinds, out, resume=resume, overwrite=overwrite)
    if len(left) < len(jobs):
        print(f"{len(jobs) - len(left)} of {len(jobs)} inputs have their results already")
    failures: dict[Job, str] = {}
    if left or "objects" in kinds:  # whose table counts those of earlier calls too
        predictor = _loading(ckpt_path, onnx, device)(
            threshold=threshold,
            smallest_object=smallest_object,
            largest_hole=largest_hole,
            tile=tile,
            overlap=overlap,
            tta=tta,
            tta_scales=tta_scales,
            agglomeration=agglomeration,
            neighbour_weight=neighbour_weight,
        )
        left = [job.of_channels(predictor.in_channels, predictor.context) for job in left]
        if overwrite:  # else --resume after an interruption would take those that are left for new ones
            _remove(left, kinds, out)
        try:
            failures = _predict_all(predictor, left, kinds, out, instances) if left else {}
        except KeyboardInterrupt:
            print("the same command with --resume does what is missing", file=sys.stderr)
            raise
    _list_failures(failures, out)
    if len(left) > len(failures):
        for kind in kinds:
            print(f"{kind} of {len(left) - len(failures)} inputs: {out / kind}")
    if "objects" in kinds and len(jobs) > len(failures):
        print(f"objects of each image, counted: {write_counts(out, predictor.classes)}")
    if failures:
        raise InputError(f"{len(failures)} of {len(left)} inputs could not be predicted; {out / FAILURES} says why")


def _kinds(write: str) -> list[Kind]:
    known: tuple[Kind, ...] = get_args(Kind)
    asked = [kind.strip() for kind in write.split(",")]
    unknown = [kind for kind in asked if kind not in known]
    if unknown:
        raise InputError(f"--write {write}: {', '.join(unknown)} is unknown; known: {','.join(known)}")
    return [kind for kind in known if kind in asked]


def _loading(
    ckpt_path: str | list[str] | None, onnx: str | list[str] | None, device: str | None
) -> Callable[..., Predictor]:
    """What makes a predictor of options, either with torch or without."""
    if onnx:
        from segmentation.deployment import runtime

        return partial(runtime.load, onnx, providers=[device or "cpu"])
    assert ckpt_path
    from segmentation.model.predictor import load

    return partial(load, ckpt_path, device)


def _left(jobs: list[Job], kinds: list[Kind], out: Path, *, resume: bool, overwrite: bool) -> list[Job]:
    """The jobs to be done; nothing that exists is written over unless asked for, and no input ever."""
    inputs = {job.path.resolve() for job in jobs}
    paths = [path for job in jobs for kind in kinds for path in result_paths(out, kind, job.name)]
    onto_inputs = [path for path in paths if path.resolve() in inputs]
    if onto_inputs:
        raise InputError(f"{onto_inputs[0]} is an input and would be overwritten; give another --out")
    _check_tables(kinds, out, overwrite=overwrite)
    if resume:
        return [job for job in jobs if not all(is_done(out, kind, job.name) for kind in kinds)]
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise InputError(
            f"{len(existing)} results exist, such as {existing[0]}; give another --out, or --overwrite, or "
            "--resume for what is missing"
        )
    return jobs


def _check_tables(kinds: list[Kind], out: Path, *, overwrite: bool) -> None:
    """Refuse tables of somebody else where those over all images go; those of earlier calls are replaced."""
    columns = {FAILURES: FAILURE_COLUMNS} | ({COUNTS: COLUMNS} if "objects" in kinds else {})
    for path, header in ((out / name, header) for name, header in columns.items()):
        if path.is_dir():
            raise InputError(f"{path} is a folder, where a table is to be written; give another --out")
        if overwrite or not path.exists():
            continue
        with path.open(encoding="utf-8", errors="replace") as file:
            if file.readline().rstrip() != ",".join(header):
                raise InputError(
                    f"{path} is no table of predict and would be replaced; give another --out, or --overwrite"
                )


def _remove(jobs: list[Job], kinds: list[Kind], out: Path) -> None:
    for path in (path for job in jobs for kind in kinds for path in result_paths(out, kind, job.name)):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(f"{path} cannot be replaced ({error.strerror}); give another --out") from error


def _predict_all(predictor: Predictor, jobs: list[Job], kinds: list[Kind], out: Path, method: Method) -> dict[Job, str]:
    """Write the results of all jobs; returns why those without results failed."""
    failures: dict[Job, str] = {}
    seen, trained = 0, predictor.trained_on
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
        task = progress.add_task("predict", total=sum(job.pages for job in jobs))
        done = 0
        for job, answers in groupby(_answers(predictor, jobs), key=lambda answer: answer[0].job):
            part = job.part(0)
            results = Results(
                out,
                job.name,
                kinds,
                predictor.classes,
                predictor.decision,
                method=method,
                stack=job.pages > 1,
                placement=placement_of(part),
                large=LARGE,
            )
            try:
                with results:
                    for page, blocks in answers:
                        part = page.part
                        if isinstance(page.image, InputError):
                            raise page.image
                        seen += isinstance(page.image, np.ndarray) and digest(page.image) in trained
                        results.add(_shown(page.image, predictor), blocks, lambda share: progress.advance(task, share))
            except WriteError:
                raise
            except InputError as error:
                failures[job] = str(error) if str(part) in str(error) else f"{part}: {error}"
                print(f"failed: {failures[job]}", file=sys.stderr)
            done += job.pages
            progress.update(task, completed=done)
    if seen:
        print(f"{seen} of the images were trained on: their labels are better than those of new images will be")
    return failures


def _answers(predictor: Predictor, jobs: list[Job]) -> Iterator[tuple[Page, Iterator[NDArray[np.float32]]]]:
    """Each page in order with its probabilities (K, h, W) from top to bottom, computed when they are asked for.

    Images of one size that follow each other go through the network together where it takes several tiles.
    """
    if predictor.neighbour_weight is not None:
        for job in jobs:
            yield from _of_stack(predictor, _opened(job, predictor))
        return
    for (shape, _), alike in groupby(chain.from_iterable(_opened(job, predictor) for job in jobs), key=_kind_of_image):
        together = max(1, min(predictor.tiling.batch, LARGE // math.prod(shape[:2])))
        while batch := list(islice(alike, together)):
            bands = _bands(predictor, [page.image for page in batch if not isinstance(page.image, InputError)])
            for place, page in enumerate(batch):
                yield page, _of_one(bands, place)


def _of_stack(predictor: Predictor, pages: Iterator[Page]) -> Iterator[tuple[Page, Iterator[NDArray[np.float32]]]]:
    """The pages of a job, each predicted with its neighbours."""
    pages, ahead = tee(pages)
    answers = predictor.stack(page.image for page in ahead if not isinstance(page.image, InputError))
    for page in pages:
        yield page, islice(answers, 1)


def _opened(job: Job, predictor: Predictor) -> Iterator[Page]:
    """The pages of a job, up to the first that cannot be used; grey ones stored as RGB are taken, as by ``fit``."""
    size: tuple[int, ...] | None = None
    for number in range(job.pages):
        part = job.part(number)
        try:
            image = _pixels(job, number, predictor)
            size = size or image.shape[:2]
            if image.shape[:2] != size:
                raise InputError(
                    f"{part} is {image.shape[0]}x{image.shape[1]} (HxW), the pages before it are {size[0]}x{size[1]}; "
                    "save pages of different sizes as a file each"
                )
        except InputError as error:
            yield Page(job, part, error)
            return
        yield Page(job, part, image)


def _pixels(job: Job, number: int, predictor: Predictor) -> NDArray[Any] | Rows:
    """A page with the channels that the network takes, or by rows where it is large; errors as ``read_pixels``."""
    part = job.part(number)
    if predictor.context:
        image = job.read(number, predictor.in_channels, predictor.context)
    else:
        opened = open_rows(part, LARGE)
        if isinstance(opened, Rows):
            return rows_in_channels(opened, predictor.in_channels)
        image = in_channels(opened, predictor.in_channels)
    if image.dtype.kind == "f" and not np.isfinite(image).all():  # found later, all that go with it would fail too
        raise FileError(part, "holds pixels that are NaN or infinite", "repair the image")
    return image


def _shown(image: NDArray[Any] | Rows, predictor: Predictor) -> NDArray[Any] | Rows:
    """Without the pages before and after."""
    if isinstance(image, Rows) or not predictor.context:
        return image
    each = image.shape[2] // (2 * predictor.context + 1)
    return image[..., each * predictor.context : each * (predictor.context + 1)]


def _kind_of_image(page: Page) -> tuple[tuple[int, ...], str]:
    """What images that go through the network together have in common."""
    return ((), "") if isinstance(page.image, InputError) else (page.image.shape, page.image.dtype.name)


def _bands(predictor: Predictor, images: list[NDArray[Any] | Rows]) -> Callable[[], Iterable[NDArray[np.float32]]]:
    """A function that gives the probabilities of images, (B, K, h, W) from top to bottom."""

    def bands() -> Iterator[NDArray[np.float32]]:
        for _, block in predictor.bands(images):
            yield block

    return bands if len(images) == 1 else cache(lambda: list(bands()))


def _of_one(bands: Callable[[], Iterable[NDArray[np.float32]]], place: int) -> Iterator[NDArray[np.float32]]:
    for block in bands():
        yield block[place]


def _list_failures(failures: dict[Job, str], out: Path) -> None:
    (out / FAILURES).unlink(missing_ok=True)  # of an earlier call
    if failures:
        with Table(out / FAILURES, FAILURE_COLUMNS) as table:
            table.rows += [(job.path, reason) for job, reason in failures.items()]
