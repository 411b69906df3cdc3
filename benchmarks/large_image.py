"""Peak memory and time of ``predict`` on a large tiled TIFF, drawn for it; a process of its own is measured.

python benchmarks/large_image.py --size 20000
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

TILE = 512


def tiles(size: int) -> Iterator[NDArray[np.uint8]]:
    """Waves with grain, tile by tile."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((TILE, TILE))
    for top in range(0, size, TILE):
        for left in range(0, size, TILE):
            waves = 100 + 60 * np.sin((rows + top) / 40) * np.cos((columns + left) / 60)
            yield (waves + random.integers(0, 40, (TILE, TILE))).astype(np.uint8)


def save_untrained(path: Path, encoder: str) -> None:
    """A checkpoint of a Unet as ``fit`` starts it, for 8-bit grey images of two classes."""
    import torch

    from segmentation.inference.intensity import Intensity
    from segmentation.model.module import SegmentationModule

    torch.manual_seed(0)
    module = SegmentationModule({"names": ["background", "cell"]}, 1, encoder=encoder)
    module.intensity = Intensity("uint8")
    module.mean.fill_(120)
    module.std.fill_(40)
    checkpoint = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=20_000, help="side of the image in pixels")
    parser.add_argument("--ckpt_path", help="of a network for 8-bit grey images; an untrained Unet by default")
    parser.add_argument("--encoder", default="resnet18", help="of the untrained Unet")
    parser.add_argument("--write", default="labels")
    parser.add_argument("--more", default="", help="further arguments of predict, such as '--tta flips'")
    parser.add_argument("--untrained", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.untrained:  # in a process of its own: what this one holds would count as memory of its child
        save_untrained(options.untrained, options.encoder)
        return
    with tempfile.TemporaryDirectory() as folder:
        image, out = Path(folder, "large.tif"), Path(folder, "out")
        shape = (options.size, options.size)
        tifffile.imwrite(
            image, tiles(options.size), shape=shape, dtype=np.uint8, tile=(TILE, TILE), compression="zlib", maxworkers=1
        )
        ckpt_path = options.ckpt_path
        if ckpt_path is None:
            ckpt_path = f"{folder}/untrained.ckpt"
            made = [sys.executable, __file__, "--untrained", ckpt_path, "--encoder", options.encoder]
            subprocess.run(made, check=True)
        command = [sys.executable, "-m", "segmentation", "predict", str(image), "--ckpt_path", ckpt_path]
        began = time.perf_counter()
        child = subprocess.Popen([*command, "--out", str(out), "--write", options.write, *options.more.split()])
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)  # subprocess has not seen it end
        if child.returncode != 0:
            raise SystemExit("predict failed")
        for path in sorted(out.rglob("*.tif")):
            with tifffile.TiffFile(path) as file:
                page = file.pages[0].aspage()
                print(
                    f"{path.relative_to(out)}: {page.shape}, {page.dtype}, tiled {page.is_tiled}, {path.stat().st_size >> 20} MiB"
                )
    megapixels = options.size**2 / 1e6
    # in KiB on Linux, in bytes on macOS
    peak = usage.ru_maxrss / (2**20 if sys.platform == "linux" else 2**30)
    print(
        f"predict of {options.size}x{options.size}: peak {peak:.2f} GiB, {seconds:.1f} s, {megapixels / seconds:.2f} megapixels/s"
    )


if __name__ == "__main__":
    main()
