"""``predict``: files, folders, globs and stacks -> labels a person can look at."""

import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rich.progress import MofNCompleteColumn, Progress

from segmentation.data.reading import IMAGE_SUFFIXES, Part, is_image, pages, read_pixels
from segmentation.errors import InputError
from segmentation.inference.classes import Classes, overlay
from segmentation.model.predictor import Predictor, load

Kind = Literal["labels", "index", "probabilities", "overlay"]


@dataclass(frozen=True)
class Job:
    """One input file.

    Attributes:
        path: Of the file.
        name: Of the results without suffix, relative to the output folder; sub-folders are kept.
        pages: Of a stack; 1 for a single image.
    """

    path: Path
    name: Path
    pages: int


def predict(
    inputs: list[str],
    *,
    ckpt_path: str,
    out: Path = Path("predictions"),
    write: str = "labels",
    threshold: float | None = None,
    device: str | None = None,
    overwrite: bool = False,
) -> None:
    """Label images, folders and stacks with a checkpoint.

    Each kind of result has a folder of its own below ``out``, with the names and sub-folders of the inputs;
    a multi-page TIFF gives a multi-page TIFF.

    Args:
        inputs: Files, folders (with all below them) and globs.
        ckpt_path: A checkpoint of fit.
        out: Folder of the results.
        write: Kinds separated by commas. labels: 8-bit PNG to look at, 0/255 for two classes, the classes'
            colours for more. index: PNG of class indices. probabilities: float16 TIFF (K, H, W). overlay: the
            labels over the image.
        threshold: Instead of the one stored in the checkpoint; for two classes.
        device: cpu, cuda, ...; a GPU where there is one.
        overwrite: Replace results that are there already.

    Raises:
        InputError: For inputs that do not exist, cannot be read or would share a result; for results
            that exist.
    """
    kinds = _kinds(write)
    jobs = find_jobs(inputs, out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder as --out")
    results = {job: {kind: _result_path(out, kind, job) for kind in kinds} for job in jobs}
    _check_results(results, overwrite)
    predictor = load(ckpt_path, device, threshold)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as progress:
        task = progress.add_task("predict", total=sum(job.pages for job in jobs))
        for job in jobs:
            _predict_file(predictor, job, results[job], lambda: progress.advance(task))
    for kind in kinds:
        print(f"{len(jobs)} {kind}: {out / kind}")


def find_jobs(inputs: Sequence[str], out: Path) -> list[Job]:
    """The files behind inputs; below a folder, those of earlier results in ``out`` are none.

    Raises:
        InputError: Naming every input that holds no image, and images whose results would share a name.
    """
    found: dict[Path, Path] = {}
    empty = []
    for text in inputs:
        files = list(_files(text, out.resolve()))
        if not files:
            empty.append(text)
        for path, name in files:
            found.setdefault(path, name)
    if empty or not found:
        raise InputError(
            f"no images in {', '.join(map(_told, empty)) or 'nothing'}; give image files, folders or globs "
            f"({', '.join(IMAGE_SUFFIXES)})"
        )
    by_name: dict[Path, list[Path]] = {}
    for path, name in found.items():
        by_name.setdefault(name, []).append(path)
    clashes = [" and ".join(map(str, paths)) for paths in by_name.values() if len(paths) > 1]
    if clashes:
        raise InputError(f"these inputs would share a result: {'; '.join(clashes)}; predict them into different --out")
    return [Job(path, name, pages(path)) for path, name in found.items()]


def _told(text: str) -> str:
    return text if Path(text).exists() or glob.has_magic(text) else f"{text} (does not exist)"


def _files(text: str, out: Path) -> Iterator[tuple[Path, Path]]:
    path = Path(text)
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path)
            hidden = any(part.startswith(".") for part in name.parts)
            earlier = path.resolve() in out.parents and out in file.resolve().parents
            if file.is_file() and is_image(file) and not hidden and not earlier:
                yield file, name.with_suffix("")
    elif path.is_file():
        yield path, Path(path.stem)
    else:
        for match in sorted(glob.glob(text, recursive=True)):
            if Path(match).is_file() and is_image(Path(match)):
                yield Path(match), Path(Path(match).stem)


def _kinds(write: str) -> list[Kind]:
    known: tuple[Kind, ...] = ("labels", "index", "probabilities", "overlay")
    asked = [kind.strip() for kind in write.split(",")]
    unknown = [kind for kind in asked if kind not in known]
    if unknown:
        raise InputError(f"--write {write}: {', '.join(unknown)} is unknown; known: {','.join(known)}")
    return [kind for kind in known if kind in asked]


def _result_path(out: Path, kind: Kind, job: Job) -> Path:
    suffix = ".tif" if job.pages > 1 or kind == "probabilities" else ".png"
    return out / kind / job.name.parent / (job.name.name + suffix)


def _check_results(results: dict[Job, dict[Kind, Path]], overwrite: bool) -> None:
    inputs = {job.path.resolve() for job in results}
    paths = [path for by_kind in results.values() for path in by_kind.values()]
    onto_inputs = [path for path in paths if path.resolve() in inputs]
    if onto_inputs:
        raise InputError(f"{onto_inputs[0]} is an input and would be overwritten; give another --out")
    existing = [path for path in paths if path.exists()]
    if existing and not overwrite:
        raise InputError(
            f"{len(existing)} results exist, such as {existing[0]}; give another --out, or --overwrite true"
        )


def _predict_file(predictor: Predictor, job: Job, results: dict[Kind, Path], advance: Callable[[], None]) -> None:
    written: dict[Kind, list[NDArray[Any]]] = {kind: [] for kind in results}
    size: tuple[int, ...] | None = None
    for page in range(job.pages):
        part = Part(job.path, page if job.pages > 1 else None)
        try:
            image = read_pixels(part)
            size = size or image.shape[:2]
            if image.shape[:2] != size:
                raise InputError(
                    f"{part} is {image.shape[0]}x{image.shape[1]} (HxW), the pages before it are {size[0]}x{size[1]}; "
                    "save pages of different sizes as a file each"
                )
            probabilities = predictor.probabilities(image)
        except InputError as error:
            raise error if str(part) in str(error) else InputError(f"{part}: {error}") from error
        labels = predictor.labels(probabilities)
        for kind in results:
            written[kind].append(_render(kind, image, probabilities, labels, predictor.classes))
        advance()
    for kind, path in results.items():
        _write(path, kind, written[kind], predictor.classes)


def _render(
    kind: Kind,
    image: NDArray[Any],
    probabilities: NDArray[np.float32],
    labels: NDArray[np.uint8],
    classes: Classes,
) -> NDArray[Any]:
    if kind == "probabilities":
        return probabilities.astype(np.float16)
    if kind == "overlay":
        return overlay(image, labels, classes.tints)
    if kind == "labels" and classes.binary:
        return labels * np.uint8(255)
    return labels


def _write(path: Path, kind: Kind, arrays: list[NDArray[Any]], classes: Classes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tif":
            colored = kind == "overlay" or (kind == "labels" and not classes.binary)
            stack = [classes.paint(array) if array.ndim == 2 and colored else array for array in arrays]
            data = np.stack(stack) if len(stack) > 1 else stack[0]
            tifffile.imwrite(temporary, data, photometric="rgb" if colored else "minisblack", compression="zlib")
        else:
            picture = Image.fromarray(arrays[0])
            if kind == "labels" and not classes.binary:
                picture.putpalette(np.asarray(classes.colors, np.uint8).tobytes())
            picture.save(temporary, format="PNG")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise InputError(f"{path} cannot be written ({error.strerror or error}); give another --out") from error
