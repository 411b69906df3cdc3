"""A report from a trained checkpoint: its scores are those of validate, its page stands alone."""

import csv
import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segmentation.callbacks import runs
from segmentation.commands import report as module
from segmentation.errors import InputError

Run = Callable[..., int]
Fit = Callable[..., Path]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def read(folder: Path) -> tuple[dict, list[dict[str, str]]]:
    with (folder / "images.csv").open(newline="") as file:
        return json.loads((folder / "scores.json").read_text()), list(csv.DictReader(file))


def test_its_scores_are_those_of_fit_and_everything_is_written(trained: Path, run: Run, capsys) -> None:
    folder = trained
    assert run("report", "--ckpt_path", folder) == 0
    (out,) = folder.glob("report-val-*")
    assert f"Report: {out / 'report.html'}" in capsys.readouterr().out
    stored, rows = read(out)
    expected = json.loads((folder / "scores.json").read_text())
    common = [name for name in expected if name in stored["scores"]]
    assert {"iou", "dice/cell", "accuracy", "iou_per_image", "v_rand", "v_info_at_threshold"} <= set(common)
    for name in common:
        assert stored["scores"][name]["value"] == pytest.approx(expected[name], rel=1e-6), name
    assert stored["scored"] == "val, selected on these data"
    assert stored["checkpoints"] == [str(folder / "checkpoints/best.ckpt")]
    assert stored["classes"] == ["membrane", "cell"] and stored["images"] == 2
    assert sorted(row["id"] for row in rows) == ["slice-004", "slice-005"]
    assert [row["height"] for row in rows] == ["64", "64"]
    assert len({row["truth"] for row in rows} - {""}) == 2
    assert float(rows[0][stored["main"]]) <= float(rows[1][stored["main"]])
    assert all((out / "pictures" / row["picture"]).is_file() for row in rows)
    names = {path.stem for path in (out / "plots").glob("*.png")}
    assert {"classes", "images", "confusion", "thresholds", "em_thresholds", "precision_recall", "reliability"} <= names
    thresholds = list(csv.DictReader((out / "thresholds.csv").read_text().splitlines()))
    assert len(thresholds) == 255 + 11 - 1  # 0.5 is on both grids
    assert {row["threshold"] for row in thresholds if row["v_rand"]} == {str(step / 10) for step in range(11)}
    confusion = np.array([row[1:] for row in csv.reader((out / "confusion.csv").read_text().splitlines())][1:], int)
    assert confusion.sum() == 2 * 64 * 64


def test_a_name_that_is_not_utf_8_reaches_the_tables(folder_data: Path, quick, run: Run) -> None:
    name = os.fsdecode(b"gr\xfcn.png")
    for part in ("images", "masks"):
        (folder_data / part / "05.png").rename(folder_data / part / name)
    source = ("--data.source", "FolderSource", "--data.source.root", folder_data)
    assert run("fit", *source, *quick, "--run_folder", "run", "--trainer.max_epochs", 1) == 0
    for out in ("a", "b"):
        assert run("report", "--ckpt_path", "run", "--out", out) == 0
    with Path("a/images.csv").open(newline="", errors="surrogateescape") as file:
        assert Path(name).stem in [row["id"] for row in csv.DictReader(file)]
    assert run("compare", "a", "b", "--out", "c") == 0
    assert Path("c/compare.html").is_file()


def test_the_page_needs_nothing_beside_it(trained: Path, run: Run) -> None:
    assert run("report", "--ckpt_path", trained / "checkpoints/best.ckpt", "--out", "r", "--tolerance", 3) == 0
    page = Path("r/report.html").read_text()
    assert set(re.findall(r'<img src="(.{11})', page)) == {"data:image/"}
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.count("<svg") == len(list(Path("r/plots").glob("*.png")))
    assert "currentColor" in page and "#010203" not in page
    stored, _ = read(Path("r"))
    assert stored["tolerance"] == 3
    identity = stored["identity"]
    for facts in identity.values():
        assert all(text in page for text in facts if text.isidentifier())
    assert identity["Data"]["source"] == "SyntheticSource" and identity["Training"]["model.network"] == "Unet"
    assert "--tolerance 3.0" in identity["Made"]["command"] and "sha256" in identity["Checkpoint"]["file"]


def test_the_way_to_predict_is_that_of_validate(trained: Path, run: Run) -> None:
    asked = {"tta": "d4", "threshold": 0.3, "smallest_object": 5, "largest_hole": 0}
    given, same = (
        [word for name, value in asked.items() for word in (f"--{prefix}{name}", value)] for prefix in ("", "model.")
    )
    assert run("report", "--ckpt_path", trained, "--out", "r", *given) == 0
    stored, _ = read(Path("r"))
    assert run("validate", "--ckpt_path", trained / "checkpoints/best.ckpt", *same) == 0
    folder = max(trained.glob("validate-*"))
    expected = json.loads((folder / "scores.json").read_text())
    assert stored["scores"]["iou"]["value"] == pytest.approx(expected["iou"], rel=1e-6)
    assert expected["iou"] != json.loads((trained / "scores.json").read_text())["iou"]
    assert "--tta d4" in stored["identity"]["Made"]["command"]


