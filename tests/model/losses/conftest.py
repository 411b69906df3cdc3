"""What every test of a loss needs: a task of two and of three classes, and the maps that loaders would make."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from segmentation.inference.classes import Classes

Cost = Callable[..., Tensor]


@pytest.fixture
def two() -> Classes:
    return Classes(("background", "lesion"))


@pytest.fixture
def three() -> Classes:
    return Classes(("road", "tree", "sky"))


@pytest.fixture
def cost() -> Cost:
    """``cost(loss, logits, mask)``: the loss with the maps of the mask."""

    def of(loss, logits: Tensor, mask: Tensor) -> Tensor:
        masks = mask.numpy().astype(np.uint8)
        maps = {name: torch.from_numpy(np.stack([make(one) for one in masks])) for name, make in loss.maps.items()}
        return loss(logits, mask, maps)

    return of


@pytest.fixture
def sure() -> Callable[..., Tensor]:
    """Logits that are for the labels (B, H, W) and against the rest."""

    def logits_of(labels: Tensor, classes: Classes, height: float = 4.0) -> Tensor:
        planes = labels[:, None] if classes.binary else F.one_hot(labels, len(classes)).movedim(-1, 1)
        return (planes.float() * 2 - 1) * height

    return logits_of
