"""``benchmark``: size, speed, memory and scores of a network in every way that it can be run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from segmentation.callbacks.checkpoints import FOLDER
from segmentation.callbacks.runs import out_folder, run_of
from segmentation.commands.networks import multiplications
from segmentation.commands.out import check_folder
from segmentation.errors import InputError, nearest
from segmentation.evaluation.image_scores import score_prediction
from segmentation.evaluation.measured import PICTURE, RESULT, TABLE, Latency, Measured, told, write
from segmentation.evaluation.provenance import provenance
from segmentation.evaluation.report.summary import main_score, notes
from segmentation.evaluation.scored import Scored, predictions, scored_of, seen_samples
from segmentation.evaluation.scoring import pool
from segmentation.inference.predictor import Predictor
from segmentation.model.checkpoint import checkpoints_of
from segmentation.model.predictor import load_module

try:
    from segmentation.deployment import metadata
    from segmentation.deployment.counting import Cost, cost_of
    from segmentation.deployment.memory import peak_memory
    from segmentation.deployment.timing import interleaved
    from segmentation.deployment.variants import ONNX_WAYS, TORCH_WAYS, Variant, pixels, run, ways_of
except ModuleNotFoundError as error:
    raise InputError(f"benchmark needs onnx and onnxruntime ({error}): pip install -e '.[deploy]'") from error


def benchmark(
    *,
    ckpt_path: list[str],
    onnx: list[Path] | None = None,
    config: Path | None = None,
    sizes: list[int] | None = None,
    batches: list[int] | None = None,
    ways: list[str] | None = None,
    rounds: int = 30,
    threads: int | None = None,
    memory: bool = True,
    out: Path | None = None,
    allow_seen: bool = False,
) -> None:
    """Measure checkpoints and exported files side by side on this CPU: size, speed, memory, and what they score.

    All are loaded at once and timed in turns with the same images. They are scored on the validation samples of the first
    checkpoint, as report scores it. The table is printed and written as Markdown and JSON, with a picture of score against
    latency.

    Args:
        ckpt_path: Checkpoints: the reference, and others such as pruned or distilled ones.
        onnx: Files that export wrote.
        config: What the data are; the config.yaml of the first checkpoint's run by default.
        sizes: Height and width of the images that are timed, in pixels; 512 by default.
        batches: Images at once; 1 by default.
        ways: Some of eager, channels_last, bf16, compiled (of checkpoints), onnxruntime and openvino (of exported files);
            all by default.
        rounds: How often each is timed.
        threads: On which each computes; as many as torch takes by default.
        memory: Start a process for each, to see how much memory it needs at its peak, libraries included.
        out: New folder; benchmark-TIME in the run of the first checkpoint by default.
        allow_seen: Score samples that a checkpoint was trained on.

    Raises:
        InputError: For anything that the user can mend.
    """
    sizes, batches = sizes or [512], batches or [1]
    _check(sizes, batches, ways, rounds, threads, out)
    files = [file for path in ckpt_path for file in checkpoints_of(path)]
    (scored,) = scored_of(files[0], "val", config, "cpu", allow_seen)
    threads = threads or torch.get_num_threads()
    console = Console(markup=False, highlight=False, soft_wrap=True)
    asked = {name: one for name, one in _variants([*files, *(onnx or [])]).items() if ways is None or one.way in ways}
    loaded, skipped = _loaded(asked, threads, sizes[0], batches[0])
    for predictor in loaded.values():
        _check_task(predictor, scored, allow_seen)
    with out_folder(out, run_of(files[0]), "benchmark-") as folder:
        console.print(f"Timing {', '.join(loaded)}")
        timed = [_timed(loaded, size, batch, rounds) for size in sizes for batch in batches]
        measured = []
        for name, predictor in loaded.items():
            console.print(f"Scoring {name}")
            variant = asked[name]
            measured.append(
                Measured(
                    *(name, str(variant.path), variant.way, variant.path.stat().st_size),
                    *_cost(variant.path, sizes[0]),
                    memory=peak_memory(variant, threads, sizes[0], batches[0]) if memory else None,
                    latency=[case[name] for case in timed],
                    scores=_scores(replace(scored, predictor=predictor)),
                )
            )
        facts = {"scored": ", ".join([f"{len(scored.ids)} samples, val", *notes([scored])])} | {
            "timed": f"{rounds} rounds in turns, {threads} threads each",
            **provenance("torch", "onnxruntime", "openvino"),
        }
        # Dice hardly sees the gaps that a smaller network leaves in membranes
        drawn = "v_rand" if "em" in scored.module.score_kinds else main_score(scored.module)
        try:
            cells = write(folder, measured, drawn, facts, skipped)
        except OSError as error:
            raise InputError(f"{folder} cannot be written ({error.strerror or error}); give another --out") from error
    # a line that a narrow terminal breaks reads better than cells broken into letters
    Console(markup=False, highlight=False, width=500).print(_table(cells))
    for line in (*told(facts, skipped), f"Benchmark: {folder / TABLE}, {folder / RESULT}, {folder / PICTURE}"):
        console.print(line)


def _check(
    sizes: list[int], batches: list[int], ways: list[str] | None, rounds: int, threads: int | None, out: Path | None
) -> None:
    for option, numbers in (("sizes", sizes), ("batches", batches), ("rounds", [rounds]), ("threads", [threads or 1])):
        if min(numbers) < 1:
            raise InputError(f"--{option} is {min(numbers)}; give 1 or more")
    known = [*TORCH_WAYS, *ONNX_WAYS]
    for way in ways or []:
        if way not in known:
            raise InputError(f"--ways {way!r} is unknown" + nearest(way, known))
    check_folder(out)


def _variants(paths: Sequence[Path]) -> dict[str, Variant]:
    """Every file in every way, by name."""
    variants: dict[str, Variant] = {}
    for path, label in zip(paths, _labels(paths), strict=True):
        precision = f" {metadata.read(path)[1]['precision']}" if path.suffix == ".onnx" else ""
        variants |= {f"{label}: {way}{precision}": Variant(path, way) for way in ways_of(path)}
    return variants


def _labels(paths: Sequence[Path]) -> list[str]:
    """Run or file, with as many of the folders above it as tell it from the others."""
    runs = [run_of(path) if path.parent.name == FOLDER else path for path in paths]
    named = [
        (path.with_suffix("") if path == run or runs.count(run) > 1 else run).absolute().parts
        for path, run in zip(paths, runs, strict=True)
    ]
    shortest = (
        next((n for n in range(1, len(own)) if sum(own[-n:] == other[-n:] for other in named) == 1), len(own))
        for own in named
    )
    return ["/".join(own[-n:]) for own, n in zip(named, shortest, strict=True)]


def _loaded(
    variants: Mapping[str, Variant], threads: int, size: int, batch: int
) -> tuple[dict[str, Predictor], dict[str, str]]:
    """What runs here, and why the others do not."""
    loaded, skipped = {}, {}
    for name, variant in variants.items():
        try:
            predictor = variant.load(threads)
        except InputError as error:
            if variant.way not in ("bf16", "openvino"):  # the others run everywhere: the file is at fault
                raise
            skipped[name] = str(error)
            continue
        try:
            run(predictor, pixels(predictor, size, batch))
        except (
            Exception
        ) as error:  # torch.compile raises many kinds: no C++ compiler, an operator that it does not know
            if variant.way != "compiled":
                raise
            skipped[name] = f"torch.compile fails here ({type(error).__name__}: {error})".splitlines()[0]
        else:
            loaded[name] = predictor
    if not loaded:
        told = "; ".join(f"{name}: {reason}" for name, reason in skipped.items()) or "no file has such a way"
        raise InputError(f"nothing could be run ({told}); give other --ways, or files as --ckpt_path and --onnx")
    return loaded, skipped


def _check_task(predictor: Predictor, scored: Scored, allow_seen: bool) -> None:
    ours, theirs = (one.networks[0].description for one in (scored.predictor, predictor))
    if ours.task != theirs.task:
        raise InputError(
            f"the files do not belong together: the first checkpoint knows {ours.task}, another {theirs.task}"
        )
    seen_samples(scored.digests, theirs.trained_on, allow_seen)


def _timed(loaded: Mapping[str, Predictor], size: int, batch: int, rounds: int) -> dict[str, Latency]:
    calls = {name: partial(run, predictor, pixels(predictor, size, batch)) for name, predictor in loaded.items()}
    found = {}
    for name, seconds in interleaved(calls, rounds).items():
        p50, p95 = (float(value) for value in np.percentile(seconds, [50, 95]))
        found[name] = Latency(size, batch, p50, p95, batch / p50)
    return found


def _cost(path: Path, size: int) -> Cost:
    if path.suffix == ".onnx":
        return cost_of(path, size)
    module = load_module(path)
    parameters = sum(parameter.numel() for parameter in module.network.parameters())
    channels = int(module.hparams["in_channels"])
    return Cost(parameters, multiplications(module.network, channels, module.network.fixed or size))


def _scores(scored: Scored) -> dict[str, float]:
    return pool([score_prediction(one) for one in predictions([scored])], scored.module.classes)


def _table(cells: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, title in enumerate(cells[0]):
        table.add_column(title, overflow="fold", justify="right" if place else "left")
    for row in cells[1:]:
        table.add_row(*row)
    return table
