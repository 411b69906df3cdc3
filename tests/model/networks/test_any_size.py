"""Padding to the stride and back."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segmentation.model.networks.any_size import AnySize
from segmentation.model.networks.build import build_network


class Recorder(nn.Module):
    """A network that keeps what it is given and answers with the sum of the channels."""

    def forward(self, image: Tensor) -> Tensor:
        self.seen = image
        return image.sum(1, keepdim=True)


class Pyramid(nn.Module):
    """A network that answers with the first channel in full, half and quarter size."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(image[:, :1], step) for step in (1, 2, 4)]


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


@pytest.mark.parametrize(("name", "stride"), [("Unet", 32), ("PlainUnet", 16)])
def test_the_answer_is_that_of_the_inner_network_on_the_padded_image(name, stride):
    options = {"width": 4} if name == "PlainUnet" else {}
    network = build_network(name, "tu-test_resnet.r160_in1k", None, 3, 4, options).eval()
    assert network.stride == stride
    image = torch.rand(1, 3, 70, 90)
    padded = F.pad(image, (0, -90 % stride, 0, -70 % stride), mode="replicate")
    with torch.inference_mode():
        assert torch.equal(network(image), network.network(padded)[..., :70, :90])


def test_each_of_several_answers_covers_the_image_without_its_padding():
    slope = torch.arange(70.0).expand(1, 1, 40, 70)
    finest, half, quarter = AnySize(Pyramid())(slope)
    assert torch.equal(finest, slope)
    for coarse in (half, quarter):
        assert coarse.shape == slope.shape
        inner = slice(4, -4)  # a mean of neighbours, put back between them, is the slope itself away from the rims
        torch.testing.assert_close(coarse[..., inner], slope[..., inner])
