"""The search: what is drawn, what is kept, what several processes and interruptions make of it."""

import csv
import json
import signal
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from math import log10
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import optuna
import pytest
import yaml
from PIL import Image

from segmentation.__main__ import main
from segmentation.callbacks.runs import flattened
from segmentation.commands import trial_run
from segmentation.commands import tune as module
from segmentation.commands.fit_arguments import FitArguments
from segmentation.commands.processes import Program
from segmentation.commands.search_space import SearchSpace, read_space
from segmentation.commands.shared_study import next_trial, open_study, tried_in
from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.errors import InputError

Run = Callable[..., int]

ROOT = Path(__file__).parents[2]
OUT = Path("runs/mine/tune")
CONFIG = {
    "data": {
        "source": {"class_path": "SyntheticSource", "init_args": {"slices": 6, "size": 64}},
        "folds": 3,
        "fold": 2,
    },
    "model": {"lr": 1e-3, "loss": {"bce": 1, "dice": 1}},
    "trainer": {"max_epochs": 9},
}
SPACE = {
    "model.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "model.loss.dice": {"low": 0, "high": 2},
    "data.crop": {"low": 32, "high": 256, "step": 32},
    "data.augment": ["flips", [{"D4": {"p": 1.0}}]],
}
SPLIT = {"train": ["a", "b", "c"], "val": ["d"], "test": []}
TINY = (
    *("--data.crop", "32", "--data.batch_size", "2", "--data.workers", "0", "--trainer.max_epochs", "1"),
    *("--model.encoder", "tu-test_resnet.r160_in1k", "--trainer.precision", "32-true"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
)


def write(path: str, content: Any) -> str:
    Path(path).write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def args() -> list[str]:
    """A config and a space, and the command line that searches it."""
    return ["--config", write("mine.yaml", CONFIG), "--space", write("space.yaml", SPACE)]


def read_table(out: Path = OUT) -> list[dict[str, str]]:
    with (out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class Fits:
    """Stands for ``fit``: writes what one would, with a score that is highest at lr 0.01.

    Attributes:
        commands: Of the fits so far.
        fails: Whether a fit with a config fails; gets its arguments by dotted names.
        stops: A signal comes in the fit of this number.
    """

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.fails: Callable[[dict[str, Any]], bool] = lambda _: False
        self.stops: int | None = None

    def __call__(self, programs: Sequence[Program], devices: Sequence[str | None]) -> list[int]:
        [program] = programs
        words = list(program.command[program.command.index("fit") :])
        self.commands.append(words)
        drawn = flattened(yaml.safe_load(Path(words[words.index("--run_folder") - 1]).read_text()))
        run = Path(words[words.index("--run_folder") + 1])
        if self.fails(drawn):
            program.log.write_text("Traceback\nerror: DPT needs another encoder\n")
            return [1]
        (run / "checkpoints").mkdir(parents=True, exist_ok=True)
        for name in ("best", "last"):
            (run / f"checkpoints/{name}.ckpt").touch()
        (run / "config.yaml").touch()
        if self.stops == len(self.commands) - 1:
            raise SystemExit(128 + signal.SIGTERM)
        score = 1 - abs(drawn["model.lr"] - 0.01)
        rows = ["epoch,step,train/loss,val/iou"]
        for epoch in range(9):
            rows += [f"{epoch},{epoch},0.5,", f"{epoch},{epoch},,{score * (epoch + 1) / 9}"]
            (run / "metrics.csv").write_text("\n".join(rows))
            if program.unwanted():
                return [143]
        (run / "scores.json").write_text(json.dumps({"iou": score}))
        return [0]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Fits:
    """No training: scores by a formula; no plots either."""
    fits = Fits()
    monkeypatch.setattr(module, "draw", lambda *_: None)
    monkeypatch.setattr(trial_run, "run_all", fits)
    return fits


def test_the_best_of_a_search_beats_the_config_and_trains_again(
    run: Run, args: list[str], fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", *args, "--trials", 10) == 0
    table = read_table()
    assert [row["trial"] for row in table] == [str(number) for number in range(10)]
    first, states = table[0], [row["state"] for row in table]
    assert (first["model.lr"], first["model.loss.dice"], first["data.crop"]) == ("0.001", "1.0", "256")
    assert (first["data.augment"], first["score"]) == ("flips", str(1 - 0.009))
    # all rise at one pace, so a trial below the median of those before it is stopped, but never one of the first
    assert "pruned" in states and set(states) <= {"complete", "pruned"}
    assert states[:4] == ["complete"] * 4
    complete = [float(row["score"]) for row in table if row["state"] == "complete"]
    best = next(row for row in table if row["score"] == str(max(complete)))
    assert max(complete) > float(first["score"])

    # best.yaml lies over the config: the share that was not varied is as the config has it
    text = (OUT / "best.yaml").read_text()
    drawn = flattened(yaml.safe_load(text))
    assert drawn["model.lr"] == float(best["model.lr"]) and drawn["model.loss.bce"] == 1
    assert f"IoU of validation {max(complete):.4f} in trial {best['trial']} (0.9910 with the config itself)" in text
    command = f"fit --config mine.yaml --config {OUT}/best.yaml"
    assert command in text and command in capsys.readouterr().out
    resolved = flattened(FitArguments(["--config", "mine.yaml", "--config", f"{OUT}/best.yaml"]).plain())
    assert resolved["model.lr"] == drawn["model.lr"] and resolved["data.augment"] == drawn["data.augment"]

    # disk: checkpoints of the best alone, what was measured of all
    assert [path.parts[-2] for path in OUT.glob("*/checkpoints")] == [f"trial{best['trial']}"]
    assert len(list(OUT.glob("*/metrics.csv"))) == 10

    # the same command again: nothing is left to do; with more trials it goes on
    fits.commands.clear()
    assert run("tune", *args, "--trials", 10) == 0 and fits.commands == []
    assert run("tune", *args, "--trials", 11) == 0 and len(fits.commands) == 1
    write("space.yaml", SPACE | {"data.augment": ["flips", "em"]})
    assert run("tune", *args, "--trials", 11, "--model.weight_decay", 0.5) == 1
    message = capsys.readouterr().err
    assert "model.weight_decay: 0.01 there, 0.5 asked for" in message and "space.data.augment" in message


@pytest.mark.parametrize(("words", "name"), [("lr: 0.001", "trial0.yaml"), ("# Mean IoU", "best.yaml")])
def test_a_config_that_a_full_disk_cut_is_not_there(
    run: Run, args: list[str], fits: Fits, disk_full: Callable[[str], None], words: str, name: str
) -> None:
    disk_full(words)
    assert run("tune", *args, "--trials", 1) == 1
    assert not (OUT / name).exists() and OUT.is_dir()


def test_a_search_does_not_go_on_with_other_samples(
    run: Run, args: list[str], fits: Fits, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", *args, "--trials", 1) == 0
    fits.commands.clear()
    samples = SyntheticSource.samples
    monkeypatch.setattr(SyntheticSource, "samples", lambda source: samples(source)[1:])
    assert run("tune", *args, "--trials", 2) == 1
    assert "the samples of its split are not those of the data set now" in capsys.readouterr().err
    assert fits.commands == []


def test_what_is_drawn_depends_on_seed_and_results_alone(run: Run, args: list[str], fits: Fits) -> None:
    assert run("tune", *args, "--trials", 4) == 0
    assert run("tune", *args, "--trials", 2, "--out", "halves") == 0
    assert run("tune", *args, "--trials", 4, "--out", "halves") == 0  # another process, in the middle
    assert run("tune", *args, "--trials", 2, "--out", "other", "--seed_everything", 100) == 0
    whole, halves, other = (
        [row["model.lr"] for row in read_table(out)] for out in (OUT, Path("halves"), Path("other"))
    )
    assert whole == halves
    assert len(set(whole + other)) == 5  # both begin with the config


def test_a_trial_that_fails_is_told_and_the_search_goes_on(
    run: Run, args: list[str], fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    fits.fails = lambda drawn: drawn["data.augment"] != "flips"
    assert run("tune", *args, "--trials", 8) == 0
    failed = [row for row in read_table() if row["state"] == "failed"]
    assert 0 < len(failed) < 8
    assert all("DPT needs another encoder" in row["problem"] and row["score"] == "" for row in failed)
    assert f"{len(failed)} failed" in capsys.readouterr().out


def test_a_config_that_cannot_be_trained_ends_the_search_with_the_reason(
    run: Run, args: list[str], fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    fits.fails = lambda _: True
    assert run("tune", *args) == 1
    message = capsys.readouterr().err
    assert "the config itself cannot be trained: DPT needs another encoder" in message and "trial0.log" in message
    assert len(fits.commands) == 1
    fits.fails = lambda _: False
    assert run("tune", *args, "--trials", 2) == 0  # mended: the config is the first again, and there are two trials
    assert [row["model.lr"] == "0.001" for row in read_table()] == [True, False]


def test_a_stopped_trial_goes_on_in_its_run(
    run: Run, args: list[str], fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    fits.stops = 1
    assert run("tune", *args, "--trials", 3) == 128 + signal.SIGTERM
    assert "tune --config mine.yaml --space space.yaml --trials 3" in capsys.readouterr().err
    stopped = (OUT / "trial1.yaml").read_text()
    assert run("tune", *args, "--trials", 3) == 0
    assert len(fits.commands) == 4
    assert fits.commands[2][-4:] == [
        "--run_folder",
        f"{OUT}/trial1",
        "--ckpt_path",
        f"{OUT}/trial1/checkpoints/last.ckpt",
    ]
    assert (OUT / "trial1.yaml").read_text() == stopped
    table = read_table()
    assert [row["state"] for row in table] == ["complete"] * 3
    assert len({row["trial"] for row in table}) == 3 and table[1]["trial"] == "1"


@pytest.fixture
def asked() -> FitArguments:
    return FitArguments(["--config", write("mine.yaml", CONFIG)])


@pytest.fixture
def space(asked: FitArguments) -> SearchSpace:
    return read_space(Path(write("space.yaml", SPACE)), asked)


def test_a_training_that_steps_end_has_no_epochs_to_wait_for(space: SearchSpace) -> None:
    asked = FitArguments(["--config", "mine.yaml", "--trainer.max_epochs", "-1", "--trainer.max_steps", "9"])
    open_study(Path(), space, asked, SPLIT)


def test_a_search_of_an_earlier_version_goes_on(asked: FitArguments, space: SearchSpace) -> None:
    study = open_study(Path(), space, asked, SPLIT)
    stored = study.user_attrs["arguments"]
    del stored["distillation"], stored["model"]["tile"]  # which that version had not
    study.set_user_attr("arguments", stored)
    assert len(open_study(Path(), space, asked, SPLIT).get_trials()) == 1
    with pytest.raises(InputError, match="samples of its split are not those of the data set now"):
        open_study(Path(), space, asked, SPLIT | {"val": ["d", "e"]})


@pytest.mark.parametrize("name", ["what?", "a%20b", "{b}", "{", "100%", "a#b", "a b"])
def test_the_study_lies_in_its_folder_whatever_that_is_called(
    name: str, asked: FitArguments, space: SearchSpace
) -> None:
    folder = Path("searches", name)
    folder.mkdir(parents=True)
    open_study(folder, space, asked, SPLIT)
    assert (folder / "study.db").is_file() and list(Path("searches").iterdir()) == [folder]


def test_what_a_killed_process_ran_is_drawn_again(asked: FitArguments, space: SearchSpace) -> None:
    study = open_study(Path(), space, asked, SPLIT)
    first = study.ask(space.distributions)  # nobody holds it
    drawn = next_trial(study, Path(), space, 5, 0)
    assert drawn is not None
    trial, held = drawn
    with held:
        assert trial.number == 1 and trial.params == first.params == space.start
        assert [one.number for one in tried_in(study)] == [1]
        other = next_trial(open_study(Path(), space, asked, SPLIT), Path(), space, 5, 0)  # this one is held
        assert other is not None and other[0].number == 2
        other[1].__exit__(None, None, None)


def test_several_processes_share_the_trials(asked: FitArguments, space: SearchSpace) -> None:
    numbers: list[int] = []

    def search() -> None:
        study = open_study(Path(), space, asked, SPLIT)
        while (drawn := next_trial(study, Path(), space, 12, 0)) is not None:
            trial, held = drawn
            with held:
                trial.report(trial.params["model.lr"], 1)
                study.tell(trial, trial.params["model.lr"])
            numbers.append(trial.number)

    threads = [Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(12))
    tried = tried_in(open_study(Path(), space, asked, SPLIT))
    assert len({one.values["model.lr"] for one in tried}) == 12
    assert sum(one.values == space.start for one in tried) == 1


def test_what_is_drawn_comes_nearer_to_the_best(asked: FitArguments) -> None:
    space = read_space(Path(write("space.yaml", {"model.lr": SPACE["model.lr"]})), asked)
    study = optuna.create_study(direction="maximize")  # in memory, where 40 trials take less than a second
    distances: list[float] = []
    while (drawn := next_trial(study, Path(), space, 40, 0)) is not None:
        trial, held = drawn
        with held:
            distances.append(abs(log10(trial.params["model.lr"] / 0.01)))
            study.tell(trial, -distances[-1])
    # at most 0.45 of it with the seeds 0 to 4, at least 0.75 where values are drawn without looking at scores
    assert median(distances[-10:]) < 0.6 * median(distances[:10])


def test_a_trial_is_stopped_after_the_first_third_of_its_epochs_at_the_earliest(
    asked: FitArguments, space: SearchSpace
) -> None:
    study = open_study(Path(), space, asked, SPLIT)
    good = dict.fromkeys(range(9), 0.9)
    study.add_trials([optuna.trial.create_trial(value=0.9, intermediate_values=good) for _ in range(4)])
    trial, stopped = study.ask(space.distributions), []
    for epoch in range(5):
        trial.report(0.1, epoch)
        stopped.append(trial.should_prune())
    assert stopped == [False, False, False, True, True]


def test_trials_are_fits(run: Run, args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(programs: Sequence[Program], devices: Sequence[str | None]) -> list[int]:
        [program] = programs
        with program.log.open("a") as log, redirect_stdout(log), redirect_stderr(log):
            return [main(list(program.command[program.command.index("fit") :]))]

    monkeypatch.setattr(trial_run, "run_all", in_this_process)
    write("space.yaml", {"model.network": ["Unet", "DPT"], "model.loss.dice": {"low": 0, "high": 2}})
    assert run("tune", *args, *TINY, "--trials", 3, "--checkpoint.monitor", "val/dice") == 0
    with Image.open(OUT / "study.png") as plot:
        assert plot.width > 1000
    rows = {row["trial"]: row for row in read_table()}
    for number, row in rows.items():
        if row["model.network"] == "Unet":
            assert float(row["score"]) == json.loads((OUT / f"trial{number}/scores.json").read_text())["dice"]
            config = yaml.safe_load((OUT / f"trial{number}/config.yaml").read_text())
            assert config["model"]["loss"] == {"bce": 1, "dice": pytest.approx(float(row["model.loss.dice"]))}
        else:
            assert row["state"] == "failed" and "tu-test_resnet" in row["problem"]
    assert {row["model.network"] for row in rows.values()} == {"Unet", "DPT"}
    assert run("validate", "--ckpt_path", next(OUT.glob("*/checkpoints/best.ckpt"))) == 0


@pytest.mark.parametrize(
    ("space", "named"),
    [
        ({"model.lrr": [1, 2]}, ["model.lrr: fit has no such argument; did you mean model.lr?"]),
        (
            {"data.lr": [1, 2], "lr": [1, 2]},
            ["data.lr: fit has no such argument; did you mean model.lr?", "lr: fit has no"],
        ),
        ({"model.loss.lovasz": {"low": 0, "high": 1}}, ["model.loss has no 'lovasz' in the config"]),
        ({"model.lr": {"low": 1e-3, "high": 1e-3}}, ["low 0.001 is not below high 0.001"]),
        (
            {"model.weight_decay": {"low": 0, "high": 1, "log": True}},
            ["low is 0, and a logarithmic range begins above 0"],
        ),
        ({"model.lr": {"low": 1e-2, "high": 1}}, ["own value 0.001", "is not in 0.01..1"]),
        ({"model.lr": {"low": 1e-4, "hihg": 1}}, ["a range has no 'hihg'; did you mean 'high'"]),
        ({"model.lr": {"low": 1e-4}}, ["needs numbers as low and high"]),
        ({"model.lr": {"low": 1e-4, "high": 1, "log": 2}}, ["log is 2"]),
        ({"data.batch_size": {"low": 1, "high": 8}}, ["fit refuses 1.0; give step: 1 for whole numbers"]),
        ({"data.batch_size": {"low": 1, "high": 8, "step": 2}}, ["high 8 is not low 1 and a number of steps of 2"]),
        ({"data.batch_size": {"low": 1, "high": 9, "step": 2}}, ["own value 8 is not low 1 and a number of steps"]),
        ({"data.crop": [256, "wide"]}, ["data.crop: fit refuses 'wide'"]),
        ({"model.encoder": ["resnet18", "resnet18"]}, ["two or more different ones"]),
        ({"model.network": ["FPN", "Linknet"]}, ["own value 'Unet'", "is no choice; add it"]),
        ({"model.lr": 0.1}, ["is 0.1; give choices"]),
        ({"data.fold": [0, 2]}, ["on other samples or by another score"]),
        ({"trainer.limit_val_batches": [1.0, 0.5]}, ["on other samples or by another score"]),
        ({"trainer.overfit_batches": [0.0, 1]}, ["on other samples or by another score"]),
        ({"trainer.fast_dev_run": [False, True]}, ["on other samples or by another score"]),
        (
            {"model.loss": [{"bce": 1, "dice": 1}, {"bce": 1}], "model.loss.dice": {"low": 0, "high": 1}},
            ["varied as a whole"],
        ),
        ([], ["names no argument"]),
        (
            {"model.lrr": [1, 2], "data.crop": [256, "wide"], "model.lr": 1},  # all at once
            ["model.lrr: fit has", "data.crop: fit refuses", "model.lr: is 1"],
        ),
    ],
)
def test_what_is_wrong_with_a_space_is_told_at_once(
    space: Any, named: list[str], config: list[str], run: Run, fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    with_batches_of_8 = ["--data.batch_size", "8"]
    assert run("tune", *config, *with_batches_of_8, "--space", write("space.yaml", space)) == 1
    message = capsys.readouterr().err
    assert all(text in message for text in named) and "Traceback" not in message
    assert fits.commands == [] and not Path("runs").exists()


@pytest.fixture
def config() -> list[str]:
    return ["--config", write("mine.yaml", CONFIG)]


def test_a_class_named_like_a_loss_is_searched_for_its_most(args: list[str]) -> None:
    fit = FitArguments([*args[:2], "--checkpoint.monitor", "val/iou/blossom"])
    space = read_space(Path(args[-1]), fit)  # which may vary the loss
    assert open_study(Path(), space, fit, SPLIT).direction.name == "MAXIMIZE"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--trials", "0"], "--trials is 0"),
        (["--ckpt_path", "last"], "--ckpt_path is last"),
        (["--run_folder", "x"], "--run_folder is x"),
        (["--seed_everything", "true"], "--seed_everything is true"),
        (["--model.lr", "fast"], "model.lr"),
        (["--checkpoint.monitor", "val/loss"], "the loss itself is the score"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_trained(
    more: list[str], named: str, run: Run, args: list[str], fits: Fits, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", *args, *more) == 1
    assert named in capsys.readouterr().err
    assert fits.commands == [] and not Path("runs").exists()


def shipped() -> list[tuple[Path, list[str]]]:
    """Spaces and the commands in their heads."""
    lines = {path: path.read_text().splitlines() for path in sorted((ROOT / "configs/spaces").glob("*.yaml"))}
    return [
        (path, line.split(" tune ")[1].split())
        for path, head in lines.items()
        for line in head
        if line.startswith("# python -m segmentation tune ")
    ]


@pytest.mark.parametrize(("path", "words"), shipped(), ids=lambda value: getattr(value, "stem", ""))
def test_a_shipped_space_fits_its_config(path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config, space = words[words.index("--config") + 1], words[words.index("--space") + 1]
    assert Path(space).resolve() == path
    assert read_space(path, FitArguments(["--config", config])).start
