"""Networks by name: every architecture of SMP with most encoders, what SMP lacks, and the user's own."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from segmentation.errors import InputError, nearest
from segmentation.model.networks.any_size import AnySize
from segmentation.model.networks.fcn import FCN
from segmentation.model.networks.fusion import fuse
from segmentation.model.networks.imported import check_answer, first_line, imported_network
from segmentation.model.networks.plain_unet import PlainUnet


@dataclass(frozen=True)
class Architecture:
    """What a name stands for.

    Attributes:
        build: Takes ``in_channels``, ``classes``, with an encoder also ``encoder_name`` and ``encoder_weights``, and
            the options of its signature.
        doi: Of the paper.
        encoder: Its usual one, which it has where none is asked for; None for an architecture without.
        prefix: What the names of its encoders begin with.
    """

    build: Callable[..., nn.Module]
    doi: str
    encoder: str | None = "resnet18"
    prefix: str = ""


ARCHITECTURES = {
    "PlainUnet": Architecture(PlainUnet, "10.1007/978-3-319-24574-4_28", encoder=None),
    "Unet": Architecture(smp.Unet, "10.1007/978-3-319-24574-4_28"),
    "UnetPlusPlus": Architecture(smp.UnetPlusPlus, "10.1007/978-3-030-00889-5_1"),
    "MAnet": Architecture(smp.MAnet, "10.1109/ACCESS.2020.3025372"),
    "Linknet": Architecture(smp.Linknet, "10.1109/VCIP.2017.8305148"),
    "FCN": Architecture(FCN, "10.1109/CVPR.2015.7298965"),
    "FPN": Architecture(smp.FPN, "10.1109/CVPR.2019.00656"),
    "PSPNet": Architecture(smp.PSPNet, "10.1109/CVPR.2017.660"),
    "DeepLabV3": Architecture(smp.DeepLabV3, "10.48550/arXiv.1706.05587"),
    "DeepLabV3Plus": Architecture(smp.DeepLabV3Plus, "10.1007/978-3-030-01234-2_49"),
    "PAN": Architecture(smp.PAN, "10.48550/arXiv.1805.10180"),
    "UPerNet": Architecture(smp.UPerNet, "10.1007/978-3-030-01228-1_26"),
    "Segformer": Architecture(smp.Segformer, "10.48550/arXiv.2105.15203", "mit_b0"),
    # the Swin and vision transformers of timm take one size only unless told otherwise
    "SwinUnet": Architecture(
        partial(smp.Unet, strict_img_size=False),
        "10.1007/978-3-031-08999-2_22",
        "tu-swin_tiny_patch4_window7_224",
        "tu-swin",
    ),
    "DPT": Architecture(
        partial(smp.DPT, dynamic_img_size=True), "10.1109/ICCV48922.2021.01196", "tu-vit_tiny_patch16_224", "tu-"
    ),
}
"""Every name that ``model.network`` takes, beside import paths."""


def usual_encoder(name: str) -> str | None:
    """The encoder of a network where none is asked for; None for one without, such as PlainUnet or an import path."""
    return ARCHITECTURES[name].encoder if name in ARCHITECTURES else None


def build_network(
    name: str,
    encoder: str | None,
    encoder_weights: str | None,
    in_channels: int,
    out_channels: int,
    options: dict[str, Any],
    modalities: list[int] | None = None,
) -> AnySize:
    """A network by name.

    Args:
        name: Of ``ARCHITECTURES``, or the import path of a class of the user's own.
        encoder: An encoder of SMP (``resnet18``, ``mit_b2``, ...) or most of timm (``tu-...``); None for the usual one.
        encoder_weights: ``imagenet`` or another set of pretrained weights, downloaded; None for random ones.
        in_channels: C.
        out_channels: Logits per pixel: 1 for two classes, else K.
        options: Further arguments of the architecture.
        modalities: Channels of each modality, with an encoder for each; None for one encoder of all channels.

    Raises:
        InputError: For an unknown name or option, with the nearest known ones, for modalities that do not
            fit, for options with which it answers in another size, for an encoder of timm that takes one size only
            and does not say which, or when pretrained weights cannot be fetched.
    """
    if modalities is not None:
        _check_modalities(name, modalities, in_channels)
    if "." in name:
        return imported_network(name, in_channels, out_channels, options)
    if name not in ARCHITECTURES:
        raise InputError(
            f"model.network {name!r} is unknown" + nearest(name, list(ARCHITECTURES)) + " (your own: FILE.CLASS)"
        )
    networks = [
        _by_name(name, encoder, encoder_weights, channels, out_channels, options)
        for channels in modalities or [in_channels]
    ]
    network = networks[0] if modalities is None else fuse(networks, modalities)
    stride = getattr(network, "stride", 32)
    # PAN halves the encoder's last features three times
    shortest = 8 * network.encoder.output_stride if isinstance(network, smp.PAN) else 2 * stride
    sized = AnySize(network, stride, shortest, _fixed_size(network))
    cures = {
        "change model.network_options or leave them out": bool(options),
        "give another model.encoder (this one may take a single size only)": (encoder or "").startswith("tu-"),
    }
    cure = ", or ".join(text for text, helps in cures.items() if helps)
    if cure:
        # not a square, which some that take a single size would pass
        size = (in_channels, sized.shortest, sized.shortest if sized.fixed else sized.shortest + stride)
        check_answer(_named(name, encoder, options), network, size, out_channels, cure)
    return sized


def _by_name(
    name: str,
    encoder: str | None,
    encoder_weights: str | None,
    in_channels: int,
    out_channels: int,
    options: dict[str, Any],
) -> Any:
    architecture = ARCHITECTURES[name]
    arguments: dict[str, Any] = {"in_channels": in_channels, "classes": out_channels}
    encoder = None if architecture.encoder is None else encoder or architecture.encoder
    if encoder is None:
        encoder_weights = None
    else:
        _check_encoder(name, architecture, encoder)
        # a timm encoder names its weights itself (tu-resnet18.a1_in1k); SMP warns of anything but True
        weights = True if encoder_weights and encoder.startswith("tu-") else encoder_weights
        arguments |= {"encoder_name": encoder, "encoder_weights": weights}
    _check_options(name, architecture, options, set(arguments))
    try:
        network: Any = architecture.build(**arguments, **options)
    except Exception as error:
        if encoder_weights is not None:
            raise InputError(
                f"the {encoder_weights!r} weights of {encoder} could not be loaded ({first_line(error)}); "
                "set model.encoder_weights: null, or run once where the network can be reached"
            ) from error
        if isinstance(error, (ValueError, TypeError, LookupError, AssertionError, RuntimeError)):
            hint = f"; it takes encoders such as {architecture.encoder}" if architecture.prefix or not options else ""
            raise InputError(f"{_named(name, encoder, options)} cannot be built ({first_line(error)}){hint}") from error
        raise
    if isinstance(network, smp.DPT) and 32 % network.encoder.output_stride:
        raise InputError(
            f"model.network DPT takes patches of 8, 16 or 32 pixels, {encoder} has {network.encoder.output_stride}"
        )
    return network


def _named(name: str, encoder: str | None, options: dict[str, Any]) -> str:
    return f"{name}{f' with encoder {encoder}' if encoder else ''}{f' and {options}' if options else ''}"


def _fixed_size(network: nn.Module) -> int | None:
    """The side of the only image that a transformer of timm takes, None where it takes any."""
    sizes: list[Any] = [module.img_size for module in network.modules() if getattr(module, "strict_img_size", False)]
    return next((int(max(size)) for size in sizes if size is not None), None)


def _check_encoder(name: str, architecture: Architecture, encoder: str) -> None:
    known = smp.encoders.get_encoder_names()
    if not encoder.startswith(architecture.prefix):
        raise InputError(
            f"model.network {name} takes encoders named {architecture.prefix}..., model.encoder is {encoder!r}; "
            f"give one such as {architecture.encoder}"
        )
    if encoder.startswith("tu-"):
        import timm

        model = encoder.removeprefix("tu-")
        if not timm.is_model(model.split(".")[0]):
            raise InputError(
                f"model.encoder {encoder!r}: timm has no model {model!r}" + nearest(model, timm.list_models())
            )
    elif encoder not in known:
        raise InputError(
            f"model.encoder {encoder!r} is unknown" + nearest(encoder, known) + " (timm's models are named tu-...)"
        )


def _check_options(name: str, architecture: Architecture, options: dict[str, Any], taken: set[str]) -> None:
    parameters = inspect.signature(architecture.build).parameters
    known = [option for option, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
    for option in options:
        if option in ("activation", "aux_params"):
            raise InputError(
                f"model.network_options: {option} has no place here; the loss, the scores and the decision take logits"
            )
        if option in taken or option not in known:
            free = sorted(set(known) - taken - {"activation", "aux_params"})
            raise InputError(f"model.network_options: {name} takes no {option!r}" + nearest(option, free))


def _check_modalities(name: str, modalities: list[int], in_channels: int) -> None:
    if len(modalities) < 2 or min(modalities) < 1 or sum(modalities) != in_channels:
        raise InputError(
            f"model.modalities is {modalities}, the images have {in_channels} channels; give the channels of each of two "
            f"or more modalities, {in_channels} in all, or null for one encoder of all channels"
        )
    if "." in name or (name in ARCHITECTURES and ARCHITECTURES[name].encoder is None):
        raise InputError(
            f"model.modalities: {name} has no encoder that could be doubled; leave it out, which gives {name} all "
            f"{in_channels} channels together, or set model.network: Unet"
        )
