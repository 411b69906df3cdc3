"""Layers with other numbers of channels: shapes by hand, and what is refused."""

import pytest
import torch
from torch import nn

from segmentation.errors import InputError
from segmentation.model.module import SegmentationModule
from segmentation.model.networks.widths import set_widths, widths_of


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2),
    )


def test_widths_by_hand():
    layers = network()
    assert widths_of(layers) == {"0": [1, 8, 1], "1": [8], "2": [8, 8, 8], "3": [8, 6, 2]}
    set_widths(layers, {"0": [1, 4, 1], "1": [4], "2": [4, 4, 4], "3": [4, 2, 2]})
    assert widths_of(layers) == {"0": [1, 4, 1], "1": [4], "2": [4, 4, 4], "3": [4, 2, 2]}
    shapes = {name: tuple(value.shape) for name, value in layers.state_dict().items()}
    assert shapes == {
        "0.weight": (4, 1, 3, 3),
        "0.bias": (4,),
        "1.weight": (4,),
        "1.bias": (4,),
        "1.running_mean": (4,),
        "1.running_var": (4,),
        "1.num_batches_tracked": (),
        "2.weight": (4, 1, 3, 3),
        "3.weight": (4, 1, 2, 2),
        "3.bias": (2,),
    }
    answer = layers(torch.rand(2, 1, 6, 6))
    assert answer.shape == (2, 2, 12, 12)
    assert answer.isfinite().all()


def test_no_widths_leave_a_network_and_the_random_numbers_as_they_are():
    torch.manual_seed(0)
    layers = network()
    before = {name: value.clone() for name, value in layers.state_dict().items()}
    after_building = torch.get_rng_state()
    set_widths(layers, {})
    assert torch.equal(torch.get_rng_state(), after_building)
    assert all(torch.equal(value, before[name]) for name, value in layers.state_dict().items())


@pytest.mark.parametrize(
    ("widths", "told"),
    [
        ({"7": [1, 4, 1]}, r"model.widths: 7 has no channels in this network, not \[1, 4, 1\]"),
        ({"0": [4]}, r"0 has \[1, 8, 1\] in this network, not \[4\]"),
        ({"1": [0]}, r"1 has \[8\] in this network, not \[0\]"),
        ({"3": [3, 6, 2]}, "2 groups divide neither 3 nor 6 channels evenly"),
    ],
)
def test_widths_that_do_not_fit_are_refused(widths, told):
    with pytest.raises(InputError, match=told):
        set_widths(network(), widths)


def test_a_module_is_built_with_them():
    widths = {"down.0.0": [1, 3, 1], "down.0.1": [3], "down.0.3": [3, 4, 1]}
    module = SegmentationModule(
        {"names": ["membrane", "cell"]}, 1, "PlainUnet", network_options={"width": 4}, widths=widths
    )
    assert module.hparams["widths"] == widths
    assert module(torch.zeros(1, 1, 20, 20, dtype=torch.uint8)).shape == (1, 1, 20, 20)
