"""Channels that a trained network can do without, taken out of it."""

from math import ceil
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from segmentation.errors import InputError
from segmentation.model.networks.any_size import AnySize
from segmentation.model.networks.widths import Widths, widths_of

MULTIPLE = 8
"""Of channels that a layer keeps, as vector units and tensor cores take them; rounded up, so that thin layers keep more."""

PRUNED = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
"""Layers with weights that a network may have."""


def prune_channels(network: AnySize, in_channels: int, share: float) -> Widths:
    """Take the least important channels out of every layer, in place.

    Layers that are added, concatenated or normalised together lose the same channels, a group (Fang et al. 2023, DepGraph,
    arXiv 2301.12900). A channel counts as much as the squares of all weights that write or read it, as a share of the
    mean over its group. Every group loses the same share, so that the work falls as about the square of what stays: ranked
    over all layers, most of the channels would go from the deep ones, which hold the weights but do little of the work.
    The logits stay what they are.

    Args:
        network: Trained.
        in_channels: C of its images.
        share: Of the channels, above 0 and below 1.

    Returns:
        The layers that have other channels now.

    Raises:
        InputError: For a network with other layers than convolutions and batch normalisation, and where nothing can go.
    """
    if not 0 < share < 1:
        raise InputError(f"--share is {share}; give a share of the channels above 0 and below 1, such as 0.5")
    inner = network.network
    _check_layers(inner)
    before = widths_of(inner)
    images = [torch.zeros(2, in_channels, network.shortest, network.shortest)]
    try:
        with torch.enable_grad():
            graph = tp.DependencyGraph().build_dependency(inner, images, forward_fn=_answers)
            pruner = tp.pruner.BasePruner(
                inner,
                images,
                importance=tp.importance.GroupMagnitudeImportance(),
                pruning_ratio=share,
                pruning_ratio_dict=_shares(inner, share),
                ignored_layers=_heads(graph),
                forward_fn=_answers,
            )
        shapes = _shapes(inner, images)
        pruner.step()
        if _shapes(inner, images) != shapes:
            raise ValueError("its logits would have another shape")
    except (RuntimeError, ValueError, IndexError, KeyError, AssertionError, AttributeError) as error:
        raise InputError(
            f"{type(inner).__name__} cannot be pruned ({type(error).__name__}: {str(error).splitlines()[0]}); PlainUnet can, and "
            "Unet, UnetPlusPlus, Linknet, FCN, PSPNet, DeepLabV3, DeepLabV3Plus and PAN with a resnet, efficientnet or mobilenet"
        ) from error
    after = widths_of(inner)
    changed = {name: numbers for name, numbers in after.items() if numbers != before[name]}
    if not changed:
        raise InputError(
            f"no channel can go with --share {share}: every layer keeps a multiple of {MULTIPLE} channels; give a larger share"
        )
    return changed


def _check_layers(network: nn.Module) -> None:
    others = {
        type(layer).__name__: name
        for name, layer in network.named_modules()
        if not isinstance(layer, PRUNED) and next(layer.parameters(recurse=False), None) is not None
    }
    if others:
        found = ", ".join(f"{kind} ({name})" for kind, name in others.items())
        raise InputError(
            f"prune takes networks of convolutions and batch normalisation, such as Unet with resnet18; this one has {found}. "
            "A smaller encoder taught by this checkpoint (distillation.teacher) is the other way to a smaller network"
        )


def _answers(network: nn.Module, images: list[Tensor]) -> Any:
    """In training mode, where deep supervision answers too, except that statistics stay as they are."""
    network.train()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    return network(*images)


def _shapes(network: nn.Module, images: list[Tensor]) -> list[torch.Size]:
    with torch.no_grad():
        answers = _answers(network, images)
    return [answer.shape for answer in (answers if isinstance(answers, list) else [answers])]


def _shares(network: nn.Module, share: float) -> dict[nn.Module, float]:
    """Of each layer, such that it keeps a multiple of channels and loses no more than the share."""
    channels = {layer: len(layer.weight) for layer in network.modules() if isinstance(layer, nn.Conv2d)}
    kept = {layer: MULTIPLE * ceil(round(n * (1 - share) / MULTIPLE, 6)) for layer, n in channels.items()}
    return {layer: max(0.0, 1 - kept[layer] / n) for layer, n in channels.items()}


def _heads(graph: Any) -> list[nn.Module]:
    """The layers whose channels are the logits: nothing that comes after them would hide a lost one."""
    return [
        group[0].dep.target.module
        for group in graph.get_all_groups()
        if any(graph.is_out_channel_pruning_fn(dep.handler) and not dep.target.outputs for dep, _ in group)
    ]
