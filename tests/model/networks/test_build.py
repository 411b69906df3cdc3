"""Every network at every size, what it learns, and the errors of those that cannot be built."""

import json
import math
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import nn

from segmentation.errors import InputError
from segmentation.model.module import SegmentationModule
from segmentation.model.networks.any_size import AnySize
from segmentation.model.networks.build import ARCHITECTURES, build_network, usual_encoder
from segmentation.model.predictor import load

TINY = "tu-test_resnet.r160_in1k"

ENCODERS = {"Segformer": "mit_b0", "SwinUnet": "tu-swin_tiny_patch4_window7_224", "DPT": "tu-test_vit.r160_in1k"}
"""For the networks that are not shown with TINY."""

SLIM: dict[str, dict[str, object]] = {
    "PlainUnet": {"width": 4},
    "UnetPlusPlus": {"decoder_channels": [16, 8, 8, 4, 4]},
    "MAnet": {"decoder_channels": [16, 8, 8, 4, 4], "decoder_pab_channels": 8},
    "DeepLabV3": {"decoder_channels": 16},
    "PAN": {"decoder_channels": 8},
    "UPerNet": {"decoder_channels": 16},
    "DPT": {"decoder_intermediate_channels": [8, 8, 16, 16], "decoder_fusion_channels": 16},
}

TRAINED = ("PlainUnet", "Unet", "FCN", "FPN", "PSPNet", "DeepLabV3Plus", "Segformer")
"""Networks that other tests train through the command line: in this file and in those whose subject needs one."""

DOCS = Path(__file__).parents[3] / "docs"


def build(name: str, in_channels: int = 3, out_channels: int = 4, **options: object) -> AnySize:
    encoder = ENCODERS.get(name, TINY)
    return build_network(name, encoder, None, in_channels, out_channels, SLIM.get(name, {}) | options).eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_takes_small_images_and_any_channels(name):
    for in_channels, out_channels in ((1, 4), (4, 1)):
        network = build(name, in_channels, out_channels)
        assert network.fixed is None
        for size in ((1, 1), (31, 40)):
            with torch.inference_mode():
                logits = network(torch.rand(2, in_channels, *size))
            assert logits.shape == (2, out_channels, *size)
            assert logits.isfinite().all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_network_learns(name):
    torch.manual_seed(0)
    network = build(name, 3, 1).train()
    image = torch.rand(4, 3, 64, 64)
    truth = (image[:, :1] > 0.5).float()
    optimizer = torch.optim.SGD(network.parameters(), lr=1)
    losses = []
    for _ in range(3):
        torch.manual_seed(1)  # the same dropout
        loss = F.binary_cross_entropy_with_logits(network(image), truth)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1e-3)  # small enough a step to go downhill
        optimizer.step()
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in TRAINED])
def test_every_network_is_trained_by_its_name_and_labels_images_of_another_size(name, run, quick, synthetic):
    small = ("--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1, "--trainer.num_sanity_val_steps", 0)
    network = ("--model.network", name, "--model.network_options", json.dumps(SLIM.get(name, {})))
    encoder = ("--model.encoder", ENCODERS.get(name, TINY), "--model.optimizer", "sgd")  # without a state to write
    assert run("fit", *synthetic, *quick, *small, *network, *encoder, "--run_folder", "run") == 0
    predictor = load("run/checkpoints/best.ckpt")
    image = np.random.default_rng(0).integers(0, 256, (41, 70), np.uint8)
    assert predictor(image).shape == (41, 70)
    assert np.ptp(predictor.probabilities(image)[1]) > 0


@pytest.mark.parametrize("name", ["PlainUnet", "Unet", "FCN", "DeepLabV3Plus", "Segformer", "SwinUnet", "PAN"])
def test_networks_take_large_images_that_no_stride_divides(name):
    network = build(name, 1, 1)
    for size in ((387, 501), (504, 504)):
        with torch.inference_mode():
            assert network(torch.rand(1, 1, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize("name", ["Unet", "PlainUnet", "Segformer"])
def test_a_network_learns_from_images_that_no_stride_divides(name):
    network = build(name).train()
    network(torch.rand(2, 3, 31, 40)).square().mean().backward()
    unused = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert unused == []


def test_attention_of_channels_and_places_is_an_option_of_the_decoder():
    network = build("Unet", decoder_attention_type="scse").train()
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    blocks = [module for module in network.modules() if type(module).__name__ == "SCSEModule"]
    learning = [all(parameter.grad is not None for parameter in block.parameters()) for block in blocks]
    assert sum(learning) == 9  # two in each of five levels; the finest has no skip to attend to


def test_pan_is_padded_to_what_its_pyramid_can_halve_three_times():
    assert build("PAN").shortest == 128
    network = build("PAN", encoder_output_stride=32)
    assert network.shortest == 256
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 5, 140)).shape == (1, 4, 5, 140)


def assert_uniform(layers, bound):
    """The weights of each layer fill the interval from -bound to bound; ``bound(fan_in, fan_out)``."""
    assert layers
    for layer in layers:
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        assert 0.8 < layer.weight.abs().max().item() / bound(fan_in, fan_out) <= 1


def convolutions(network, *kinds):
    return [module for module in network.modules() if isinstance(module, kinds or nn.Conv2d)]


@pytest.mark.parametrize(
    "name", ["Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "UPerNet", "Segformer"]
)
def test_most_decoders_of_smp_begin_kaiming_uniform_and_their_heads_xavier_uniform(name):
    torch.manual_seed(0)
    network = build(name).network
    assert_uniform(convolutions(network.decoder), lambda fan_in, _: math.sqrt(6 / fan_in))
    (head,) = convolutions(network.segmentation_head)
    assert_uniform([head], lambda fan_in, fan_out: math.sqrt(6 / (fan_in + fan_out)))
    assert not head.bias.any()


@pytest.mark.parametrize("name", ["PlainUnet", "FCN", "DeepLabV3", "DeepLabV3Plus"])
def test_other_decoders_begin_as_torch_initialises_a_convolution(name):
    torch.manual_seed(0)
    network = build(name).network
    network.encoder = nn.Identity()
    assert_uniform(convolutions(network, nn.Conv2d, nn.ConvTranspose2d), lambda fan_in, _: 1 / math.sqrt(fan_in))


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


def test_a_network_without_an_encoder_has_its_usual_one():
    assert [usual_encoder(name) for name in ("Unet", "PlainUnet", "my.Net")] == ["resnet18", None, None]
    module = SegmentationModule({"names": ["background", "cell"]}, 1, network="Segformer")
    assert module.hparams["encoder"] == "mit_b0"
    assert type(module.network.network.encoder).__name__ == "MixVisionTransformerEncoder"


def test_the_usual_encoder_is_written_into_the_run_and_its_checkpoint(run, quick, synthetic):
    args = (*synthetic, *quick, "--trainer.max_epochs", 1, "--data.samples_per_epoch", 2)
    args += ("--model.network", "Segformer", "--model.encoder", "null")
    assert run("fit", *args) == 0
    (folder,) = Path("runs").glob("*/*")
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["encoder"] == "mit_b0"
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["encoder"] == "mit_b0"
    assert run("validate", *args, "--ckpt_path", "best") == 0


def test_every_network_is_in_the_documentation():
    text = (DOCS / "networks.md").read_text()
    assert [name for name, one in ARCHITECTURES.items() if f"`{name}`" not in text or one.doi not in text] == []


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
    with pytest.raises(InputError, match="SwinUnet takes no 'decoder_chanels'; did you mean 'decoder_channels'"):
        build("SwinUnet", decoder_chanels=[1])


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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "FPN",
            {"upsampling": 8},
            r"FPN with .* {'upsampling': 8} answers an image of shape \(1, 3, 64, 96\) with \(1, 4, 128",
        ),
        ("PSPNet", {"encoder_depth": 4}, r"with \(1, 4, 32, 48\); it must be logits of shape \(1, 4, 64, 96\)"),
    ],
)
def test_options_with_which_a_network_answers_in_another_size_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        build(name, **options)


