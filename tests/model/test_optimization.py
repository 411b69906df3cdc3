"""Optimizers and schedules by name, with the learning rate by hand."""

import copy
import math
import re

import pytest
import timm.optim
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from segmentation.errors import InputError
from segmentation.model.optimization import build_optimizer, build_schedule, check_optimization, watched


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(4))]


def rates(name: str, steps: int, warmup: float = 0.0, options: dict | None = None, lr: float = 1.0) -> list[float]:
    """The learning rate of each of the steps and of the one that would follow."""
    optimizer = torch.optim.SGD(parameters(), lr=lr)
    schedule = build_schedule(name, optimizer, steps, warmup, options or {})
    assert schedule["interval"] == "step"
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    return [*found, optimizer.param_groups[0]["lr"]]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
        ("lion", timm.optim.Lion),
        ("lamb", timm.optim.Lamb),
    ],
)
def test_an_optimizer_by_name_has_its_rate_and_decay_and_lowers_a_loss(name, kind):
    weights = parameters()
    optimizer = build_optimizer(name, iter(weights), lr=0.01, weight_decay=0.05, options={})
    assert isinstance(optimizer, kind)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.01, 0.05)
    assert all(kept is given for kept, given in zip(group["params"], weights, strict=True))
    before = sum(weight.square().sum() for weight in weights)
    before.backward()
    optimizer.step()
    assert sum(weight.square().sum() for weight in weights) < before


def test_rmsprop_takes_its_momentum_from_the_options():
    optimizer = build_optimizer("rmsprop", parameters(), 1e-3, 0, {"momentum": 0.9, "alpha": 0.95})
    assert optimizer.param_groups[0]["momentum"] == 0.9
    assert optimizer.param_groups[0]["alpha"] == 0.95


def test_lists_from_a_config_serve_as_betas():
    optimizer = build_optimizer("adamw", parameters(), 1e-3, 0, {"betas": [0.8, 0.9]})
    assert list(optimizer.param_groups[0]["betas"]) == [0.8, 0.9]


def test_sgd_takes_one_step_by_hand():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer("sgd", [weight], lr=0.1, weight_decay=0.5, options={})
    (3 * weight).sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx(2 - 0.1 * (3 + 0.5 * 2))


def test_an_unknown_optimizer_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="model.optimizer 'adamm' is unknown; did you mean 'adam"):
        build_optimizer("adamm", parameters(), 1e-3, 0, {})


@pytest.mark.parametrize("name", ["rmsprop", "rmsproptf"])
def test_an_unknown_option_is_refused_with_the_nearest(name):
    with pytest.raises(InputError, match=f"model.optimizer_options: {name} takes no 'momentun'; did you mean 'momentu"):
        build_optimizer(name, parameters(), 1e-3, 0, {"momentun": 0.9})


@pytest.mark.parametrize("option", ["lr", "weight_decay"])
def test_an_option_with_an_argument_of_its_own_is_refused_with_its_place(option):
    with pytest.raises(InputError, match=f"set model.{option}$"):
        build_optimizer("adam", parameters(), 1e-3, 0, {option: 1})


def test_values_that_an_optimizer_refuses_are_shown_with_its_reason():
    with pytest.raises(InputError, match="model.optimizer adam refuses .*'lr': -1.* \\(Invalid learning rate: -1\\)"):
        build_optimizer("adam", parameters(), -1, 0, {})


@pytest.mark.parametrize("options", [{"betas": [0.9]}, {"betas": {}}, {"foreach": True, "fused": True}])
def test_an_optimizer_that_cannot_be_built_with_its_options_is_refused(options):
    with pytest.raises(InputError, match=r"model.optimizer adam refuses .*, 'weight_decay': 0, .*\(.*\)"):
        build_optimizer("adam", parameters(), 1e-3, 0, options)


def test_an_optimizer_that_this_machine_lacks_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="fusedadam is not to be had on this machine .*CUDA"):
        build_optimizer("fusedadam", parameters(), 1e-3, 0, {})


def test_an_optimizer_that_needs_second_derivatives_is_refused():
    with pytest.raises(
        InputError, match="model.optimizer adahessian needs second derivatives, which fit does not comp"
    ):
        build_optimizer("adahessian", parameters(), 1e-3, 0, {})


