"""Which number format is chosen, and that it is switched on."""

import pytest
import torch

from segmentation.model import precision
from segmentation.model.precision import (
    autocast,
    chosen_precision,
    default_precision,
    has_fast_bf16,
    usable_precision,
)


def cpu_with(monkeypatch, **capabilities: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)


def gpu_with(monkeypatch, capability: tuple[int, int] | None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)


@pytest.mark.parametrize("capability", ["amx_bf16", "avx512_bf16"])
def test_a_cpu_with_bf16_arithmetic_uses_it(monkeypatch, capability):
    cpu_with(monkeypatch, **{capability: True})
    assert has_fast_bf16("cpu")
    assert default_precision("cpu") == "bf16-mixed"


def test_a_cpu_without_bf16_arithmetic_computes_in_float32(monkeypatch):
    cpu_with(monkeypatch, amx_bf16=False, avx512=True)
    assert not has_fast_bf16("cpu")
    assert default_precision("cpu") == "32-true"


@pytest.mark.parametrize("check", ["_is_amx_tile_supported", "_is_avx512_bf16_supported"])
def test_an_older_torch_is_asked_by_its_own_checks(monkeypatch, check):
    cpu_with(monkeypatch)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not has_fast_bf16("cpu")
    monkeypatch.setattr(torch.cpu, check, lambda: True, raising=False)
    assert has_fast_bf16("cpu")


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), "bf16-mixed"), ((8, 0), "bf16-mixed"), ((7, 5), "32-true"), (None, "32-true")],
)
def test_a_gpu_uses_bf16_from_ampere_on(monkeypatch, capability, expected):
    gpu_with(monkeypatch, capability)
    assert default_precision("cuda") == expected


def test_a_device_that_nothing_is_known_of_computes_in_float32():
    assert default_precision("mps") == "32-true"


@pytest.mark.parametrize(
    ("wanted", "device", "fast", "expected"),
    [
        ("bf16-mixed", "cpu", True, "bf16-mixed"),
        ("bf16-mixed", "cpu", False, "32-true"),
        ("bf16-mixed", "cuda", True, "bf16-mixed"),
        ("16-mixed", "cuda", False, "16-mixed"),
        ("16-mixed", "cpu", True, "32-true"),
        ("32-true", "cpu", True, "32-true"),
        ("64-true", "cpu", True, "32-true"),
    ],
)
def test_a_checkpoint_runs_in_its_precision_where_the_machine_has_it(monkeypatch, wanted, device, fast, expected):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda _device: fast)
    assert usable_precision(wanted, device) == expected


@pytest.mark.parametrize(
    ("name", "dtype"), [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16), ("32-true", torch.float32)]
)
def test_autocast_computes_in_the_precision_and_ends_with_its_block(name, dtype):
    one = torch.ones(2, 2)
    with autocast(name, "cpu"):
        assert (one @ one).dtype == dtype
    assert (one @ one).dtype == torch.float32


@pytest.mark.parametrize(
    ("stated", "trained", "expected"),
    [
        (None, None, "bf16-mixed"),
        (None, "32-true", "32-true"),
        (None, "16-mixed", "32-true"),
        ("32-true", "bf16-mixed", "32-true"),
        (32, None, 32),
    ],
)
def test_the_stated_precision_wins_over_that_of_the_checkpoint_and_that_over_the_fastest(
    monkeypatch, stated, trained, expected
):
    cpu_with(monkeypatch, amx_bf16=True)
    assert chosen_precision(stated, "cpu", trained) == expected
