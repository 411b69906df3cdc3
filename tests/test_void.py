"""Void pixels change nothing: neither the loss nor any score nor what the network learns."""

from pathlib import Path

import pytest
import torch
from lightning import Trainer

from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.sources.camvid import VOID, CamVidSource
from segmentation.model.losses.loss import Loss
from segmentation.model.module import SegmentationModule

TINY = "tu-test_resnet.r160_in1k"


@pytest.mark.parametrize("losses", [{"ce": 1}, {"dice": 1}, {"focal": 1}, {"lovasz": 1}, {"jaccard": 1, "tversky": 1}])
def test_logits_on_void_change_no_loss(losses: dict[str, float]) -> None:
    classes = CamVidSource("nowhere").classes
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 11, 16, 16, generator=generator)
    mask = torch.randint(0, 12, (2, 16, 16), generator=generator)
    void = (mask == VOID)[:, None].expand_as(logits)
    other = torch.where(void, torch.randn(logits.shape, generator=generator) * 9, logits)
    loss = Loss(losses, classes)
    assert void.any()
    torch.testing.assert_close(loss(logits, mask), loss(other, mask), rtol=0, atol=1e-6)
    logits.requires_grad_()
    loss(logits, mask).backward()
    assert logits.grad is not None and logits.grad[void].abs().max() == 0


def test_predictions_on_void_change_no_score(shared_data: Path) -> None:
    data = SegmentationDataModule(CamVidSource(shared_data / "camvid-mini"), workers=0)
    model = SegmentationModule(data.classes, data.in_channels, encoder=TINY)
    plain = _scores(model, data)
    forward = model.forward

    def disturbed(image: torch.Tensor) -> torch.Tensor:
        logits = forward(image)
        # the batch is not at hand here, so every third pixel is disturbed and declared void below
        logits[..., ::3, ::3] = -logits[..., ::3, ::3]
        return logits

    void = _Void(CamVidSource(shared_data / "camvid-mini"))
    before = _scores(model, SegmentationDataModule(void, workers=0))
    model.forward = disturbed  # type: ignore[method-assign]
    after = _scores(model, SegmentationDataModule(void, workers=0))
    assert after == pytest.approx(before, abs=1e-6, nan_ok=True)
    assert before["val/accuracy"] != plain["val/accuracy"]


class _Void(CamVidSource):
    def __init__(self, source: CamVidSource) -> None:
        super().__init__(source.root)

    def read_mask(self, sample):
        mask = super().read_mask(sample)
        mask[::3, ::3] = VOID
        return mask


def _scores(model: SegmentationModule, data: SegmentationDataModule) -> dict[str, float]:
    trainer = Trainer(
        logger=False, enable_progress_bar=False, accelerator="cpu", limit_val_batches=2, enable_model_summary=False
    )
    (scores,) = trainer.validate(model, data, verbose=False)
    return dict(scores)
