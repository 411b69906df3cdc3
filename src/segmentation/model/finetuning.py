"""Fine-tuning: an encoder that learns more slowly than the decoder, or not at all at first."""

from collections.abc import Iterable
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from segmentation.errors import InputError

LAYER = 12
"""Tensors of an encoder in a layer, as timm counts: a transformer block, or four convolutions with normalisation."""


class FrozenEncoder(Callback):
    """Keeps an encoder as it is for the first epochs: its weights, and the statistics of its batch normalisation.

    Its gradients are computed and thrown away before each step, and optimizers leave alone what has none.
    ``requires_grad`` stays, because several processes agree on the gradients of a run before its first step.

    Args:
        encoder: Of the network that is trained.
        epochs: How many.
    """

    def __init__(self, encoder: nn.Module, epochs: int) -> None:
        self.encoder = encoder
        self.epochs = epochs

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Let batch normalisation count, or not; each time, as a run can be resumed in the middle of an epoch."""
        self.encoder.train(trainer.current_epoch >= self.epochs)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Throw the gradients away; before they are clipped, so that they count nothing there."""
        if trainer.current_epoch < self.epochs:
            for parameter in self.encoder.parameters():
                parameter.grad = None


def rates_by_layer(network: nn.Module, order: Iterable[nn.Parameter], lr: float, decay: float) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer whose rates fall towards the image (Bao et al. 2022, BEiT, arXiv 2106.08254).

    Of n layers of the encoder, layer i from 0 has the rate ``lr * decay ** (n - i)``; what is not in the encoder
    has ``lr``, and so has what the network does not use of it, such as the deepest stages that PSPNet leaves out.

    Args:
        network: With an ``encoder``, whose layers are ``LAYER`` of its parameters each; encoders side by side, such as
            one for each modality, have the same layers.
        order: The parameters that the network uses, those nearest to the image first.
        lr: Learning rate of the decoder.
        decay: Factor from a layer to the one below it.
    """
    encoder: Any = network.encoder
    beside = getattr(encoder, "encoders", [encoder])
    place = {parameter: i for i, parameter in enumerate(order)}
    ordered = [sorted(place.keys() & set(part.parameters()), key=place.__getitem__) for part in beside]
    layer_of = {parameter: i // LAYER for part in ordered for i, parameter in enumerate(part)}
    count = 1 + max(layer_of.values(), default=-1)
    layers: dict[int, list[nn.Parameter]] = {}
    for parameter in network.parameters():
        layers.setdefault(layer_of.get(parameter, count), []).append(parameter)
    return [
        {"params": layers[i], "lr": lr * decay ** (count - i), "name": f"encoder{i}" if i < count else "decoder"}
        for i in sorted(layers)
    ]


def check_finetuning(network: nn.Module, name: str, layer_decay: float | None, freeze_encoder: int) -> None:
    """Raise InputError for values out of range, or when the network, which is called ``name``, has no encoder."""
    if layer_decay is not None and not 0 < layer_decay < 1:
        raise InputError(
            f"model.layer_decay is {layer_decay}; give a factor above 0 and below 1, such as 0.75, or null"
        )
    if freeze_encoder < 0:
        raise InputError(f"model.freeze_encoder is {freeze_encoder}; give a number of epochs, 0 or more")
    asked = {"layer_decay": layer_decay is not None, "freeze_encoder": freeze_encoder > 0}
    for option, given in asked.items():
        if given and not isinstance(getattr(network, "encoder", None), nn.Module):
            raise InputError(
                f"model.{option} is for networks with an encoder, and {name} has none; leave it out, or take another "
                "model.network, such as Unet"
            )