@pytest.mark.parametrize(
    ("name", "encoder", "cure"),
    [
        ("DPT", "resnet18", "DPT takes encoders named tu-..., model.encoder is 'resnet18'; .* tu-vit_tiny_patch16_224"),
        ("DPT", TINY, "cannot be built .* it takes encoders such as tu-vit_tiny_patch16_224"),
        ("SwinUnet", TINY, "SwinUnet takes encoders named tu-swin..., .* tu-swin_tiny_patch4_window7_224"),
    ],
)
def test_a_network_asks_for_the_encoders_it_is_made_for(name, encoder, cure):
    with pytest.raises(InputError, match=cure):
        build_network(name, encoder, None, 3, 1, {})


@pytest.mark.parametrize(
    ("encoder", "told"),
    [
        ("tu-gcvit_xxtiny", r"fails on an image of shape \(1, 1, 64, 96\) .*; give another model.encoder"),
        ("tu-botnet26t_256", r"fails on an image of shape \(1, 1, 64, 96\) .*; give another model.encoder"),
        ("tu-nest_tiny", r"cannot be built \(IndexError: .*\); it takes encoders such as resnet18"),
    ],
)
def test_an_encoder_that_takes_no_images_of_any_size_is_refused_before_the_first_one(encoder, told):
    with pytest.raises(InputError, match=f"Unet with encoder {encoder} {told}"):
        build_network("Unet", encoder, None, 1, 1, {})


def test_dpt_takes_any_size_with_a_transformer_made_for_one():
    network = build_network("DPT", "tu-vit_tiny_patch16_224", None, 3, 1, {}).eval()
    assert network.fixed is None
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
