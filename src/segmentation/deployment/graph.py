"""A trained network as an ONNX graph: raw pixels in, probabilities and labels out."""

import re
import warnings
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Literal

import torch
from onnx import ModelProto
from torch import Tensor, nn

from segmentation.deployment.metadata import LABELS, LIMIT, PIXELS, PROBABILITIES
from segmentation.deployment.pooling import with_bins
from segmentation.errors import InputError
from segmentation.inference.decision import Decision
from segmentation.inference.intensity import Intensity
from segmentation.model.module import SegmentationModule


class PixelsToLabels(nn.Module):
    """What is exported: normalisation, padding, network, crop, activation and threshold.

    Args:
        module: Trained, in evaluation mode.
    """

    def __init__(self, module: SegmentationModule) -> None:
        super().__init__()
        self.module = module
        self.by_pixel = Decision(module.decision.threshold)  # objects are no matter of a tile

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) uint8 or float32 -> probabilities (B, K, H, W) float32, labels (B, H, W) uint8."""
        probabilities = self.module.probabilities(self.module(pixels))
        return probabilities, self.by_pixel.labels(probabilities).to(torch.uint8)


class Half(nn.Module):
    """A network in float16 between float32 inputs and outputs.

    Args:
        network: Its weights are changed.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) float32 -> logits float32."""
        logits: Tensor = self.network(image.half()).float()
        return logits


def to_onnx(module: SegmentationModule, precision: Literal["float32", "float16"] = "float32") -> ModelProto:
    """The graph of a module, without metadata.

    Args:
        module: Trained; it stays as it is.
        precision: Of the network; normalisation, activation and outputs are float32.

    Returns:
        One input ``pixels`` (B, C, H, W) of the type that the intensity rule gives, any B, and any H and W unless the
        network takes one size only. Outputs ``probabilities`` (B, K, H, W) float32 and ``labels`` (B, H, W) uint8,
        pixel by pixel: above the threshold with two classes, the most probable one with more.

    Raises:
        InputError: When the network has an operator that ONNX has not, or is too large for one file.
    """
    weights = module.network.state_dict().values()
    size = sum(weight.numel() * weight.element_size() for weight in weights) // (2 if precision == "float16" else 1)
    if size > 0.95 * LIMIT:  # the graph takes room too
        raise InputError(
            f"the weights have {size:,} bytes; an ONNX file holds at most {LIMIT:,}: "
            + ("set --precision float16, or " if precision == "float32" else "")
            + "train a smaller model.encoder"
        )
    copied = deepcopy(module).cpu().float().eval()
    # the layout of an ONNX graph is fixed, and that of a traced tensor would become a condition on its size
    copied.memory_format = torch.contiguous_format
    copied.network.to(memory_format=torch.contiguous_format)
    with_bins(copied.network)
    if precision == "float16":
        copied.network.network = Half(copied.network.network)
    return _bare(_translated(copied))


def _translated(module: SegmentationModule) -> ModelProto:
    fixed = module.network.fixed
    dtype = torch.uint8 if (module.intensity or Intensity()).network_dtype == "uint8" else torch.float32
    # of two images, and of no multiple of a stride: a 1 or a whole number of strides could be taken for a rule
    example = torch.zeros(2, int(module.hparams["in_channels"]), *((fixed, fixed) if fixed else (97, 133)), dtype=dtype)
    sizes = {0: "batch"} if fixed else {0: "batch", 2: "height", 3: "width"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own parts to each other; the parity gate judges
            program: Any = torch.onnx.export(
                PixelsToLabels(module),
                (example,),
                dynamo=True,
                verbose=False,
                input_names=[PIXELS],
                output_names=[PROBABILITIES, LABELS],
                dynamic_shapes={PIXELS: sizes},
            )
            model: ModelProto = program.model_proto
    except torch.onnx.OnnxExporterError as error:
        raise InputError(
            f"model.network {module.hparams['network']} cannot be exported: {_reason(error)}; docs/deployment.md lists "
            "the networks that can"
        ) from error
    return model


def _bare(model: ModelProto) -> ModelProto:
    """Without the traces of the exporter, in which the paths of this machine stand."""
    graph = model.graph
    parts: list[Any] = [model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]
    for part in parts:
        del part.metadata_props[:]
        part.ClearField("doc_string")
    return model


def _reason(error: BaseException) -> str:
    """Which operator stood in the way, or what else the exporter says first."""
    told = list(_causes(error))
    operator = next(
        (found[1] for text in reversed(told) if (found := re.search(r"\b(?:aten|prims)(?:::|\.)(\w+)", text))), None
    )
    cause = next((line.strip() for line in told[-1].splitlines() if line.strip()), type(error).__name__)
    return (f"the operator {operator} has no form in ONNX for images of any size " if operator else "") + f"({cause})"


def _causes(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield str(error)
        error = error.__cause__
