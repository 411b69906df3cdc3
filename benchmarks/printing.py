"""What every benchmark prints: Markdown tables, medians with their spread, and the machine they were measured on.

python benchmarks/printing.py
"""

from collections.abc import Iterable, Sequence
from statistics import median

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

    from segmentation.evaluation.provenance import provenance
    from segmentation.model.precision import default_precision

    facts = provenance(*PACKAGES)
    precision = default_precision("cuda" if torch.cuda.is_available() else "cpu")
    shown = [facts[name] for name in ("machine", "CPU flags", "versions", "program")]
    return "; ".join([*shown, f"fit chooses {precision}", facts["when"].split(" ")[0]])


if __name__ == "__main__":
    print(machine())
