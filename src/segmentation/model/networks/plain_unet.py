"""The U-Net as it was published, without an encoder of its own name."""

import torch
from torch import Tensor, nn


class PlainUnet(nn.Module):
    """The U-Net of Ronneberger et al. 2015 (doi 10.1007/978-3-319-24574-4_28) with padded convolutions.

    Double convolutions of 64 to 1024 channels with batch normalisation, four poolings, transposed
    convolutions upwards. Trained from scratch; 31 million parameters.

    Args:
        in_channels: C of the input.
        classes: K of the logits.
        width: Channels of the first level; each level below has twice as many.
        deep_supervision: Logits also of the levels of 1/2, 1/4 and 1/8 of the size, in training alone
            (Lee et al. 2015, doi 10.48550/arXiv.1409.5185).
    """

    stride = 16

    def __init__(self, in_channels: int, classes: int, width: int = 64, deep_supervision: bool = False) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(
            _double_convolution(narrow, wide) for narrow, wide in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(wide, wide // 2, kernel_size=2, stride=2) for wide in reversed(widths[1:])
        )
        self.up = nn.ModuleList(_double_convolution(wide, wide // 2) for wide in reversed(widths[1:]))
        self.head = nn.Conv2d(width, classes, kernel_size=1)
        supervised = reversed(widths[1:-1]) if deep_supervision else ()
        self.coarse_heads = nn.ModuleList(nn.Conv2d(wide, classes, kernel_size=1) for wide in supervised)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(B, C, H, W) -> logits (B, K, H, W) for H, W divisible by 16.

        With deep supervision, in training mode: a list of them and those of 1/2, 1/4 and 1/8 of the size.
        """
        skips = []
        for level, convolve in enumerate(self.down):
            image = convolve(image if level == 0 else self.pool(image))
            skips.append(image)
        image = skips.pop()
        coarse: list[Tensor] = []
        for level, (grow, convolve) in enumerate(zip(self.grow, self.up, strict=True)):
            image = convolve(torch.cat([skips.pop(), grow(image)], dim=1))
            if self.training and level < len(self.coarse_heads):
                coarse.insert(0, self.coarse_heads[level](image))
        logits: Tensor = self.head(image)
        return [logits, *coarse] if coarse else logits


def _double_convolution(narrow: int, wide: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (narrow, wide):
        layers += [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
