"""Rates by layer and a frozen encoder, by hand and in runs."""

import csv
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm.optim
import torch
from lightning import Callback
from torch import nn

from segmentation import cli
from segmentation.model.finetuning import rates_by_layer
from segmentation.model.module import SegmentationModule
from segmentation.model.networks.build import build_network
from segmentation.model.networks.first_use import by_first_use

Fit = Callable[..., Path]

ENCODER = "network.network.encoder."


def network(encoder: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict(encoder=encoder, decoder=nn.Linear(2, 2), head=nn.Linear(2, 2)))


def linear(count: int) -> nn.Module:
    """Two tensors in each, 12 of which are a layer."""
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(count)))


def test_rates_by_layer_by_hand():
    model = network(linear(15))
    groups = rates_by_layer(model, model.parameters(), lr=0.8, decay=0.5)
    assert {group["name"]: (len(group["params"]), group["lr"]) for group in groups} == {
        "encoder0": (12, pytest.approx(0.1)),
        "encoder1": (12, pytest.approx(0.2)),
        "encoder2": (6, pytest.approx(0.4)),
        "decoder": (4, 0.8),
    }
    assert groups[0]["params"][0] is model.encoder[0].weight
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_rates_by_layer_are_those_of_timm():
    model = network(linear(15))
    model.pretrained_cfg = {"classifier": ("decoder", "head")}
    expected = {
        parameter: group["lr_scale"]
        for group in timm.optim.param_groups_layer_decay(model, layer_decay=0.75)
        for parameter in group["params"]
    }
    groups = rates_by_layer(model, model.parameters(), lr=1.0, decay=0.75)
    assert {parameter: group["lr"] for group in groups for parameter in group["params"]} == pytest.approx(expected)


def test_encoders_side_by_side_have_the_same_rates():
    both = nn.Module()
    both.encoders = nn.ModuleList([linear(7), linear(7)])
    model = network(both)
    groups = rates_by_layer(model, model.parameters(), lr=1.0, decay=0.5)
    assert [(len(group["params"]), group["lr"]) for group in groups] == [(24, 0.25), (4, 0.5), (4, 1.0)]


def rates_of(encoder: str) -> tuple[nn.Module, dict[nn.Parameter, float]]:
    """The encoder of a Unet, and the rate of each of its parameters at lr 1 and decay 0.9."""
    module = SegmentationModule({"names": ["a", "b"]}, 1, encoder=encoder, layer_decay=0.9, lr=1.0, schedule="constant")
    module.trainer = SimpleNamespace(  # type: ignore[assignment] # no more is asked of it
        **{"gradient_clip_val": None, "datamodule": SimpleNamespace(batches_per_epoch=lambda: 1)},
        **{"limit_train_batches": 1.0, "accumulate_grad_batches": 1, "max_epochs": 1, "max_steps": -1},
    )
    groups = module.configure_optimizers()["optimizer"].param_groups
    return module.network.network.encoder, {one: group["lr"] for group in groups for one in group["params"]}


def test_layers_are_those_that_an_image_meets_one_after_another() -> None:
    encoder, rates = rates_of("mit_b0")  # made with the patch embeddings of all stages before the blocks
    for stage in (2, 3, 4):
        below, embedding, above = (
            [rates[one] for one in encoder.get_submodule(name).parameters()]
            for name in (f"block{stage - 1}", f"patch_embed{stage}", f"block{stage}")
        )
        assert max(below) <= min(embedding) <= max(embedding) <= min(above)
        assert max(below) < max(above)
    assert encoder.training


