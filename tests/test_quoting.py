"""A command that is told can be typed as it is, also where a folder's name has a space."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from segmentation.data.sources.folder import FolderSource
from segmentation.errors import InputError

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def words_after(told: str, beginning: str) -> list[str]:
    """What a shell makes of the line in which this stands, from there on."""
    (line,) = (line for line in told.splitlines() if beginning in line)
    return shlex.split(line[line.index(beginning) + len(beginning) :])


@pytest.fixture
def spaced(trained: Path) -> Path:
    others = shutil.ignore_patterns("report-*", "validate-*", "test-*")  # other tests score the run where it lies
    return Path(shutil.copytree(trained, "run 1", ignore=others))


def test_what_fit_tells_last_can_be_typed(
    run: Run, synthetic, quick, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert run("fit", *synthetic, *quick, "--run_folder", "run 1") == 0
    best = Path("run 1/checkpoints/best.ckpt")
    assert words_after(caplog.text, "python -m segmentation test") == ["--ckpt_path", str(best)]
    assert words_after(caplog.text, "segmentation predict IMAGES")[:2] == ["--ckpt_path", str(best)]
    assert run("fit", *synthetic, *quick, "--run_folder", "run 1") == 1
    assert words_after(capsys.readouterr().err, "go on with this run:") == ["--ckpt_path", str(best.with_stem("last"))]


def test_the_fine_tuning_that_prune_tells_can_be_typed(run: Run, spaced: Path, capsys: Capture) -> None:
    assert run("prune", "--ckpt_path", spaced, "--out", "a b.ckpt") == 0
    expected = ["--config", "run 1/config.yaml", "--initial_weights", "a b.ckpt"]
    assert words_after(capsys.readouterr().out, "python -m segmentation fit") == expected


def test_the_report_that_is_missing_can_be_typed(run: Run, spaced: Path, capsys: Capture) -> None:
    assert run("compare", spaced, "other") == 1
    assert words_after(capsys.readouterr().err, "segmentation report") == ["--ckpt_path", "run 1"]


def test_what_is_told_of_a_cross_validation_can_be_typed(run: Run, trained: Path, capsys: Capture) -> None:
    for fold in range(2):
        shutil.copytree(trained, f"all folds/fold{fold}")
    assert run("validate", "--ckpt_path", "all folds") == 1
    assert words_after(capsys.readouterr().err, "segmentation report") == ["--ckpt_path", "all folds"]
    assert run("export", "--ckpt_path", "all folds", "--out", "m.onnx") == 1
    assert "such as --ckpt_path 'all folds/fold0/checkpoints/best.ckpt', and" in capsys.readouterr().err


def test_the_weights_of_another_optimizer_can_be_typed(run: Run, spaced: Path, capsys: Capture) -> None:
    last = spaced / "checkpoints/last.ckpt"
    assert run("fit", "--ckpt_path", last, "--model.optimizer", "sgd", "--trainer.max_epochs", 3) == 1
    assert f"--initial_weights '{last}' without" in capsys.readouterr().err


def test_the_check_of_a_folder_can_be_typed(run: Run, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "my set" / "pictures").mkdir(parents=True)
    with pytest.raises(InputError, match=r"check --root '.*/my set' write a config"):
        FolderSource(tmp_path / "my set").samples()
    (tmp_path / "my set" / "masks").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "my set" / "pictures" / "a.png")
    assert run("check", "--root", tmp_path / "my set" / "pictures") == 1
    assert f"check --root '{tmp_path / 'my set'}' sees both" in capsys.readouterr().err
