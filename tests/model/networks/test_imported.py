"""A network of the user's own."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segmentation.errors import InputError
from segmentation.model.networks.build import build_network

DOCS = Path(__file__).parents[3] / "docs" / "networks.md"

NETWORKS = """


class Half(Small):
    def forward(self, image):
        return super().forward(image)[..., ::2, ::2]


class Several(Small):
    def forward(self, image):
        return {"out": super().forward(image)}


class Coarse(Small):
    stride = 2

    def forward(self, image):
        assert image.shape[-1] % 4 == 0
        return super().forward(image)


def number(in_channels, classes):
    return 1
"""
"""After the example of the documentation."""


@pytest.fixture(autouse=True)
def _own_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """``own_networks/small.py`` in the working folder: the example of the documentation and what is wrong."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_networks", "own_networks.small"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    Path("own_networks").mkdir()
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    Path("own_networks/small.py").write_text(example + NETWORKS)


def build(name: str, **options: object) -> torch.nn.Module:
    return build_network(f"own_networks.small.{name}", "resnet18", "imagenet", 3, 4, options)


def test_it_is_trained_scored_and_predicts(run, quick, synthetic):
    network = ("--model.network", "own_networks.small.Small", "--model.network_options", "{width: 4}")
    assert run("fit", *synthetic, *quick, *network) == 0
    (folder,) = Path("runs").glob("*/*")
    checkpoint = folder / "checkpoints/best.ckpt"
    assert run("test", "--ckpt_path", checkpoint) == 0
    Image.fromarray(np.zeros((31, 45), np.uint8)).save("one.png")
    assert run("predict", "one.png", "--ckpt_path", checkpoint, "--out", "out") == 0
    assert np.array(Image.open("out/labels/one.png")).shape == (31, 45)


def test_its_stride_and_options_are_used():
    network = build("Small", width=5)
    assert (network.stride, network.shortest) == (4, 8)
    assert network.network.layers[0].out_channels == 5
    assert network.network.training
    assert network(torch.rand(1, 3, 5, 90)).shape == (1, 4, 5, 90)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Half", r"answers an image of shape \(1, 3, 8, 12\) with \(1, 4, 4, 6\); it must be logits of shape"),
        ("Several", r"with dict; it must be logits of shape \(1, 4, 8, 12\)"),
        ("Coarse", r"fails on an image of shape \(1, 3, 4, 6\) \(AssertionError.*its class attribute stride says"),
        ("number", "makes a int; give a torch.nn.Module"),
        ("Smal", r"cannot be imported \(AttributeError: .*'Smal'.*give FILE.CLASS or FOLDER.FILE.CLASS as seen from"),
    ],
)
def test_what_is_no_such_network_is_refused_with_the_reason(name, message):
    with pytest.raises(InputError, match=message):
        build(name)


def test_an_option_that_it_does_not_take_is_refused():
    with pytest.raises(InputError, match=r"small.Small cannot be built with .*'depth': 3.*unexpected keyword argument"):
        build("Small", depth=3)
    with pytest.raises(InputError, match=r"did you mean 'in_channels'"):
        build("Small", in_chanels=3)


@pytest.mark.parametrize("path", ["no_such_file.Net", "own_networks.big.Net"])
def test_a_file_that_is_not_there_is_refused(path):
    with pytest.raises(InputError, match=rf"{path} cannot be imported \(ModuleNotFoundError"):
        build_network(path, None, None, 3, 1, {})
