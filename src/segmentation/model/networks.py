"""Networks by name: every architecture and encoder of SMP, what SMP lacks, and padding to the stride."""

import inspect
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.errors import InputError, nearest


class PlainUnet(nn.Module):
    """The U-Net of Ronneberger et al. 2015 (doi 10.1007/978-3-319-24574-4_28) with padded convolutions.

    Double convolutions of 64 to 1024 channels with batch normalisation, four poolings, transposed
    convolutions upwards. Trained from scratch; 31 million parameters.

    Args:
        in_channels: C of the input.
        classes: K of the logits.
        width: Channels of the first level; each level below has twice as many.
    """

    def __init__(self, in_channels: int, classes: int, width: int = 64) -> None:
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

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, K, H, W) for H, W divisible by 16."""
        skips = []
        for level, convolve in enumerate(self.down):
            image = convolve(image if level == 0 else self.pool(image))
            skips.append(image)
        image = skips.pop()
        for grow, convolve in zip(self.grow, self.up, strict=True):
            image = convolve(torch.cat([skips.pop(), grow(image)], dim=1))
        logits: Tensor = self.head(image)
        return logits


class AnySize(nn.Module):
    """A network for every H, W >= 1: replicates the border up to the stride, crops the answer back.

    The same lines run in eager mode and in an exported graph.

    Args:
        network: (B, C, H, W) -> (B, K, H, W) for H, W divisible by ``stride`` and not below ``shortest``.
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

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) float -> logits (B, K, H, W).

        Raises:
            InputError: For an image larger than ``fixed``.
        """
        height, width = image.shape[-2:]
        if self.fixed is not None and max(height, width) > self.fixed:
            raise InputError(
                f"the network takes images of {self.fixed}x{self.fixed} pixels only, this one is {height}x{width}; "
                f"set data.crop: {self.fixed}, or another model.encoder"
            )
        right, below = (
            torch.sym_max(self.shortest, length + (-length) % self.stride) - length for length in (width, height)
        )
        padded = F.pad(image, [0, right, 0, below], mode="replicate")  # type: ignore[list-item] # SymInt in an export
        logits: Tensor = self.network(padded)
        return logits[..., :height, :width]


ARCHITECTURES: dict[str, type[nn.Module]] = {
    "PlainUnet": PlainUnet,
    **{name: getattr(smp, name) for name in (
        "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet",
        "Segformer", "DPT",
    )},
}  # fmt: skip
"""Every name that ``model.network`` takes."""


def build_network(
    name: str,
    encoder: str,
    encoder_weights: str | None,
    in_channels: int,
    out_channels: int,
    options: dict[str, Any],
) -> AnySize:
    """A network by name.

    Args:
        name: Of ``ARCHITECTURES``.
        encoder: An encoder of SMP (``resnet18``, ``mit_b2``, ...) or of timm (``tu-...``); PlainUnet has none.
        encoder_weights: ``imagenet`` or another set of pretrained weights, downloaded; None for random ones.
        in_channels: C.
        out_channels: Logits per pixel: 1 for two classes, else K.
        options: Further arguments of the architecture.

    Raises:
        InputError: For an unknown name or option, with the nearest known ones, or when pretrained
            weights cannot be fetched.
    """
    if name not in ARCHITECTURES:
        raise InputError(f"model.network {name!r} is unknown" + nearest(name, list(ARCHITECTURES)))
    architecture = ARCHITECTURES[name]
    arguments: dict[str, Any] = {"in_channels": in_channels, "classes": out_channels}
    if architecture is not PlainUnet:
        _check_encoder(encoder)
        # a timm encoder names its weights itself (tu-resnet18.a1_in1k); SMP warns of anything but True
        weights = True if encoder_weights and encoder.startswith("tu-") else encoder_weights
        arguments |= {"encoder_name": encoder, "encoder_weights": weights}
    _check_options(architecture, options, set(arguments))
    if architecture is smp.DPT:
        arguments["dynamic_img_size"] = True  # of timm's vision transformers, which else take one size only
    try:
        network: Any = architecture(**arguments, **options)
    except Exception as error:
        if encoder_weights is not None and architecture is not PlainUnet:
            raise InputError(
                f"the {encoder_weights!r} weights of {encoder} could not be loaded ({_first_line(error)}); "
                "set model.encoder_weights: null, or run once where the network can be reached"
            ) from error
        if isinstance(error, (ValueError, TypeError, KeyError, AssertionError, RuntimeError, NotImplementedError)):
            hint = "; give a vision transformer of timm, such as tu-vit_tiny_patch16_224" if name == "DPT" else ""
            raise InputError(
                f"{name} with encoder {encoder} and {options} cannot be built ({_first_line(error)}){hint}"
            ) from error
        raise
    if architecture is smp.DPT and 32 % network.encoder.output_stride:
        raise InputError(
            f"model.network DPT takes patches of 8, 16 or 32 pixels, {encoder} has {network.encoder.output_stride}"
        )
    return AnySize(network, *_lengths(network), _fixed_size(network))


def _fixed_size(network: nn.Module) -> int | None:
    """The side of the only image that a transformer of timm takes, None where it takes any."""
    sizes: list[Any] = [module.img_size for module in network.modules() if getattr(module, "strict_img_size", False)]
    return next((int(max(size)) for size in sizes if size is not None), None)


def _lengths(network: Any) -> tuple[int, int]:
    """What H and W of a network must be divisible by, and their least."""
    if isinstance(network, PlainUnet):
        return 16, 32
    if isinstance(network, smp.PAN):  # halves the encoder's last features three times
        return 32, 8 * network.encoder.output_stride
    return 32, 64


def _double_convolution(narrow: int, wide: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (narrow, wide):
        layers += [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _check_encoder(encoder: str) -> None:
    known = smp.encoders.get_encoder_names()
    if encoder.startswith("tu-"):
        import timm

        name = encoder.removeprefix("tu-")
        if not timm.is_model(name.split(".")[0]):
            raise InputError(
                f"model.encoder {encoder!r}: timm has no model {name!r}" + nearest(name, timm.list_models())
            )
    elif encoder not in known:
        raise InputError(
            f"model.encoder {encoder!r} is unknown" + nearest(encoder, known) + " (timm's models are named tu-...)"
        )


def _check_options(architecture: type[nn.Module], options: dict[str, Any], taken: set[str]) -> None:
    parameters = inspect.signature(architecture).parameters
    known = [name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
    for option in options:
        if option in ("activation", "aux_params"):
            raise InputError(
                f"model.network_options: {option} has no place here; the loss, the scores and the decision take logits"
            )
        if option in taken or option not in known:
            free = sorted(set(known) - taken - {"activation", "aux_params"})
            raise InputError(
                f"model.network_options: {architecture.__name__} takes no {option!r}" + nearest(option, free)
            )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
