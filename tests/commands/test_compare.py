"""``compare``: reports are read, paired and shown; wrong ones are refused with the cure."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]

CLASSES = ["background", "lesion"]
BEFORE = {f"{number:02d}": 0.5 + number / 100 for number in range(12)}
AFTER = {key: value + 0.02 + int(key) / 1000 for key, value in BEFORE.items()} | {"00": 0.4}


def write_run(
    run: Path, values: dict[str, float], *, report: str = "report-test-20261121-100000", **given: object
) -> Path:
    """A run folder with its config, and a report in it; gives the run folder."""
    config = {"model": {"network": "Unet", "lr": 0.001, "loss": {"bce": 1.0}}, "ckpt_path": str(run)}
    given = {
        "scored": "test",
        "data": "d1",
        "split": "test",
        "classes": CLASSES,
        "config": config,
        "train": ["t"],
        "pictured": [],
        "masks": {},
    } | given
    folder = run / report
    (folder / "pictures").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(given["config"]))
    (run / "split.json").write_text(json.dumps({"train": given["train"], "val": [], "test": list(values)}))
    surfaces = ["surface_dice", "surface_dice/lesion"] if "tolerance" in given else []
    mean = float(np.mean(list(values.values())))
    scores = {
        name: {"value": mean, "low": mean - 0.01, "high": mean + 0.01}
        for name in ("iou", "iou/lesion", "ece", *surfaces)
    }
    named = ("scored", "split", "classes", "data", "tolerance")
    stored = {name: given[name] for name in named if name in given}
    stored |= {"checkpoints": [str(run / "checkpoints" / "best.ckpt")], "images": len(values), "scores": scores}
    (folder / "scores.json").write_text(json.dumps(stored))
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "group", "height", "width", "iou", "iou/lesion", *surfaces, "picture", "truth"])
        for number, (key, value) in enumerate(values.items()):
            picture = f"{number}.png" if key in given["pictured"] else ""  # type: ignore[operator]
            scored = [value, "" if number == 1 else value, *[value] * len(surfaces)]
            writer.writerow([key, "", 40, 48, *scored, picture, given["masks"].get(key, "same")])  # type: ignore[attr-defined]
            if picture:
                Image.fromarray(np.full((30, 120, 3), 10 * number, np.uint8)).save(folder / "pictures" / picture)
    return run


def result(folder: Path | str = "out") -> dict[str, object]:
    found: dict[str, object] = json.loads(Path(folder, "compare.json").read_text())
    return found


def test_a_better_run_is_called_better(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE, pictured=["00", "11"])
    config = {"model": {"network": "Unet", "lr": 0.01, "loss": {"bce": 1.0, "dice": 1.0}}, "ckpt_path": "elsewhere"}
    config["trainer"] = {"profiler": None, "logger": {"init_args": {"id": "b-20261121"}}}
    write_run(Path("b"), AFTER, pictured=["00", "11"], config=config)
    assert run("compare", "a", "b", "--out", "out") == 0
    text = capsys.readouterr().out
    differences = np.array([AFTER[key] - BEFORE[key] for key in BEFORE])
    assert "gained most from A to B: 11 0.610 to 0.641" in text and "lost most from A to B: 00 0.500 to 0.400" in text
    assert "model.lr: A 0.001, B 0.01" in text and "model.loss.dice: A not set, B 1.0" in text
    assert "ckpt_path" not in text and "profiler" not in text and "logger" not in text
    assert "model.network" not in text and "warning" not in text

    (one,) = result()["comparisons"]  # type: ignore[misc]
    iou = one["scores"]["iou"]
    assert iou["mean_difference"] == pytest.approx(differences.mean())
    assert iou["low"] < differences.mean() < iou["high"]
    assert (iou["better"], iou["worse"], iou["equal"]) == (11, 1, 0)
    assert one["scores"]["iou/lesion"]["better"] == 10  # one is undefined
    assert one["scores"]["ece"]["mean_difference"] is None
    assert one["images"]["00"] == {"baseline": 0.5, "value": 0.4}
    assert text.rstrip().endswith(one["verdict"])

    rows = list(csv.DictReader(Path("out/compare.csv").read_text().splitlines()))
    assert [row["score"] for row in rows] == ["iou", "iou/lesion", "ece"]
    assert float(rows[0]["mean_difference"]) == iou["mean_difference"]
    page = Path("out/compare.html").read_text()
    assert "http:" not in page and "https:" not in page and 'src="/' not in page  # nothing beside it
    assert one["verdict"] in page and page.count("<img") == 4 and 'src="data:image/jpeg' in page


def test_the_verdict_is_about_the_score_asked_for(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE)
    write_run(Path("b"), {key: value + 0.1 for key, value in BEFORE.items()})
    assert run("compare", "b", "a", "--out", "out", "--score", "iou/lesion") == 0
    assert "B is worse: -0.100 iou/lesion (-0.100 to -0.100), 11 of 11 images" in capsys.readouterr().out
    assert run("compare", "a", "b", "--score", "iou/lesoin") == 1
    assert "did you mean 'iou/lesion'" in capsys.readouterr().err


def test_each_of_three_is_compared_with_the_first(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE)
    write_run(Path("b"), {key: value + 0.1 for key, value in BEFORE.items()})
    write_run(Path("c"), {key: value - 0.1 for key, value in BEFORE.items()})
    assert run("compare", "a", "b", "c", "--out", "out") == 0
    text = capsys.readouterr().out
    assert "B is better: +0.100" in text and "C is worse: -0.100" in text
    assert [one["shown"] for one in result()["comparisons"]] == [1, -1]  # type: ignore[attr-defined]
    assert "All reports" in Path("out/compare.html").read_text()


def test_a_run_means_its_newest_report_and_a_crossval_folder_its_own(run: Run) -> None:
    write_run(Path("a"), BEFORE, report="report-val-20261121-100000")
    shutil.move("a/report-val-20261121-100000", "older")
    write_run(Path("a"), AFTER)
    shutil.move("older", "a/report-val-20261121-100000")  # newer by its name, older by its time
    write_run(Path("b"), BEFORE, report="report")
    assert run("compare", "a", "b", "--out", "out") == 0
    folders = [report["folder"] for report in result()["reports"]]  # type: ignore[attr-defined]
    assert folders == ["a/report-test-20261121-100000", "b/report"]


def test_images_that_not_all_have_are_named(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE | {"only-a": 0.9})
    write_run(Path("b"), AFTER)
    assert run("compare", "a", "b", "--out", "out") == 0
    assert "1 image is not in all reports" in capsys.readouterr().out
    assert result()["left_out"] == ["only-a"] and result()["images"] == 12


@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"split": "val"}, "A on test, B on val"),
        ({"scored": "test, seen samples"}, "B: scored on samples that it was trained on"),
        ({"scored": "test, selected on these data"}, "B: the checkpoint was selected"),
        ({"data": "d2"}, "is this the same data set?"),
        ({"train": ["t", "u"]}, "trained on different samples (A on 1, B on 2)"),
    ],
)
def test_what_makes_a_comparison_doubtful_is_said_loudly(
    run: Run, capsys: Capture, given: dict[str, object], warned: str
) -> None:
    write_run(Path("a"), BEFORE)
    write_run(Path("b"), AFTER, **given)
    assert run("compare", "a", "b", "--out", "out") == 0
    text = capsys.readouterr().out
    assert "warning: " in text and warned in text
    assert "Read this first" in Path("out/compare.html").read_text()


def test_images_whose_masks_have_changed_are_named(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE | {"only-a": 0.9}, masks={"only-a": "x", "03": "before"})
    write_run(Path("b"), AFTER, masks={"03": "after"})
    assert run("compare", "a", "b") == 0
    assert "1 image has another mask in one report than in another: 03; report all" in capsys.readouterr().out


def test_masks_that_are_the_same_or_not_known_are_no_doubt(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE)
    write_run(Path("b"), AFTER)
    older = write_run(Path("older"), AFTER, masks=dict.fromkeys(BEFORE, ""))
    oldest = write_run(Path("oldest"), AFTER)
    (images,) = oldest.glob("*/images.csv")
    images.write_text(images.read_text().replace("picture,truth", "picture,x"))
    assert run("compare", "a", "b", older, oldest) == 0
    assert "warning" not in capsys.readouterr().out


def test_surfaces_are_not_compared_at_different_tolerances(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE, tolerance=2.0)
    write_run(Path("b"), {key: value + 0.1 for key, value in BEFORE.items()}, tolerance=5.0)
    assert run("compare", "a", "b", "--score", "surface_dice/lesion") == 1
    told = "different tolerances (A 2, B 5)"
    assert f"--score surface_dice/lesion: the reports took it at {told}" in capsys.readouterr().err
    assert run("compare", "a", "b", "--out", "out") == 0
    assert f"warning: the reports took the surface Dice at {told}" in capsys.readouterr().out
    assert list(result()["comparisons"][0]["scores"]) == ["iou", "iou/lesion", "ece"]  # type: ignore[index]
    assert "Surface Dice of lesion" not in Path("out/compare.html").read_text()


@pytest.mark.parametrize("later", [{"tolerance": 2.0}, {"tolerance": None}])
def test_surfaces_are_compared_at_one_tolerance_or_where_it_is_not_known(
    run: Run, capsys: Capture, later: dict[str, object]
) -> None:
    write_run(Path("a"), BEFORE, tolerance=2.0)
    write_run(Path("b"), {key: value + 0.1 for key, value in BEFORE.items()}, **later)
    assert run("compare", "a", "b", "--score", "surface_dice") == 0
    text = capsys.readouterr().out
    assert "B is better: +0.100 surface_dice" in text and "warning" not in text


def test_what_cannot_be_compared_is_refused_with_the_cure(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE)
    write_run(Path("other-classes"), AFTER, classes=["background", "tumour"])
    write_run(Path("other-images"), {f"x{key}": value for key, value in AFTER.items()})
    write_run(Path("damaged"), AFTER)
    next(Path("damaged").glob("*/scores.json")).write_text("{")
    Path("bare").mkdir()
    for others, message in {
        ("other-classes",): "different classes",
        ("other-images",): "no image is in all reports",
        ("damaged",): "no report that can be read",
        (
            "bare",
            "missing",
        ): "bare holds no report; make one: python -m segmentation report --ckpt_path bare\nmissing does not exist",
        ("a",): "given twice",
        (): "give two or more",
    }.items():
        assert run("compare", "a", *others, "--out", "out") == 1
        assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_nothing_is_overwritten(run: Run, capsys: Capture) -> None:
    write_run(Path("a"), BEFORE)
    write_run(Path("b"), AFTER)
    assert run("compare", "a", "b") == 0
    assert run("compare", "a", "b") == 0
    folders = list(Path().glob("compare-*"))
    assert len(folders) == 2
    assert run("compare", "a", "b", "--out", folders[0]) == 1
    assert "nothing overwritten" in capsys.readouterr().err


def test_two_comparisons_of_one_second_have_folders_of_their_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(Path("a"), BEFORE)
    write_run(Path("b"), AFTER)
    make, taken = Path.mkdir, []

    def later(self: Path, *args: Any, **options: Any) -> None:
        if self.name.startswith("compare-") and not taken:
            taken.append(self)  # by another command, just now
            make(self)
            (self / "compare.html").write_text("theirs")
        make(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", later)
    assert run("compare", "a", "b") == 0
    assert (taken[0] / "compare.html").read_text() == "theirs"
    assert sorted(Path().glob("compare-*/compare.json")) == [Path(f"{taken[0]}-2/compare.json")]


def test_the_folds_of_a_crossval_do_not_differ_from_themselves(run: Run) -> None:
    """The config of a cross-validation is what its folds have in common."""
    for place, (name, lr) in enumerate({"a": 0.1, "b": 0.2}.items()):
        write_run(Path(name), [BEFORE, AFTER][place], report="report")
        (Path(name) / "config.yaml").unlink()
        for fold in (place, place + 1):
            Path(name, f"fold{fold}").mkdir()
            config = {"data": {"fold": fold}, "model": {"lr": lr}}
            Path(name, f"fold{fold}", "config.yaml").write_text(yaml.safe_dump(config))
        scores = json.loads(Path(name, "report/scores.json").read_text())
        scores["checkpoints"] = [f"moved/away/fold{fold}/checkpoints/best.ckpt" for fold in (place, place + 1)]
        scores["identity"] = {"Checkpoint": {"decision": f"agglomeration 0.{place}"}}
        Path(name, "report/scores.json").write_text(json.dumps(scores))
    assert run("compare", "a", "b", "--out", "out") == 0
    decision = {"A": "agglomeration 0.0", "B": "agglomeration 0.1"}
    assert result()["settings"] == {"decision": decision, "model.lr": {"A": "0.1", "B": "0.2"}}


def test_the_page_is_drawn_by_a_browser_in_light_and_dark(run: Run) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    write_run(Path("a"), BEFORE, pictured=["00", "11"])
    write_run(Path("b"), AFTER, pictured=["00", "11"])
    assert run("compare", "a", "b", "--out", "out") == 0
    brightness = []
    for scheme in (1, 0):  # light, dark
        picture = Path(f"{scheme}.png").absolute()
        subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={picture}"),
                *("--window-size=1200,1500", f"--blink-settings=preferredColorScheme={scheme}"),
                Path("out/compare.html").absolute().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        pixels = np.asarray(Image.open(picture).convert("L"))
        assert pixels.std() > 10, "the page is blank"
        brightness.append(pixels.mean())
    assert brightness[0] > 180 and brightness[1] < 80


def test_configs_that_are_gone_are_not_called_equal(run: Run) -> None:
    write_run(Path("a"), BEFORE)
    write_run(Path("b"), AFTER)
    assert run("compare", "a", "b", "--out", "same") == 0
    Path("b/config.yaml").unlink()
    assert run("compare", "a", "b", "--out", "gone") == 0
    assert result("same")["settings"] == {} and result("gone")["settings"] is None
    assert "was not found" in Path("gone/compare.html").read_text()


def test_what_report_writes_is_what_compare_reads(run: Run, tiny_fit: Callable[..., Path], capsys: Capture) -> None:
    first = tiny_fit()
    second = tiny_fit("--model.lr", 0.01)
    for folder in (first, second):
        assert run("report", "--ckpt_path", folder) == 0
    capsys.readouterr()
    assert run("compare", first, second, "--out", "out") == 0
    text = capsys.readouterr().out
    assert "model.lr: A 0.001, B 0.01" in text
    assert "A, B: the checkpoint was selected on the images" in text
    assert "B: no difference can be shown on 2 images" in text
    scores = json.loads(next(first.glob("report-*/scores.json")).read_text())["scores"]
    compared = result()["comparisons"][0]["scores"]  # type: ignore[index]
    assert list(compared) == list(scores) and compared["iou"]["baseline"] == scores["iou"]["value"]
    assert {name for name, one in compared.items() if one["mean_difference"] is None} == {"iou_per_image"}
    assert Path("out/compare.html").read_text().count("<img") == 4