def test_trained_samples_are_refused_and_labelled_when_allowed(trained: Path, run: Run, capsys) -> None:
    folder = trained
    assert run("report", "--ckpt_path", folder, "--split", "train", "--out", "r") == 1
    assert "4 of 4 samples to be scored were trained on" in capsys.readouterr().err
    assert not Path("r").exists()
    assert run("report", "--ckpt_path", folder, "--split", "train", "--out", "r", "--allow_seen") == 0
    stored, rows = read(Path("r"))
    assert stored["scored"] == "train, seen samples" and len(rows) == 4
    assert "4 of 4 samples were trained on" in Path("r/report.html").read_text()


def test_the_test_list_is_taken_where_there_is_one(tiny_fit: Fit, run: Run) -> None:
    folder = tiny_fit("--data.test_fraction", 0.2)
    assert run("report", "--ckpt_path", folder, "--out", "r") == 0
    stored, rows = read(Path("r"))
    split = json.loads((folder / "split.json").read_text())
    assert stored["scored"] == stored["split"] == "test"
    assert [row["id"] for row in rows] == split["test"]
    assert stored["scores"]["dice"]["low"] is None  # one image has no interval


def test_the_folds_of_a_cross_validation_are_pooled(run: Run, synthetic, quick) -> None:
    for fold in range(3):
        assert run("fit", *synthetic, *quick, "--data.fold", fold, "--run_folder", f"cv/fold{fold}") == 0
    assert run("report", "--ckpt_path", "cv", "--out", "r") == 0
    stored, rows = read(Path("r"))
    assert sorted(row["id"] for row in rows) == [f"slice-00{number}" for number in range(6)]
    assert len(stored["checkpoints"]) == 3
    by_fold = [json.loads(Path(f"cv/fold{fold}/scores.json").read_text()) for fold in range(3)]
    # two slices in each fold: the mean over images is that over folds
    assert stored["scores"]["iou_per_image"]["value"] == pytest.approx(
        np.mean([one["iou_per_image"] for one in by_fold])
    )
    assert run("report", "--ckpt_path", "cv", "--split", "train") == 1


def test_nothing_is_overwritten_and_wrong_input_is_told(trained: Path, run: Run, capsys) -> None:
    folder = trained
    Path("full").mkdir()
    Path("full/file").touch()
    assert run("report", "--ckpt_path", folder, "--out", "full") == 1
    assert "nothing overwritten" in capsys.readouterr().err
    assert run("report", "--ckpt_path", folder, "--split", "test") == 1
    assert "no test samples (4 train, 2 val, 0 test)" in capsys.readouterr().err
    shutil.copy(folder / "checkpoints/best.ckpt", "alone.ckpt")
    assert run("report", "--ckpt_path", "alone.ckpt") == 1
    assert "give the data as --config" in capsys.readouterr().err
    assert run("report", "--ckpt_path", "alone.ckpt", "--config", folder / "config.yaml", "--out", "r") == 0
    assert run("report", "--ckpt_path", "missing") == 1
    assert "does not exist" in capsys.readouterr().err


def test_two_reports_of_one_second_have_folders_of_their_own(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5)
    monkeypatch.setattr(runs, "datetime", SimpleNamespace(now=lambda: now))
    folders: list[Path] = []

    def write(_scored: object, out: Path, **_: object) -> dict:
        folders.append(out)
        assert len(folders) == 2 or run("report", "--ckpt_path", trained) == 0
        (out / "report.html").touch()
        return {}

    monkeypatch.setattr(module, "write_report", write)
    assert run("report", "--ckpt_path", trained) == 0
    assert [folder.name for folder in folders] == ["report-val-20260102-030405", "report-val-20260102-030405-2"]
    for folder in folders:
        shutil.rmtree(folder)


