"""Tiled inference against MONAI's ``sliding_window_inference``: time, peak memory, difference of the answers.

The same network, tile, overlap, Gaussian weights and precision. Every run is a process of its own, in pairs of changing
order; the ratio of each pair is taken. Needs MONAI, which the project does not: ``pip install monai``.

    python benchmarks/tiling_speed.py --size 2048 --tile 512 --overlap 0.5 --pairs 5
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segmentation.inference.tiling import Tiling, run
from segmentation.model.networks import build_network
from segmentation.model.precision import autocast, default_precision

WAYS = ("segmentation", "monai")


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


def answer(way: str, predict: Callable[[Tensor], Tensor], image: Tensor, tiling: Tiling) -> Tensor:
    """Probabilities (1, 2, H, W) of an image (1, 1, H, W)."""
    if way == "segmentation":
        result: Tensor = run(predict, image, tiling)
        return result
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


@torch.inference_mode()
def measure(way: str, size: int, tiling: Tiling, device: str) -> dict[str, float]:
    """Seconds of one image, and the memory it took beyond that of one tile, in MiB."""
    predict = network_of(device)
    image = torch.randint(256, (1, 1, size, size), generator=torch.Generator().manual_seed(1)).float()
    image = image.to(device)
    answer(way, predict, image[..., : tiling.tile, : 2 * tiling.tile], tiling)
    if device == "cuda":
        torch.cuda.synchronize()
    before, began = peak_memory(device), time.perf_counter()
    answer(way, predict, image, tiling)
    if device == "cuda":
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - began, "extra_mib": peak_memory(device) - before}


@torch.inference_mode()
def difference(size: int, tiling: Tiling, device: str) -> tuple[float, float]:
    """Largest and mean difference of the probabilities of the two ways."""
    predict = network_of(device)
    image = torch.randint(256, (1, 1, size, size), generator=torch.Generator().manual_seed(1)).float()
    answers = [answer(way, predict, image.to(device), tiling) for way in WAYS]
    apart = (answers[0] - answers[1]).abs()
    return float(apart.max()), float(apart.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="side of the square image")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=1, help="tiles that go through the network together")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--way", choices=WAYS, help="measure one run of one way and print it as JSON")
    options = parser.parse_args()
    tiling = Tiling(options.tile, options.overlap, options.batch)
    if options.way:
        print(json.dumps(measure(options.way, options.size, tiling, options.device)))
        return
    ratios = []
    for pair in range(options.pairs):
        found = {}
        for way in WAYS if pair % 2 == 0 else WAYS[::-1]:
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        ratios.append(found["segmentation"]["seconds"] / found["monai"]["seconds"])
        shown = "  ".join(
            f"{way} {value['seconds']:.2f} s, +{value['extra_mib']:.0f} MiB" for way, value in found.items()
        )
        print(f"{shown}  ratio of time {ratios[-1]:.3f}", flush=True)
    largest, mean = difference(options.size, tiling, options.device)
    print(f"median ratio of time {statistics.median(ratios):.3f} (below 1: faster than MONAI)")
    print(f"difference of the probabilities: largest {largest:.2e}, mean {mean:.2e}")


if __name__ == "__main__":
    main()
