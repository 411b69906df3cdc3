"""The fully convolutional network, with torchvision's head on any encoder."""

import segmentation_models_pytorch as smp
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.fcn import FCNHead


class FCN(nn.Module):
    """The FCN of Long et al. 2015 (doi 10.1109/CVPR.2015.7298965) as torchvision's ``fcn_resnet50`` has it.

    An encoder dilated to stride 8, two convolutions and bilinear upsampling; no skip connections. torchvision has
    it for resnet50 and resnet101 in RGB alone.

    Args:
        in_channels: C of the input.
        classes: K of the logits.
        encoder_name: An encoder of SMP.
        encoder_weights: Of the encoder; None for random ones.
        encoder_output_stride: Pixels of the image to one of the encoder's last features: 8, 16, or 32 for encoders that
            cannot be dilated.
        aux_loss: Logits also of the encoder's last features but one, in training alone.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        encoder_name: str,
        encoder_weights: str | None = None,
        encoder_output_stride: int = 8,
        aux_loss: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = smp.encoders.get_encoder(
            encoder_name, in_channels=in_channels, weights=encoder_weights, output_stride=encoder_output_stride
        )
        *_, middle, last = self.encoder.out_channels
        self.head: nn.Module = FCNHead(last, classes)
        self.aux_head: nn.Module | None = FCNHead(middle, classes) if aux_loss else None

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(B, C, H, W) -> logits (B, K, H, W); with ``aux_loss`` in training mode a list of them and the coarser ones."""
        *_, middle, last = self.encoder(image)
        logits = F.interpolate(self.head(last), size=image.shape[-2:], mode="bilinear")
        return [logits, self.aux_head(middle)] if self.training and self.aux_head is not None else logits
