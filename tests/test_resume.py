"""A run that was killed or stopped and then resumed equals the run that was not."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import Namespace
from lightning import Callback

from segmentation.cli import check_optimizer_kept

Run = Callable[..., int]
Fit = Callable[..., Path]

# DeepLabV3Plus has dropout: the random state of the network must come back too
NETWORK = ("--model.network", "DeepLabV3Plus", "--data.samples_per_epoch", 8, "--checkpoint.every_n_steps", 1)


class Kill(Callback):
    """Sends a signal to this process and its workers within a step."""

    def __init__(self, step: int, number: int) -> None:
        self.step = step
        self.number = number

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step - 1:
            for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
                os.kill(process.pid, self.number)  # a scheduler signals the loader's workers as well


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    moments = checkpoint["optimizer_states"][0]["state"]
    flat = {f"{key} {name}": value for key, state in moments.items() for name, value in state.items()}
    others = {f"current {name}": value for name, value in checkpoint.get("current_model_state", {}).items()}
    return checkpoint["state_dict"] | others | checkpoint.get("averaging_state", {}) | flat


def losses(folder: Path) -> list[str]:
    """Of the validations."""
    with (folder / "metrics.csv").open() as file:
        return [row["val/loss"] for row in csv.DictReader(file) if row["val/loss"]]


def assert_equal(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Add the killer to every Trainer of the command line; step 0 takes it away."""

    from segmentation import cli

    spared = cli.WarnOneClass

    def arm(step: int, number: int) -> None:
        monkeypatch.setattr(cli, "WarnOneClass", lambda: Kill(step, number) if step else spared())

    return arm


@pytest.mark.parametrize("step", [4, 6])  # at the end of an epoch of 4 steps, and in the next
def test_a_fit_stopped_by_sigterm_and_resumed(tiny_fit: Fit, run: Run, synthetic, quick, kill, step: int) -> None:
    whole = tiny_fit(*NETWORK)
    kill(step, signal.SIGTERM)
    assert run("fit", *synthetic, *quick, *NETWORK, "--data.workers", 1) == 128 + signal.SIGTERM
    kill(0, 0)
    stopped = next(path for path in whole.parent.iterdir() if path != whole)
    assert torch.load(stopped / "checkpoints/last.ckpt", weights_only=True)["global_step"] == step
    # another number of workers, too
    args = [*synthetic, *quick, *NETWORK, "--data.workers", 2, "--ckpt_path", "last"]
    assert run("fit", *args) == 0
    assert_equal(whole, stopped)


OPTIONS = (
    *("--model.ema", 0.9, "--model.freeze_encoder", 1, "--model.layer_decay", 0.5, "--model.class_weights", "auto"),
    *("--model.loss", "{bce: 1}"),
    *("--model.schedule", "plateau", "--model.schedule_options", "{patience: 0, threshold: 0.999, factor: 0.5}"),
)
"""What else a run remembers; the rate falls after each validation but the first."""


def test_averages_frozen_layers_and_plateaus_are_resumed(tiny_fit: Fit, run: Run, synthetic, quick, kill) -> None:
    whole = tiny_fit(*NETWORK, *OPTIONS)
    kill(3, signal.SIGTERM)  # with the encoder frozen
    assert run("fit", *synthetic, *quick, *NETWORK, *OPTIONS) == 128 + signal.SIGTERM
    kill(0, 0)
    stopped = next(path for path in whole.parent.iterdir() if path != whole)
    assert run("fit", *synthetic, *quick, *NETWORK, *OPTIONS, "--ckpt_path", "last") == 0
    assert_equal(whole, stopped)
    first, second = (losses(folder) for folder in (whole, stopped))
    assert len(first) == 2
    assert first == second  # with the class weights of the run


@pytest.mark.filterwarnings("ignore:3 validations in a row")  # after so few steps nothing is learned
def test_a_plateau_counts_the_validation_of_the_checkpoint(tiny_fit: Fit, run: Run) -> None:
    """Lightning alone would forget it: its plateaus look after the checkpoint is written."""
    options = (*OPTIONS, "--trainer.accumulate_grad_batches", 2)  # so that not every batch moves the average
    whole = tiny_fit(*options, "--trainer.max_epochs", 4)
    begun = tiny_fit(*options, "--trainer.max_epochs", 2)
    args = ("--config", begun / "config.yaml", "--trainer.max_epochs", 4)
    assert run("fit", *args, "--ckpt_path", begun / "checkpoints/last.ckpt") == 0
    assert_equal(whole, begun)
    stored = torch.load(whole / "checkpoints/last.ckpt", weights_only=True)
    assert stored["lr_schedulers"][0]["_last_lr"][-1] == pytest.approx(1e-3 / 8)


