"""Two processes give the scores of one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


def test_two_processes_score_one_sample_as_one(tiny_fit: Callable[..., Path], run: Callable[..., int]) -> None:
    """One of them has nothing to score; two samples on two are in the test below."""
    folder = tiny_fit("--data.source.slices", 3, "--model.scores", "[region,em]")
    checkpoint = folder / "checkpoints/last.ckpt"
    assert run("validate", "--ckpt_path", checkpoint) == 0
    one = next(folder.glob("validate-*"))
    two_processes = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    command = [sys.executable, "-m", "segmentation", "validate", "--ckpt_path", str(checkpoint), *two_processes]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    two = next(path for path in folder.glob("validate-*") if path != one)
    first, second = (json.loads((path / "scores.json").read_text()) for path in (one, two))
    assert len(json.loads((folder / "split.json").read_text())["val"]) == 1
    assert first == pytest.approx(second, abs=1e-6)
    assert len(list(folder.glob("validate-*"))) == 2  # the second process made no folder of its own


def test_a_stop_of_one_process_ends_both_after_the_same_step(synthetic, quick) -> None:
    Path("kill.py").write_text(
        "import os, signal\nfrom lightning import Callback\n\nclass Kill(Callback):\n"
        "    def on_train_batch_start(self, trainer, *_):\n"
        "        if trainer.global_step == 2 and trainer.is_global_zero:\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    two_processes = ("--trainer.accelerator", "cpu", "--trainer.devices", 2, "--trainer.strategy", "ddp")
    training = ("--data.samples_per_epoch", 8, "--trainer.max_epochs", 20, "--trainer.check_val_every_n_epoch", 20)
    args = (
        "fit",
        *synthetic,
        *quick,
        *two_processes,
        *training,
        "--run_folder",
        "stopped",
        "--trainer.callbacks+",
        "kill.Kill",
    )
    command = [sys.executable, "-m", "segmentation", *map(str, args)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr[-2000:]
    assert (
        torch.load("stopped/checkpoints/last.ckpt", weights_only=True)["global_step"] == 10
    )  # they ask each other then
    assert ended.stderr.count("what was learned is in stopped/checkpoints/last.ckpt") == 1


def test_an_error_of_the_first_process_ends_the_others(synthetic, quick) -> None:
    """They would wait for it, each with its GPU."""
    Path("full.py").write_text(
        "import os\nfrom pathlib import Path\nfrom lightning import Callback\n"
        "from segmentation.errors import InputError\n\nclass Full(Callback):\n"
        "    def on_train_batch_end(self, trainer, *_):\n"
        "        Path(f'rank{trainer.global_rank}').write_text(str(os.getpid()))\n"
        "        if trainer.global_step == 2 and trainer.is_global_zero:\n"
        "            raise InputError('the disk is full')\n"
    )
    two_processes = ("--trainer.accelerator", "cpu", "--trainer.devices", 2, "--trainer.strategy", "ddp")
    training = ("--data.samples_per_epoch", 40, "--trainer.callbacks+", "full.Full")
    command = [sys.executable, "-m", "segmentation", "fit", *map(str, (*synthetic, *quick, *two_processes, *training))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "error: the disk is full" in ended.stderr and "Traceback" not in ended.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("rank1").read_text()), 0)


def test_two_processes_train_one_run(run: Callable[..., int], synthetic, quick) -> None:
    """With an average of the weights, and an encoder that stands still for the first of two epochs."""
    two_processes = ("--trainer.accelerator", "cpu", "--trainer.devices", 2, "--trainer.strategy", "ddp")
    options = ("--model.ema", 0.5, "--model.freeze_encoder", 1, "--model.layer_decay", 0.9)
    args = (*synthetic, *quick, "--data.samples_per_epoch", 8, *options, *two_processes)
    command = [sys.executable, "-m", "segmentation", "fit", *map(str, args)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    folder = next(Path("runs/SyntheticSource").iterdir())
    assert len(list(Path("runs/SyntheticSource").iterdir())) == 1
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4  # 8 draws on 2 processes in batches of 2, twice
    counts = {name: count for name, count in checkpoint["current_model_state"].items() if name.endswith("_tracked")}
    assert {int(count) for name, count in counts.items() if ".encoder." in name} == {2}
    assert {int(count) for name, count in counts.items() if ".decoder." in name} == {4}
    (optimizer,) = checkpoint["optimizer_states"]
    *encoder, decoder = (
        {int(optimizer["state"][i]["step"]) for i in group["params"]} for group in optimizer["param_groups"]
    )
    assert (encoder, decoder) == ([{2}] * len(encoder), {4})
    one_process = ("--trainer.devices", 1, "--trainer.strategy", "auto")
    assert run("validate", "--ckpt_path", folder / "checkpoints/best.ckpt", *one_process) == 0
    fitted, validated = (
        json.loads((place / "scores.json").read_text()) for place in (folder, next(folder.glob("validate-*")))
    )
    assert {name: fitted[name] for name in validated if name != "scored"} == pytest.approx(
        {name: value for name, value in validated.items() if name != "scored"}, abs=1e-6
    )


def test_a_network_with_layers_that_nothing_asks_for_is_trained_by_several_processes(
    run: Callable[..., int], synthetic, quick
) -> None:
    """And goes on in one, which trains the same parameters."""
    network = ("--model.network", "PSPNet", "--model.encoder", "resnet18", "--data.samples_per_epoch", 4)
    ddp = ("--trainer.accelerator", "cpu", "--trainer.devices", 1, "--trainer.strategy", "ddp")
    args = (*synthetic, *quick, *network)
    command = [sys.executable, "-m", "segmentation", "fit", *args, *ddp, "--run_folder", "several"]
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    last = "several/checkpoints/last.ckpt"
    trained = [len(torch.load(last, weights_only=True)["optimizer_states"][0]["state"])]
    assert run("fit", *args, "--ckpt_path", last, "--trainer.max_epochs", 3) == 0
    trained.append(len(torch.load(last, weights_only=True)["optimizer_states"][0]["state"]))
    assert trained[0] == trained[1] > 0
