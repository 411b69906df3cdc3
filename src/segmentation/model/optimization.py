"""Optimizer and learning-rate schedule by name."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from segmentation.errors import InputError, nearest
from segmentation.metrics.direction import lower_is_better

TORCH_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
"""torch's own for the common names; every other name is timm's."""

MONITOR = "val/loss"
"""What ``plateau`` looks at unless told otherwise."""


def build_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter] | list[dict[str, Any]],
    lr: float,
    weight_decay: float,
    options: dict[str, Any],
    fused: bool = False,
) -> torch.optim.Optimizer:
    """An optimizer by name.

    Args:
        name: adam, adamw, sgd, rmsprop, or any of ``timm.optim.list_optimizers()`` of the first order.
        parameters: To optimize, or groups of them.
        lr: Learning rate; that of a group wins.
        weight_decay: On all parameters.
        options: Further arguments of the optimizer, such as ``{"momentum": 0.9}``.
        fused: Step all weights in one kernel where the optimizer is torch's and has one, unless the options choose
            another way.

    Raises:
        InputError: For an unknown name or option, with the nearest known ones, and for an optimizer that needs more
            than gradients.
    """
    import timm.optim  # brings all networks of timm along, which the command line need not wait for

    known = sorted({*TORCH_OPTIMIZERS, *map(str, timm.optim.list_optimizers())})
    if name not in known:
        raise InputError(f"model.optimizer {name!r} is unknown" + nearest(name, known))
    try:
        optimizer = TORCH_OPTIMIZERS.get(name) or timm.optim.get_optimizer_class(name, bind_defaults=True)
    except (AssertionError, ImportError) as error:  # apex's and bitsandbytes' need a GPU and those packages
        raise InputError(f"model.optimizer {name} is not to be had on this machine ({error})") from error
    if name not in TORCH_OPTIMIZERS and timm.optim.get_optimizer_info(name).second_order:
        raise InputError(
            f"model.optimizer {name} needs second derivatives, which fit does not compute; give another, such as adamw"
        )
    accepted = list(inspect.signature(optimizer).parameters)
    for option in options:
        if option in ("lr", "weight_decay"):
            raise InputError(f"model.optimizer_options: {option} has a place of its own; set model.{option}")
        if option not in accepted or option == "params":
            free = [argument for argument in accepted if argument not in ("params", "lr", "weight_decay")]
            raise InputError(f"model.optimizer_options: {name} takes no {option!r}" + nearest(option, free))
    has_kernel = name in TORCH_OPTIMIZERS and "fused" in accepted
    one_kernel = fused and has_kernel and options.keys().isdisjoint(("foreach", "differentiable"))
    arguments = {"lr": lr, "weight_decay": weight_decay} | ({"fused": True} if one_kernel else {}) | options
    try:
        built = optimizer(parameters, **{key: value for key, value in arguments.items() if key in accepted})
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise InputError(f"model.optimizer {name} refuses {arguments} ({error})") from error
    if has_kernel:
        built.register_load_state_dict_pre_hook(_in_own_kernel)
    return built


def _in_own_kernel(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimizer that was fused or not, for one that stays as it was built."""
    return state | {"param_groups": [group | {"fused": optimizer.defaults["fused"]} for group in state["param_groups"]]}


def check_optimization(
    optimizer: str,
    lr: float,
    weight_decay: float,
    optimizer_options: dict[str, Any],
    schedule: str,
    warmup: float,
    schedule_options: dict[str, Any],
) -> None:
    """Raise InputError for wrong names and options before anything is trained, by building both for one number."""
    built = build_optimizer(optimizer, [nn.Parameter(torch.zeros(1))], lr, weight_decay, optimizer_options)
    try:
        scheduler = build_schedule(schedule, built, 100, warmup, schedule_options)["scheduler"]
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.num_bad_epochs = scheduler.patience  # so that it lowers the rate now
            scheduler.step(math.nan)
        else:
            _ = [SCHEDULES[schedule](done, schedule_options) for done in (0.0, 1.0)]
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(f"model.schedule {schedule} refuses {schedule_options} ({error})") from error


