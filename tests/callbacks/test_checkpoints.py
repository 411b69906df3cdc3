"""Checkpoints are written whole or not at all."""

import errno
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from segmentation.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints, check_accumulation
from segmentation.errors import InputError


def test_it_writes_beside_the_target_and_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: renamed.append((self, target)) or replace(self, target))
    AtomicCheckpointIO().save_checkpoint({"a": torch.ones(2)}, tmp_path / "run" / "last.ckpt")
    ((temporary, target),) = renamed
    assert (temporary.parent, temporary.suffix) == (tmp_path / "run", ".tmp")
    assert target == tmp_path / "run" / "last.ckpt"
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["a"].tolist() == [1, 1]


def test_a_kill_while_writing_leaves_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, target)
    child = os.fork()
    if child == 0:
        torch.save = lambda checkpoint, file: (file.write(b"half"), file.flush(), os._exit(9))  # type: ignore[assignment]
        AtomicCheckpointIO().save_checkpoint({"step": 2}, target)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (cut,) = tmp_path.glob(".*.tmp")
    assert cut.read_bytes() == b"half"
    assert torch.load(target, weights_only=True) == {"step": 1}
    AtomicCheckpointIO().save_checkpoint({"step": 3}, target)
    assert torch.load(target, weights_only=True) == {"step": 3}


def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, target)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"last.ckpt cannot be written \(no space left on the disk\)"):
        AtomicCheckpointIO().save_checkpoint({"step": 2}, target)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["last.ckpt"]
    assert torch.load(target, weights_only=True) == {"step": 1}


def test_last_is_written_every_n_steps_and_best_by_the_monitor(
    tiny_fit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, int]] = []
    save = AtomicCheckpointIO.save_checkpoint

    def spy(self: Any, checkpoint: dict[str, Any], path: str, storage_options: Any = None) -> None:
        written.append((Path(path).name, checkpoint["global_step"]))
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", spy)
    tiny_fit("--data.samples_per_epoch", 8, "--checkpoint.every_n_steps", 3, "--checkpoint.monitor", "val/loss")
    assert [step for name, step in written if name == "last.ckpt"] == [3, 4, 6, 8]
    assert next(step for name, step in written if name == "best.ckpt") == 4


@pytest.mark.parametrize(
    ("interval", "accumulated", "over_epochs", "cure"),
    [
        (1.0, 4, False, None),  # the end of an epoch of 10 batches
        (10, 4, False, None),
        (4, 4, False, None),
        (8, 4, False, None),
        (1, 1, False, None),
        (None, 1, False, None),
        (20, 4, True, None),
        (6, 2, True, None),
        (0.5, 2, False, "is 0.5 (5 batches) and trainer.accumulate_grad_batches 2.*: 6$"),
        (3, 4, False, "is 3 and trainer.accumulate_grad_batches 4.*: 4$"),
        (9, 4, False, "is 9 .*: 10$"),
        (None, 4, False, "is a time .*: 4$"),
        (5, 2, True, "is 5 .*: 6$"),
        (8, 4, True, "is 8 .*: 10$"),  # the second after 6 batches of an epoch
        (14, 4, True, "is 14 .*: 20$"),
    ],
)
def test_a_validation_in_the_middle_of_a_step_is_refused(
    interval: float | None, accumulated: int, over_epochs: bool, cure: str | None
) -> None:
    if cure is None:
        check_accumulation(interval, accumulated, 10, over_epochs)
        return
    with pytest.raises(InputError, match=cure.replace("(", r"\(").replace(")", r"\)")):
        check_accumulation(interval, accumulated, 10, over_epochs)


def test_only_what_is_written_is_the_best_so_far() -> None:
    checkpoints = Checkpoints("val/iou")
    trainer: Any = SimpleNamespace(
        callback_metrics={"val/iou": torch.tensor(0.5)},
        fast_dev_run=False,
        sanity_checking=False,
        state=SimpleNamespace(fn="fit"),
        global_step=3,
    )
    assert checkpoints.improved(trainer)
    checkpoints._last_global_step_saved = 3
    assert not checkpoints.improved(trainer)
    assert not Checkpoints("val/iou").improved(SimpleNamespace(**vars(trainer) | {"global_step": 0}))


@pytest.mark.parametrize(("monitor", "mode"), [("val/iou/blossom", "max"), ("val/loss", "min")])
def test_the_best_is_the_lowest_of_a_loss_alone(monitor: str, mode: str) -> None:
    assert Checkpoints(monitor).mode == mode


