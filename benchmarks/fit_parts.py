"""Where the time of a ``fit`` goes: steps, waiting for the loader, turns of epochs, validation, V_Rand and V_Info, checkpoints.

One fit through the command line, whose every action is timed (Lightning's profiler).

    python benchmarks/fit_parts.py --config configs/isbi_resnet18.yaml --epochs 12
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from printing import machine, spread, table
from timeline import STEP, Span, Timeline, fit

from segmentation.metrics import em

EPOCH = "run_training_epoch"
FETCH = "train_dataloader_next"
"""Lightning's names."""


@contextmanager
def timed_sweeps() -> Iterator[list[Span]]:
    """Note the time of V_Rand and V_Info of each slice: they are no action of Lightning's."""
    sweep = em.sweep
    noted: list[Span] = []

    def timed(*args: Any) -> Any:
        start = time.perf_counter()
        scores = sweep(*args)
        noted.append(Span("sweep", start, time.perf_counter()))
        return scores

    with patch.object(em, "sweep", timed):
        yield noted


def total(spans: list[Span]) -> float:
    """Seconds of spans that do not overlap."""
    return sum(span.seconds for span in spans)


def within(spans: list[Span], outer: list[Span]) -> list[Span]:
    """The spans that lie in one of the outer ones."""
    return [span for span in spans if any(one.start <= span.start and span.end <= one.end for one in outer)]


def validations(line: Timeline) -> list[Span]:
    """From the first hook of each validation to the last one."""
    starts, ends = line.of("on_validation_model_eval"), line.of("Strategy", "on_validation_end")
    return [Span("validation", start.start, end.end) for start, end in zip(starts, ends, strict=True)]


def turns(line: Timeline) -> tuple[list[float], list[float]]:
    """Seconds between two steps: of two epochs without a validation between them, and of one epoch."""
    validated = validations(line)
    between, inside = [], []
    for before, after in pairwise(line.of(STEP)):
        gap = Span("gap", before.end, after.start)
        if within([Span("pair", before.start, after.end)], line.of(EPOCH)):
            inside.append(gap.seconds)
        elif not within(validated, [gap]):
            between.append(gap.seconds)
    return between, inside


def parts(line: Timeline, sweeps: list[Span]) -> dict[str, float]:
    """What took how many seconds from the first step to the end of the last epoch; the first is the whole."""
    steps = line.of(STEP)
    whole = Span("fit", steps[0].start, line.of(EPOCH)[-1].end)
    validated = within(validations(line), [whole])
    saved = [span for span in within(line.of("save_checkpoint"), [whole]) if span.action == "save_checkpoint"]
    fetched = within(line.of(FETCH), [whole])
    network, scored = within(line.of("Strategy", "validation_step"), validated), within(sweeps, validated)
    among = {
        "training steps": total(steps),
        "waiting for the loader": total(fetched),
        "validation: network, tiles, region scores": total(network) - total(scored),
        "validation: V_Rand and V_Info": total(scored),
        "validation: pictures, choice of the decision": total(validated)
        - total(network)
        - total(within(saved, validated)),
        "checkpoints": total(saved),
    }
    rest = whole.seconds - sum(among.values())
    return {"whole": whole.seconds, **among, "all else: hooks, logging, turns of epochs": rest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(Path(__file__).parents[1] / "configs" / "isbi_resnet18.yaml"))
    parser.add_argument("--epochs", type=int, default=12, help="a multiple of the epochs from validation to validation")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further arguments of fit, to the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, timed_sweeps() as sweeps:
        arguments = ["--config", options.config, "--trainer.max_epochs", str(options.epochs)]
        line = fit([*arguments, "--trainer.default_root_dir", folder, *options.more])
    rows = parts(line, sweeps)
    print(f"## Where the time of a fit goes ({Path(options.config).name})\n")
    print(table(("part", "share", "seconds"), [(k, f"{v / rows['whole']:.1%}", f"{v:.2f}") for k, v in rows.items()]))
    print(
        f"\nWaiting for the loader: {rows['waiting for the loader'] / rows['training steps']:.2%} of the time of the steps."
    )
    between, inside = turns(line)
    if between and inside:
        print(
            f"Seconds between two epochs without validation: {spread(between, 3)}; between two steps: {spread(inside, 4)}."
        )
    print(f"\nThe first {options.epochs} epochs from the first step on; medians (lowest to highest). {machine()}")


if __name__ == "__main__":
    main()
