"""A run that was killed or stopped and then resumed equals the run that was not."""

import csv
import json
import multiprocessing
import os
import shutil
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

from segmentation.errors import InputError
from segmentation.model.arguments import check_optimizer_kept

Run = Callable[..., int]
Fit = Callable[..., Path]

# DeepLabV3Plus has dropout: the random state of the network must come back too
NETWORK = ("--model.network", "DeepLabV3Plus", "--data.samples_per_epoch", 8, "--checkpoint.every_n_steps", 1)


class Kill(Callback):
    """Sends a signal to this process and its workers within a step, once, or in the validation after it."""

    def __init__(self, step: int, number: int, validation: bool = False) -> None:
        self.step = step
        self.number = number
        self.validation = validation
        self.sent = False

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step - 1 and not self.validation:
            self.send()

    def on_validation_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step and self.validation:
            self.send()

    def send(self) -> None:
        if not self.sent:
            self.sent = True
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
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Add the killer to every Trainer of the command line; step 0 takes it away."""

    from segmentation import cli

    spared = cli.WarnOneClass

    def arm(step: int, number: int = 0, validation: bool = False) -> None:
        monkeypatch.setattr(cli, "WarnOneClass", lambda: Kill(step, number, validation) if number else spared())

    return arm


@pytest.mark.parametrize("step", [4, 6])  # at the end of an epoch of 4 steps, and in the next
def test_a_fit_stopped_by_sigterm_and_resumed(tiny_fit: Fit, run: Run, synthetic, quick, kill, step: int) -> None:
    whole = tiny_fit(*NETWORK)
    kill(step, signal.SIGTERM)
    assert run("fit", *synthetic, *quick, *NETWORK, "--data.workers", 1) == 128 + signal.SIGTERM
    kill(0)
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


def test_a_stop_waits_for_the_step_of_gradients_that_are_accumulated(
    tiny_fit: Fit, run: Run, synthetic, quick, kill
) -> None:
    accumulated = (*NETWORK, "--trainer.accumulate_grad_batches", 2)
    whole = tiny_fit(*accumulated)
    kill(3, signal.SIGTERM)  # within the first of the two batches
    assert run("fit", *synthetic, *quick, *accumulated) == 128 + signal.SIGTERM
    kill(0)
    stopped = next(path for path in whole.parent.iterdir() if path != whole)
    assert torch.load(stopped / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
    assert run("fit", *synthetic, *quick, *accumulated, "--ckpt_path", "last") == 0
    assert_equal(whole, stopped)


def test_averages_frozen_layers_and_plateaus_are_resumed(tiny_fit: Fit, run: Run, synthetic, quick, kill) -> None:
    whole = tiny_fit(*NETWORK, *OPTIONS)
    kill(3, signal.SIGTERM)  # with the encoder frozen
    assert run("fit", *synthetic, *quick, *NETWORK, *OPTIONS) == 128 + signal.SIGTERM
    kill(0)
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
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    kill(3, signal.SIGINT)
    assert run("fit", *synthetic, *quick, *NETWORK, "--data.workers", 1) == 128 + signal.SIGINT
    stopped = next(Path("runs").glob("*/*"))
    assert torch.load(stopped / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3
    assert "Ctrl-C again stops at once" in capfd.readouterr().err
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    kill(0)
    assert run("fit", *synthetic, *quick, *NETWORK, "--ckpt_path", "last") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("every", ["1.0", "2"])  # an epoch, and the middle of one
def test_a_stop_waits_for_the_end_of_a_validation(
    tiny_fit: Fit, run: Run, synthetic, quick, kill, every: str, number: int
) -> None:
    options = (*NETWORK, *OPTIONS, "--checkpoint.every_n_steps", "null", "--trainer.val_check_interval", every)
    whole = tiny_fit(*options)
    step = 4 if every == "1.0" else 2
    kill(step, number, validation=True)
    assert run("fit", *synthetic, *quick, *options, "--data.workers", 1) == 128 + number
    assert multiprocessing.active_children() == []  # which would keep this process from ending
    kill(0)
    stopped = next(path for path in whole.parent.iterdir() if path != whole)
    assert torch.load(stopped / "checkpoints/last.ckpt", weights_only=True)["global_step"] == step
    assert run("fit", *synthetic, *quick, *options, "--ckpt_path", "last") == 0
    assert_equal(whole, stopped)
    assert losses(whole) == losses(stopped)


def test_a_run_that_has_all_its_epochs_says_so(
    tiny_fit: Fit, run: Run, synthetic, quick, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    last = tiny_fit(*NETWORK) / "checkpoints/last.ckpt"
    before = weights(last.parent.parent)
    assert "Nothing was left to train" not in caplog.text
    assert run("fit", "--ckpt_path", last) == 0
    assert "Nothing was left to train: trainer.max_epochs is 2" in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in weights(last.parent.parent).items())


def test_a_command_that_was_stopped_tells_what_it_leaves(
    trained: Path, run: Run, synthetic, quick, kill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from segmentation import cli

    caplog.set_level("INFO")
    kill(0, signal.SIGTERM, validation=True)  # in the first of two batches of the sanity check
    sanity = ("--trainer.num_sanity_val_steps", 2)
    assert run("fit", *synthetic, *quick, *sanity, "--run_folder", "early") == 128 + signal.SIGTERM
    assert "Stopped; nothing was learned yet" in caplog.text
    kill(2, signal.SIGTERM)
    assert run("fit", *synthetic, *quick, "--run_folder", "my run") == 128 + signal.SIGTERM
    assert "in my run/checkpoints/last.ckpt. Go on with the same command and --ckpt_path 'my run/ch" in caplog.text
    caplog.clear()
    monkeypatch.setattr(cli, "Pictures", lambda _: Kill(0, signal.SIGTERM, validation=True))
    folder = shutil.copytree(trained, "copied")
    assert run("validate", "--ckpt_path", Path(folder, "checkpoints/best.ckpt")) == 128 + signal.SIGTERM
    assert "Stopped; no scores were written" in caplog.text
    assert "last.ckpt" not in caplog.text


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
    assert run(*resumed, "--model.schedule", "plateau") == 1
    assert "model.schedule is 'plateau' instead of 'cosine', but a training that goes" in capsys.readouterr().err


def test_no_other_schedule_takes_the_state_of_a_plateau() -> None:
    with pytest.raises(
        InputError, match="model.schedule is 'cosine' instead of 'plateau', but a training that goes on"
    ):
        check_optimizer_kept(Namespace(schedule="cosine"), {"schedule": "plateau"}, "last.ckpt")
    check_optimizer_kept(Namespace(schedule="plateau"), {"schedule": "plateau"}, "last.ckpt")
    check_optimizer_kept(Namespace(schedule="poly"), {"schedule": "cosine"}, "last.ckpt")


def test_a_run_that_went_on_with_other_arguments_is_scored_with_them(tiny_fit: Fit, run: Run) -> None:
    folder = tiny_fit("--model.loss", "{bce: 1}")
    last, others = folder / "checkpoints/last.ckpt", ("--model.loss", "{dice: 1}", "--model.tta", "flips")
    assert run("fit", "--ckpt_path", last, "--trainer.max_epochs", 3, *others) == 0
    for typed in ((), others, ("--model.loss={bce: 1}", "--model.tta", "none")):
        assert run("validate", "--ckpt_path", last, *typed) == 0
    stored, same, first = (
        json.loads(path.read_text())["loss"] for path in sorted(folder.glob("validate-*/scores.json"))
    )
    assert stored == same
    assert stored != first
    assert run("report", "--ckpt_path", last, "--out", "out") == 0
    page = Path("out/report.html").read_text()
    assert "<th>trainer.max_epochs</th><td>3</td>" in page
    assert "<th>model.loss</th><td>dice 1.0</td>" in page


def test_an_average_that_is_no_longer_asked_for_is_refused(
    tiny_fit: Fit, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    last = tiny_fit("--model.ema", 0.9) / "checkpoints/last.ckpt"
    assert run("fit", "--ckpt_path", last, "--trainer.max_epochs", 3, "--model.ema", "null") == 1
    assert "model.ema is None instead of 0.9" in capsys.readouterr().err


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
