"""fit, validate and test through the command line: who wins, what is refused, what is written."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from segmentation import cli
from segmentation.model.predictor import load_module

Run = Callable[..., int]
Fit = Callable[..., Path]


def scores(folder: Path) -> dict[str, float]:
    return json.loads((folder / "scores.json").read_text())


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def newest(pattern: str) -> Path:
    return max(Path().glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def test_fit_writes_a_run_folder(tiny_fit: Fit) -> None:
    folder = tiny_fit("--model.scores", "[region,em]")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names == {
        *("config.yaml", "split.json", "metrics.csv", "scores.json"),
        *(
            "checkpoints/best.ckpt",
            "checkpoints/last.ckpt",
            "pictures/validation.png",
            "pictures/best.png",
            "pictures/augmentation.png",
        ),
    }
    assert json.loads((folder / "split.json").read_text()) == {
        "train": ["slice-000", "slice-001", "slice-002", "slice-003"],
        "val": ["slice-004", "slice-005"],
        "test": [],
    }
    rows = metrics(folder)
    assert [row["step"] for row in rows if row["val/iou/membrane"]] == ["1", "3"]
    assert {"train/loss", "train/iou", "val/v_rand", "lr-AdamW"} <= set(rows[0])


def test_the_saved_config_runs_again_and_overwrites_nothing(tiny_fit: Fit, run: Run) -> None:
    first = tiny_fit()
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert run("fit", "--config", first / "config.yaml") == 0
    second = newest(f"{first.parent}/*/config.yaml").parent
    assert second != first  # the same name of a run, another folder
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    a, b = (torch.load(folder / "checkpoints/last.ckpt", weights_only=True) for folder in (first, second))
    assert all(torch.equal(a["state_dict"][key], b["state_dict"][key]) for key in a["state_dict"])


@pytest.mark.parametrize("criterion", ["dice", "v_rand"])
def test_validate_reproduces_the_scores_of_fit(tiny_fit: Fit, run: Run, criterion: str) -> None:
    args = ("--model.scores", "[region,em]", "--model.criterion", criterion)
    folder = tiny_fit(*args, "--checkpoint.monitor", "val/dice/membrane")
    assert run("validate", "--ckpt_path", folder / "checkpoints/best.ckpt") == 0
    fitted, validated = scores(folder), scores(next(folder.glob("validate-*")))
    stored = load_module(folder / "checkpoints/best.ckpt").decision.threshold
    assert fitted["threshold"] == validated["threshold"] == pytest.approx(stored)
    assert {"iou", "dice/membrane", "iou_per_image", "loss", "v_rand", "v_info", "v_rand_at_threshold"} <= set(fitted)
    del fitted["epoch"], fitted["scored"], validated["scored"]
    assert fitted == validated


def test_evaluation_batch_size_changes_no_score(tiny_fit: Fit, run: Run) -> None:
    checkpoint = tiny_fit() / "checkpoints/last.ckpt"
    for size in (1, 2):
        assert run("validate", "--ckpt_path", checkpoint, "--data.eval_batch_size", size) == 0
    one, two = sorted(checkpoint.parent.parent.glob("validate-*"))
    first, second = scores(one), scores(two)
    assert first.pop("scored") == second.pop("scored")
    assert first == pytest.approx(second, abs=1e-6)


def test_test_without_a_test_list_says_so(tiny_fit: Fit, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tiny_fit() / "checkpoints/best.ckpt"
    assert run("test", "--ckpt_path", checkpoint) == 0
    assert "selected on these data" in capsys.readouterr().out
    assert "selected on these data" in scores(next(checkpoint.parent.parent.glob("test-*")))["scored"]


def test_a_test_list_is_scored_by_itself(tiny_fit: Fit, run: Run) -> None:
    checkpoint = tiny_fit("--data.test_fraction", "0.3") / "checkpoints/best.ckpt"
    assert run("test", "--ckpt_path", checkpoint) == 0
    assert scores(next(checkpoint.parent.parent.glob("test-*")))["scored"] == "test"


def test_evaluation_needs_a_checkpoint(run: Run, synthetic, quick, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", *synthetic, *quick) == 1
    assert "validate needs --ckpt_path" in capsys.readouterr().err


def test_best_and_last_find_the_newest_run_with_this_split(
    tiny_fit: Fit, run: Run, synthetic, quick, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_fit()
    same = tiny_fit()
    other = tiny_fit("--data.fold", 1)
    assert run("validate", *synthetic, *quick, "--ckpt_path", "best") == 0
    assert list(same.glob("validate-*"))
    assert not list(other.glob("validate-*"))
    assert run("validate", *synthetic, *quick, "--data.fold", 0, "--ckpt_path", "last") == 1
    message = capsys.readouterr().err
    assert "the split of these data" in message
    assert str(other / "checkpoints/last.ckpt") in message
    assert run("validate", *synthetic, *quick, "--trainer.default_root_dir", "elsewhere", "--ckpt_path", "best") == 1
    assert "run fit first" in capsys.readouterr().err


def test_the_architecture_is_the_checkpoints(tiny_fit: Fit, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tiny_fit("--model.network", "FPN") / "checkpoints/best.ckpt"
    assert run("validate", "--ckpt_path", checkpoint, "--model.network", "Unet") == 1
    message = capsys.readouterr().err
    assert "model.network is 'Unet'" in message
    assert "'FPN'" in message


def test_the_architecture_comes_from_the_checkpoint_when_not_given(tiny_fit: Fit, run: Run, synthetic) -> None:
    checkpoint = tiny_fit("--model.network", "FPN") / "checkpoints/best.ckpt"
    assert (
        run(
            "validate",
            *synthetic,
            "--data.folds",
            3,
            "--data.fold",
            2,
            "--config",
            "empty.yaml",
            "--ckpt_path",
            checkpoint,
        )
        == 1
    )
    Path("empty.yaml").write_text("{}")
    args = (*synthetic, "--data.folds", 3, "--data.fold", 2, "--config", "empty.yaml")
    assert run("validate", *args, "--ckpt_path", checkpoint) == 0


def test_a_threshold_on_the_command_line_wins(tiny_fit: Fit, run: Run) -> None:
    checkpoint = tiny_fit() / "checkpoints/best.ckpt"
    assert run("validate", "--ckpt_path", checkpoint, "--model.threshold", 0.3) == 0
    assert scores(next(checkpoint.parent.parent.glob("validate-*")))["threshold"] == pytest.approx(0.3)


def test_samples_that_were_trained_on_are_refused(tiny_fit: Fit, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tiny_fit() / "checkpoints/best.ckpt"
    assert run("validate", "--ckpt_path", checkpoint, "--data.fold", 0) == 1
    assert "2 of 2 samples to be scored were trained on: slice-000, slice-001" in capsys.readouterr().err
    assert not list(checkpoint.parent.parent.glob("validate-*"))
    assert run("validate", "--ckpt_path", checkpoint, "--data.fold", 0, "--allow_seen") == 0
    assert scores(next(checkpoint.parent.parent.glob("validate-*")))["seen_samples"] == 2


def test_the_same_id_in_another_data_set_is_not_seen(tiny_fit: Fit, run: Run) -> None:
    checkpoint = tiny_fit() / "checkpoints/best.ckpt"
    assert run("validate", "--ckpt_path", checkpoint, "--data.fold", 0, "--data.source.seed", 7) == 0


def test_other_classes_are_refused(
    tiny_fit: Fit, run: Run, folder_data: Path, quick, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tiny_fit() / "checkpoints/best.ckpt"
    args = ("--data.source", "FolderSource", "--data.source.root", folder_data, *quick, "--ckpt_path", checkpoint)
    Path("empty.yaml").write_text("{}")
    assert run("validate", "--config", "empty.yaml", *args, "--data.source.in_channels", 3) == 1
    message = capsys.readouterr().err
    assert "['membrane', 'cell']" in message
    assert "['background', 'foreground']" in message


def test_a_multiclass_task_with_ignored_pixels(run: Run, folder_data: Path, quick) -> None:
    import numpy as np
    from PIL import Image

    for path in (folder_data / "masks").iterdir():
        mask = np.array(Image.open(path))
        mask[:5], mask[-5:] = 2, 255
        Image.fromarray(mask).save(path)
    args = ("--data.source", "FolderSource", "--data.source.root", folder_data, "--data.source.classes", "[a,b,c]")
    assert run("fit", *args, *quick) == 0
    folder = newest("runs/FolderSource/*")
    assert {"iou/a", "iou/b", "iou/c"} <= set(scores(folder))
    assert run("test", "--ckpt_path", folder / "checkpoints/best.ckpt") == 0
    assert run("predict", folder_data / "images", "--ckpt_path", folder / "checkpoints/best.ckpt", "--out", "out") == 0
    assert len(list(Path("out/labels").iterdir())) == 6


def test_the_config_in_the_run_folder_is_resolved(tiny_fit: Fit) -> None:
    config = yaml.safe_load((tiny_fit("--model.lr", "2e-3") / "config.yaml").read_text())
    assert config["model"]["lr"] == 0.002
    assert config["model"]["schedule"] == "cosine"
    assert config["data"]["source"]["init_args"]["slices"] == 6
    assert "classes" not in config["model"]  # linked from the data


def test_a_checkpoint_holds_plain_values_only(tiny_fit: Fit) -> None:
    checkpoint = torch.load(tiny_fit() / "checkpoints/best.ckpt", weights_only=True)
    assert "encoder_weights" not in checkpoint["hyper_parameters"]
    assert checkpoint["hyper_parameters"]["classes"]["names"] == ["membrane", "cell"]
    stored = checkpoint["segmentation"]
    assert stored["format"] == 1
    assert stored["intensity"] == {"dtype": "uint8", "rule": "range", "low": [], "high": []}
    assert list(stored["trained_on"]) == ["slice-000", "slice-001", "slice-002", "slice-003"]
    assert set(stored["decision"]) == {"threshold", "smallest_object", "largest_hole"}
    assert "datamodule_hyper_parameters" not in checkpoint


def test_early_stopping_by_config(tiny_fit: Fit) -> None:
    stop = "[{class_path: EarlyStopping, init_args: {monitor: val/iou, mode: max, patience: 1, min_delta: 1.0}}]"
    folder = tiny_fit("--trainer.callbacks", stop, "--trainer.max_epochs", 9)
    epochs = [row["epoch"] for row in metrics(folder) if row["val/iou"]]
    assert epochs == ["0", "1"]


def test_a_run_in_a_folder_that_the_user_names(run: Run, synthetic, quick, capsys: pytest.CaptureFixture[str]) -> None:
    args = ("fit", *synthetic, *quick, "--run_folder", "mine")
    assert run(*args) == 0
    assert not Path("runs").exists()
    assert {"config.yaml", "scores.json", "checkpoints", "split.json"} <= {path.name for path in Path("mine").iterdir()}
    assert yaml.safe_load(Path("mine/config.yaml").read_text())["run_folder"] is None  # it runs again elsewhere
    assert run(*args) == 1
    assert "--run_folder mine holds a run already" in capsys.readouterr().err
    assert run("fit", *synthetic, *quick, "--ckpt_path", "last") == 1  # which looks into runs/ only
    assert run(*args, "--ckpt_path", "mine/checkpoints/last.ckpt", "--trainer.max_epochs", 3) == 0
    assert Path("mine/config-resume1.yaml").is_file()
    assert run("validate", "--ckpt_path", "mine/checkpoints/best.ckpt") == 0
    assert run("validate", "--ckpt_path", "mine/checkpoints/best.ckpt", "--run_folder", "other") == 1
    assert "--run_folder is for fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "args", "told"),
    [
        ("fit", ("--data.crp", 1), "did you mean --data.crop? (python -m segmentation fit --help"),
        ("validate", ("--max_epochs", 1), "did you mean --trainer.max_epochs? (python -m segmentation validate --help"),
        ("fit", ("--config", "wrong.yaml"), "did you mean --data.crop? (python -m segmentation fit --help"),
        ("predict", ("x.png", "--ckpt_pth", 1), "did you mean --ckpt_path? (python -m segmentation predict --help"),
        ("check", ("--rot", 1), "did you mean --root? (python -m segmentation check --help"),
    ],
)
def test_a_misspelt_option_names_the_right_one(
    run: Run, capsys: pytest.CaptureFixture[str], command: str, args: tuple[object, ...], told: str
) -> None:
    Path("wrong.yaml").write_text("data: {source: {class_path: SyntheticSource}, crp: 1}")
    assert run(command, *args) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("command", "told"), [("fit", "Resume the training"), ("test", "a folder of runs")])
def test_help_says_what_ckpt_path_means_here(
    run: Run, capsys: pytest.CaptureFixture[str], command: str, told: str
) -> None:
    """Lightning's own text promises what is not so: special words such as hpc, and the best of a fit in the same process."""
    with pytest.raises(SystemExit) as ended:
        run(command, "--help")
    assert ended.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert told in words
    assert "hpc" not in words


