"""Tiled inference against a naive loop and MONAI's ``sliding_window_inference``: time, peak memory, difference of the answers.

The same network, tile, overlap and precision, in turns; MONAI with the same Gaussian weights, the naive loop with the plain mean
of its tiles. Memory is that of a process for each way. MONAI takes part where it is installed: ``pip install monai``.

    python benchmarks/tiling_speed.py --size 1536 --tile 512 --overlap 0.5 --rounds 3
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from printing import machine, ratios, spread, table
from torch import Tensor

from segmentation.inference.tiling import Tiling, run
from segmentation.model.networks.build import build_network
from segmentation.model.precision import autocast, default_precision

WAYS = ("segmentation", "naive", "monai") if find_spec("monai") else ("segmentation", "naive")


def network_of(device: str) -> Callable[[Tensor], Tensor]:
    """Unet(resnet18) with random weights, the same in every process: (N, 1, h, w) in 0..255 -> (N, 2, h, w) probabilities."""
    torch.manual_seed(0)
    network = build_network("Unet", "resnet18", None, 1, 2, {}).eval().to(device).to(memory_format=torch.channels_last)
    precision = default_precision(device)

    def predict(tiles: Tensor) -> Tensor:
        with autocast(precision, device):
            pixels = (tiles / 255).contiguous(memory_format=torch.channels_last)
            probabilities: Tensor = network(pixels).float().softmax(1)
            return probabilities

    return predict


def naive(predict: Callable[[Tensor], Tensor], image: Tensor, tiling: Tiling) -> Tensor:
    """Tile after tile, added to a sum of the size of the image and divided by how many lie on each pixel."""
    height, width = image.shape[-2:]
    step = max(1, round(tiling.tile * (1 - tiling.overlap)))
    total, count = torch.zeros(1, 2, height, width), torch.zeros(1, 1, height, width)
    for top in range(0, max(1, height - tiling.tile + step), step):
        for left in range(0, max(1, width - tiling.tile + step), step):
            first_row, first_column = min(top, max(0, height - tiling.tile)), min(left, max(0, width - tiling.tile))
            rows = slice(first_row, first_row + tiling.tile)
            columns = slice(first_column, first_column + tiling.tile)
            total[..., rows, columns] += predict(image[..., rows, columns]).cpu()
            count[..., rows, columns] += 1
    return total / count


def answer(way: str, predict: Callable[[Tensor], Tensor], image: Tensor, tiling: Tiling) -> Tensor:
    """Probabilities (1, 2, H, W) of an image (1, 1, H, W)."""
    if way == "segmentation":
        result: Tensor = run(predict, image, tiling)
        return result
    if way == "naive":
        return naive(predict, image, tiling)
    from monai.inferers import sliding_window_inference  # type: ignore[import-not-found] # no dependency

    size = (tiling.tile, tiling.tile)
    inferred: Any = sliding_window_inference(
        image, size, tiling.batch, predict, tiling.overlap, mode="gaussian", sigma_scale=1 / 8
    )
    return torch.as_tensor(inferred)


def peak_memory(device: str) -> float:
    """MiB so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def image_of(size: int, device: str) -> Tensor:
    """Noise (1, 1, size, size) in 0..255."""
    return torch.randint(256, (1, 1, size, size), generator=torch.Generator().manual_seed(1)).float().to(device)


@torch.inference_mode()
def extra_memory(way: str, size: int, tiling: Tiling, device: str) -> float:
    """MiB that an image takes beyond what two of its tiles take, of this process."""
    predict, image = network_of(device), image_of(size, device)
    answer(way, predict, image[..., : tiling.tile, : 2 * tiling.tile], tiling)
    before = peak_memory(device)
    answer(way, predict, image, tiling)
    return peak_memory(device) - before


@torch.inference_mode()
def seconds(way: str, predict: Callable[[Tensor], Tensor], image: Tensor, tiling: Tiling) -> float:
    """Of one image."""
    began = time.perf_counter()
    answer(way, predict, image, tiling)
    if image.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


@torch.inference_mode()
def difference(
    way: str, predict: Callable[[Tensor], Tensor], image: Tensor, tiling: Tiling
) -> tuple[float, float, float]:
    """Between the probabilities and those of another way: largest, largest further than a tile from the border, mean.

    MONAI raises small weights to 0.001 of the largest, so that near the border of the image the answers at a tile's
    edge count as much as those of the tile around it.
    """
    ours, theirs = (answer(each, predict, image, tiling).cpu() for each in (WAYS[0], way))
    apart, tile = (ours - theirs).abs(), tiling.tile
    inside = apart[..., tile:-tile, tile:-tile]
    return float(apart.max()), float(inside.max()) if inside.numel() else float("nan"), float(apart.mean())


def memory_of(way: str) -> float:
    """``extra_memory`` of a process of its own, called as this one is."""
    command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(ended.stdout)["extra_mib"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1536, help="side of the square image")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=1, help="tiles that go through the network together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no_memory", action="store_true", help="leave out the processes that measure memory")
    parser.add_argument("--way", choices=WAYS, help="print the extra memory of one way as JSON, and end")
    options = parser.parse_args()
    tiling = Tiling(options.tile, options.overlap, options.batch)
    if options.way:
        print(json.dumps({"extra_mib": extra_memory(options.way, options.size, tiling, options.device)}))
        return
    predict, image = network_of(options.device), image_of(options.size, options.device)
    for way in WAYS:
        seconds(way, predict, image, tiling)
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(options.rounds):
        for way in WAYS if turn % 2 == 0 else WAYS[::-1]:
            taken[way].append(seconds(way, predict, image, tiling))
    print("## Tiled inference\n")
    rows = []
    for way in WAYS:
        memory = "" if options.no_memory else f"{memory_of(way):.0f}"
        speed = [options.size**2 / 1e6 / each for each in taken[way]]
        rows.append((way, ratios(taken["segmentation"], taken[way]), spread(taken[way]), spread(speed), memory))
    print(table(("way", "time of segmentation / of this", "seconds", "megapixels/s", "MiB beyond two tiles"), rows))
    for way in WAYS[1:]:
        largest, inside, mean = difference(way, predict, image, tiling)
        print(f"\nDifference to {way}: largest {largest:.2e}, inside {inside:.2e}, mean {mean:.2e}.")
    print(
        f"\n{options.size}x{options.size} in tiles of {options.tile} with overlap {options.overlap:g}, "
        f"{options.rounds} rounds, medians (lowest to highest). {machine()}"
    )


if __name__ == "__main__":
    main()