SCHEDULES: dict[str, Callable[[float, dict[str, Any]], float]] = {
    "constant": lambda _done, _options: 1.0,
    "cosine": lambda done, options: _between(options.get("end", 0.0), (1 + math.cos(math.pi * done)) / 2),
    "poly": lambda done, options: (1 - done) ** options.get("power", 0.9),
    "step": lambda done, options: options.get("gamma", 0.1) ** sum(done >= at for at in options.get("at", (0.6, 0.8))),
}
"""Factor on the learning rate by the share of the steps after the warm-up that is done, 0..1."""

_SCHEDULE_OPTIONS = {
    "constant": (),
    "cosine": ("end",),
    "poly": ("power",),
    "step": ("gamma", "at"),
    "plateau": ("monitor", "factor", "patience", "threshold", "min_lr"),
}


def build_schedule(
    name: str,
    optimizer: torch.optim.Optimizer,
    steps: float,
    warmup: float,
    options: dict[str, Any],
) -> dict[str, Any]:
    """A schedule by name, as Lightning's ``lr_scheduler`` dictionary.

    Args:
        name: ``constant``; ``cosine`` (option ``end``: last factor); ``poly`` (``power`` 0.9, Chen et al.
            2018); ``step`` (``gamma`` at each share of the steps in ``at``); ``plateau``
            (torch's ReduceLROnPlateau on the validation score ``monitor``, val/loss by default; ``patience`` is a
            number of validations, ``min_lr`` that of the highest rate, and lower ones end as much below it).
        optimizer: Whose rate is changed.
        steps: Optimizer steps of the whole run; infinite where it has no end.
        warmup: Share of the steps over which the rate rises linearly from 0; 0..1. Not with plateau.
        options: Of the schedule.

    Raises:
        InputError: For an unknown name or option, with the nearest known ones.
    """
    if name not in _SCHEDULE_OPTIONS:
        raise InputError(f"model.schedule {name!r} is unknown" + nearest(name, list(_SCHEDULE_OPTIONS)))
    for option in options:
        if option not in _SCHEDULE_OPTIONS[name]:
            raise InputError(
                f"model.schedule_options: {name} takes no {option!r}" + nearest(option, list(_SCHEDULE_OPTIONS[name]))
            )
    if not 0 <= warmup < 1 or (name == "plateau" and warmup):
        raise InputError(f"model.warmup is {warmup}; give a share of the steps from 0 to below 1, and 0 with plateau")
    if name == "plateau":
        torch_options = {key: value for key, value in options.items() if key != "monitor"}
        rates = [group["lr"] for group in optimizer.param_groups]
        highest = max(rates) or 1.0
        torch_options["min_lr"] = [options.get("min_lr", 0.0) * rate / highest for rate in rates]
        monitor = options.get("monitor", MONITOR)
        plateau = ReduceLROnPlateau(optimizer, mode="min" if lower_is_better(monitor) else "max", **torch_options)
        # stepped by the module: Lightning would step it after the checkpoint of the validation is written
        return {"scheduler": plateau, "reduce_on_plateau": False, "interval": "epoch"}
    if math.isinf(steps):
        if name != "constant" or warmup:
            raise InputError(
                f"model.schedule {name} with warmup {warmup} needs the length of the run; set trainer.max_epochs or "
                "trainer.max_steps, or take constant without warmup, or plateau"
            )
        steps = 1
    rise = round(warmup * steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        return SCHEDULES[name](min(1.0, (step - rise) / max(1, steps - rise)), options)

    scheduler: LRScheduler = LambdaLR(optimizer, factor)
    return {"scheduler": scheduler, "interval": "step"}


def watched(options: dict[str, Any], scores: Mapping[str, float]) -> float:
    """The score of a validation that ``plateau`` looks at.

    Args:
        options: Of the schedule.
        scores: By name, without ``val/``.

    Raises:
        InputError: When it is none of them, with the nearest.
    """
    monitor = options.get("monitor", MONITOR)
    name = monitor.removeprefix("val/")
    if name not in scores:
        known = [f"val/{score}" for score in scores]
        raise InputError(
            f"model.schedule_options: monitor {monitor!r} is no score of a validation" + nearest(monitor, known)
        )
    return scores[name]


def _between(end: float, share: float) -> float:
    return end + (1 - end) * share