def test_the_device_that_is_told_is_the_one_that_computes(
    run: Run,
    synthetic: tuple[object, ...],
    quick: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Lightning takes an Apple GPU for auto, which has no float64 for the scores."""
    caplog.set_level("INFO")
    monkeypatch.setattr("lightning.pytorch.accelerators.mps.MPSAccelerator.is_available", lambda: True)
    assert run("fit", *synthetic, *quick, "--trainer.precision", "null") == 0
    assert "Device cpu" in caplog.text
    assert run("fit", *synthetic, *quick, "--trainer.accelerator", "mps") == 1
    assert "float64, which Apple's GPUs lack" in capsys.readouterr().err


def test_a_saved_config_does_not_point_its_loggers_to_the_run(tiny_fit: Fit) -> None:
    pytest.importorskip("tensorboard")
    folder = tiny_fit("--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", ".")
    logger = yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["logger"]
    assert logger["init_args"]["save_dir"] == "."  # run again, it logs into its own folder
    assert list(folder.rglob("events.out.tfevents.*"))


def test_steps_are_seeded_by_the_seed_of_the_data(
    run: Run, synthetic: tuple[object, ...], quick: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds, made = [], cli.StepSeed

    def noted(seed: int) -> cli.StepSeed:
        seeds.append(seed)
        return made(seed)

    monkeypatch.setattr(cli, "StepSeed", noted)
    args = ("fit", *synthetic, *quick, "--trainer.max_epochs", 1, "--seed_everything", 3)
    assert run(*args) == run(*args, "--data.seed", 5) == 0
    assert seeds == [3, 5]


def test_every_epoch_is_logged_however_short(
    run: Run, synthetic: tuple[object, ...], quick: tuple[object, ...]
) -> None:
    """Lightning logs every 50th step, and an epoch here has two."""
    at = quick.index("--trainer.log_every_n_steps")
    assert run("fit", *synthetic, *quick[:at], *quick[at + 2 :], "--run_folder", "run") == 0
    assert {row["epoch"] for row in metrics(Path("run")) if row.get("train/loss")} == {"0", "1"}
