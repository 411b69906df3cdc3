"""Every benchmark script runs end to end at a tiny size."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def test_fit_speed() -> None:
    tiny = "--steps 2 --warmup 1 --pairs 1 --size 32 --batch_size 2 --encoder tu-test_resnet.r160_in1k"
    command = [sys.executable, str(SCRIPTS / "fit_speed.py"), *tiny.split(), "--precision", "32-true"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "fit/hand: median" in ended.stdout


def test_check_speed() -> None:
    command = [sys.executable, str(SCRIPTS / "check_speed.py"), "--pairs", "6", "--size", "48"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "check of 6 pairs of 48x48" in ended.stdout


def test_tiling_speed() -> None:
    command = [sys.executable, str(SCRIPTS / "tiling_speed.py"), "--size", "96", "--tile", "64", "--way"]
    command.append("segmentation")
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert json.loads(ended.stdout)["extra_mib"] >= 0


def test_large_image() -> None:
    command = [
        sys.executable,
        str(SCRIPTS / "large_image.py"),
        "--size",
        "600",
        "--encoder",
        "tu-test_resnet.r160_in1k",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "predict of 600x600: peak" in ended.stdout


def test_every_script_is_run_here() -> None:
    scripts = {path.name for path in SCRIPTS.glob("*.py")}
    assert scripts == {"check_speed.py", "fit_speed.py", "large_image.py", "tiling_speed.py"}
