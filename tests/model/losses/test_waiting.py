"""Which losses wait for the device: found without one, on tensors that have sizes and no numbers."""

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from segmentation.inference.classes import Classes
from segmentation.model.losses.loss import LOSSES, WEIGHTED_MULTICLASS, Loss

WAIT = {"lovasz", "ohem"}
"""They pick pixels, whose number must be known."""


@pytest.mark.parametrize("names", [("membrane", "cell"), ("road", "car", "sky")])
def test_no_other_loss_waits_for_the_device(names: tuple[str, ...]) -> None:
    classes, waiting = Classes(names), set()
    for name in LOSSES:
        if name == "bce" and not classes.binary:
            continue
        weights = [1.0, 2.0, 3.0] if not classes.binary and name in WEIGHTED_MULTICLASS else None
        with FakeTensorMode():
            loss = Loss({name: 1}, classes, weights).to("cuda")
            logits = torch.zeros(2, 1 if classes.binary else 3, 16, 16, device="cuda")
            mask = torch.zeros(2, 16, 16, dtype=torch.long, device="cuda")
            planes = {"boundary": (1 if classes.binary else 3,)}
            maps = {key: torch.zeros(2, *planes.get(key, ()), 16, 16, device="cuda") for key in loss.maps}
            try:
                loss(logits, mask, maps)
            except (DataDependentOutputException, DynamicOutputShapeException):
                waiting.add(name)
    assert waiting == WAIT