def test_constant_stays():
    assert rates("constant", 5, lr=0.3) == [0.3] * 6


def test_cosine_by_hand():
    found = rates("cosine", 4, lr=2.0)
    assert found == pytest.approx([2, 1 + math.sqrt(0.5), 1, 1 - math.sqrt(0.5), 0])


def test_cosine_ends_at_its_end():
    found = rates("cosine", 4, options={"end": 0.2})
    assert found == pytest.approx(
        [1, 0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2, 0.6, 0.2 + 0.8 * (1 - math.sqrt(0.5)) / 2, 0.2]
    )


def test_poly_by_hand():
    assert rates("poly", 4) == pytest.approx([1, 0.75**0.9, 0.5**0.9, 0.25**0.9, 0])
    assert rates("poly", 4, options={"power": 2}) == pytest.approx([1, 9 / 16, 4 / 16, 1 / 16, 0])


def test_step_by_hand():
    assert rates("step", 10) == pytest.approx([1] * 6 + [0.1] * 2 + [0.01] * 3)
    assert rates("step", 4, options={"at": [0.5], "gamma": 0.5}) == pytest.approx([1, 1, 0.5, 0.5, 0.5])


def test_warmup_rises_in_equal_steps_and_the_schedule_follows_over_the_rest():
    # 3 of 10 steps: 1/4, 2/4, 3/4, then the whole of poly over the 7 that are left
    found = rates("poly", 10, warmup=0.3, options={"power": 1})
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7, 0])
    assert rates("constant", 4, warmup=0.5) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1])


@pytest.mark.parametrize("name", ["constant", "cosine", "poly", "step"])
def test_every_schedule_takes_a_run_of_one_step_and_steps_beyond_the_last(name):
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    scheduler = build_schedule(name, optimizer, 1, 0.0, {})["scheduler"]
    assert optimizer.param_groups[0]["lr"] == 1
    for _ in range(3):
        optimizer.step()
        scheduler.step()
        assert 0 <= optimizer.param_groups[0]["lr"] <= 1


def test_plateau_is_stepped_by_the_module_alone():
    schedule = build_schedule("plateau", torch.optim.SGD(parameters(), lr=1.0), 100, 0.0, {})
    scheduler = schedule.pop("scheduler")
    assert schedule == {"reduce_on_plateau": False, "interval": "epoch"}
    assert isinstance(scheduler, ReduceLROnPlateau)
    assert scheduler.mode == "min"
    options = {"monitor": "val/iou/blossom"}
    assert (
        build_schedule("plateau", torch.optim.SGD(parameters(), lr=1.0), 100, 0.0, options)["scheduler"].mode == "max"
    )


def test_plateau_looks_at_the_validation_loss_unless_told_otherwise():
    scores = {"loss": 0.7, "dice": 0.5, "dice/cell": 0.4}
    assert watched({}, scores) == 0.7
    assert watched({"monitor": "val/dice/cell"}, scores) == 0.4
    with pytest.raises(InputError, match="monitor 'val/dise' is no score of a validation; did you mean 'val/dice'"):
        watched({"monitor": "val/dise"}, scores)


def test_plateau_lowers_the_rate_when_a_score_stops_rising():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    options = {"monitor": "val/dice", "factor": 0.5, "patience": 1}
    scheduler = build_schedule("plateau", optimizer, 100, 0.0, options)["scheduler"]
    found = []
    for dice in (0.5, 0.6, 0.6, 0.6, 0.7):
        scheduler.step(dice)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == [1, 1, 1, 0.5, 0.5]


