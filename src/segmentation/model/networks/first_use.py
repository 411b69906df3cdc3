"""In which order a network uses its parameters, whatever the order in which they were made."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


def by_first_use(network: nn.Module, image: Tensor) -> list[nn.Parameter]:
    """The parameters that the image (B, C, H, W) meets, in the order in which it does."""
    training = network.training
    with torch.no_grad(), _Uses() as uses:
        network.eval()(image)
    network.train(training)
    return list(dict.fromkeys(uses.parameters))


class _Uses(TorchFunctionMode):
    """Notes the parameters that torch's functions are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.parameters: list[nn.Parameter] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.parameters += [value for value in tree_leaves((args, kwargs)) if isinstance(value, nn.Parameter)]
        return func(*args, **kwargs)
