"""Pruned networks: sizes by hand, which channels go, and every architecture rebuilt from its widths."""

from typing import Any

import pytest
import torch
from torch import nn

from segmentation.commands.networks import multiplications
from segmentation.deployment.pruning import prune_channels
from segmentation.errors import InputError
from segmentation.model.networks.any_size import AnySize
from segmentation.model.networks.build import build_network
from segmentation.model.networks.widths import set_widths

TINY = "tu-test_resnet.r160_in1k"


def plain(width: int, **options: Any) -> AnySize:
    return build_network("PlainUnet", None, None, 1, 1, {"width": width, **options})


def parameters(network: AnySize) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_half_of_the_channels_are_a_network_of_half_the_width():
    network, half = plain(16), plain(8)
    prune_channels(network, 1, 0.5)
    assert parameters(network) == parameters(half)
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in half.state_dict().items()
    }
    assert network.eval()(torch.rand(1, 1, 20, 33)).shape == (1, 1, 20, 33)
    assert multiplications(network, 1, 64) == multiplications(half, 1, 64)


def test_a_layer_keeps_a_multiple_of_eight_and_no_less_than_its_share():
    network = plain(16)
    prune_channels(network, 1, 0.3)
    widths = [block[0].out_channels for block in network.network.down]
    assert widths == [16, 24, 48, 96, 184]  # of 11.2, 22.4, 44.8, 89.6 and 179.2


def test_the_channels_with_the_smallest_weights_go():
    network = plain(16)
    first, norm, _, second = network.network.down[0][:4]
    with torch.no_grad():
        first.weight[::2] *= 1e-3
        norm.weight[::2] = 1e-3
        second.weight[:, ::2] *= 1e-3
    kept = first.weight[1::2].clone()
    prune_channels(network, 1, 0.5)
    assert torch.equal(network.network.down[0][0].weight, kept)


def test_heads_keep_their_logits_and_those_of_deep_supervision_follow():
    network = build_network("PlainUnet", None, None, 1, 3, {"width": 16, "deep_supervision": True})
    prune_channels(network, 1, 0.5)
    heads = [network.network.head, *network.network.coarse_heads]
    assert [(head.in_channels, head.out_channels) for head in heads] == [(8, 3), (64, 3), (32, 3), (16, 3)]
    answers = network.train()(torch.rand(2, 1, 32, 32))
    assert [answer.shape for answer in answers] == [(2, 3, 32, 32)] * 4


@pytest.mark.parametrize(
    "name",
    ["Unet", "UnetPlusPlus", "Linknet", "FCN", "PSPNet", "DeepLabV3Plus", "PAN"],
)
def test_a_pruned_network_is_rebuilt_from_its_widths(name):
    network = build_network(name, TINY, None, 3, 4, {})
    whole = parameters(network)
    widths = prune_channels(network, 3, 0.5)
    assert parameters(network) < 0.5 * whole
    again = build_network(name, TINY, None, 3, 4, {})
    set_widths(again.network, widths)
    again.load_state_dict(network.state_dict())
    image = torch.rand(1, 3, 40, 50)
    with torch.inference_mode():
        expected = network.eval()(image)
        assert torch.equal(again.eval()(image), expected)
    assert expected.isfinite().all()


def test_depthwise_convolutions_stay_depthwise():
    network = build_network("Unet", "tu-test_efficientnet.r160_in1k", None, 1, 1, {})
    widths = prune_channels(network, 1, 0.5)
    depthwise = [numbers for numbers in widths.values() if len(numbers) == 3 and numbers[2] > 1]
    assert depthwise and all(numbers[0] == numbers[1] == numbers[2] for numbers in depthwise)


def test_what_cannot_be_pruned_is_refused_with_what_can():
    network = build_network("Segformer", "mit_b0", None, 3, 1, {})
    with pytest.raises(InputError, match=r"convolutions and batch normalisation, .* this one has .*LayerNorm \("):
        prune_channels(network, 3, 0.5)
    with pytest.raises(InputError, match=r"MAnet cannot be pruned \(IndexError: .*; PlainUnet can, and Unet"):
        prune_channels(build_network("MAnet", TINY, None, 3, 1, {}), 3, 0.5)  # attention that mixes channels and places
    for share in (0, 1, -0.5):
        with pytest.raises(InputError, match=f"--share is {share}; give a share"):
            prune_channels(plain(16), 1, share)
    with pytest.raises(InputError, match="no channel can go with --share 0.5: every layer keeps a multiple of 8"):
        prune_channels(AnySize(nn.Sequential(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 1, 1))), 1, 0.5)
