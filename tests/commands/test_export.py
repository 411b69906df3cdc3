"""From a checkpoint to a file that answers as it does, or to no file."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from PIL import Image

from segmentation import __version__, load
from segmentation.commands import export as command
from segmentation.deployment import metadata, runtime
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.inference.intensity import Intensity
from segmentation.inference.predictor import Description

Run = Callable[..., int]

README = Path(__file__).parents[2] / "README.md"


def typed(*replaced: tuple[str, object]) -> list[list[str]]:
    """The commands of the README, with other files in them."""
    block = README.read_text().split("## The same answer without torch")[1].split("```bash\n")[1].split("```")[0]
    for old, new in replaced:
        block = block.replace(old, str(new))
    return [shlex.split(line)[3:] for line in block.splitlines()]


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained run as a file, in a folder that was not there."""
    from segmentation.__main__ import main

    path = tmp_path_factory.mktemp("exported") / "new" / "model.onnx"
    export, _ = typed(("runs/my_check", trained), ("model.onnx", path))
    assert main(export) == 0
    return path


def left() -> list[str]:
    return [path.name for path in Path().iterdir()]


def test_the_file_predicts_as_the_checkpoint(trained: Path, exported: Path) -> None:
    assert [path.name for path in exported.parent.iterdir()] == ["model.onnx"]
    image = np.random.default_rng(0).integers(0, 256, (70, 90), dtype=np.uint8)
    expected, found = load(trained, "cpu"), runtime.load(exported)
    np.testing.assert_allclose(found.probabilities(image), expected.probabilities(image), rtol=0, atol=1e-4)
    assert found.decision == expected.decision
    assert found.trained_on == expected.trained_on
    stored = metadata.read(exported)[1]
    assert (stored["version"], stored["precision"]) == (__version__, "float32")


def test_the_readme_predicts_with_the_file(exported: Path, run: Run) -> None:
    Path("new_images").mkdir()
    Image.fromarray(np.zeros((31, 40), np.uint8)).save("new_images/one.png")
    _, predict = typed(("model.onnx", exported))
    assert run(*predict) == 0
    assert np.array(Image.open("predictions_of_onnx/labels/one.png")).shape == (31, 40)


def test_it_says_what_was_compared_and_overwrites_nothing(
    trained: Path, exported: Path, run: Run, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(exported, "model.onnx")
    arguments = ("export", "--ckpt_path", trained / "checkpoints/best.ckpt", "--out", "model.onnx")
    assert run(*arguments) == 1
    assert "model.onnx is there already" in capsys.readouterr().err
    monkeypatch.setattr(command, "write_onnx", lambda module, path, *_: copied(exported, path))
    Path("model.onnx").write_bytes(b"")
    assert run(*arguments, "--overwrite") == 0
    assert Path("model.onnx").read_bytes() == exported.read_bytes()
    told = capsys.readouterr()
    assert "Unet tu-test_resnet.r160_in1k" in told.out and "uint8 (B, 1, H, W)" in told.out
    for row in ("whole, 64x64", "odd, 49x63", "8x8", "Dice", "V_Rand", "IoU"):
        assert row in told.out, row
    assert "Warning" not in told.out + told.err


def copied(source: Path, path: Path) -> command.Exported:
    shutil.copy(source, path)
    return command.Exported(path.stat().st_size, 18, "uint8")


def test_a_file_that_answers_otherwise_is_not_kept(
    trained: Path, exported: Path, run: Run, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_wrong_mean(_module, path, *_rest):
        model = onnx.load(exported)
        (mean,) = (
            tensor for tensor in model.graph.initializer if tensor.name.endswith("mean") and tensor.dims == [1, 1, 1]
        )
        mean.raw_data = (np.frombuffer(mean.raw_data, np.float32) + np.float32(20)).tobytes()
        metadata.write(model, metadata.read(exported)[1])
        onnx.save(model, path)
        return command.Exported(path.stat().st_size, 18, "uint8")

    monkeypatch.setattr(command, "write_onnx", with_a_wrong_mean)
    assert run("export", "--ckpt_path", trained, "--out", "out/model.onnx") == 1
    assert re.search(r"at slice-00\d \(\w+, \d+x\d+\), row \d+, column \d+", capsys.readouterr().err)
    assert list(Path("out").iterdir()) == []


def test_without_the_data_of_the_run_raw_images_are_compared(
    trained: Path, exported: Path, run: Run, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(trained / "checkpoints/best.ckpt", "alone.ckpt")
    arguments = ("export", "--ckpt_path", "alone.ckpt", "--out", "model.onnx")
    assert run(*arguments) == 1
    message = capsys.readouterr().err
    assert "no config.yaml" in message and "--images FOLDER" in message
    assert "model.onnx" not in left()
    Path("raw").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (31 + number, 40, 3), dtype=np.uint8)
        pixels[..., 1:] = pixels[..., :1]  # grey, stored as RGB
        Image.fromarray(pixels).save(f"raw/{number}.png")
    monkeypatch.setattr(command, "write_onnx", lambda module, path, *_: copied(exported, path))
    assert run(*arguments, "--images", "raw") == 0
    assert "whole, 33x40" in capsys.readouterr().out
    shutil.copy("raw/0.png", "raw/0.tif")  # no result is written that they would share
    assert run("export", "--ckpt_path", "alone.ckpt", "--out", "raw/model.onnx", "--images", "raw") == 0
    assert Path("raw/model.onnx").is_file()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8) + np.arange(3, dtype=np.uint8)).save("colours.png")
    assert run(*arguments, "--images", "colours.png", "--overwrite") == 1
    assert "colours.png has 3 channels, the checkpoint takes 1" in capsys.readouterr().err
    assert run(*arguments, "--images", "nowhere", "--overwrite") == 1
    assert "nowhere (does not exist)" in capsys.readouterr().err


