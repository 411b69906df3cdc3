"""What a user can get wrong: one message with the cure, status 1, no traceback, nothing left behind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., int]


@pytest.fixture
def refused(run: Run, quick, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail; gives its message."""

    def call(*args: object, command: str = "fit") -> str:
        capsys.readouterr()
        assert run(command, *(quick if command == "fit" else ()), *args) == 1
        message = capsys.readouterr().err
        assert "Traceback" not in message
        assert "error: " in message
        assert not list(Path().rglob("*.ckpt"))
        began = bool(list(Path().rglob("config.yaml")))
        assert began == ("batch normalisation" in message)  # only that one shows in the first step
        return message

    return call


def folder(root: Path, *args: object) -> tuple[object, ...]:
    return ("--data.source", "FolderSource", "--data.source.root", root, *args)


def test_a_missing_folder(refused) -> None:
    message = refused(*folder(Path("nowhere")))
    assert "nowhere" in message


def test_an_empty_folder(refused, tmp_path: Path) -> None:
    (tmp_path / "e" / "images").mkdir(parents=True)
    (tmp_path / "e" / "masks").mkdir()
    assert "images" in refused(*folder(tmp_path / "e"))


def test_every_problem_of_a_data_set_is_in_one_message(refused, folder_data: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder_data / "masks" / "00.png")  # another size
    (folder_data / "images" / "01.png").write_bytes((folder_data / "images" / "01.png").read_bytes()[:500])  # cut
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(folder_data / "masks" / "02.png")  # no such class
    (folder_data / "masks" / "03.png").write_bytes(b"")
    message = refused(*folder(folder_data))
    assert "4 problems in the data" in message
    for part in ("00.png", "40x48", "8x8", "01.png", "02.png", "7", "03.png", "0 bytes"):
        assert part in message


def test_unpaired_files_are_all_named(refused, folder_data: Path) -> None:
    (folder_data / "images" / "00.png").unlink()
    (folder_data / "masks" / "05.png").unlink()
    message = refused(*folder(folder_data))
    assert "00.png" in message
    assert "05.png" in message


def test_masks_of_0_and_255_name_the_cure_and_the_cure_works(refused, run: Run, folder_data: Path, quick) -> None:
    for path in (folder_data / "masks").iterdir():
        Image.fromarray(np.array(Image.open(path)) * 255).save(path)
    message = refused(*folder(folder_data))
    assert "[0, 255]" in message
    assert "data.source.mask_values: {0: 0, 255: 1}" in message
    assert run("fit", *folder(folder_data, "--data.source.mask_values", "{0: 0, 255: 1}"), *quick) == 0


def test_colour_images_for_one_channel(refused, run: Run, folder_data: Path, quick) -> None:
    message = refused(*folder(folder_data, "--data.source.in_channels", 1))
    assert "data.source.in_channels: 3" in message
    assert run("fit", *folder(folder_data, "--data.source.in_channels", 3), *quick) == 0