def test_an_unknown_monitor_names_the_known_ones(
    run: Callable[..., int], synthetic, quick, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("fit", *synthetic, *quick, "--checkpoint.monitor", "val/miou", "--data.workers", 1) == 1
    assert multiprocessing.active_children() == []  # which would keep this process from ending
    assert "'val/miou', is not logged; known: val/accuracy" in capsys.readouterr().err


def test_an_unknown_monitor_is_told_before_the_first_step(
    run: Callable[..., int], synthetic, quick, capsys: pytest.CaptureFixture[str]
) -> None:
    late = (*synthetic, *quick, "--trainer.check_val_every_n_epoch", 2, "--run_folder", "run")
    stop = "[{class_path: EarlyStopping, init_args: {monitor: val/iouu}}]"
    assert run("fit", *late, "--trainer.callbacks", stop) == 1
    assert "the monitor of EarlyStopping, 'val/iouu', is not logged" in capsys.readouterr().err
    assert not Path("run/metrics.csv").exists()
    # without a sanity check it is too late for that, and what was learned is kept
    assert run("fit", *synthetic, *quick, "--checkpoint.monitor", "val/miou", "--trainer.num_sanity_val_steps", 0) == 1
    assert torch.load(next(Path("runs").rglob("last.ckpt")), weights_only=True)["global_step"] == 2


@pytest.mark.parametrize("monitor", ["train/iou", "train/loss"])
@pytest.mark.parametrize("sanity", [0, 1])
def test_early_stopping_may_watch_the_training(tiny_fit: Callable[..., Path], monitor: str, sanity: int) -> None:
    stop = f"[{{class_path: EarlyStopping, init_args: {{monitor: {monitor}, patience: 1, min_delta: 9}}}}]"
    folder = tiny_fit(
        *("--trainer.callbacks", stop, "--trainer.max_epochs", 9, "--trainer.num_sanity_val_steps", sanity)
    )
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4  # two epochs


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--checkpoint.monitor", "train/iou"), "checkpoint.monitor is train/iou, which is not known yet"),
        (
            (
                *("--trainer.callbacks", "[{class_path: EarlyStopping, init_args: {monitor: train/iou}}]"),
                *("--trainer.check_val_every_n_epoch", 2),
            ),
            "the monitor of EarlyStopping, 'train/iou', is not known yet when a validation ends",
        ),
    ],
)
def test_what_is_known_after_the_validation_is_refused_before_any_step(
    run: Callable[..., int], synthetic, quick, capsys: pytest.CaptureFixture[str], args, message: str
) -> None:
    assert run("fit", *synthetic, *quick, *args) == 1
    assert message in capsys.readouterr().err
    assert not list(Path().rglob("*.ckpt")) and not list(Path().rglob("metrics.csv"))


def test_a_fit_too_short_for_a_validation_leaves_its_last_checkpoint(tiny_fit: Callable[..., Path]) -> None:
    folder = tiny_fit("--trainer.check_val_every_n_epoch", 5)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4


def test_a_run_that_was_moved_keeps_its_best(tiny_fit: Callable[..., Path], run: Callable[..., int]) -> None:
    folder = tiny_fit().rename("moved")
    best, last = folder / "checkpoints/best.ckpt", folder / "checkpoints/last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    (state,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("Checkpoints"))
    unreached = torch.tensor(2.0)
    state.update(best_model_score=unreached, kth_value=unreached, best_k_models={state["best_model_path"]: unreached})
    torch.save(checkpoint, last)
    before = torch.load(best, weights_only=True)["global_step"]
    more = ("--trainer.max_epochs", 3)
    assert run("fit", "--ckpt_path", last, *more) == 0
    assert torch.load(last, weights_only=True)["global_step"] == 6
    assert torch.load(best, weights_only=True)["global_step"] == before
    # a checkpoint that was moved without the best one begins a run with a best of its own
    alone = Path(last.rename("last.ckpt"))
    config = ("--config", folder / "config.yaml", "--run_folder", "alone")
    assert run("fit", *config, "--ckpt_path", alone, "--trainer.max_epochs", 4) == 0
    assert torch.load("alone/checkpoints/best.ckpt", weights_only=True)["global_step"] == 8
    assert json.loads(Path("alone/scores.json").read_text())["epoch"] == 3


def test_a_resumed_run_removes_what_a_kill_left_unwritten(
    tiny_fit: Callable[..., Path], run: Callable[..., int]
) -> None:
    folder = tiny_fit("--trainer.max_epochs", 1) / "checkpoints"
    (folder / ".0123.tmp").write_bytes(b"half a checkpoint")
    assert run("fit", "--ckpt_path", folder / "last.ckpt", "--trainer.max_epochs", 2) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_checkpoints_of_the_user_are_written_too(tiny_fit: Callable[..., Path]) -> None:
    users = ("--trainer.callbacks+", "ModelCheckpoint", "--trainer.callbacks.save_top_k", -1)
    folder = tiny_fit(*users)
    names = {path.name for path in folder.rglob("*.ckpt")}
    assert names == {"best.ckpt", "last.ckpt", "epoch=0-step=2.ckpt", "epoch=1-step=4.ckpt"}
    best = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    assert json.loads((folder / "scores.json").read_text())["epoch"] == best["epoch"]


def test_a_fast_dev_run_leaves_no_checkpoint_and_no_scores(
    tiny_fit: Callable[..., Path], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    folder = tiny_fit("--trainer.fast_dev_run", "true", "--checkpoint.every_n_steps", 1)
    assert [path.name for path in folder.rglob("*") if path.suffix == ".ckpt" or path.name == "scores.json"] == []
    assert "--ckpt_path" not in caplog.text
    assert "best checkpoint" not in capsys.readouterr().out
