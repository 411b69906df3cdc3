"""The module by itself: probabilities and losses at the edges of float32, steps of a schedule, scores of images."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from segmentation.errors import InputError
from segmentation.inference.intensity import Intensity
from segmentation.metrics.scores import Scores
from segmentation.model.losses.loss import Loss
from segmentation.model.module import SegmentationModule
from segmentation.model.networks.fusion import FusedEncoder

TINY = "tu-test_resnet.r160_in1k"


def module_of(classes: int = 2, **arguments: Any) -> SegmentationModule:
    torch.manual_seed(0)
    names = [f"class {k}" for k in range(classes)]
    return SegmentationModule({"names": names}, 1, **{"encoder": TINY} | arguments).eval()


def test_each_modality_has_an_encoder() -> None:
    module = SegmentationModule({"names": ["free", "lane"]}, 4, encoder=TINY, modalities=[3, 1])
    encoder = module.network.network.encoder
    assert isinstance(encoder, FusedEncoder)
    assert [one.out_channels[0] for one in encoder.encoders] == encoder.channels == [3, 1]


def test_the_encoder_asks_for_the_weights_it_is_given() -> None:
    with pytest.raises(InputError, match="'imagenette' weights of resnet18 could not be loaded"):
        module_of(encoder="resnet18", encoder_weights="imagenette")


def test_the_loss_has_the_options_it_is_given() -> None:
    options = {"tversky": {"alpha": 0.1, "beta": 0.9}}
    module = module_of(loss={"tversky": 1}, loss_options=options)
    logits, mask = torch.randn(2, 1, 8, 8), torch.randint(0, 2, (2, 8, 8))
    found = module.loss(logits, mask)
    assert torch.equal(found, Loss({"tversky": 1}, module.classes, None, options)(logits, mask))
    assert not torch.isclose(found, Loss({"tversky": 1}, module.classes)(logits, mask))


@pytest.mark.parametrize("size", [17.0, 30.0, 80.0])
def test_neither_probability_of_a_sure_pixel_is_lost(size: float) -> None:
    """1 - sigmoid is 0 from a logit of 17 on, and the log of that is no loss."""
    logits = torch.tensor([size, -size]).view(1, 1, 1, 2)
    probabilities = module_of().probabilities(logits)
    small = np.exp(-np.float64(size))
    np.testing.assert_allclose(probabilities[0, :, 0].numpy(), [[small, 1], [1, small]], rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_loss_of_a_validation_is_finite_where_a_probability_is_0(classes: int) -> None:
    module = module_of(classes)
    module.predict_tile = lambda image: torch.eye(classes)[0].view(1, -1, 1, 1).expand(1, -1, *image.shape[-2:])
    module.stage_scores = module.scores_at(module.decision)
    mask = torch.full((1, 8, 8), 1)
    module.validation_step({"image": torch.zeros(1, 1, 8, 8), "mask": mask, "id": ["a"], "maps": {}}, 0)
    _, values = module.stage_scores.compute()
    assert np.isfinite(values["loss"])
    assert values["loss"] > 10  # all of it is wrong, and the model is sure


def test_each_image_of_a_batch_is_scored_with_maps_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """``unet`` weighs pixels by the gaps between objects, which are not those of the next image."""
    module = module_of(loss={"unet": 1})
    masks = torch.zeros(2, 32, 32, dtype=torch.long)
    masks[0, 4:28, 4:15] = masks[0, 4:28, 16:28] = masks[1, 10:12, 10:12] = 1
    maps = {
        name: torch.stack([torch.from_numpy(of(mask.numpy().astype(np.uint8))) for mask in masks])
        for name, of in module.loss.maps.items()
    }
    assert maps
    images = torch.rand(2, 1, 32, 32) * 255
    losses: list[torch.Tensor] = []
    monkeypatch.setattr(Scores, "update", lambda _self, _probabilities, _mask, loss: losses.append(loss))

    def evaluated(places: slice) -> torch.Tensor:
        module.stage_scores = module.scores_at(module.decision)
        chosen = {name: planes[places] for name, planes in maps.items()}
        batch = {"image": images[places], "mask": masks[places], "id": ["a", "b"][places], "maps": chosen}
        with torch.no_grad():
            module.validation_step(batch, 0)
        return losses.pop()

    together, first, second = evaluated(slice(0, 2)), evaluated(slice(0, 1)), evaluated(slice(1, 2))
    torch.testing.assert_close(together, torch.cat([first, second]))
    assert first != second


def trainer_of_30_steps(**options: Any) -> SimpleNamespace:
    """What a module asks of its trainer: 3 epochs of 10 batches, unless the options say otherwise."""
    usual = {"limit_train_batches": 1.0, "max_epochs": 3, "max_steps": -1, "accumulate_grad_batches": 1}
    data = SimpleNamespace(batches_per_epoch=lambda: 10)
    return SimpleNamespace(**usual | options, datamodule=data, gradient_clip_val=None)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 30),
        ({"accumulate_grad_batches": 4}, 9),  # the last step of an epoch is of 2 batches
        ({"max_steps": 7}, 7),
        ({"max_steps": 70}, 30),
        ({"limit_train_batches": 4}, 12),
        ({"limit_train_batches": 40}, 30),
        ({"limit_train_batches": 0.5}, 15),
        ({"max_epochs": -1, "max_steps": 7}, 7),
        ({"max_epochs": None, "max_steps": -1}, float("inf")),
    ],
)
def test_a_schedule_is_as_long_as_the_run(options: dict[str, Any], steps: float) -> None:
    module = module_of()
    module._trainer = trainer_of_30_steps(**options)
    assert module._total_steps() == steps


def test_the_optimizer_and_its_warm_up_are_as_they_are_given() -> None:
    options = {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.03, "optimizer_options": {"momentum": 0.5}}
    module = module_of(**options, warmup=0.1)
    module._trainer = trainer_of_30_steps()
    (group,) = module.configure_optimizers()["optimizer"].param_groups
    # a tenth of 30 steps is below the full rate, which comes with the fourth
    assert group["lr"] == pytest.approx(0.1 / 4) and group["initial_lr"] == 0.1
    assert (group["weight_decay"], group["momentum"]) == (0.03, 0.5)


@pytest.mark.parametrize(
    ("mean", "std", "divisor"),
    [
        (7.0, 0.0, 1.0),
        (0.1, 1.3e-9, 1.0),  # of pixels that are all 0.1, by the sum of their squares
        (0.0, 1e-9, 1e-9),
        (2e-9, 1e-9, 1e-9),
    ],
)
def test_a_constant_channel_is_divided_by_1(mean: float, std: float, divisor: float) -> None:
    module = module_of()
    data = SimpleNamespace(
        statistics=lambda: ([mean], [std]),
        intensity=Intensity("uint8"),
        source=SimpleNamespace(context=0),
        trained_on=dict,
    )
    strategy = SimpleNamespace(broadcast=lambda value: value)
    module._trainer = SimpleNamespace(strategy=strategy, datamodule=data, precision="32-true")
    module.setup("fit")
    assert (module.mean.item(), module.std.item()) == pytest.approx((mean, divisor), rel=1e-6, abs=0)
    assert torch.isfinite(module(torch.full((1, 1, 8, 8), 7, dtype=torch.uint8))).all()


def test_several_gpus_are_set_up_while_the_weights_are_still_on_the_cpu() -> None:
    """Lightning says the device of a process before it moves the weights there."""

    class Several(DDPStrategy):
        root_device = torch.device("meta")  # stands for a GPU

        def broadcast(self, obj: Any, src: int = 0) -> Any:
            return obj

    module = module_of(network="PSPNet", encoder="resnet18").train()
    data = SimpleNamespace(source=SimpleNamespace(context=0), trained_on=dict)
    module.intensity = Intensity("uint8")
    module._trainer = SimpleNamespace(strategy=Several(), datamodule=data, precision="32-true")
    module._device = module._trainer.strategy.root_device
    module.setup("fit")
    frozen = {name.split(".")[3] for name, weight in module.named_parameters() if not weight.requires_grad}
    assert frozen == {"layer3", "layer4"}  # which its decoder does not ask for


@pytest.mark.parametrize(("now", "expected"), [(None, "32-true"), ("bf16-mixed", "bf16-mixed")])
def test_a_resumed_run_stores_the_precision_it_has_now(now: str | None, expected: str) -> None:
    module, other = module_of(), module_of()
    module.precision, other.precision = "32-true", now
    checkpoint: dict[str, Any] = {"state_dict": {}, "hyper_parameters": dict(module.hparams)}
    module.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    assert other.precision == expected
