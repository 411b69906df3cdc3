"""What of a network gets no gradient."""

import pytest
import torch

from segmentation.model.networks.build import build_network
from segmentation.model.networks.unused import unused_parameters


@pytest.mark.parametrize(
    ("name", "encoder", "options", "unused"),
    [
        ("PSPNet", "resnet18", {}, {"encoder.layer3", "encoder.layer4"}),
        ("Unet", "efficientnet-b0", {}, {"encoder._conv_head", "encoder._bn1"}),
        ("Unet", "resnet18", {"encoder_depth": 4, "decoder_channels": [8, 8, 8, 8]}, {"encoder.layer4"}),
        ("Unet", "resnet18", {}, set()),
        ("PlainUnet", None, {"width": 2, "deep_supervision": True}, set()),
        ("FCN", "resnet18", {"aux_loss": True}, set()),
    ],
)
def test_layers_that_nothing_asks_for_are_found_and_the_network_stays_as_it_is(name, encoder, options, unused):
    network = build_network(name, encoder, None, 3, 1, options)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = {id(parameter) for parameter in unused_parameters(network, 3)}
    names = [key.removeprefix("network.") for key, value in network.named_parameters() if id(value) in found]
    assert {".".join(key.split(".")[:2]) for key in names} == unused
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
