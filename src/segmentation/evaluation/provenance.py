"""With what a result was computed: when, program, versions, processor, cards."""

import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

FAST = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "i8mm", "bf16")
"""Flags of a processor that decide which number formats are fast on it."""


def provenance(*packages: str) -> dict[str, str]:
    """What a reader must know to compute a result again, as label -> text.

    Args:
        packages: Whose versions matter beside Python's.
    """
    info = _cpuinfo()
    flags = {flag for name in ("flags", "Features") for flag in info.get(name, "").split()}
    return {
        "when": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "program": ", ".join(filter(None, (f"segmentation {version('segmentation')}", commit()))),
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions(packages)]),
        "machine": _machine(info.get("model name") or platform.processor() or platform.machine()),
        "CPU flags": ", ".join(flag for flag in FAST if flag in flags) or "unknown",
    }


def commit() -> str:
    """The commit of this program's checkout, ``-dirty`` when files were changed since; empty when it is installed."""
    git, here = shutil.which("git"), Path(__file__)
    if git is None:
        return ""

    def asked(*args: str) -> str:
        answer = subprocess.run([git, "-C", str(here.parent), *args], capture_output=True, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else ""

    # an installed copy may lie within a checkout of something else
    if not asked("ls-files", "--error-unmatch", here.name):
        return ""
    return f"commit {found}" if (found := asked("describe", "--always", "--dirty", "--exclude=*")) else ""


def _machine(cpu: str) -> str:
    """Processor, threads this process uses, graphics cards, system."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    cards = ", ".join(gpus) or "no GPU"
    return f"{cpu}, {torch.get_num_threads()} threads; {cards}; {platform.system()} {platform.release()}"


def _versions(packages: tuple[str, ...]) -> Iterator[str]:
    for package in packages:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"no {package}"


def _cpuinfo() -> dict[str, str]:
    """Of the first processor, as Linux alone says it; empty elsewhere."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}
