"""In which order an image meets the parameters."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.model.networks.first_use import by_first_use


class Backwards(nn.Module):
    """Made from its end: a head, a layer that nothing asks for, a layer used twice, what is added to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(2, 1, 1)
        self.unused = nn.BatchNorm2d(2)
        self.first = nn.Conv2d(2, 2, 1)
        self.added = nn.Parameter(torch.zeros(1, 1))

    def forward(self, image: Tensor) -> Tensor:
        image = self.first(image + self.added)
        return self.head(F.conv2d(image, self.first.weight))


def test_the_parameters_that_an_image_meets_come_in_that_order() -> None:
    network = Backwards()
    names = {parameter: name for name, parameter in network.named_parameters()}
    assert [names[parameter] for parameter in by_first_use(network, torch.zeros(1, 2, 4, 4))] == [
        *("added", "first.weight", "first.bias", "head.weight", "head.bias")
    ]
    assert network.training