def test_raw_images_of_a_network_of_neighbouring_slices_are_read_with_their_neighbours() -> None:
    volume = np.random.default_rng(0).integers(0, 256, (5, 6, 7), dtype=np.uint8)
    tifffile.imwrite("volume.tif", volume, photometric="minisblack")
    description = Description(Classes(("membrane", "cell")), 3, Intensity(), Decision(), context=1)
    examples = command._raw(Path("volume.tif"), description)
    np.testing.assert_array_equal(examples[0].image, np.moveaxis(volume[[0, 0, 1]], 0, -1))
    np.testing.assert_array_equal(examples[-1].image, np.moveaxis(volume[[3, 4, 4]], 0, -1))


def test_int8_is_calibrated_on_training_images_and_tried_on_validation_images(
    trained: Path, exported: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def write(module, path, precision, calibration, validation, limit):
        seen.update(precision=precision, calibration=calibration, validation=validation)
        return copied(exported, path)

    monkeypatch.setattr(command, "write_onnx", write)
    assert run("export", "--ckpt_path", trained, "--out", "model.onnx", "--precision", "int8") == 0
    assert [batch.shape for batch in seen["calibration"]] == [(1, 1, 64, 64)] * 4
    assert [batch.dtype for batch in seen["validation"]] == [np.uint8] * 2
    known = {batch.tobytes() for batch in seen["calibration"]}
    assert not known & {batch.tobytes() for batch in seen["validation"]}


@pytest.mark.parametrize(
    ("precision", "refused", "status", "expected"),
    [("int8", 2, 0, [2e-3, 1e-3, 5e-4]), ("int8", 3, 1, [2e-3, 1e-3, 5e-4]), ("float16", 1, 1, [2e-3])],
)
def test_int8_that_changes_a_score_is_tried_with_more_layers_in_float(
    trained: Path, exported: Path, run: Run, capsys, monkeypatch, precision, refused, status, expected
) -> None:
    limits: list[float] = []
    real = command.check

    def write(module, path, _precision, calibration, validation, limit):
        limits.append(limit)
        return copied(exported, path)

    def check(*arguments):
        if len(limits) <= refused:
            raise command.ChangedScoreError("the file changes iou")
        return real(*arguments)

    monkeypatch.setattr(command, "write_onnx", write)
    monkeypatch.setattr(command, "check", check)
    assert run("export", "--ckpt_path", trained, "--out", "out/model.onnx", "--precision", precision) == status
    assert limits == expected
    assert capsys.readouterr().out.count("once more, with more layers in float32") == len(expected) - 1
    assert [path.name for path in Path("out").iterdir()] == ["model.onnx"] * (status == 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "model.pt"), "ends in .onnx"),
        (("--out", "folder.onnx"), "folder.onnx is a folder"),
        (("--out", "m.onnx", "--precision", "int4"), "int4"),
        (("--out", "taken/m.onnx"), "taken cannot be made"),
    ],
)
def test_wrong_arguments_are_told(trained: Path, run: Run, capsys, arguments, message) -> None:
    Path("folder.onnx").mkdir()
    Path("taken").touch()
    assert run("export", "--ckpt_path", trained, *arguments) == 1
    assert message in capsys.readouterr().err


def test_a_cross_validation_is_exported_fold_by_fold(trained: Path, run: Run, capsys) -> None:
    for fold in range(2):
        (Path("folds") / f"fold{fold}").mkdir(parents=True)
        (Path("folds") / f"fold{fold}/checkpoints").symlink_to(trained / "checkpoints")
    assert run("export", "--ckpt_path", "folds", "--out", "m.onnx") == 1
    assert "--ckpt_path folds/fold0/checkpoints/best.ckpt" in capsys.readouterr().err
