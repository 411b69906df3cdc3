"""Training with a compiled network gives the same run, and so does one whose compiler fails."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import nn
from torch._dynamo.backends.common import aot_autograd

from segmentation import cli
from segmentation.callbacks.compilation import CompiledTraining, _Compiled
from segmentation.model.networks.any_size import AnySize

Fit = Callable[..., Path]

SMALL = (
    *("--model.network", "PlainUnet", "--model.network_options", "{width: 2}", "--model.ema", 0.9),
    *("--data.samples_per_epoch", 4, "--trainer.max_epochs", 1),
)


def last(folder: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    return checkpoint


def refused(*_: Any) -> Any:
    raise RuntimeError("no compiler here\nand many lines more")


def as_it_is(graph: Any, _inputs: Any) -> Any:
    return make_boxed_func(graph.forward)


class Backend:
    """Runs what it is given as it is, and counts; the graph that it cannot compile is numbered from 1."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.compiled = 0
        self.runs = 0
        self.fails_at = fails_at

    def __call__(self, graph: Any, _inputs: Any) -> Any:
        self.compiled += 1
        if self.compiled == self.fails_at:
            refused()

        def run(*inputs: Any) -> Any:
            self.runs += 1
            return graph.forward(*inputs)

        return run


def test_a_compiled_run_is_the_run(tiny_fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial leaves no trace, and a compiler that fails at the backward pass changes nothing."""
    plain, counting = last(tiny_fit(*SMALL)), Backend()
    failing = aot_autograd(fw_compiler=as_it_is, bw_compiler=refused)
    for backend, warned in ((counting, 0), (failing, 1)):
        monkeypatch.setattr(cli, "CompiledTraining", lambda backend=backend: CompiledTraining(backend))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            run = tiny_fit(*SMALL, "--compile")
        found = [str(entry.message) for entry in told if "torch.compile failed" in str(entry.message)]
        assert len(found) == warned
        assert all("no compiler here" in message and "leave --compile out" in message for message in found)
        compiled = last(run)
        for state in ("state_dict", "current_model_state"):
            assert list(compiled[state]) == list(plain[state])
            assert all(torch.equal(value, plain[state][name]) for name, value in compiled[state].items())
        assert compiled["hyper_parameters"] == plain["hyper_parameters"]
    assert (counting.compiled, counting.runs) == (1, 1 + 2)  # one graph; the trial, and the steps of training alone


def test_another_size_that_cannot_be_compiled_runs_as_it_is() -> None:
    network = AnySize(nn.Conv2d(1, 2, 3, padding=1), stride=4, shortest=8)
    small, large = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 12, 20)
    expected = [network(small), network(large)]
    torch.compiler.reset()
    compiled = _Compiled(network, Backend(fails_at=2))
    network.forward = compiled
    assert torch.equal(network(small), expected[0]) and compiled.works
    with pytest.warns(UserWarning, match="torch.compile failed"):
        assert torch.equal(network(large), expected[1])
    assert torch.equal(network(large), expected[1]) and not compiled.works  # without a word


def test_evaluation_compiles_nothing() -> None:
    network = AnySize(nn.Conv2d(1, 2, 3, padding=1)).eval()
    backend = Backend()
    network.forward = _Compiled(network, backend)
    network(torch.rand(1, 1, 9, 9))
    assert backend.compiled == 0


def test_what_is_wrong_with_an_image_is_told_as_it_is() -> None:
    network = AnySize(nn.Conv2d(1, 2, 3, padding=1))
    network.forward = _Compiled(network, Backend())
    with pytest.raises(RuntimeError, match="expected input.* to have 1 channels"):
        network(torch.rand(1, 3, 9, 9))