def test_ctrl_c_keeps_what_was_learned(run: Run, synthetic, quick, kill, capfd) -> None:
    before = signal.getsignal(signal.SIGINT)
    kill(3, signal.SIGINT)
    assert run("fit", *synthetic, *quick, *NETWORK, "--data.workers", 1) == 128 + signal.SIGTERM
    stopped = next(Path("runs").glob("*/*"))
    assert torch.load(stopped / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
    assert "Ctrl-C again stops at once" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    kill(0, 0)
    assert run("fit", *synthetic, *quick, *NETWORK, "--ckpt_path", "last") == 0


def test_a_fit_killed_in_an_epoch_and_resumed(tiny_fit: Fit, run: Run, synthetic, quick) -> None:
    whole = tiny_fit(*NETWORK)
    args = [str(arg) for arg in ("fit", *synthetic, *quick, *NETWORK, "--trainer.default_root_dir", "killed")]
    program = (
        f"import sys, torch; torch.set_num_threads({torch.get_num_threads()})\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r}); sys.argv = ['segmentation']\n"
        "from test_resume import Kill\nfrom segmentation import cli, __main__\n"
        f"cli.WarnOneClass = lambda: Kill(3, {int(signal.SIGKILL)})\n"
        f"__main__.main({args!r})"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    killed = next(Path("killed").glob("*/*"))
    stored = torch.load(killed / "checkpoints/last.ckpt", weights_only=True)
    assert stored["global_step"] == 2
    rows = (killed / "metrics.csv").read_text().count("\n") if (killed / "metrics.csv").exists() else 0
    assert run(*args, "--ckpt_path", "last") == 0
    assert_equal(whole, killed)
    # the run went on in its folder, and nothing of it was lost
    assert [path.name for path in Path("killed").glob("*/*")] == [killed.name]
    assert (killed / "config.yaml").exists()
    assert (killed / "config-resume1.yaml").exists()
    with (killed / "metrics.csv").open() as file:
        resumed = list(csv.DictReader(file))
    assert len(resumed) > rows
    assert {"0", "1"} <= {row["epoch"] for row in resumed}


@pytest.mark.filterwarnings("ignore:3 validations in a row")  # after so few steps nothing is learned
def test_a_finished_fit_can_be_continued(tiny_fit: Fit, run: Run) -> None:
    longer = ("--trainer.max_epochs", 4, "--model.schedule", "constant")
    whole = tiny_fit(*NETWORK, *longer)
    first = tiny_fit(*NETWORK, *longer, "--trainer.max_epochs", 2)
    assert (
        run(
            "fit",
            "--config",
            first / "config.yaml",
            "--trainer.max_epochs",
            4,
            "--ckpt_path",
            first / "checkpoints/last.ckpt",
        )
        == 0
    )
    assert_equal(whole, first)


def test_normalisation_is_not_computed_again(tiny_fit: Fit, run: Run) -> None:
    folder = tiny_fit()
    path = folder / "checkpoints/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["mean"] += 5
    torch.save(checkpoint, path)
    assert run("fit", "--config", folder / "config.yaml", "--trainer.max_epochs", 3, "--ckpt_path", path) == 0
    after = torch.load(path, weights_only=True)
    assert torch.equal(after["state_dict"]["mean"], checkpoint["state_dict"]["mean"])
    assert after["epoch"] == 2


def test_what_a_resumed_optimizer_would_not_take_is_refused(
    trained: Path, run: Run, synthetic, quick, capsys: pytest.CaptureFixture[str]
) -> None:
    last = trained / "checkpoints/last.ckpt"
    resumed = ("fit", *synthetic, *quick, "--model.scores", "[region, em]", "--ckpt_path", last)
    assert run(*resumed, "--model.lr", 1e-5, "--model.layer_decay", 0.5, "--model.warmup", 0.1) == 1
    told = capsys.readouterr().err
    assert "model.lr is 1e-05 instead of 0.001, model.layer_decay is 0.5 instead of None, but a training" in told
    assert f"--initial_weights {last}" in told
    check_optimizer_kept(Namespace(lr=1e-3, optimizer_options={}), {"lr": 1e-3, "optimizer_options": None}, "last.ckpt")


def test_a_folder_holds_two_checkpoints_to_go_on_from(
    trained: Path, run: Run, synthetic, quick, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", *synthetic, *quick, "--ckpt_path", trained) == 1
    assert f"{trained} is a folder; to go on with a run give its checkpoints/last.ckpt" in capsys.readouterr().err


def test_no_run_goes_on_from_what_a_cluster_left_in_the_working_folder(
    run: Run, synthetic, quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning takes hpc_ckpt_N.ckpt of its root folder whenever SLURM runs it, whosever run it is of."""
    for name, value in {"NTASKS": 1, "JOB_NAME": "job", "JOB_ID": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    Path("hpc_ckpt_1.ckpt").write_text("of another run")
    assert run("fit", *synthetic, *quick, "--run_folder", "run", "--trainer.max_epochs", 1) == 0


def test_resuming_with_another_split_is_refused(tiny_fit: Fit, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tiny_fit()
    args = ("--config", folder / "config.yaml", "--data.fold", 0, "--trainer.max_epochs", 3)
    assert run("fit", *args, "--ckpt_path", folder / "checkpoints/last.ckpt") == 1
    assert "were trained on" in capsys.readouterr().err
