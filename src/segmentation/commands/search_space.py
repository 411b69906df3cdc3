"""What ``tune`` varies: a YAML file of choices and ranges -> distributions, and what is drawn -> a config."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from segmentation.commands.fit_arguments import FitArguments
from segmentation.errors import InputError, nearest
from segmentation.metrics.direction import is_loss
from segmentation.parse_errors import nearest_option

SCORED_ON = (
    *("data.source", "data.split_file", "data.folds", "data.fold", "data.val_fraction", "data.test_fraction"),
    *("data.split_kind", "data.group", "model.scores", "model.target_class", "checkpoint.monitor"),
    *("trainer.limit_val_batches", "trainer.overfit_batches", "trainer.fast_dev_run"),
)
"""Arguments that choose the samples or the score by which trials are compared."""

LOSS = ("model.loss", "model.class_weights")
"""Arguments whose smallest values have the smallest loss."""

RANGE = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Parameter:
    """An argument of ``fit`` that is varied.

    Attributes:
        distribution: Of what is drawn: a number, or the text of a choice.
        start: What the config itself has, as it would be drawn.
        choices: Text -> choice; empty for a range.
    """

    distribution: CategoricalDistribution | FloatDistribution | IntDistribution
    start: float | str
    choices: Mapping[str, Any]

    @property
    def ends(self) -> list[Any]:
        """Every choice, or the smallest and the largest number."""
        if isinstance(self.distribution, CategoricalDistribution):
            return list(self.choices.values())
        return [self.distribution.low, self.distribution.high]


@dataclass(frozen=True)
class SearchSpace:
    """Arguments of ``fit`` and what each can be.

    Attributes:
        parameters: By the dotted name of the argument, such as ``model.lr`` or ``model.loss.dice``.
        arguments: Every argument of the config itself.
        given: The content of the file.
    """

    parameters: dict[str, Parameter]
    arguments: dict[str, Any]
    given: dict[str, Any]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Of each parameter."""
        return {name: parameter.distribution for name, parameter in self.parameters.items()}

    @property
    def start(self) -> dict[str, float | str]:
        """The config itself, as if it had been drawn."""
        return {name: parameter.start for name, parameter in self.parameters.items()}

    @property
    def logarithmic(self) -> set[str]:
        """Parameters that are drawn on a logarithmic scale."""
        return {name for name, one in self.distributions.items() if getattr(one, "log", False)}

    def text(self, drawn: Mapping[str, Any]) -> str:
        """``config`` as YAML."""
        return str(yaml.safe_dump(self.config(drawn), sort_keys=False))

    def config(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """What to lay over the config; an argument that is a mapping is whole in it.

        Args:
            drawn: Of each parameter, a number or the text of a choice.
        """
        config: dict[str, Any] = {}
        for name, value in drawn.items():
            choices = self.parameters[name].choices
            section, argument, *inside = name.split(".")
            arguments = config.setdefault(section, {})
            whole = arguments.get(argument, self.arguments[section][argument])
            arguments[argument] = _replaced(whole, inside, choices[value] if choices else value)
        return config


def read_space(path: Path, asked: FitArguments) -> SearchSpace:
    """Read a search space and check it against ``fit``.

    Args:
        path: YAML, a line for each argument: ``model.encoder: [resnet18, resnet34]`` for choices,
            ``model.lr: {low: 1e-4, high: 1e-2, log: true}`` for numbers, with ``step`` for whole ones or a grid.
        asked: The config that is varied.

    Raises:
        InputError: Naming everything that is wrong: arguments that ``fit`` does not have, values that it refuses,
            ranges that are none, and those that leave out the config's own value.
    """
    arguments, parameters, mistakes = asked.plain(), {}, []
    content = _read(path)
    for name, given in content.items():
        try:
            parameters[name] = _parameter(name, given, arguments, asked, list(content))
        except InputError as error:
            mistakes.append(f"{name}: {error}")
    if mistakes:
        raise InputError(f"the search space {path} cannot be used:\n  " + "\n  ".join(mistakes))
    return SearchSpace(parameters, arguments, content)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = get_loader("yaml")(path.read_text(encoding="utf-8"))  # its 1e-3 is a number, PyYAML's is none
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the search space {path} cannot be read ({reason}); give a YAML file") from error
    if not isinstance(content, dict) or not content:
        raise InputError(
            f"the search space {path} names no argument; give lines such as model.lr: {{low: 1e-4, high: 1e-2, log: true}}"
        )
    return {str(name): given for name, given in content.items()}


def _parameter(
    name: str, given: Any, arguments: dict[str, Any], asked: FitArguments, names: Sequence[str]
) -> Parameter:
    own = _own(name, arguments)
    if any(name.startswith(f"{other}.") for other in names):
        raise InputError("a part of an argument that is varied as a whole; leave out one of them")
    if name.startswith(SCORED_ON):
        raise InputError("with it the trials are scored on other samples or by another score; leave it out")
    if name.startswith(LOSS) and is_loss(asked.resolved.checkpoint.monitor):
        raise InputError(
            "the loss itself is the score (checkpoint.monitor), and its smallest shares have the smallest loss; "
            "score by val/iou, val/dice or val/v_rand"
        )
    if isinstance(given, list):
        parameter = _choice(given, own)
    elif isinstance(given, dict):
        parameter = _range(given, own)
    else:
        raise InputError(f"is {given!r}; give choices such as [a, b], or a range such as {{low: 1, high: 2}}")
    section, argument, *inside = name.split(".")
    for value in parameter.ends:
        changed = arguments[section] | {argument: _replaced(arguments[section][argument], inside, value)}
        try:
            asked.check(arguments | {section: changed})
        except InputError as error:
            whole = isinstance(own, int) and isinstance(parameter.distribution, FloatDistribution)
            cure = "; give step: 1 for whole numbers" if whole else ""
            told = " ".join(str(error).split())
            raise InputError(f"fit refuses {value!r}{cure} ({told})") from error
    return parameter


def _own(name: str, arguments: dict[str, Any]) -> Any:
    """The config's own value of an argument, or of a part of one that is a mapping."""
    known = [f"{section}.{name}" for section, held in arguments.items() if isinstance(held, dict) for name in held]
    section, argument, *inside = name.split(".") if "." in name else (name, "")
    if f"{section}.{argument}" not in known:
        meant = nearest_option(f"Option '{name}'", known) or nearest(name, known)
        raise InputError(f"fit has no such argument{meant}")
    value = arguments[section][argument]
    for key in inside:
        if not isinstance(value, dict) or key not in value:
            raise InputError(f"{section}.{argument} has no {key!r} in the config; give it a value there, such as 0")
        value = value[key]
    return value


def _choice(given: list[Any], own: Any) -> Parameter:
    choices = {value if isinstance(value, str) else json.dumps(value): value for value in given}
    if len(choices) < max(2, len(given)):
        raise InputError(f"the choices are {given}; give two or more different ones")
    start = [text for text, value in choices.items() if value == own]
    if not start:
        raise InputError(f"the config's own value {own!r}, with which the first trial trains, is no choice; add it")
    return Parameter(CategoricalDistribution(list(choices)), start[0], choices)


def _range(given: dict[Any, Any], own: Any) -> Parameter:
    for key in given:
        if key not in RANGE:
            raise InputError(f"a range has no {key!r}" + nearest(str(key), list(RANGE)))
    whole: dict[str, Any] = dict.fromkeys(RANGE) | {"log": False} | given
    low, high, log, step = (whole[key] for key in RANGE)
    numbers = [low, high] if step is None else [low, high, step]
    if not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers):
        raise InputError(f"the range {given} needs numbers as low and high, and as step if there is one")
    if not isinstance(log, bool):
        raise InputError(f"log is {log!r}; give true or false")
    if not low < high:
        raise InputError(f"low {low} is not below high {high}")
    if log and low <= 0:
        raise InputError(f"low is {low}, and a logarithmic range begins above 0")
    if step is not None and (step <= 0 or not _on_grid(high, low, step)):
        raise InputError(f"high {high} is not low {low} and a number of steps of {step}")
    if not isinstance(own, (int, float)) or isinstance(own, bool) or not low <= own <= high:
        raise InputError(f"the config's own value {own!r}, with which the first trial trains, is not in {low}..{high}")
    if step is not None and not _on_grid(own, low, step):
        raise InputError(f"the config's own value {own} is not low {low} and a number of steps of {step}")
    try:
        if all(isinstance(number, int) for number in [*numbers, step]):
            return Parameter(IntDistribution(low, high, log=log, step=step), own, {})
        return Parameter(FloatDistribution(low, high, log=log, step=step), float(own), {})
    except ValueError as error:
        raise InputError(str(error)) from error


def _on_grid(value: float, low: float, step: float) -> bool:
    steps = (value - low) / step
    return abs(steps - round(steps)) < 1e-8


def _replaced(whole: Any, inside: Sequence[str], value: Any) -> Any:
    """A mapping with another value at the end of a path of keys; the value itself where there is no path."""
    if not inside:
        return value
    first, *rest = inside
    return whole | {first: _replaced(whole.get(first), rest, value)}
