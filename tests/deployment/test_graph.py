"""The exported graph against the module it was made of, in onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from segmentation.deployment.graph import to_onnx
from segmentation.errors import InputError
from segmentation.inference.intensity import Intensity
from segmentation.model.module import SegmentationModule

TINY = "tu-test_resnet.r160_in1k"
SHALLOW = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}

SIZES = [(1, 1), (8, 8), (31, 40), (97, 133), (64, 64), (70, 501)]


def module_of(network: str, classes: int, channels: int, dtype: str, **arguments: object) -> SegmentationModule:
    """A module as after training on pixels of a type, with weights that give each class some pixels."""
    torch.manual_seed(0)
    names = [f"class {k}" for k in range(classes)]
    module = SegmentationModule({"names": names}, channels, network=network, **arguments)
    module.intensity = Intensity(dtype)
    middle = 127.0 if dtype == "uint8" else 0.5
    module.mean.copy_(torch.linspace(0.9, 1.1, channels).view(-1, 1, 1) * middle)
    module.std.fill_(middle / 2)
    with torch.no_grad():  # running statistics of batch normalisation that are not their defaults
        module.train()(module_pixels(module, 4, (64, 64)))
    with torch.inference_mode():
        logits = module.eval()(module_pixels(module, 1, (64, 64)))
    last = [layer for layer in module.network.modules() if isinstance(layer, nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight.mul_(2 / logits.std())
        last.bias.sub_(logits.mean((0, 2, 3))).mul_(2 / logits.std())
    return module


def module_pixels(module: SegmentationModule, batch: int, size: tuple[int, int]) -> Tensor:
    torch.manual_seed(1)
    pixels = torch.rand(batch, int(module.hparams["in_channels"]), *size)
    return (pixels * 256).to(torch.uint8) if module.intensity.network_dtype == "uint8" else pixels


def answers(session: onnxruntime.InferenceSession, pixels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return session.run(["probabilities", "labels"], {"pixels": pixels.numpy()})


@pytest.mark.parametrize(
    ("network", "classes", "channels", "dtype", "arguments"),
    [
        ("Unet", 2, 1, "uint8", {"encoder": TINY, "network_options": SHALLOW, "threshold": 0.3}),
        ("DeepLabV3Plus", 4, 3, "uint8", {"encoder": TINY}),
        ("Segformer", 3, 3, "uint16", {"encoder": "mit_b0"}),
        ("PlainUnet", 2, 2, "float32", {"network_options": {"width": 4}}),
        ("PSPNet", 3, 1, "uint8", {"encoder": TINY, "network_options": {"psp_out_channels": 32}}),
    ],
)
def test_the_graph_answers_as_the_module_at_every_size(network, classes, channels, dtype, arguments):
    module = module_of(network, classes, channels, dtype, **arguments)
    before = {name: weight.clone() for name, weight in module.state_dict().items()}
    content = to_onnx(module).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for trace in (b"site-packages", b"/segmentation/"):
        assert trace not in content, "the paths of this machine are nobody's business"
    assert all(torch.equal(weight, before[name]) for name, weight in module.state_dict().items())
    (given,), outputs = session.get_inputs(), session.get_outputs()
    taken = "uint8" if dtype == "uint8" else "float"
    assert (given.name, given.type, given.shape) == (
        "pixels",
        f"tensor({taken})",
        ["batch", channels, "height", "width"],
    )
    assert [(one.name, one.type) for one in outputs] == [
        ("probabilities", "tensor(float)"),
        ("labels", "tensor(uint8)"),
    ]
    seen = set()
    for size in SIZES:
        for batch in (1, 3) if size == (31, 40) else (1,):
            pixels = module_pixels(module, batch, size)
            with torch.inference_mode():
                expected = module.probabilities(module(pixels))
            probabilities, labels = answers(session, pixels)
            assert probabilities.shape == (batch, classes, *size)
            np.testing.assert_allclose(probabilities, expected.numpy(), rtol=0, atol=5e-5)
            np.testing.assert_array_equal(labels, module.decision.labels(probabilities))
            seen |= set(np.unique(labels))
    assert len(seen) > 1, "an image of one class alone would hide mistakes"


def test_in_float16_the_network_is_half_as_large_and_the_rest_stays_float32():
    module = module_of("PlainUnet", 2, 1, "uint8", network_options={"width": 8})
    half = to_onnx(module, "float16")
    weights = [weight for weight in half.graph.initializer if np.prod(weight.dims) > 64]
    assert len(weights) > 15 and {weight.data_type for weight in weights} == {onnx.TensorProto.FLOAT16}
    session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = module_pixels(module, 1, (31, 40))
    with torch.inference_mode():
        expected = module.probabilities(module(pixels)).numpy()
    probabilities, _ = answers(session, pixels)
    assert probabilities.dtype == np.float32
    assert 0 < np.abs(probabilities - expected).max() < 5e-3
    assert next(iter(module.parameters())).dtype == torch.float32, "the module stays as it is"


class Bessel(nn.Module):
    """A network with an operator that ONNX has not."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.special.bessel_j1(image[:, :1])


class Branching(nn.Module):
    """A network whose way depends on the pixels."""

    def forward(self, image: Tensor) -> Tensor:
        return image[:, :1] if image.mean() > 0 else -image[:, :1]


def test_a_network_that_onnx_cannot_express_is_refused_with_the_operator():
    module = module_of("PlainUnet", 2, 1, "uint8", network_options={"width": 2})
    module.network.network = Bessel()
    with pytest.raises(InputError, match="model.network PlainUnet cannot be exported: the operator bessel_j1"):
        to_onnx(module)
    module.network.network = Branching()
    with pytest.raises(InputError, match="model.network PlainUnet cannot be exported: .*docs/deployment.md"):
        to_onnx(module)


def test_a_network_too_large_for_one_file_is_refused_before_the_work():
    module = module_of("PlainUnet", 2, 1, "uint8", network_options={"width": 2})
    with torch.device("meta"):
        module.network.network = nn.Linear(30_000, 30_000)
    with pytest.raises(InputError, match="3,600,120,000 bytes; an ONNX file holds at most .*--precision float16"):
        to_onnx(module)
