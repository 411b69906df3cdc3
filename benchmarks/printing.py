"""What every benchmark prints: Markdown tables, medians with their spread, and the machine they were measured on.

python benchmarks/printing.py
"""

import platform
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Instructions of a CPU on which the speed of a network depends."""

PACKAGES = ("torch", "lightning", "segmentation-models-pytorch", "albumentations", "numpy")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """``median (lowest to highest)``."""
    shown = [f"{value:.{digits}f}" for value in (median(values), min(values), max(values))]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def ratios(ours: Sequence[float], others: Sequence[float], digits: int = 2) -> str:
    """``spread`` of the ratios of values that were measured in the same round."""
    return spread([own / other for own, other in zip(ours, others, strict=True)], digits)


def machine() -> str:
    """Processor with its instructions, threads, versions, commit and date, as a line below a table."""
    import torch

    from segmentation.evaluation.report.identity import commit
    from segmentation.evaluation.report.identity import machine as hardware
    from segmentation.model.precision import default_precision

    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # not Linux
        known = []
    flags = " ".join(flag for flag in FLAGS if flag in known) or "instructions unknown"
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)])
    precision = default_precision("cuda" if torch.cuda.is_available() else "cpu")
    return f"{hardware()}; {flags}; {versions}; fit chooses {precision}; {commit() or 'no commit'}; {date.today()}"


if __name__ == "__main__":
    print(machine())
