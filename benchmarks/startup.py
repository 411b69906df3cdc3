"""Time from a command to its help and to its first training step, against the imports that it cannot do without.

Each in a process of its own, in turns; then the largest imports (``python -X importtime``).

    python benchmarks/startup.py --rounds 3
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from lightning import Callback
from printing import machine, ratios, spread, table

HERE = Path(__file__).parent
LIBRARIES = "import torch, lightning, segmentation_models_pytorch"
SEGMENTATION = ("-m", "segmentation")

MARKS = {
    "built": "imports, arguments, network",
    "checked": "data read and checked",
    "validated": "a validation image scored",
    "loaded": "first batch there",
    "stepped": "first step done",
}
"""What a fit has done up to each mark, in this order."""

SHOWN = {
    "help": "`--help`",
    "predict_help": "`predict --help`",
    "fit_help": "`fit --help`",
    "fit": "`fit` to its first step",
}
"""The commands as a reader knows them."""


class FirstStep(Callback):
    """Writes when each mark was reached, and ends the process after the first step.

    Args:
        path: Of a JSON file: mark -> seconds of ``time.time``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.times = {"built": time.time()}

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """The data were checked before."""
        self.times["checked"] = time.time()

    def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
        """An image was scored."""
        self.times["validated"] = time.time()

    def on_train_batch_start(self, *_: Any) -> None:
        """The first batch is there."""
        self.times["loaded"] = time.time()

    def on_train_batch_end(self, *_: Any) -> None:
        """Write, and end."""
        Path(self.path).write_text(json.dumps(self.times | {"stepped": time.time()}))
        raise SystemExit(0)


def run(arguments: list[str], folder: str) -> tuple[float, str]:
    """Seconds and stderr of ``python ARGUMENTS``."""
    environment = os.environ | {"PYTHONPATH": str(HERE)}  # fit finds the callback above by its name
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{ended.stderr[-3000:]}")
    return time.perf_counter() - began, ended.stderr


def first_step(options: argparse.Namespace, folder: str) -> list[str]:
    """Arguments of a fit that ends after its first step."""
    config, root = str(HERE.parent / "configs" / "isbi_resnet18.yaml"), options.root.absolute()
    isbi = ("--data.source.root", str(root))
    drawn = ("--data.source", "SyntheticSource", "--data.source.slices", "10", "--data.source.size", "128")
    callback = json.dumps([{"class_path": "startup.FirstStep", "init_args": {"path": f"{folder}/marks.json"}}])
    return [
        *(*SEGMENTATION, "fit", "--config", config, *(isbi if root.is_dir() else drawn)),
        *("--model.encoder", options.encoder, "--trainer.callbacks", callback, "--trainer.default_root_dir", folder),
    ]


def largest_imports(arguments: list[str], folder: str, count: int = 15) -> list[tuple[str, str]]:
    """Packages and the milliseconds that importing their own modules took, the slowest first."""
    _, stderr = run(["-X", "importtime", *arguments], folder)
    own: Counter[str] = Counter()
    for line in stderr.splitlines():
        if line.startswith("import time:") and "[us]" not in line:
            microseconds, _, module = line.removeprefix("import time:").split("|")
            own[module.strip().split(".")[0]] += int(microseconds)
    return [(package, f"{microseconds / 1000:.0f}") for package, microseconds in own.most_common(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commands", nargs="+", default=["help", "predict_help", "fit_help", "fit"])
    parser.add_argument("--imports", nargs="*", default=["fit_help", "fit"], help="commands whose imports are listed")
    parser.add_argument("--baseline", default=LIBRARIES, help="code that the times are divided by")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--root", type=Path, default=Path("data/isbi2012"), help="drawn slices where it is missing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        known = {
            "help": [*SEGMENTATION, "--help"],
            "predict_help": [*SEGMENTATION, "predict", "--help"],
            "fit_help": [*SEGMENTATION, "fit", "--help"],
            "fit": first_step(options, folder),
        }
        commands = {"baseline": ["-c", options.baseline], **{name: known[name] for name in options.commands}}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        reached: dict[str, list[float]] = {mark: [] for mark in MARKS}
        run(commands["baseline"], folder)  # from here on the disk is warm
        for turn in range(options.rounds):
            for name in list(commands) if turn % 2 == 0 else list(commands)[::-1]:
                began = time.time()
                taken, _ = run(commands[name], folder)
                marks = Path(folder, "marks.json")
                if marks.is_file():
                    times = json.loads(marks.read_text())
                    marks.unlink()
                    taken = times["stepped"] - began  # without the end of the process
                    for mark in MARKS:
                        reached[mark].append(times[mark] - began)
                seconds[name].append(taken)
        print("## Start-up\n")
        shown = {"baseline": f"`{options.baseline}`", **SHOWN}
        rows = [(shown[name], ratios(seconds[name], seconds["baseline"]), spread(seconds[name])) for name in commands]
        print(table(("command", "times the first", "seconds"), rows))
        if "fit" in commands:
            until = [(text, spread(reached[mark])) for mark, text in MARKS.items()]
            print("\n" + table(("of `fit`, up to", "seconds"), until))
        for name in options.imports:
            print(f"\nThe largest imports of {shown[name]}, a package's own modules:\n")
            print(table(("package", "ms"), largest_imports(known[name], folder)))
    print(f"\n{options.rounds} rounds from a warm disk, medians (lowest to highest). {machine()}")


if __name__ == "__main__":
    main()