def test_sixteen_bit_images_train_and_predict(run: Run, folder_data: Path, quick) -> None:
    import tifffile

    import segmentation

    for path in (folder_data / "images").iterdir():
        grey = np.array(Image.open(path).convert("L")).astype(np.uint16) * 100
        tifffile.imwrite(path.with_suffix(".tif"), grey)
        path.unlink()
    assert run("fit", *folder(folder_data, "--data.source.in_channels", 1), *quick) == 0
    checkpoint = next(Path("runs").rglob("best.ckpt"))
    assert run("test", "--ckpt_path", checkpoint) == 0
    predictor = segmentation.load(checkpoint)
    assert predictor(grey).shape == grey.shape
    with pytest.raises(segmentation.InputError, match="the image is uint8, the network was trained on uint16"):
        predictor(grey.astype(np.uint8))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("model.network", "Unett", "did you mean 'Unet'"),
        ("model.encoder", "resnet19", "resnet18"),
        ("model.encoder", "tu-resnt18", "resnet18"),
        ("model.loss", "{bec: 1}", "'bce'"),
        ("model.optimizer", "admaw", "'adamw'"),
        ("model.schedule", "cosin", "'cosine'"),
        ("model.network_options", "{decoder_chanels: [8]}", "decoder_channels"),
        ("model.optimizer_options", "{momentun: 0.9}", "adamw takes no 'momentun'"),
        ("model.threshold", 1.5, "model.threshold is 1.5"),
        ("model.target_class", "cel", "'cell'"),
        ("model.criterion", "v_rand", "model.scores: [region, em]"),
        ("model.class_weights", "[1, 2, 3]", "do not fit the 2 classes"),
        ("data.augment", "flip", "'flips'"),
        ("data.fold", 5, "data.fold is 5"),
        ("data.batch_size", 0, "data.batch_size is 0"),
        ("data.split_file", "no.json", "no.json"),
        ("model.learning_rate", 0.1, "model.learning_rate"),
        ("data.source", "NoSource", "NoSource"),
        ("model.lr", "fast", "model.lr"),
        ("trainer.precision", "bf16-true", "trainer.precision is bf16-true, which rounds the weights"),
        ("trainer.precision", "16-true", "small steps are lost; set 16-mixed"),
    ],
)
def test_a_wrong_option_names_the_nearest_right_one(refused, synthetic, option, value, expected) -> None:
    assert expected in refused(*synthetic, f"--{option}", value)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("strategy", "dpp", "invalid strategy name: `strategy='dpp'`"),
        ("max_time", "1hour", "is not a valid duration"),
        ("devices", 0, "not a valid input"),
        ("accumulate_grad_batches", 0, "trainer.accumulate_grad_batches is 0; give 1 or more"),
        ("check_val_every_n_epoch", 0, "trainer.check_val_every_n_epoch is 0; give 1 or more"),
        ("val_check_interval", 9, "trainer.val_check_interval is 9, and an epoch has 2 batches"),
    ],
)
def test_wrong_arguments_of_the_trainer(refused, synthetic, option, value, expected) -> None:
    assert expected in refused(*synthetic, f"--trainer.{option}", value)
    assert not Path("runs").exists()


def test_a_validation_between_two_steps(refused, synthetic) -> None:
    epoch = ("--data.samples_per_epoch", 16, "--trainer.limit_train_batches", 6, "--trainer.accumulate_grad_batches", 2)
    cure = "in the middle of a step, whose gradients are in no checkpoint; set trainer.val_check_interval: "
    assert f"{cure}4" in refused(*synthetic, *epoch, "--trainer.val_check_interval", 3)
    assert f"{cure}4" in refused(*synthetic, *epoch, "--trainer.val_check_interval", 0.5)
    assert f"{cure}2" in refused(*synthetic, *epoch, "--trainer.val_check_interval", "00:00:01:00")


def test_a_threshold_of_several_classes(refused, folder_data: Path) -> None:
    data = folder(folder_data, "--data.source.classes", "[background, lesion, vessel]")
    message = refused(*data, "--model.threshold", 0.3)
    assert "model.threshold is 0.3, but a threshold is for two classes and there are 3; leave it out" in message


def test_a_missing_config(refused) -> None:
    assert "nowhere.yaml" in refused("--config", "nowhere.yaml")


def test_a_run_folder_that_cannot_be_written(refused, synthetic) -> None:
    Path("occupied").write_text("a file")
    message = refused(*synthetic, "--trainer.default_root_dir", "occupied")
    assert "occupied" in message
    assert "trainer.default_root_dir" in message


@pytest.mark.parametrize("command", ["validate", "predict"])
def test_a_damaged_checkpoint(refused, synthetic, command: str) -> None:
    Path("broken.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    args = ("x.png",) if command == "predict" else synthetic
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("x.png")
    assert "broken.pt cannot be read as a checkpoint" in refused(*args, "--ckpt_path", "broken.pt", command=command)


def test_isbi_without_data_says_how_to_get_them(refused) -> None:
    source = ("--data.source", "IsbiSource", "--data.source.root", "nothing", "--data.source.download", "false")
    message = refused(*source)
    assert str(Path("nothing").absolute()) in message
    assert "https://downloads.imagej.net/ISBI-2012-challenge.zip" in message
    assert "configs/demo.yaml" in message


def test_batch_of_one_with_batch_normalisation_over_one_value(refused, synthetic) -> None:
    # DeepLab pools to 1x1, where batch normalisation has one value per channel
    args = ("--model.network", "DeepLabV3", "--data.samples_per_epoch", "1", "--trainer.num_sanity_val_steps", "0")
    Path("args.yaml").write_text("data: {batch_size: 1}")
    message = refused(*synthetic, *args)
    assert "set data.batch_size to 2 or more" in message