def test_plateau_lowers_all_rates_in_proportion():
    groups = [{"params": parameters(), "lr": lr} for lr in (0.2, 0.4, 0.8)]
    optimizer = torch.optim.SGD(groups, lr=0.8)
    options = {"factor": 0.5, "patience": 0, "min_lr": 0.3}
    scheduler = build_schedule("plateau", optimizer, 100, 0.0, options)["scheduler"]
    found = []
    for _ in range(4):
        scheduler.step(1.0)
        found.append([group["lr"] for group in optimizer.param_groups])
    assert [one[2] for one in found] == pytest.approx([0.8, 0.4, 0.3, 0.3])
    for one in found:
        assert one == pytest.approx([one[2] / 4, one[2] / 2, one[2]])


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_optimizer_stays_fused_or_not_whatever_state_it_takes(name: str, before: bool):
    def step(optimizer: torch.optim.Optimizer) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        loss = torch.stack([one.square().sum() for one in optimizer.param_groups[0]["params"]]).sum()
        scaler.scale(loss).backward()
        if not getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        optimizer.zero_grad()

    def begun(fused: bool) -> torch.optim.Optimizer:
        options = {"momentum": 0.9} if name == "sgd" else {}
        optimizer = build_optimizer(name, parameters(), 0.1, 0.01, options, fused=fused)
        step(optimizer)
        return optimizer

    first, second = begun(before), begun(not before)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert bool(second.param_groups[0]["fused"]) == (not before)
    for optimizer in (first, second):
        step(optimizer)
    for one, other in zip(first.param_groups[0]["params"], second.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(one, other)


def test_an_unknown_schedule_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="model.schedule 'cosin' is unknown; did you mean 'cosine'"):
        rates("cosin", 4)


def test_an_option_of_another_schedule_is_refused_with_those_that_fit():
    with pytest.raises(InputError, match="model.schedule_options: step takes no 'power'; known: at, gamma"):
        rates("step", 4, options={"power": 1})
    with pytest.raises(InputError, match="plateau takes no 'patiense'; did you mean 'patience'"):
        rates("plateau", 4, options={"patiense": 1})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("step", {"at": 0.5}),
        ("step", {"gamma": "x"}),
        ("cosine", {"end": "x"}),
        ("poly", {"power": -1}),
        ("plateau", {"factor": 2.0}),
        ("plateau", {"min_lr": [0.1, 0.2]}),
        ("plateau", {"min_lr": "x"}),
        ("plateau", {"patience": "x"}),
        ("plateau", {"threshold": "x"}),
        ("plateau", {"monitor": 3}),
    ],
)
@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_a_schedule_that_fails_at_its_first_or_last_step_is_refused_with_its_options(name, options, warmup):
    warmup = 0.0 if name == "plateau" else warmup
    with pytest.raises(InputError, match=rf"model.schedule {name} refuses {re.escape(str(options))} \(.+\)"):
        check_optimization("sgd", 1.0, 0.0, {}, name, warmup, options)


@pytest.mark.parametrize(("name", "warmup"), [("cosine", -0.1), ("cosine", 1.0), ("constant", 5), ("plateau", 0.1)])
def test_a_warmup_that_is_no_share_of_the_steps_is_refused(name, warmup):
    with pytest.raises(InputError, match=f"model.warmup is {warmup}; give a share"):
        rates(name, 4, warmup=warmup)


def test_a_run_without_end_takes_constant_and_plateau_alone():
    optimizer = torch.optim.SGD(parameters(), lr=0.5)
    scheduler = build_schedule("constant", optimizer, math.inf, 0.0, {})["scheduler"]
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert isinstance(build_schedule("plateau", optimizer, math.inf, 0.0, {})["scheduler"], ReduceLROnPlateau)
    for name, warmup in (("cosine", 0.0), ("constant", 0.1)):
        with pytest.raises(InputError, match="needs the length of the run; set trainer.max_epochs"):
            build_schedule(name, optimizer, math.inf, warmup, {})


def test_one_kernel_steps_all_weights_where_there_is_one_and_nobody_wants_another_way():
    weights = [nn.Parameter(torch.arange(4.0)), nn.Parameter(torch.ones(2, 3))]

    def stepped(**arguments):
        copies = [nn.Parameter(weight.detach().clone()) for weight in weights]
        optimizer = build_optimizer("adamw", copies, 0.1, 0.01, {}, **arguments)
        for _ in range(3):
            sum((copy**2).sum() for copy in copies).backward()
            optimizer.step()
        return optimizer, copies

    fused, ours = stepped(fused=True)
    plain, theirs = stepped()
    assert fused.defaults["fused"] and not plain.defaults["fused"]
    torch.testing.assert_close(ours, theirs)
    for name, options in (("rmsprop", {}), ("lion", {}), ("adamw", {"fused": False}), ("sgd", {"foreach": True})):
        assert not build_optimizer(name, weights, 0.1, 0.0, options, fused=True).defaults.get("fused")
