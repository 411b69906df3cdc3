"""``networks``: the counts are right, and nothing is left out."""

import pytest
import torch
from torch import nn

from segmentation.commands.networks import multiplications
from segmentation.model.networks.any_size import AnySize
from segmentation.model.networks.build import ARCHITECTURES, build_network

TINY = "tu-test_resnet.r160_in1k"


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}


def test_a_convolution_multiplies_each_pixel_with_each_weight():
    convolution = nn.Conv2d(3, 8, kernel_size=3, padding=1)
    assert multiplications(convolution, 3, 64) == 64 * 64 * 8 * 3 * 9
    assert multiplications(AnySize(nn.Conv2d(3, 8, 3, padding=1)), 3, 70) == 96 * 96 * 8 * 3 * 9, "of the padded image"


def test_a_layer_on_tokens_is_a_matrix_product():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 5, bias=False)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.layer(image.flatten(2).transpose(1, 2))

    assert multiplications(Tokens(), 3, 16) == 16 * 16 * 3 * 5


def test_every_network_is_listed(run, capsys):
    assert run("networks", "--encoder", TINY, "--size", 64) == 0
    out = capsys.readouterr().out
    table, below = out.split("SwinUnet cannot be built: model.network SwinUnet takes encoders named tu-swin...")
    found = rows(table)
    assert found.keys() >= ARCHITECTURES.keys()
    for name, architecture in ARCHITECTURES.items():
        assert found[name][-1] == architecture.doi
    assert below.splitlines()[1].startswith("DPT cannot be built: DPT with encoder tu-test_resnet")
    assert found["PlainUnet"][1] == "31.0"


def test_the_first_layer_multiplies_each_channel():
    grey, colour = (
        multiplications(build_network("Unet", "resnet18", None, channels, 1, {}), channels, 512) for channels in (1, 3)
    )
    # resnet18 begins with 64 kernels of 7x7 at every second pixel
    assert colour - grey == 256 * 256 * 64 * 7 * 7 * 2


def test_the_usual_encoder_is_listed(run, capsys):
    assert run("networks", "--names", "Unet, SwinUnet", "--in_channels", 1) == 0
    out = capsys.readouterr().out
    found = rows(out)
    # 11.2 million without the last layer, which is ImageNet's, and a decoder of 3.2
    assert found["Unet"][1:3] == ["resnet18", "14.3"]
    assert found["SwinUnet"][1] == "tu-swin_tiny_patch4_window7_224"


def test_an_unknown_name_is_refused(run, capsys):
    assert run("networks", "--names", "Unet,Nett") == 1
    assert "--names: no network is called 'Nett'; did you mean 'U" in capsys.readouterr().err


def test_networks_of_which_none_can_be_built_are_an_error(run, capsys):
    assert run("networks", "--names", "mine.Net,SwinUnet", "--encoder", TINY) == 1
    told = capsys.readouterr()
    assert "mine.Net cannot be built: " in told.out and "SwinUnet cannot be built: " in told.out
    assert "error: none of these networks can be built" in told.err


def test_a_network_of_one_size_is_counted_at_that_size(run, capsys):
    assert run("networks", "--names", "Unet", "--encoder", "tu-swin_tiny_patch4_window7_224") == 0
    assert "224 only, in tiles" in " ".join(rows(capsys.readouterr().out)["Unet"])


@pytest.mark.parametrize("option", [("--size", 0), ("--in_channels", 0), ("--classes", 1)])
def test_numbers_out_of_range_are_refused(option, run, capsys):
    assert run("networks", *option) == 1
    assert f"{option[0]} is {option[1]}; give" in capsys.readouterr().err