def test_layers_of_a_resnet_are_those_in_which_it_is_made() -> None:
    encoder, rates = rates_of("resnet18")
    expected = [0.9 ** (5 - place // 12) for place in range(60)]
    assert [rates[parameter] for parameter in encoder.parameters()] == pytest.approx(expected)


def test_layers_are_counted_among_those_that_are_used() -> None:
    network = build_network("PSPNet", "resnet18", None, 3, 1, {})  # of its encoder it leaves out layer3 and layer4
    groups = rates_by_layer(network.network, by_first_use(network, torch.zeros(1, 3, 1, 1)), lr=1.0, decay=0.75)
    rates = {one: group["lr"] for group in groups for one in group["params"]}
    encoder = network.network.encoder
    assert rates[encoder.layer2[1].bn2.bias] == 0.75
    assert {rates[one] for part in (encoder.layer3, encoder.layer4) for one in part.parameters()} == {1.0}
    assert len(rates) == len(list(network.parameters()))


def test_an_encoder_that_is_not_used_has_no_layers() -> None:
    model = network(linear(2))
    (group,) = rates_by_layer(model, model.decoder.parameters(), lr=1.0, decay=0.75)
    assert (group["name"], group["lr"], len(group["params"])) == ("decoder", 1.0, 8)


def test_a_run_has_the_rates_of_its_layers(tiny_fit: Fit) -> None:
    folder = tiny_fit("--model.layer_decay", 0.5, "--model.lr", 0.01, "--model.schedule", "poly", "--model.warmup", 0.3)
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["lr-AdamW/decoder"]]
    layers = sum(name.startswith("lr-AdamW/encoder") for name in rows[0])
    assert layers > 1
    for row in rows:  # the schedule is a factor on all
        rate = float(row["lr-AdamW/decoder"])
        for layer in range(layers):
            assert float(row[f"lr-AdamW/encoder{layer}"]) == pytest.approx(rate * 0.5 ** (layers - layer))
    assert {float(row["lr-AdamW/decoder"]) for row in rows} > {0.01}


class EpochStates(Callback):
    """Keeps the state of the module at the start of each epoch."""

    def __init__(self, kept: list[dict[str, torch.Tensor]]) -> None:
        self.kept = kept

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        self.kept.append({name: value.clone() for name, value in module.state_dict().items()})


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_frozen_encoder_stays_and_then_learns(tiny_fit: Fit, monkeypatch: pytest.MonkeyPatch, schedule: str) -> None:
    states: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(cli, "WarnOneClass", lambda: EpochStates(states))
    # validated within the first epoch: it must not end the freezing
    args = ("--model.schedule", schedule, "--data.samples_per_epoch", 8, "--trainer.val_check_interval", 2)
    folder = tiny_fit("--model.freeze_encoder", 1, *args)
    states.append(torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    first, second = changed(*states[:2]), changed(*states[1:])
    assert first and not any(name.startswith(ENCODER) for name in first)
    assert {
        "network.network.segmentation_head.0.weight",
        "network.network.decoder.blocks.0.conv1.1.running_mean",
    } <= first
    learned = {name for name in second if name.startswith(ENCODER)}
    weights = {name for name in states[0] if name.startswith(ENCODER) and name.endswith("weight")}
    assert weights <= learned
    assert any(name.endswith("running_mean") for name in learned)


@pytest.mark.parametrize("option", [("layer_decay", 0.5), ("freeze_encoder", 2)])
def test_a_network_without_an_encoder_is_refused(run: Callable[..., int], synthetic, quick, capsys, option) -> None:
    name, value = option
    args = ("--model.network", "PlainUnet", "--model.network_options", "{width: 2}", f"--model.{name}", value)
    assert run("fit", *synthetic, *quick, *args) == 1
    assert f"error: model.{name} is for networks with an encoder, and PlainUnet has none" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--model.layer_decay", 1.5), "model.layer_decay is 1.5; give a factor above 0 and below 1"),
        (("--model.layer_decay", 0), "model.layer_decay is 0.0; give a factor"),
        (("--model.freeze_encoder", -1), "model.freeze_encoder is -1; give a number of epochs"),
        (("--model.ema", 1), "model.ema is 1.0; give a decay"),
    ],
)
def test_values_out_of_range_are_refused(run: Callable[..., int], synthetic, quick, capsys, args, message) -> None:
    assert run("fit", *synthetic, *quick, *args) == 1
    assert message in capsys.readouterr().err
