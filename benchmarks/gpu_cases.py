"""The networks and batches of ``gpu.py``, and images for them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """A network, and its batch (batch, channels, size, size)."""

    network: str
    encoder: str | None
    channels: int
    size: int
    batch: int

    def __str__(self) -> str:
        name = " ".join(filter(None, (self.network, self.encoder)))
        return f"{name}, {self.batch}x{self.channels}x{self.size}x{self.size}"

    @property
    def augment(self) -> str:
        """The preset for such images."""
        return "em" if self.channels == 1 else "natural"


def random_batch(case: Case) -> tuple[Tensor, Tensor]:
    """Image (B, C, H, W) and mask (B, H, W), uint8 on the CPU."""
    draws = torch.Generator().manual_seed(0)
    image = torch.randint(256, (case.batch, case.channels, case.size, case.size), dtype=torch.uint8, generator=draws)
    return image, (image[:, 0] > 127).to(torch.uint8)


def images_of(case: Case, scratch: Path) -> Path:
    """A folder of 40 images and masks, somewhat larger than the crops; drawn once."""
    root = scratch / f"images-{case.channels}-{case.size}"
    if not root.exists():
        random = np.random.default_rng(0)
        for part in ("images", "masks"):
            (root / part).mkdir(parents=True)
        side = case.size // 8 + 16
        for number in range(40):
            pixels = random.integers(256, size=(side, side, case.channels), dtype=np.uint8)
            pixels = pixels.repeat(8, axis=0).repeat(8, axis=1)
            Image.fromarray(pixels.squeeze()).save(root / "images" / f"{number}.png")
            Image.fromarray((pixels[..., 0] > 127).astype(np.uint8)).save(root / "masks" / f"{number}.png")
    return root
