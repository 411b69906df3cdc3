"""The U-Net of the paper, and its logits of every level."""

import torch
from torch import nn

from segmentation.model.networks.build import build_network
from segmentation.model.networks.plain_unet import PlainUnet


def test_plain_unet_is_that_of_the_paper():
    network = PlainUnet(in_channels=1, classes=2)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert round(parameters / 1e6, 1) == 31.0
    assert [block[0].out_channels for block in network.down] == [64, 128, 256, 512, 1024]
    assert [block[0].in_channels for block in network.up] == [1024, 512, 256, 128]
    assert [block[-3].out_channels for block in network.up] == [512, 256, 128, 64]
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size for layer in convolutions] == [(3, 3)] * 18 + [(1, 1)]
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in network.modules()) == 4
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()) == 18


def test_plain_unet_reads_no_encoder():
    network = build_network("PlainUnet", "no such encoder", "imagenet", 1, 1, {"width": 2})
    assert network.network.down[0][0].out_channels == 2


def test_deep_supervision_adds_heads_and_changes_nothing_else():
    image = torch.rand(2, 3, 64, 96)
    networks = []
    for supervised in (False, True):
        torch.manual_seed(0)
        networks.append(PlainUnet(3, 4, width=2, deep_supervision=supervised))
    plain, deep = networks
    added = deep.state_dict().keys() - plain.state_dict().keys()
    assert {key.split(".")[0] for key in added} == {"coarse_heads"}
    assert all(torch.equal(value, deep.state_dict()[key]) for key, value in plain.state_dict().items())
    finest, *coarse = deep(image)
    assert torch.equal(finest, plain(image))
    assert [logits.shape for logits in coarse] == [(2, 4, 32, 48), (2, 4, 16, 24), (2, 4, 8, 12)]
    assert torch.equal(deep.eval()(image), plain.eval()(image))


def test_every_head_learns():
    network = PlainUnet(1, 1, width=2, deep_supervision=True)
    torch.stack([logits.square().mean() for logits in network(torch.rand(2, 1, 32, 32))]).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
