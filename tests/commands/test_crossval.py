"""All folds in one command: what is trained, what is left, what is refused."""

import json
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from segmentation.__main__ import main
from segmentation.commands import crossval
from segmentation.commands.processes import Program, run_all

Run = Callable[..., int]

SOURCE = {"class_path": "SyntheticSource", "init_args": {"slices": 6, "size": 64}}
TINY = (
    *("--data.crop", "32", "--data.batch_size", "2", "--data.workers", "0", "--trainer.max_epochs", "1"),
    *("--model.encoder", "tu-test_resnet.r160_in1k", "--trainer.precision", "32-true"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
)
OUT = Path("runs/mine/crossval")


@pytest.fixture
def config() -> str:
    """A config that names a fold, as a config of one run may."""
    Path("mine.yaml").write_text(yaml.safe_dump({"data": {"source": SOURCE, "folds": 3, "fold": 2}}))
    return "mine.yaml"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of the folds that were trained, in this process; those in FAILING fail."""
    commands: list[list[str]] = []

    def in_this_process(programs: Sequence[Program], devices: Sequence[str | None]) -> list[int]:
        statuses = []
        for program in programs:
            words = list(program.command[program.command.index("fit") :])
            commands.append(words)
            statuses.append(1 if program.name in FAILING else main(words))
        return statuses

    monkeypatch.setattr(crossval, "run_all", in_this_process)
    return commands


FAILING: set[str] = set()
"""Names of the folds that fail."""


@pytest.fixture(autouse=True)
def _none_fails() -> None:
    FAILING.clear()


def fold_of(command: Sequence[str]) -> int:
    return int(command[command.index("--data.fold") + 1])


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_sample_is_scored_by_a_network_that_did_not_train_on_it(
    run: Run, config: str, trained: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("crossval", "--config", config, *TINY) == 0
    out = capsys.readouterr().out
    assert [fold_of(command) for command in trained] == [0, 1, 2]  # the config's number, and not only its fold
    splits = [read(OUT / f"fold{fold}/split.json") for fold in range(3)]
    assert sorted(key for split in splits for key in split["val"]) == [f"slice-{place:03d}" for place in range(6)]
    assert all(not set(split["train"]) & set(split["val"]) for split in splits)
    told = read(OUT / "crossval.json")
    folds = [read(OUT / f"fold{fold}/scores.json")["dice/cell"] for fold in range(3)]
    assert told["scores"]["dice/cell"]["folds"] == folds
    assert told["scores"]["dice/cell"]["mean"] == pytest.approx(sum(folds) / 3)
    assert told["scores"]["dice/cell"]["sd"] == pytest.approx(statistics.stdev(folds))
    pooled = read(OUT / "report/scores.json")
    assert pooled["images"] == 6
    assert told["scores"]["dice/cell"]["pooled"] == pooled["scores"]["dice/cell"]["value"]
    for line in (f"predict IMAGES --ckpt_path {OUT}", f"report --ckpt_path {OUT}", f"{OUT}/report/report.html"):
        assert line in out

    # typed again: nothing is trained, nothing is predicted, the numbers stay; an older version had fewer arguments
    config_file = OUT / "fold0/config.yaml"
    stored = yaml.safe_load(config_file.read_text())
    del stored["distillation"], stored["model"]["tile"]
    config_file.write_text(yaml.safe_dump(stored))
    before = {path: path.stat().st_mtime_ns for path in OUT.rglob("*") if path.parent != OUT}
    trained.clear()
    assert run("crossval", "--config", config, *TINY) == 0
    assert trained == []
    assert {path: path.stat().st_mtime_ns for path in OUT.rglob("*") if path.parent != OUT} == before
    assert read(OUT / "crossval.json") == told

    # a report whose scores a full disk cut is made anew
    (OUT / "report/scores.json").write_text("")
    assert run("crossval", "--config", config, *TINY) == 0
    assert trained == [] and read(OUT / "crossval.json") == told
    assert read(OUT / "report/scores.json")["images"] == 6 and len(list(OUT.glob("report*"))) == 1

    # a fold that was stopped goes on, one that was removed begins anew, and the pool is of them
    (OUT / "fold1/scores.json").write_text('{"scored": ')
    shutil.rmtree(OUT / "fold2")
    assert run("crossval", "--config", config, *TINY, "--data.workers", "1") == 0  # changes no result
    assert [fold_of(command) for command in trained] == [1, 2]
    assert trained[0][-2:] == ["--ckpt_path", f"{OUT}/fold1/checkpoints/last.ckpt"]
    assert (OUT / "fold1/config-resume1.yaml").is_file()
    assert "--ckpt_path" not in trained[1]
    assert len(list(OUT.glob("report*"))) == 2  # the earlier one was set aside
    again = read(OUT / "crossval.json")
    assert again["scores"]["dice/cell"]["folds"] == pytest.approx(folds)
    assert run("predict", "slices", "--ckpt_path", OUT) == 1  # no such images

    # other arguments, other samples: refused with the difference
    trained.clear()
    capsys.readouterr()
    assert run("crossval", "--config", config, *TINY, "--model.lr", "0.5") == 1
    message = capsys.readouterr().err
    assert "fold0 is of another training" in message and "fold2 is of another training" in message
    assert "model.lr: 0.001 there, 0.5 asked for" in message
    assert message.count("there,") == 3
    assert run("crossval", "--config", config, *TINY, "--folds", "2") == 1
    assert "data.folds: 3 there, 2 asked for" in capsys.readouterr().err
    assert trained == []


def test_the_folds_are_an_ensemble_for_predict(
    run: Run, config: str, trained: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("crossval", "--config", config, *TINY, "--folds", 2, "--out", "two folds") == 0
    told = capsys.readouterr().out
    assert "predict IMAGES --ckpt_path 'two folds' --out" in told and "report --ckpt_path 'two folds'\n" in told
    assert [fold_of(command) for command in trained] == [0, 1]
    assert run("synthesize", "--out", "drawn", "--slices", 1, "--size", 48) == 0
    assert run("predict", "drawn/images", "--ckpt_path", "two folds", "--out", "predictions") == 0
    assert list(Path("predictions/labels").iterdir())


def test_a_fold_that_fails_stops_no_other_and_is_named(
    run: Run, config: str, trained: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    FAILING.add("fold1")
    assert run("crossval", "--config", config, *TINY) == 1
    assert [fold_of(command) for command in trained] == [0, 1, 2]
    message = capsys.readouterr().err
    assert f"fold1 failed; its output is in {OUT}/fold1.log" in message and "fold2" not in message
    assert not (OUT / "crossval.json").exists()


def test_a_fold_without_a_validation_is_no_finished_one(
    run: Run, config: str, trained: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("crossval", "--config", config, *TINY, "--trainer.check_val_every_n_epoch", "2", "--folds", "2") == 1
    assert "fold0 ended before a validation" in capsys.readouterr().err


def test_a_second_one_leaves_the_folds_of_the_first_alone(
    run: Run, config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = OUT / "fold0/config.yaml"  # before its first checkpoint
    found: list[bool] = []

    def meanwhile(programs: Sequence[Program], devices: Sequence[str | None]) -> list[int]:
        begun.parent.mkdir()
        begun.touch()
        monkeypatch.setattr(crossval, "run_all", lambda programs, devices: [1] * len(programs))
        assert run("crossval", "--config", config, *TINY) == 1
        found.append(begun.is_file())
        return [1] * len(programs)

    monkeypatch.setattr(crossval, "run_all", meanwhile)
    assert run("crossval", "--config", config, *TINY) == 1
    assert found == [True]
    message = capsys.readouterr().err
    assert f"error: another crossval trains in {OUT}; wait for it, or give another --out" in message
    assert run("crossval", "--config", config, *TINY) == 1  # the first one has ended
    assert "another crossval" not in capsys.readouterr().err


def test_the_folds_are_run_as_programs(
    run: Run, config: str, trained: list[list[str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("crossval", "--config", config, "--folds", "2", *TINY) == 0
    shutil.rmtree(OUT / "fold1")
    monkeypatch.setattr(crossval, "run_all", run_all)
    capfd.readouterr()
    assert run("crossval", "--config", config, "--folds", "2", *TINY) == 0
    out = capfd.readouterr().out
    assert "fold0 finished, fold1 new" in out
    assert "fold1 | Run folder: runs/mine/crossval/fold1" in out
    assert "fold1 | Epoch 1 of 1: val/iou 0." in out
    assert "Run folder" in (OUT / "fold1.log").read_text()


def test_a_data_set_with_its_own_val_list_has_no_folds(
    run: Run, folder_data: Path, trained: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(6):
        for part in ("images", "masks"):
            target = folder_data / ("val" if number < 2 else "train") / part
            target.mkdir(parents=True, exist_ok=True)
            (folder_data / part / f"{number:02d}.png").rename(target / f"{number:02d}.png")
    source = ("--data.source", "FolderSource", "--data.source.root", folder_data)
    patterns = ("--data.source.images", "{split}/images", "--data.source.masks", "{split}/masks")
    assert run("crossval", *source, *patterns, "--folds", 3) == 1
    message = capsys.readouterr().err
    assert "its own validation set of 2 samples" in message and "fit --data.split_file FILE --run_folder" in message
    assert trained == [] and not Path("runs").exists()


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--data.fold", "1"], "--data.fold names one fold"),
        (["--ckpt_path", "last"], "--ckpt_path is last"),
        (["--run_folder", "x"], "--run_folder is x"),
        (["--data.split_file", "split.json"], "--data.split_file is split.json"),
        (["--seed_everything", "true"], "--seed_everything is true"),
        (["--devices", "0,0"], "each once"),
        (["--devices", "0"], "no GPU"),
        (["--folds", "7"], "data.folds is 7 for 6 samples"),
        (["--folds", "1"], "--folds is 1"),
        (["--folds", "0"], "--folds is 0"),
        (["--fold", "1"], "did you mean --data.fold?"),
        (["--max_epochs", "1"], "did you mean --trainer.max_epochs?"),
        (["--model.lr", "fast"], "model.lr"),
    ],
)
def test_wrong_arguments_are_told_once_before_anything_is_trained(
    args: list[str],
    named: str,
    run: Run,
    config: str,
    trained: list[list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("crossval", "--config", config, *args) == 1
    message = capsys.readouterr().err
    assert named in message and "Traceback" not in message
    assert trained == [] and not Path("runs").exists()


@pytest.mark.parametrize("command", ["crossval", "tune"])
def test_a_folder_that_cannot_be_written_is_told_with_the_cure(
    run: Run, config: str, trained: list[list[str]], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    Path("occupied").touch()
    Path("space.yaml").write_text("model.lr: {low: 1.0e-4, high: 1.0e-1}")
    space = ("--space", "space.yaml") if command == "tune" else ()
    assert run(command, "--config", config, *TINY, *space, "--out", "occupied/out") == 1
    assert "occupied/out cannot be written (Not a directory); give another folder as --out" in capsys.readouterr().err
    assert trained == []


def test_each_gpu_takes_a_fold(run: Run, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[str | None]] = []
    monkeypatch.setattr(crossval.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(crossval, "run_all", lambda programs, devices: asked.append(devices) or [1] * len(programs))
    assert run("crossval", "--config", config, "--devices", "0, GPU-5a") == 1
    assert asked == [["0", "GPU-5a"]]
