"""What docs/losses.md says of losses and their options is so, and what it shows can be used."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

from segmentation.inference.classes import Classes
from segmentation.model.losses.loss import LOSSES, Loss

TEXT = (Path(__file__).parents[3] / "docs" / "losses.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", TEXT, re.MULTILINE))
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
MIXTURES = sorted(set(re.findall(r"`(\{\w+: [\d.]+, .*?\})`", TEXT)))


def test_the_table_has_every_loss_with_its_options_and_their_defaults():
    assert list(ROWS) == list(LOSSES)
    for name, loss in LOSSES.items():
        parameters = inspect.signature(loss).parameters.values()
        defaults = {each.name: each.default for each in parameters if each.kind == each.KEYWORD_ONLY}
        shown = {option: yaml.safe_load(value) for option, value in re.findall(r"`(\w+)` ([\w.]+)", ROWS[name])}
        assert shown == defaults, name


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_loss(example):
    model = yaml.safe_load(example)["model"]
    assert Loss(model["loss"], Classes(("membrane", "cell")), None, model.get("loss_options")).weights == model["loss"]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_every_mixture_is_a_loss(mixture):
    assert Loss(yaml.safe_load(mixture), Classes(("membrane", "cell"))).weights


def test_the_examples_were_found():
    assert len(EXAMPLES) >= 3
    assert len(MIXTURES) >= 8
