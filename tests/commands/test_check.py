"""``check``: a folder becomes a config that trains, and what is wrong with it is told with its files."""

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

TINY = (
    *("--data.crop", 32, "--data.batch_size", 2, "--data.samples_per_epoch", 4, "--data.workers", 0),
    *("--model.encoder", "tu-test_resnet.r160_in1k", "--trainer.max_epochs", 1, "--trainer.precision", "32-true"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
)


@pytest.fixture
def squares(folder_data: Path) -> Path:
    """The data set of ``folder_data`` with masks of 0 and 255."""
    for path in (folder_data / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * np.uint8(255)).save(path)
    return folder_data


def report(folder: str = "check-folder") -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(folder, "report.json").read_text())
    return found


def written(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def test_a_folder_becomes_a_config_that_fits_as_it_is(
    squares: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "--root", squares) == 0
    text = capsys.readouterr().out
    assert "a training would run: 0 problems, 1 warning" in text
    assert "a single image decides which checkpoint is the best" in text
    assert "python -m segmentation fit --config check-folder/config.yaml" in text
    config = yaml.safe_load(Path("check-folder/config.yaml").read_text())
    assert config["data"]["source"]["init_args"]["mask_values"] == {0: 0, 255: 1}
    assert config["data"]["crop"] == 32  # the images are 40x48
    assert report()["config"] == json.loads(json.dumps(config))  # keys of JSON are texts
    assert run("fit", "--config", "check-folder/config.yaml", *TINY) == 0
    assert run("check", "--config", "check-folder/config.yaml", "--out", "again") == 0


@pytest.mark.parametrize("grey", ["00", "03"])  # 00 is looked at first
def test_a_grey_photograph_among_colour_ones_is_no_problem(squares: Path, run: Callable[..., int], grey: str) -> None:
    path = squares / "images" / f"{grey}.png"
    Image.open(path).convert("L").save(path)
    assert run("check", "--root", squares) == 0
    config = yaml.safe_load(Path("check-folder/config.yaml").read_text())
    assert config["data"]["source"]["init_args"].get("in_channels", 3) == 3
    assert report()["problems"] == []
    assert run("fit", "--config", "check-folder/config.yaml", *TINY) == 0


def test_nothing_is_overwritten(squares: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--root", squares) == run("check", "--root", squares) == 0
    assert {path.name for path in Path().glob("check-*")} == {"check-folder", "check-folder-2"}
    assert run("check", "--root", squares, "--out", "check-folder") == 1
    assert "check-folder is there already" in capsys.readouterr().err


def test_a_damaged_file_is_a_problem_and_the_rest_is_still_told(squares: Path, run: Callable[..., int]) -> None:
    (squares / "images" / "02.png").write_bytes(b"no image")
    assert run("check", "--root", squares) == 1
    found = report()
    (problem,) = found["problems"]  # type: ignore[misc]
    assert problem["files"] == [str(squares / "images" / "02.png")] and problem["cure"]
    assert found["facts"]["samples"] == 5 and found["trains"] is False  # type: ignore[index]
    page = Path("check-folder/check.html").read_text()
    assert "Does not train" in page and str(squares / "images" / "02.png") in page
    assert Path("check-folder/config.yaml").is_file()


def test_a_copy_in_another_list_is_a_warning(squares: Path, run: Callable[..., int]) -> None:
    for part in ("images", "masks"):
        for number in range(6):
            split = "train" if number < 4 else "val"
            (squares / split / part).mkdir(parents=True, exist_ok=True)
            shutil.move(squares / part / f"{number:02d}.png", squares / split / part / f"{number:02d}.png")
        shutil.copy(squares / "train" / part / "00.png", squares / "val" / part / "99.png")
        (squares / part).rmdir()
    assert run("check", "--root", squares) == 0
    (warning,) = report()["warnings"]  # type: ignore[misc]
    assert "in several sets" in warning["fault"]
    assert warning["files"] == [f"{squares}/train/images/00.png (train) = {squares}/val/images/99.png (val)"]


def test_json_is_all_that_is_printed(
    squares: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "--root", squares, "--json") == 0
    assert json.loads(capsys.readouterr().out) == report()
    assert run("check", "--root", "nowhere", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["trains"] is False and "nowhere" in told["problems"][0]["fault"]


def test_a_value_that_few_masks_hold_widens_what_values_mean(tmp_path: Path, run: Callable[..., int]) -> None:
    root, random = tmp_path / "many", np.random.default_rng(0)
    for number in range(200):
        mask = np.zeros((32, 32))
        mask[:8] = 1
        mask[8:12] = 2 if number == 1 else 1
        written(root / "images" / f"{number:03d}.png", random.integers(0, 255, (32, 32, 3)))
        written(root / "masks" / f"{number:03d}.png", mask)
    assert run("check", "--root", root) == 0
    found = report("check-many")
    assert found["facts"]["samples"] == 200  # type: ignore[index]
    assert len(found["classes"]["names"]) == 3  # type: ignore[index]


def test_masks_of_one_value_do_not_train(squares: Path, run: Callable[..., int]) -> None:
    for path in (squares / "masks").iterdir():
        written(path, np.zeros((40, 48)))
    assert run("check", "--root", squares) == 1


def test_what_is_doubtful_about_values_is_a_warning(tmp_path: Path, run: Callable[..., int]) -> None:
    root, random = tmp_path / "roads", np.random.default_rng(0)
    for number in range(6):
        written(root / "images" / f"{number}.png", random.integers(0, 255, (32, 32, 3)))
        written(root / "masks" / f"{number}.png", np.arange(32)[:, None] // 8 + np.zeros((1, 32)))
    (root / "classes.txt").write_text("sky\nroad\ncar\n")
    assert run("check", "--root", root) == 0
    warning = report("check-roads")["warnings"][0]  # type: ignore[index]
    assert "3 is taken for pixels that do not count" in warning["fault"] and "{0: 255, 1: 0" in warning["cure"]


def test_patients_in_several_lists_are_a_warning(squares: Path, run: Callable[..., int]) -> None:
    for part in ("images", "masks"):
        for number in range(6):
            (squares / part / f"{number:02d}.png").rename(squares / part / f"p{number % 2}_{number}.png")
    assert run("check", "--root", squares) == 0
    warning = report()["warnings"][0]  # type: ignore[index]
    assert "p0, p1" in warning["fault"] and "--data.group" in warning["cure"]


def test_frames_of_a_film_in_several_lists_are_a_warning(tmp_path: Path, run: Callable[..., int]) -> None:
    root, random = tmp_path / "film", np.random.default_rng(0)
    wide = random.integers(0, 255, (32, 64)).repeat(4, axis=0).repeat(4, axis=1)
    for number in range(30):  # every time of day, so that names do not tell
        name = f"{number // 7}h{number % 7}m.png"
        frame = wide[:, 3 * number : 3 * number + 128]
        written(root / "images" / name, np.stack([frame] * 3, axis=-1))
        written(root / "masks" / name, 255 * (frame > 200))
    assert run("check", "--root", root) == 0
    warning = report("check-film")["warnings"][0]  # type: ignore[index]
    assert "the images are in series" in warning["fault"] and "split_kind: contiguous" in warning["cure"]
    config = yaml.safe_load(Path("check-film/config.yaml").read_text())
    config["data"]["split_kind"] = "contiguous"
    Path("mended.yaml").write_text(yaml.safe_dump(config))
    assert run("check", "--config", "mended.yaml", "--out", "again") == 0
    assert not any("in series" in warning["fault"] for warning in report("again")["warnings"])  # type: ignore[attr-defined]


def config_of(root: Path, **more: object) -> Path:
    source = {"class_path": "FolderSource", "init_args": {"root": str(root), "mask_values": {0: 0, 255: 1}}}
    path = Path("mine.yaml")
    path.write_text(yaml.safe_dump({"data": {"source": source}, **more}))
    return path


def test_a_config_is_checked_as_it_is(squares: Path, run: Callable[..., int]) -> None:
    config = config_of(squares, trainer={"max_epochs": 3})
    assert run("check", "--config", config) == 0
    assert sorted(path.name for path in Path("check-mine").iterdir()) == ["check.html", "report.json"]
    split = report("check-mine")["split"]
    assert sorted(map(len, split.values())) == [0, 1, 5]  # type: ignore[attr-defined]


def test_names_that_are_no_utf_8_are_told_and_shown(
    squares: Path, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("images", "masks"):
        (squares / part / "00.png").rename(squares / part / os.fsdecode(b"gr\xfcn.png"))
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(squares / "masks" / os.fsdecode(b"gr\xfcn.png"))
    (squares / "images").rename(squares / os.fsdecode(b"images \xfc"))
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr("sys.stdout", printed)
    assert run("check", "--root", squares, "--out", "out") == 0
    printed.seek(0)
    assert "gr?n.png: the mask holds 'background' and nothing else" in printed.read()
    assert "gr?n.png" in Path("out/check.html").read_text(encoding="utf-8")
    config = yaml.safe_load(Path("out/config.yaml").read_bytes())
    assert config["data"]["source"]["init_args"]["images"] == "images \udcfc/{stem}"


def test_a_config_that_is_no_yaml_is_told_before_anything_is_written(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text("data: [1")
    assert run("check", "--config", "mine.yaml") == 1
    told = capsys.readouterr().err
    assert "--config mine.yaml cannot be read" in told and "line 1, column 7" in told
    assert not Path("check-mine").exists()


def test_a_date_in_a_config_is_its_text(squares: Path, run: Callable[..., int]) -> None:
    squares.rename("2024-05-03")
    values = "{root: 2024-05-03, mask_values: {0: 0, 255: 1}}"
    Path("mine.yaml").write_text(f"data: {{source: {{class_path: FolderSource, init_args: {values}}}, crop: 32}}\n")
    assert run("check", "--config", "mine.yaml") == run("check", "--root", "2024-05-03", "--out", "other") == 0
    for folder in ("check-mine", "other"):
        settings = report(folder)["config"]
        assert settings["data"]["source"]["init_args"]["root"] == "2024-05-03"  # type: ignore[index]
        assert settings["data"]["crop"] == 32  # type: ignore[index]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"model": {"loss": {"dice": 1}, "class_weights": [1, 2]}}, "class_weights"),
        ({"model": {"encodr": "resnet18"}}, "encodr"),
        ({"model": {"network": "Unot"}}, "Unot"),
        ({"trainer": {"max_epoch": 1}}, "max_epoch"),
    ],
)
def test_a_config_that_does_not_build_would_not_train(
    squares: Path, run: Callable[..., int], more: dict[str, object], named: str
) -> None:
    assert run("check", "--config", config_of(squares, **more)) == 1
    (problem,) = report("check-mine")["problems"]  # type: ignore[misc]
    assert named in problem["fault"]


def test_a_split_that_cannot_be_made_is_a_problem(squares: Path, run: Callable[..., int]) -> None:
    config = config_of(squares)
    values = yaml.safe_load(config.read_text())
    values["data"] |= {"folds": 9, "fold": 0}
    config.write_text(yaml.safe_dump(values))
    assert run("check", "--config", config) == 1
    (problem,) = report("check-mine")["problems"]  # type: ignore[misc]
    assert "data.folds is 9" in problem["fault"]


def test_one_thing_is_checked(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check") == 1
    assert "give either --root FOLDER" in capsys.readouterr().err


def test_an_unrecognised_folder_leaves_nothing(
    tmp_path: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "void").mkdir()
    assert run("check", "--root", tmp_path / "void") == 1
    assert capsys.readouterr().err.startswith("error: ") and not Path("check-void").exists()


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(
    squares: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmentation.commands.check.describe", lambda root: pytest.fail("read"))
    Path("file").touch()
    assert run("check", "--root", squares, "--out", "file/check") == 1
    assert (
        "file/check cannot be made or written (Not a directory); give another folder as --out"
        in capsys.readouterr().err
    )


def test_masks_beside_the_wrong_image_are_a_warning(tmp_path: Path, run: Callable[..., int]) -> None:
    folder, random = tmp_path / "bars", np.random.default_rng(0)
    for number in range(10):  # a bar in a row of its own, but beside images 2 and 7 the mask of the other
        for part, row in (("images", number), ("masks", {2: 7, 7: 2}.get(number, number))):
            (folder / part).mkdir(parents=True, exist_ok=True)
            truth = np.zeros((70, 50), np.uint8)
            truth[row * 7 : row * 7 + 7] = 1
            pixels = random.integers(0, 100, (70, 50)) + 100 * truth if part == "images" else truth
            Image.fromarray(pixels.astype(np.uint8)).save(folder / part / f"{number}.png")
    assert run("check", "--root", folder) == 0
    (warning,) = (one for one in report("check-bars")["warnings"] if "swapped" in one["fault"])
    assert warning["files"] == [f"{folder}/images/2.png and {folder}/images/7.png"]


def test_commands_are_quoted_where_they_must_be(
    folder_data: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "--root", folder_data.rename("my data")) == 0
    assert "python -m segmentation fit --config 'check-my data/config.yaml'" in capsys.readouterr().out


def test_the_page_needs_nothing_beside_it(squares: Path, run: Callable[..., int]) -> None:
    assert run("check", "--root", squares) == 0
    page = Path("check-folder/check.html").read_text()
    assert set(re.findall(r'(?:src|href)="([^:]*:[^;]*);', page)) == {"data:image/jpeg", "data:image/png"}
    assert "http" not in page and "<script" not in page
    assert page.count("<figure>") == 6 and "prefers-color-scheme: dark" in page
