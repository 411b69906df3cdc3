"""How much memory a process needs that does nothing but predict.

python -m segmentation.deployment.memory FILE WAY THREADS SIZE BATCH
"""

import subprocess
import sys
from pathlib import Path

from segmentation.deployment.variants import Variant, pixels, run
from segmentation.errors import InputError


def peak_memory(variant: Variant, threads: int, size: int, batch: int) -> float | None:
    """Largest resident memory of a fresh process that loads a file and predicts one batch, in MiB.

    The interpreter and all libraries count too, as they do where the network is deployed.

    Args:
        variant: What it loads, and how it runs it.
        threads: On which it computes.
        size: H and W of the images in pixels.
        batch: How many.

    Returns:
        None where the system does not tell (it is read from /proc).

    Raises:
        InputError: When the process fails.
    """
    command = [sys.executable, "-m", __name__, *map(str, (variant.path, variant.way, threads, size, batch))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"a process of its own could not predict ({last})")
    answer = ended.stdout.split()[-1]
    return None if answer == "unknown" else float(answer)


def _peak() -> str:
    # not getrusage, whose peak begins with that of the parent process
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return "unknown"
    return next((str(int(line.split()[1]) / 1024) for line in lines if line.startswith("VmHWM:")), "unknown")


def _main(path: str, way: str, *numbers: str) -> None:
    threads, size, batch = map(int, numbers)
    predictor = Variant(Path(path), way).load(threads)
    run(predictor, pixels(predictor, size, batch))
    print(_peak())


if __name__ == "__main__":
    _main(*sys.argv[1:])
