"""An encoder for each modality."""

import pytest
import torch
from jsonargparse import Namespace

from segmentation.errors import InputError
from segmentation.model.arguments import merge_hyperparameters
from segmentation.model.networks.build import ARCHITECTURES, build_network

TINY = "tu-test_resnet.r160_in1k"

FUSED = [name for name, architecture in ARCHITECTURES.items() if architecture.encoder and name != "SwinUnet"]
"""SwinUnet is a Unet with a slow encoder."""

ENCODERS = {"Segformer": "mit_b0", "DPT": "tu-test_vit.r160_in1k"}

SLIM = {"DPT": {"decoder_intermediate_channels": [8, 8, 16, 16], "decoder_fusion_channels": 16}}


def fused(name: str, modalities: list[int]) -> torch.nn.Module:
    return build_network(name, ENCODERS.get(name, TINY), None, sum(modalities), 1, SLIM.get(name, {}), modalities)


def levels(features: object) -> list[torch.Tensor]:
    """All features of an encoder, also DPT's tuple of features and class tokens."""
    return [level for part in features for level in levels(part)] if not torch.is_tensor(features) else [features]


@pytest.mark.parametrize("name", FUSED)
def test_every_network_with_an_encoder_can_have_several(name):
    network = fused(name, [3, 1]).train()
    for modality, channels in enumerate((slice(0, 3), slice(3, 4))):
        image = torch.rand(2, 4, 40, 70, requires_grad=True)
        answer = network(image)
        assert answer.shape == (2, 1, 40, 70)
        answer.square().mean().backward()
        assert image.grad[:, channels].abs().sum() > 0
        assert len(list(network.network.encoder.encoders[modality].parameters())) > 0


@pytest.mark.parametrize("name", ["Unet", "DPT"])
def test_features_are_the_sums_of_the_encoders(name):
    encoder = fused(name, [3, 3, 3]).eval().network.encoder
    image = torch.rand(1, 9, 64, 64)
    with torch.inference_mode():
        found = levels(encoder(image))
        each = [levels(one(part)) for one, part in zip(encoder.encoders, image.split(3, dim=1), strict=True)]
    assert len(found) == len(each[0])
    for level, parts in zip(found, zip(*each, strict=True), strict=True):
        torch.testing.assert_close(level, torch.stack(parts).sum(0))


def test_each_encoder_sees_its_own_channels():
    network = fused("Unet", [3, 1])
    colour, depth = network.network.encoder.encoders
    assert (colour.out_channels[0], depth.out_channels[0]) == (3, 1)
    assert {id(one) for one in colour.parameters()} & {id(one) for one in depth.parameters()} == set()
    seen: list[torch.Tensor] = []
    for encoder in (colour, depth):
        encoder.register_forward_pre_hook(lambda _module, inputs: seen.extend(inputs))
    image = torch.rand(1, 4, 64, 64)
    network.eval()(image)
    assert torch.equal(torch.cat(seen, dim=1), image)


@pytest.mark.parametrize("modalities", [[3, 2], [4], [0, 4], [5, -1], []])
def test_modalities_that_are_not_the_channels_are_refused(modalities):
    with pytest.raises(InputError, match=r"model.modalities is \[.*the images have 4 channels; give the channels of"):
        build_network("Unet", TINY, None, 4, 1, {}, modalities)


@pytest.mark.parametrize("name", ["PlainUnet", "my_file.MyNet"])
def test_a_network_without_an_encoder_has_no_modalities(name):
    with pytest.raises(InputError, match=f"{name} has no encoder that could be doubled; leave it out"):
        build_network(name, TINY, None, 4, 1, {}, [3, 1])


def test_a_checkpoint_from_before_there_were_modalities_has_none():
    stored = {"network": "Unet", "encoder": TINY, "network_options": None}
    given = Namespace(modalities=[3, 1])
    with pytest.raises(InputError, match=r"model.modalities is \[3, 1\], but old.ckpt was trained with None"):
        merge_hyperparameters(Namespace(modalities=[3, 1], network="Unet"), given, stored, "old.ckpt")
