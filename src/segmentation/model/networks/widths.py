"""How many channels each layer of a network has, and the same network with fewer."""

import torch
from torch import nn

from segmentation.errors import InputError

Convolution = nn.Conv2d | nn.ConvTranspose2d

Widths = dict[str, list[int]]
"""Channels by name of the layer: [in, out, groups] of a convolution, [channels] of a batch normalisation."""


def widths_of(network: nn.Module) -> Widths:
    """The channels of all convolutions and batch normalisations."""
    found: Widths = {}
    for name, layer in network.named_modules():
        if isinstance(layer, Convolution):
            found[name] = [layer.in_channels, layer.out_channels, layer.groups]
        elif isinstance(layer, nn.BatchNorm2d):
            found[name] = [layer.num_features]
    return found


def set_widths(network: nn.Module, widths: Widths) -> None:
    """Give layers these channels, in place and with fresh weights; the layers themselves stay what they are.

    Raises:
        InputError: For a layer that the network has not, or numbers that do not fit its kind.
    """
    known = widths_of(network)
    layers = dict(network.named_modules())
    for name, numbers in widths.items():
        layer = layers.get(name)
        kind = len(known.get(name, ()))
        if not kind or len(numbers) != kind or min(numbers) < 1:
            raise InputError(
                f"model.widths: {name} has {known.get(name, 'no channels')} in this network, not {numbers}; "
                "take the widths from the checkpoint that prune wrote (--initial_weights)"
            )
        if isinstance(layer, Convolution):
            _set_convolution(layer, *numbers)
        elif isinstance(layer, nn.BatchNorm2d):
            _set_normalisation(layer, *numbers)


def _set_convolution(layer: Convolution, inwards: int, outwards: int, groups: int) -> None:
    if inwards % groups or outwards % groups:
        raise InputError(f"model.widths: {groups} groups divide neither {inwards} nor {outwards} channels evenly")
    layer.in_channels, layer.out_channels, layer.groups = inwards, outwards, groups
    shape = (inwards, outwards // groups) if layer.transposed else (outwards, inwards // groups)
    layer.weight = nn.Parameter(torch.empty(*shape, *layer.kernel_size))
    if layer.bias is not None:
        layer.bias = nn.Parameter(torch.empty(outwards))
    layer.reset_parameters()


def _set_normalisation(layer: nn.BatchNorm2d, channels: int) -> None:
    layer.num_features = channels
    if layer.affine:
        layer.weight, layer.bias = (nn.Parameter(torch.empty(channels)) for _ in range(2))
    if layer.track_running_stats:
        layer.running_mean, layer.running_var = torch.empty(channels), torch.empty(channels)
    layer.reset_parameters()
