"""Parameters of a network that nothing in its answer depends on."""

import torch
from torch import Tensor, nn


def unused_parameters(network: nn.Module, image: Tensor) -> list[nn.Parameter]:
    """Those that get no gradient in a step of training, found by one; SMP keeps layers of an encoder that no decoder asks for.

    Args:
        network: In the mode of its training, which may answer with a list (deep supervision).
        image: (B, C, H, W); two or more, as batch normalisation wants.
    """
    before = [buffer.clone() for buffer in network.buffers()]
    answer = network(image)
    summed = torch.stack([logits.sum() for logits in (answer if isinstance(answer, list) else [answer])]).sum()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(summed, trained, allow_unused=True)
    for buffer, value in zip(network.buffers(), before, strict=True):
        buffer.copy_(value)
    return [parameter for parameter, gradient in zip(trained, gradients, strict=True) if gradient is None]
