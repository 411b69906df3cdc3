"""Time of ``check`` on a drawn data set of PNG files, from reading to page.

python benchmarks/check_speed.py --pairs 1000 --size 512
"""

import argparse
import contextlib
import io
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image


def draw(root: Path, number: int, size: int) -> None:
    """One RGB image with grain, as photographs have, and a mask of 0 and 255."""
    random = np.random.default_rng(number)
    rows, columns = np.indices((size, size))
    disk = (rows - random.integers(size)) ** 2 + (columns - random.integers(size)) ** 2 < (size / 4) ** 2
    grain = random.integers(0, 16, (size, size, 3))
    image = (96 + 64 * np.sin(rows / 40))[..., None] + 60 * disk[..., None] + grain
    Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"{number:05d}.png", compress_level=1)
    Image.fromarray(np.where(disk, 255, 0).astype(np.uint8)).save(root / "masks" / f"{number:05d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "data")
        for part in ("images", "masks"):
            (root / part).mkdir(parents=True)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda number: draw(root, number, options.size), range(options.pairs)))
        began = time.perf_counter()
        from segmentation.__main__ import main as command

        with contextlib.redirect_stdout(io.StringIO()):
            status = command(["check", "--root", str(root), "--out", str(Path(folder, "out"))])
        seconds = time.perf_counter() - began
    if status != 0:
        raise SystemExit("check found problems")
    print(f"check of {options.pairs} pairs of {options.size}x{options.size}: {seconds:.1f} s with all imports")


if __name__ == "__main__":
    main()
