"""Checkpoints and exported files side by side, at tiny size."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from segmentation.commands import benchmark
from segmentation.commands.benchmark import _labels
from segmentation.deployment import metadata
from segmentation.deployment.export import export
from segmentation.deployment.quantization import quantize
from segmentation.errors import InputError
from segmentation.model.predictor import load_module

Run = Callable[..., int]

QUICKLY = ("--sizes", 64, "--rounds", 2, "--memory", "false")


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoint of ``trained`` in float32 and in INT8; an hour of training would make it fit for the gate of export."""
    folder = tmp_path_factory.mktemp("exported")
    files = {precision: folder / f"{precision}.onnx" for precision in ("float32", "int8")}
    export(load_module(trained / "checkpoints/best.ckpt"), files["float32"])
    tiles = [np.random.default_rng(seed).integers(0, 256, (1, 1, 64, 64), dtype=np.uint8) for seed in range(2)]
    quantize(files["float32"], files["int8"], tiles, tiles, limit=1)
    model = onnx.load(files["int8"])
    metadata.write(model, metadata.read(files["float32"])[1] | {"precision": "int8"})
    onnx.save(model, files["int8"])
    return files


def test_names_are_as_short_as_tells_them_apart() -> None:
    paths = [f"runs/isbi/{name}/checkpoints/best.ckpt" for name in ("a/fold4", "b/fold4", "v1.0")]
    paths += [
        "out/a.onnx",
        "out/fold4.onnx",
        "runs/one/checkpoints/best.ckpt",
        "runs/one/checkpoints/last.ckpt",
        "pruned.ckpt",
    ]
    labels = ["a/fold4", "b/fold4", "v1.0", "a", "out/fold4", "best", "last", "pruned"]
    assert _labels([Path(path) for path in paths]) == labels


def test_every_variant_is_in_the_table(
    trained: Path, exported: dict[str, Path], run: Run, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # not installed
    monkeypatch.setattr("segmentation.model.precision.has_fast_bf16", lambda device: device == "cpu")
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **_: module.register_forward_pre_hook(_no_compiler))
    monkeypatch.setenv("COLUMNS", "400")
    files = [str(exported[precision]) for precision in ("float32", "int8")]
    assert run("benchmark", "--ckpt_path", trained, "--onnx", *files, *QUICKLY, "--batches", 1, 2, "--out", "b") == 0
    result = json.loads(Path("b/benchmark.json").read_text())
    names = [variant["name"] for variant in result["variants"]]
    assert names == [
        *("trained: eager", "trained: channels_last", "trained: bf16"),
        *("float32: onnxruntime float32", "int8: onnxruntime int8"),
    ]
    out = capsys.readouterr().out
    lines = Path("b/benchmark.md").read_text().splitlines()
    for name in names:
        assert any(line.strip().startswith(name) for line in out.splitlines()), "printed"
        assert any(line.startswith(f"| {name}") for line in lines), "and written"
    assert set(result["skipped"]) == {"trained: compiled", "float32: openvino float32", "int8: openvino int8"}
    assert "no C++ compiler" in result["skipped"]["trained: compiled"]
    assert "pip install openvino" in result["skipped"]["int8: openvino int8"]
    eager, last, _, float32, int8 = result["variants"]
    assert [(case["size"], case["batch"]) for case in eager["latency"]] == [(64, 1), (64, 2)]
    assert float32["bytes"] > 2 * int8["bytes"] and float32["multiplications"] == int8["multiplications"]
    assert eager["multiplications"] == float32["multiplications"]  # of the same network, counted by two programs
    assert eager["parameters"] == pytest.approx(float32["parameters"], rel=0.05)  # normalisation is in the layers there
    stored = json.loads((trained / "scores.json").read_text())
    for one in (eager, last, float32):
        assert one["scores"]["iou"] == pytest.approx(stored["iou"], abs=1e-3)
        assert one["scores"]["v_rand"] == pytest.approx(stored["v_rand"], abs=1e-3)
    assert result["score"] == "v_rand" and set(result["front"]) <= set(names)
    assert result["facts"]["scored"] == "2 samples, val, selected on these data" and result["facts"]["CPU flags"]
    assert Path("b/benchmark.png").stat().st_size > 5000


def _no_compiler(*_: object) -> None:
    raise RuntimeError("no C++ compiler\nand much more")


def test_the_memory_is_that_of_a_process_without_torch(trained: Path, exported: dict[str, Path], run: Run) -> None:
    options = ("--ways", "onnxruntime", "--sizes", 64, "--rounds", 1)
    assert run("benchmark", "--ckpt_path", trained, "--onnx", exported["int8"], *options, "--out", "b") == 0
    (variant,) = json.loads(Path("b/benchmark.json").read_text())["variants"]
    assert 20 < variant["memory"] < 250, "MiB; torch alone has more"


def test_a_folder_of_the_run_is_the_default_and_nothing_is_overwritten(trained: Path, run: Run, capsys) -> None:
    options = ("--ways", "eager", *QUICKLY, "--rounds", 1)
    assert run("benchmark", "--ckpt_path", trained, *options) == 0
    (folder,) = trained.glob("benchmark-*")
    assert f"Benchmark: {folder / 'benchmark.md'}" in capsys.readouterr().out
    assert run("benchmark", "--ckpt_path", trained, *options, "--out", folder) == 1
    assert "nothing overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ways", "eagr"), "--ways 'eagr' is unknown; did you mean 'eager'"),
        (("--sizes", 0), "--sizes is 0; give 1 or more"),
        (("--ways", "onnxruntime"), "nothing could be run (no file has such a way)"),
        (("--onnx", "none.onnx"), "the model none.onnx does not exist"),
    ],
)
def test_wrong_arguments_are_refused(options, message, trained: Path, run: Run, capsys) -> None:
    assert run("benchmark", "--ckpt_path", trained, *QUICKLY, *options) == 1
    assert message in capsys.readouterr().err
    assert not list(trained.glob("benchmark-*/.*"))


def test_its_folder_is_its_own_before_it_times_and_gone_when_it_fails(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    before = sorted(trained.iterdir())

    def fail(*_: object) -> None:
        (folder,) = set(trained.iterdir()) - set(before)
        assert folder.name.startswith("benchmark-")
        raise InputError("it cannot be timed")

    monkeypatch.setattr(benchmark, "_timed", fail)
    assert run("benchmark", "--ckpt_path", trained, "--ways", "eager", *QUICKLY) == 1
    assert "it cannot be timed" in capsys.readouterr().err
    assert sorted(trained.iterdir()) == before


def test_samples_that_a_file_was_trained_on_are_refused(trained: Path, quick, synthetic, run: Run, capsys) -> None:
    assert run("fit", *synthetic, *quick, "--data.fold", 0, "--run_folder", "other") == 0
    assert run("benchmark", "--ckpt_path", trained, "other", "--ways", "eager", *QUICKLY, "--out", "b") == 1
    assert "2 of 2 samples to be scored were trained on" in capsys.readouterr().err
    assert not Path("b").exists()
