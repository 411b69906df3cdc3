"""Parameters of a network that nothing in its answer depends on."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def unused_parameters(network: nn.Module, channels: int) -> list[nn.Parameter]:
    """Those that get no gradient in a step of training, found by one; SMP keeps layers of an encoder that no decoder asks for.

    Args:
        network: In the mode of its training.
        channels: Of an image.
    """
    # where the weights are now, which is not where the module says while it is set up; two, as batch normalisation wants
    image = next(network.parameters()).new_zeros(2, channels, 1, 1)
    return [parameter for parameter, gradient in gradients(network, lambda: network(image)) if gradient is None]


def gradients(
    network: nn.Module, answer: Callable[[], Tensor | list[Tensor]]
) -> list[tuple[nn.Parameter, Tensor | None]]:
    """Gradients of the sum of an answer, which may be a list (deep supervision); those of training and statistics stay.

    Args:
        network: Whose parameters.
        answer: Sends an image through it.

    Returns:
        Each parameter that is trained, with None where the answer does not depend on it.
    """
    before = [buffer.clone() for buffer in network.buffers()]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        logits = answer()
        outputs = logits if isinstance(logits, list) else [logits]
        summed = torch.stack([output.float().sum() for output in outputs]).sum()
        return list(zip(trained, torch.autograd.grad(summed, trained, allow_unused=True), strict=True))
    finally:
        for buffer, value in zip(network.buffers(), before, strict=True):
            buffer.copy_(value)
