"""FCN is torchvision's, for any encoder."""

import pytest
import torch

from segmentation.errors import InputError
from segmentation.model.networks.build import build_network
from segmentation.model.networks.fcn import FCN

TINY = "tu-test_resnet.r160_in1k"


def test_it_has_the_parameters_of_torchvisions():
    network = FCN(3, 21, "resnet50", aux_loss=True)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == 35_322_218  # FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["num_params"]


@pytest.mark.parametrize(("options", "side"), [({}, 8), ({"encoder_output_stride": 32}, 2)])
def test_the_last_features_are_an_eighth_of_the_image(options, side):
    network = FCN(1, 2, TINY, **options).eval()
    assert network.encoder(torch.rand(1, 1, 64, 64))[-1].shape[-2:] == (side, side)


def test_the_auxiliary_head_answers_in_training_alone():
    network = build_network("FCN", TINY, None, 3, 4, {"aux_loss": True})
    answers = network.train()(torch.rand(2, 3, 40, 70))
    assert [logits.shape for logits in answers] == [(2, 4, 40, 70)] * 2
    answers[1].mean().backward()
    assert network.network.aux_head[0].weight.grad is not None
    assert network.network.head[0].weight.grad is None
    assert network.eval()(torch.rand(2, 3, 40, 70)).shape == (2, 4, 40, 70)


def test_an_encoder_that_cannot_be_dilated_is_refused():
    with pytest.raises(InputError, match="FCN with encoder tu-swin_tiny_patch4_window7_224 cannot be built"):
        build_network("FCN", "tu-swin_tiny_patch4_window7_224", None, 3, 1, {})
