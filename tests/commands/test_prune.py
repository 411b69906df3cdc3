"""``prune``, and training that starts from what it wrote, or from any other checkpoint."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import segmentation
from segmentation.model.predictor import load_module

Run = Callable[..., int]

LONGER = ("--model.ema", 0.9, "--model.schedule", "constant", "--model.lr", 1e-2, "--data.samples_per_epoch", 12)


@pytest.fixture(scope="module")
def pruned(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from segmentation.__main__ import main

    out = tmp_path_factory.mktemp("pruned") / "pruned.ckpt"
    assert main(["prune", "--ckpt_path", str(trained), "--share", "0.5", "--out", str(out)]) == 0
    shutil.copy(trained / "config.yaml", out.parent)
    return out


def stored(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]


def test_what_was_pruned_is_told(trained: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("prune", "--ckpt_path", trained, "--out", "small.ckpt") == 0
    out = capsys.readouterr().out
    before, after = (
        sum(value.numel() for value in load_module(path).network.parameters())
        for path in (trained / "checkpoints/best.ckpt", "small.ckpt")
    )
    assert after < 0.3 * before
    assert f"million parameters {before / 1e6:.2f} -> {after / 1e6:.2f}, GMAC at 512x512 " in out
    work = out.split("512x512 ")[1].splitlines()[0].split(" -> ")
    assert float(work[1]) < 0.35 * float(work[0])
    assert f"fit --config {trained / 'config.yaml'} --initial_weights small.ckpt" in out


def test_it_is_loaded_as_any_other_and_without_torch_pruning(
    pruned: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torch_pruning"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    image = np.random.default_rng(0).integers(0, 256, (50, 70), np.uint8)
    first, second = (segmentation.load(pruned).probabilities(image) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.isfinite(first).all()
    assert first.std() > 0
    module = load_module(pruned)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in stored(pruned)["state_dict"].items())
    # also by the command line, with the config of the whole network beside it
    assert run("validate", "--ckpt_path", pruned) == 0


def test_it_can_be_pruned_again(pruned: Path, run: Run) -> None:
    assert run("prune", "--ckpt_path", pruned, "--out", "again.ckpt") == 0
    once, twice = (stored(path) for path in (pruned, Path("again.ckpt")))
    assert twice["hyper_parameters"]["widths"].keys() <= once["hyper_parameters"]["widths"].keys()
    parts = [sum(value.numel() for value in checkpoint["state_dict"].values()) for checkpoint in (once, twice)]
    assert parts[1] < 0.5 * parts[0]
    load_module("again.ckpt")


def test_fine_tuning_mends_it_and_is_resumed_with_an_average(pruned: Path, run: Run) -> None:
    assert run("validate", "--ckpt_path", pruned) == 0
    before = json.loads((next(pruned.parent.glob("validate-*")) / "scores.json").read_text())["loss"]
    start = ("--config", pruned.parent / "config.yaml", "--initial_weights", pruned, *LONGER)
    assert run("fit", *start, "--trainer.max_epochs", 3, "--run_folder", "whole") == 0
    assert losses(Path("whole"))[-1] < before
    tuned, source = (stored(path) for path in (Path("whole/checkpoints/last.ckpt"), pruned))
    assert tuned["hyper_parameters"]["widths"] == source["hyper_parameters"]["widths"]
    assert yaml.safe_load(Path("whole/config.yaml").read_text())["model"]["widths"]
    assert run("fit", *start, "--trainer.max_epochs", 2, "--run_folder", "begun") == 0
    assert run("fit", *start, "--trainer.max_epochs", 3, "--ckpt_path", "begun/checkpoints/last.ckpt") == 0
    resumed = stored(Path("begun/checkpoints/last.ckpt"))
    for part in ("state_dict", "current_model_state"):
        assert [name for name, value in tuned[part].items() if not torch.equal(value, resumed[part][name])] == []
    assert run("validate", "--ckpt_path", "whole/checkpoints/best.ckpt") == 0


def test_its_config_alone_trains_a_network_of_its_widths(pruned: Path, run: Run) -> None:
    few = ("--trainer.max_epochs", 1, "--data.samples_per_epoch", 2, "--run_folder")
    start = ("--config", pruned.parent / "config.yaml", "--initial_weights", pruned)
    assert run("fit", *start, *few, "first") == 0
    config = yaml.safe_load(Path("first/config.yaml").read_text())
    config["initial_weights"] = None
    Path("anew.yaml").write_text(yaml.safe_dump(config))
    assert run("fit", "--config", "anew.yaml", *few, "second") == 0
    first, second = (stored(Path(folder, "checkpoints/last.ckpt"))["state_dict"] for folder in ("first", "second"))
    assert {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in second.items()}


def test_a_training_starts_from_the_weights_of_another(trained: Path, run: Run) -> None:
    """At a learning rate of 0 they stay, while everything else is new."""
    still = ("--model.lr", 0, "--model.weight_decay", 0, "--trainer.max_epochs", 1)
    assert run("fit", "--config", trained / "config.yaml", "--initial_weights", trained, *still) == 0
    (folder,) = Path("runs").glob("*/*")
    first, second = (stored(path / "checkpoints/best.ckpt") for path in (trained, folder))
    weights = [name for name in first["state_dict"] if name.endswith("weight")]
    assert weights and all(torch.equal(first["state_dict"][name], second["state_dict"][name]) for name in weights)
    assert second["epoch"] == 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--model.network", "Linknet"), "model.network is 'Linknet', but {pruned} was trained with 'Unet'"),
        (("--data.fold", 0), "samples to be scored were trained on: slice-000, slice-001; use the split of the run"),
    ],
)
def test_weights_of_something_else_are_refused(pruned: Path, run: Run, capsys, args, told) -> None:
    assert run("fit", "--config", pruned.parent / "config.yaml", "--initial_weights", pruned, *args) == 1
    assert told.format(pruned=pruned) in capsys.readouterr().err
    assert not list(Path("runs").rglob("*.ckpt"))


def test_weights_of_other_classes_are_refused(trained: Path, folder_data: Path, run: Run, quick, capsys) -> None:
    source = ("--data.source", "FolderSource", "--data.source.root", folder_data)
    assert run("fit", *source, *quick, "--initial_weights", trained) == 1
    told = (
        "was trained on the classes ['membrane', 'cell'] in 1 channels, the data have ['background', 'foreground'] in 3"
    )
    assert told in capsys.readouterr().err


def test_weights_are_no_training_to_go_on_with(pruned: Path, run: Run, capsys) -> None:
    assert run("fit", "--config", pruned.parent / "config.yaml", "--ckpt_path", pruned) == 1
    assert "holds weights and no training that could go on; start from it with --initial_weights" in (
        capsys.readouterr().err
    )


def test_files_are_not_overwritten(trained: Path, run: Run, capsys) -> None:
    Path("there.ckpt").write_text("precious")
    assert run("prune", "--ckpt_path", trained, "--out", "there.ckpt") == 1
    assert "there.ckpt is there already; nothing overwritten" in capsys.readouterr().err
    assert Path("there.ckpt").read_text() == "precious"
    assert run("prune", "--ckpt_path", trained, "--out", "pruned.onnx") == 1
    assert "give the name of a checkpoint, such as pruned.ckpt" in capsys.readouterr().err
