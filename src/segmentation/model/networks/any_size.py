"""Networks that take multiples of a stride, for images of any size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.errors import InputError


class AnySize(nn.Module):
    """A network for every H, W >= 1: replicates the border up to the stride, crops the answer back.

    The same lines run in eager mode and in an exported graph.

    Args:
        network: (B, C, H, W) -> (B, K, H, W) for H, W divisible by ``stride`` and not below ``shortest``. In training
            mode it may answer with a list (deep supervision): the same first, then coarser logits (B, K, h, w) that
            cover the same area.
        stride: What H and W must be divisible by.
        shortest: The least H and W, a multiple of ``stride``.
        fixed: The only H and W that the network takes; smaller images are padded to it. None for any.
    """

    def __init__(self, network: nn.Module, stride: int = 32, shortest: int = 64, fixed: int | None = None) -> None:
        super().__init__()
        self.network = network
        self.stride = fixed or stride
        self.shortest = fixed or shortest
        self.fixed = fixed

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(B, C, H, W) float -> logits (B, K, H, W), or a list of such where the network answers with a list.

        Raises:
            InputError: For an image larger than ``fixed``.
        """
        height, width = image.shape[-2:]
        if self.fixed is not None and max(height, width) > self.fixed:
            raise InputError(
                f"the network takes images of {self.fixed}x{self.fixed} pixels only, this one is {height}x{width}; "
                f"set data.crop: {self.fixed}, or another model.encoder"
            )
        # in whole strides: with a remainder instead, the sizes in an exported graph grow too long to be simplified; and
        # rounded up without negative numbers, which ONNX divides otherwise
        least, rest = self.shortest // self.stride, self.stride - 1
        right, below = (
            torch.sym_max(least, (length + rest) // self.stride) * self.stride - length for length in (width, height)
        )
        padded = F.pad(image, [0, right, 0, below], mode="replicate")  # type: ignore[list-item] # SymInt in an export
        answer: Tensor | list[Tensor] = self.network(padded)
        if isinstance(answer, Tensor):
            return answer[..., :height, :width]
        size = padded.shape[-2:]
        return [F.interpolate(logits, size, mode="bilinear")[..., :height, :width] for logits in answer]
