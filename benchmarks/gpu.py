"""Training and inference on one GPU, end to end, against the ceiling of the arithmetic; as a table and as JSON.

    python benchmarks/gpu.py --out gpu --minutes 9
    python benchmarks/gpu.py --out gpu --tiny     # a few steps of each on a CPU, to see that everything runs

Rows, the weightiest first, until the time is up; one that fails says why, and the next goes on:
ceiling         network, loss and fused AdamW on one batch that lies on the device, in the default precision, channels last
fit             the command line: loader, augmentation, scores, logging, progress bar
bare loop       the step of the ceiling with the batches of the loader
loader          the loader alone
naive           float32, channels first, AdamW as torch has it, float pixels from pageable memory, the loss read each step
inference       the network and its probabilities on one batch that lies on the device
naive inference as naive, with the probabilities fetched
predictor       segmentation.load, whole images one by one, from array to array
parts           milliseconds of each part of a step
profile         fit under torch's profiler: the kernels of five steps go to profile.txt
"""

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from gpu_cases import Case
from gpu_cells import Bench, Cell
from gpu_marks import mark, seconds_between

import segmentation

UNET = Case("Unet", "resnet34", 3, 512, 32)
OTHERS = (
    Case("PlainUnet", None, 1, 572, 8),
    Case("Segformer", "mit_b2", 3, 512, 16),
    Case("DeepLabV3Plus", "resnet50", 3, 512, 16),
)
SIZES = tuple(Case("Unet", "resnet34", channels, 512, n) for channels, n in ((1, 32), (3, 8), (3, 64), (1, 8), (1, 64)))
MAIN = ("ceiling", "fit", "inference")
SIDE = ("bare loop", "loader", "naive", "naive inference", "predictor", "parts", "profile")

PLAN = [(UNET, way) for way in (*MAIN, *SIDE)]
PLAN += [(case, way) for case in OTHERS for way in (*MAIN, "naive")]
PLAN += [(case, f"{way} compiled") for case in (UNET, OTHERS[0]) for way in MAIN]
PLAN += [(case, way) for case in SIZES for way in MAIN]
PLAN += [(case, f"{way} compiled") for case in OTHERS[1:] for way in MAIN]

TINY = Case("PlainUnet", None, 3, 32, 2)
TINY_PLAN = [(TINY, way) for way in (*MAIN, *SIDE, "ceiling compiled", "fit compiled")]
TINY_PLAN += [(Case("PlainUnit", None, 3, 32, 2), "ceiling")]  # a row that fails

LONGEST = {True: 90, False: 30}
"""Seconds that a row may take, compiled or not; with less time left it is not begun."""


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.md, gpu.json and profile.txt")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args(args)
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with TemporaryDirectory() as scratch:
        bench = Bench(options.device, options.tiny, options.out, Path(scratch))
        machine = machine_of(bench)
        rows: list[Cell] = []
        for case, way in TINY_PLAN if options.tiny else PLAN:
            left = 60 * options.minutes - (time.monotonic() - began)
            late = left < LONGEST[way.endswith("compiled")]
            row = {"case": str(case), "way": way} | ({"failed": "the time was up"} if late else run(bench, case, way))
            rows.append(row | shares(row, rows, machine))
            write(options.out, machine, rows)
            print(line(rows[-1]), flush=True)


def run(bench: Bench, case: Case, way: str) -> Cell:
    """A row, or why there is none."""
    try:
        counted = {"flops": bench.flops(case)} if way == "ceiling" else {}
        return bench.measure(case, way) | counted
    except Exception as error:  # the other rows are worth having
        return {"failed": f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]}
    finally:
        gc.collect()
        if bench.device == "cuda":
            torch.cuda.empty_cache()


def shares(row: Cell, before: list[Cell], machine: dict[str, Any]) -> Cell:
    """The rate of a row as a share of its ceiling, and of the device's matrix product."""
    if "images_per_s" not in row or row["way"] in ("loader", "predictor"):
        return {}
    infers = "inference" in row["way"]
    rows = {earlier["way"]: earlier for earlier in [*before, row] if earlier["case"] == row["case"]}
    top = rows.get("inference" if infers else "ceiling", {})
    flops = rows.get("ceiling", {}).get("flops", {}).get("inference" if infers else "training")
    result = {"of_ceiling": row["images_per_s"] / top["images_per_s"]} if "images_per_s" in top else {}
    return result | ({"mfu": flops * row["images_per_s"] / machine["matrix_product_flops_per_s"]} if flops else {})


def machine_of(bench: Bench) -> dict[str, Any]:
    """What was measured on, with its rates of the day."""
    cuda, side = bench.device == "cuda", 256 if bench.tiny else 8192
    a, b = (torch.randn(side, side, device=bench.device).bfloat16() for _ in range(2))
    source = torch.empty(2**20 if bench.tiny else 2**32, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    product, copied = seconds(bench.device, lambda: a @ b), seconds(bench.device, lambda: target.copy_(source))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "precision": bench.precision,
        "segmentation": segmentation.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,  # type: ignore[no-untyped-call] # torch's
        "matrix_product_flops_per_s": 2 * side**3 / product,
        "copy_bytes_per_s": 2 * len(source) / copied,
    }


def seconds(device: str, call: Callable[[], object]) -> float:
    """The median of ten calls after three."""
    marks = [mark(device)]
    for _ in range(13):
        call()
        marks.append(mark(device))
    return sorted(seconds_between(marks)[3:])[5]


def write(out: Path, machine: dict[str, Any], rows: list[Cell]) -> None:
    """The JSON and the table of what is known so far."""
    (out / "gpu.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    known = ", ".join(f"{name} {value}" for name, value in machine.items() if not name.endswith("per_s"))
    rates = (
        f"bf16 matrix product {machine['matrix_product_flops_per_s'] / 1e12:.3g} TFLOP/s, "
        f"copy {machine['copy_bytes_per_s'] / 1e12:.3g} TB/s (read and written)"
    )
    head = "| case | way | images/s | of ceiling | MFU | step ms: 10 %, median, 90 % | GiB | first call s | remark |"
    lines = [f"{known}; {rates}.", "", head, "|" + "---|" * head.count(" |"), *map(line, rows)]
    (out / "gpu.md").write_text("\n".join(lines) + "\n")


def line(row: Cell) -> str:
    """A row of the table."""

    def shown(name: str, form: str) -> str:
        return format(row[name], form) if name in row else ""

    parts = ", ".join(f"{part} {taken:.2f} ms" for part, taken in row.get("parts_ms", {}).items())
    cells = [
        row["case"],
        row["way"],
        shown("images_per_s", ".1f"),
        shown("of_ceiling", ".3f"),
        shown("mfu", ".1%"),
        ", ".join(f"{step:.2f}" for step in row.get("step_ms", [])),
        shown("gib", ".2f"),
        shown("first_s", ".1f"),
        row.get("failed", parts).replace("|", "/"),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
