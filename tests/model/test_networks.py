"""Every network at every size, and the errors of those that cannot be built."""

import huggingface_hub
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.errors import InputError
from segmentation.model.networks import ARCHITECTURES, AnySize, PlainUnet, build_network

TINY = "tu-test_resnet.r160_in1k"

ENCODERS = {"Segformer": "mit_b0", "DPT": "tu-test_vit.r160_in1k"}
"""For the networks that are not shown with TINY."""

SLIM = {"PlainUnet": {"width": 4}}


def build(name: str, in_channels: int = 3, out_channels: int = 4, **options: object) -> AnySize:
    encoder = ENCODERS.get(name, TINY)
    return build_network(name, encoder, None, in_channels, out_channels, SLIM.get(name, {}) | options).eval()


class Recorder(nn.Module):
    """A network that keeps what it is given and answers with the sum of the channels."""

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return image.sum(1, keepdim=True)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_takes_small_images_and_any_channels(name):
    for in_channels, out_channels in ((1, 4), (3, 1)):
        network = build(name, in_channels, out_channels)
        for size in ((1, 1), (8, 8), (31, 40)):
            with torch.inference_mode():
                logits = network(torch.rand(2, in_channels, *size))
            assert logits.shape == (2, out_channels, *size)
            assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["PlainUnet", "Unet", "DeepLabV3Plus", "Segformer", "PAN"])
@pytest.mark.parametrize("size", [(387, 501), (504, 504)])
def test_networks_take_large_images_that_no_stride_divides(name, size):
    network = build(name, 1, 1)
    with torch.inference_mode():
        assert network(torch.rand(1, 1, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize("name", ["Unet", "PlainUnet", "Segformer"])
def test_a_network_learns_from_images_that_no_stride_divides(name):
    network = build(name).train()
    network(torch.rand(2, 3, 31, 40)).square().mean().backward()
    unused = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert unused == []


@pytest.mark.parametrize(
    ("size", "padded"),
    [((1, 1), (64, 64)), ((64, 64), (64, 64)), ((65, 96), (96, 96)), ((31, 500), (64, 512)), ((504, 2), (512, 64))],
)
def test_padding_repeats_the_last_row_and_column_up_to_the_stride(size, padded):
    image = torch.rand(2, 3, *size)
    recorder = Recorder()
    logits = AnySize(recorder, stride=32)(image)
    rows, columns = (torch.arange(length).clamp(max=own - 1) for length, own in zip(padded, size, strict=True))
    assert torch.equal(recorder.seen, image[:, :, rows][..., columns])
    assert torch.equal(logits, image.sum(1, keepdim=True)), "the answer is cropped to the image"


@pytest.mark.parametrize("name", ["Unet", "PlainUnet"])
def test_the_answer_is_that_of_the_inner_network_on_the_padded_image(name):
    network = build(name)
    image = torch.rand(1, 3, 70, 90)
    padded = F.pad(image, (0, -90 % network.stride, 0, -70 % network.stride), mode="replicate")
    with torch.inference_mode():
        assert torch.equal(network(image), network.network(padded)[..., :70, :90])


def test_pan_is_padded_to_what_its_pyramid_can_halve_three_times():
    assert build("PAN").shortest == 128
    network = build("PAN", encoder_output_stride=32)
    assert network.shortest == 256
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 5, 140)).shape == (1, 4, 5, 140)


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


def test_random_weights_follow_the_seed():
    image = torch.rand(1, 3, 32, 32)
    answers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        answers.append(build("Unet")(image))
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


def test_options_reach_the_network():
    assert build("Unet", decoder_channels=[32, 16, 8, 8, 4]).network.segmentation_head[0].in_channels == 4


def test_an_unknown_network_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="model.network 'Unett' is unknown; did you mean 'Unet'"):
        build_network("Unett", TINY, None, 3, 1, {})


def test_an_unknown_encoder_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"model.encoder 'resnet19' is unknown; did you mean .*'resnet18'"):
        build_network("Unet", "resnet19", None, 3, 1, {})
    with pytest.raises(InputError, match="model.encoder 'tu-resnet1888': timm has no model 'resnet1888'; did you mean"):
        build_network("Unet", "tu-resnet1888", None, 3, 1, {})


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Unet takes no 'decoder_channel'; did you mean 'decoder_channels'"):
        build("Unet", decoder_channel=[1])
    with pytest.raises(InputError, match="PlainUnet takes no 'widht'; did you mean 'width'"):
        build("PlainUnet", widht=3)


@pytest.mark.parametrize("option", ["in_channels", "classes", "encoder_name", "encoder_weights"])
def test_an_option_that_has_an_argument_of_its_own_is_refused(option):
    with pytest.raises(InputError, match=f"Unet takes no '{option}'"):
        build_network("Unet", TINY, None, 3, 1, {option: 1})


@pytest.mark.parametrize("option", ["activation", "aux_params"])
def test_an_option_that_would_give_something_else_than_logits_is_refused(option):
    with pytest.raises(InputError, match=f"{option} has no place here; the loss, the scores and the decision take log"):
        build("Unet", **{option: "sigmoid"})


def test_options_that_do_not_fit_together_are_refused_with_the_reason():
    with pytest.raises(InputError, match=r"Unet with encoder .* cannot be built \(ValueError: .*depth"):
        build("Unet", decoder_channels=[8, 8])


def test_dpt_asks_for_a_vision_transformer():
    for encoder in ("resnet18", TINY):
        with pytest.raises(InputError, match="give a vision transformer of timm, such as tu-vit_tiny_patch16_224"):
            build_network("DPT", encoder, None, 3, 1, {})


def test_dpt_takes_any_size_with_a_transformer_made_for_one():
    network = build_network("DPT", "tu-vit_tiny_patch16_224", None, 3, 1, {}).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 50, 130)).shape == (1, 1, 50, 130)


def test_dpt_refuses_patches_that_do_not_divide_the_stride():
    with pytest.raises(InputError, match=r"patches of 8, 16 or 32 pixels, tu-vit_small_patch14_dinov2 has 14"):
        build_network("DPT", "tu-vit_small_patch14_dinov2", None, 3, 1, {})


@pytest.mark.parametrize(("name", "encoder"), [("Unet", "resnet18"), ("Unet", TINY), ("DPT", ENCODERS["DPT"])])
def test_weights_that_cannot_be_downloaded_are_an_error_with_the_cure(name, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    failed = rf"the 'imagenet' weights of {encoder} could not be loaded \((LocalEntryNotFound|OfflineModeIsEnabled)"
    with pytest.raises(InputError, match=failed) as error:
        build_network(name, encoder, "imagenet", 3, 1, {})
    assert "set model.encoder_weights: null, or run once where the network can be reached" in str(error.value)


def test_unknown_weights_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match="'imagenette' weights of resnet18 could not be loaded .*'imagenet'"):
        build_network("Unet", "resnet18", "imagenette", 3, 1, {})