def test_a_report_that_fails_leaves_no_folder(trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def fail(_scored: object, out: Path, **_: object) -> dict:
        assert out.is_dir()
        raise InputError("a sample cannot be read")

    monkeypatch.setattr(module, "write_report", fail)
    before = sorted(trained.iterdir())
    assert run("report", "--ckpt_path", trained) == 1
    assert "a sample cannot be read" in capsys.readouterr().err
    assert sorted(trained.iterdir()) == before


@pytest.mark.parametrize(
    ("command", "cure"),
    [
        ("report", "give another folder as --out"),
        ("benchmark", "give another folder as --out"),
        (
            "validate",
            "copy the run to a folder that can, or write elsewhere: python -m segmentation report --ckpt_path",
        ),
        ("test", "copy the run to a folder that can, or write elsewhere: python -m segmentation report --ckpt_path"),
    ],
)
def test_a_run_that_cannot_be_written_is_told_before_the_work(
    trained: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys, command: str, cure: str
) -> None:
    make = Path.mkdir

    def read_only(self: Path, *args: object, **options: object) -> None:
        if self.parent == trained:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        make(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(module, "write_report", lambda *_, **__: pytest.fail("the work began"))
    options = ("--ways", "eager", "--memory", "false") if command == "benchmark" else ()
    assert run(command, "--ckpt_path", trained, *options) == 1
    told = capsys.readouterr()
    assert "cannot be written (Permission denied); " + cure in told.err and "Timing" not in told.out


def test_a_report_whose_scores_a_full_disk_cut_is_none(
    trained: Path, run: Run, disk_full: Callable[[str], None], capsys
) -> None:
    disk_full('"scored"')
    assert run("report", "--ckpt_path", trained, "--out", "r") == 1
    assert "no space left on the disk" in capsys.readouterr().err
    assert Path("r/images.csv").is_file() and not Path("r/scores.json").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_chromium_shows_the_page_in_light_and_dark(trained: Path, run: Run) -> None:
    assert run("report", "--ckpt_path", trained, "--out", "r") == 0
    seen = (
        "<script>addEventListener('load', () => { document.title = JSON.stringify({images: document.images.length,"
        "broken: [...document.images].filter(image => !image.naturalWidth).length,"
        "plots: [...document.querySelectorAll('section svg')].map(plot => Math.round(plot.getBoundingClientRect().width)),"
        "wide: document.documentElement.scrollWidth - innerWidth}) })</script>"
    )
    page = Path("r/seen.html")
    page.write_text(Path("r/report.html").read_text().replace("</body>", seen + "</body>"))
    title = re.search(r"<title>(.*?)</title>", browse(page, "--dump-dom"))
    assert title is not None
    found = json.loads(title[1].replace("&quot;", '"'))
    assert found["broken"] == 0 and found["images"] >= 2 * 4
    assert found["wide"] <= 0  # nothing sticks out
    assert len(found["plots"]) >= 7 and min(found["plots"]) > 200
    for scheme, low, high in (("1", 200, 256), ("0", 0, 80)):
        browse(page, "--screenshot=shot.png", f"--blink-settings=preferredColorScheme={scheme}")
        shot = np.asarray(Image.open("shot.png").convert("L"))
        assert low < np.median(shot) < high
        assert (abs(shot.astype(int) - int(np.median(shot))) > 100).mean() > 0.002  # text can be told from the ground


def browse(page: Path, *options: str) -> str:
    """What Chromium prints."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,2400"]
    return subprocess.run(
        [*command, *options, page.absolute().as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout


def test_a_cross_validation_is_reported_and_not_validated(trained: Path, run: Run, capsys) -> None:
    for fold in range(2):
        shutil.copytree(trained, f"cv/fold{fold}")
    assert run("validate", "--ckpt_path", "cv") == 1
    assert "cv is a cross-validation and validate scores one checkpoint" in capsys.readouterr().err
    assert run("validate", "--ckpt_path", trained) == 0  # a folder too, but of one run
    assert list(trained.glob("validate-*/scores.json"))


def test_cells_that_touch_are_counted_as_the_masks_number_them(
    tmp_path: Path, run: Run, quick: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "cells"
    for number in range(6):
        ids = np.zeros((64, 64), np.uint16)
        ids[8:24, 8:24], ids[8:24, 24:40], ids[40:56, 8:24] = 300, 301, 302  # the first two touch
        for part, values in (("images", (ids > 0) * 200), ("masks", ids)):
            (root / part).mkdir(parents=True, exist_ok=True)
            kind = np.uint8 if part == "images" else np.uint16
            Image.fromarray(values.astype(kind)).save(root / part / f"{number}.png")
    source = ("--data.source", "FolderSource", "--data.source.root", root, "--data.source.mask_values", "objects")
    options = ("--data.source.classes", "[background, cell]", "--data.source.in_channels", 1)
    assert run("fit", *source, *options, *quick, "--run_folder", "cells_run") == 0
    assert run("report", "--ckpt_path", "cells_run", "--out", "plain") == 0
    assert run("report", "--ckpt_path", "cells_run", "--out", "parted", "--instances", "watershed") == 0
    plain, parted = (Path(out, "report.html").read_text() for out in ("plain", "parted"))
    for page in (plain, parted):
        assert "True objects are those that the masks number" in page
        counts = re.search(r"Objects of class cell.*?</table>", page, re.DOTALL)
        assert counts is not None
        values = re.findall(r'<td class="number">(\d+)</td>', counts[0])
        assert int(values[0]) == 3 * 2  # in two images
    assert "report --instances watershed parts those that touch" in plain
    assert "parted where the probability sinks between them" in parted and "instances watershed" in parted
    assert run("report", "--ckpt_path", "cells_run", "--instances", "blobs") == 1
    assert "give components or watershed" in capsys.readouterr().err
