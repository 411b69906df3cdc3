"""Every benchmark script runs end to end at a tiny size, and the arithmetic of their tables is right."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "benchmarks"
TINY = "tu-test_resnet.r160_in1k"
Script = Callable[..., str]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Run a script in this process; gives what it prints."""
    monkeypatch.syspath_prepend(SCRIPTS)

    def call(name: str, *args: object) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, args)])
        importlib.import_module(name).main()
        return capsys.readouterr().out

    return call


def cells(table: str) -> dict[str, list[str]]:
    """The first cell of each row of Markdown tables -> the others."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def test_fit_speed(script: Script) -> None:
    tiny = "--rounds 1 --steps 2 --warmup 1 --epoch_steps 2 --size 32 --batch_size 2 --slice 64 --root none"
    rows = cells(script("fit_speed", *tiny.split(), "--encoder", TINY, "--precision", "32-true"))
    assert rows["fit"][0] == "1.00 (1.00 to 1.00)"
    assert {"bare loop, synthetic", "bare loop, same data", "tutorial"} <= rows.keys()


def test_fit_parts(script: Script, synthetic: tuple[object, ...], quick: tuple[object, ...]) -> None:
    small = (*synthetic, *quick, "--trainer.check_val_every_n_epoch", 2)
    printed = script("fit_parts", "--epochs", 4, "--more", *small, "--trainer.max_epochs", 4)
    rows = cells(printed)
    shares = {name: float(row[0].rstrip("%")) for name, row in rows.items() if row[0].endswith("%")}
    assert shares.pop("whole") == 100
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)
    # rounded to tenths of a percent
    assert all(shares[part] > 0 for part in ("training steps", "validation: V_Rand and V_Info", "checkpoints"))
    assert "between two epochs without validation" in printed


def test_loader_speed(script: Script) -> None:
    tiny = "--drawn 64 --draws 4 --rounds 1 --crop 32 --presets em --methods fork"
    rows = cells(script("loader_speed", *tiny.split()))
    assert {"none", "flips", "em", "D4", "ElasticTransform", "GaussNoise", "fork"} <= rows.keys()
    assert rows["D4"][0] == "1"


def test_precision(script: Script) -> None:
    tiny = "--rounds 1 --repeats 1 --batch_size 2 --crop 32 --size 32 --no_compile"
    rows = cells(script("precision", *tiny.split(), "--encoder", TINY))
    assert rows["float32"][0] == "1.00 (1.00 to 1.00)"
    assert {"bf16-mixed, channels_last", "float32, channels_last, 1 thread"} <= rows.keys()


def test_startup(script: Script) -> None:
    tiny = "--rounds 1 --baseline import\tjson --commands help fit --imports help --root none"
    printed = script("startup", *[word.replace("\t", " ") for word in tiny.split(" ")], "--encoder", TINY)
    rows = cells(printed)
    assert rows["`import json`"][0] == "1.00 (1.00 to 1.00)"
    assert "segmentation" in rows  # its modules are among the imports of --help
    marks = [float(rows[mark][0].split()[0]) for mark in importlib.import_module("startup").MARKS.values()]
    assert marks[0] > 0 and marks == sorted(marks)
    assert float(rows["`fit` to its first step"][1].split()[0]) == pytest.approx(marks[-1])


def test_tiling_speed(script: Script) -> None:
    tiny = ("--size", 96, "--tile", 64)
    rows = cells(script("tiling_speed", *tiny, "--rounds", 1, "--no_memory"))
    assert {"segmentation", "naive"} <= rows.keys()
    assert json.loads(script("tiling_speed", *tiny, "--way", "segmentation"))["extra_mib"] >= 0


def test_the_naive_tiles_average_to_what_the_tiles_agree_on(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from segmentation.inference.tiling import Tiling

    tiling_speed = importlib.import_module("tiling_speed")
    image = torch.rand(1, 1, 70, 100)
    both = tiling_speed.naive(lambda tile: torch.cat([tile, -tile], 1), image, Tiling(32, 0.5))
    torch.testing.assert_close(both, torch.cat([image, -image], 1))


def written(run: Path, rows: list[str]) -> Path:
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text("\n".join(["epoch,seconds,step,train/loss,val/v_rand", *rows]) + "\n")
    return run


def test_time_to_quality(script: Script) -> None:
    ours = written(
        Path("runs/isbi/one"), ["0,30,1,0.5,", "1,60,3,,0.94", "2,120,5,,0.96", "3,180,7,,0.955", ",200,8,,"]
    )
    tutorial = written(Path("runs/tutorial/two"), ["0,600,1,,0.8", "1,6000,3,,0.92"])
    rows = cells(script("time_to_quality", f"ours={ours}", f"tutorial={tutorial}", "--out", "quality.png"))
    assert rows[f"ours ({ours})"] == ["2.0", "not reached", "0.9600 after 2.0", "3.0"]
    assert rows[f"tutorial ({tutorial})"] == ["not reached", "not reached", "0.9200 after 100.0", "100.0"]
    assert Path("quality.png").stat().st_size > 1000
    with pytest.raises(SystemExit, match="has no val/dice"):
        script("time_to_quality", f"ours={ours}", "--score", "val/dice")
    with pytest.raises(SystemExit, match="without seconds"):
        script("time_to_quality", written(Path("runs/old/three"), ["0,,1,,0.9"]))


def test_the_time_of_a_run_that_fit_wrote_is_read(trained: Path, script: Script) -> None:
    script("time_to_quality", trained, "--levels", 0, "--out", "quality.png")


def test_medians_and_ratios_have_their_spread(script: Script) -> None:
    printing = importlib.import_module("printing")
    assert printing.spread([3, 1, 2], 1) == "2.0 (1.0 to 3.0)"
    # of values of one round: 1/2, 4/4, 9/3
    assert printing.ratios([1, 4, 9], [2, 4, 3]) == "1.00 (0.50 to 3.00)"
    assert printing.table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_check_speed(script: Script) -> None:
    assert "check of 6 pairs of 48x48" in script("check_speed", "--pairs", 6, "--size", 48)


def test_gpu(script: Script) -> None:
    script("gpu", "--tiny", "--device", "cpu", "--out", "measured")
    measured = json.loads(Path("measured/gpu.json").read_text())
    rows = {(row["case"], row["way"]): row for row in measured["rows"]}
    failed = {case: row["failed"] for (case, _), row in rows.items() if "failed" in row}
    assert list(failed) == ["PlainUnit, 2x3x32x32"]
    assert "did you mean 'PlainUnet'" in failed["PlainUnit, 2x3x32x32"]
    ways = {way: row for (case, way), row in rows.items() if case not in failed}
    assert {"ceiling", "fit", "fit compiled", "bare loop", "loader", "inference", "predictor", "naive"} <= ways.keys()
    assert all(row["images_per_s"] > 0 for way, row in ways.items() if way not in ("parts", "profile"))
    assert ways["fit"]["of_ceiling"] == pytest.approx(ways["fit"]["images_per_s"] / ways["ceiling"]["images_per_s"])
    flops, product = ways["ceiling"]["flops"]["training"], measured["machine"]["matrix_product_flops_per_s"]
    assert ways["naive"]["mfu"] == pytest.approx(flops * ways["naive"]["images_per_s"] / product)
    assert sum(ways["parts"]["parts_ms"].values()) > 0
    assert Path("measured/profile.txt").read_text()
    lines = Path("measured/gpu.md").read_text().splitlines()
    assert len([line for line in lines if line[:1] == "|"]) == 2 + len(rows)


def test_large_image(script: Script) -> None:
    script("large_image", "--untrained", "untrained.ckpt", "--encoder", TINY)  # as the script does in a process more
    assert "predict of 600x600: peak" in script("large_image", "--size", 600, "--ckpt_path", "untrained.ckpt")


def test_nested_scores(
    script: Script, run: Callable[..., int], synthetic: tuple[object, ...], quick: tuple[object, ...]
) -> None:
    for fold in range(2):
        where = ("--data.folds", 2, "--data.fold", fold, "--run_folder", f"folds/fold{fold}")
        assert run("fit", *synthetic, *quick, "--model.scores", "[region, em]", *where) == 0
    row = cells(script("nested_scores", "folds"))["folds, weight 0"]
    assert 0 <= float(row[0].split()[0]) <= 1
    assert row[2].count("0 at 0.") + row[2].count("0 at 1.0") == 2


def test_what_a_fold_scores_is_chosen_on_the_others(script: Script) -> None:
    """Two folds of one slice; V_Rand of two weights at two thresholds, V_Info half of it."""
    nested = importlib.import_module("nested_scores").nested
    rand = [np.array([[[0.1, 0.9]], [[0.2, 0.3]]]), np.array([[[0.6, 0.5]], [[0.8, 0.7]]])]
    slices, chosen = nested([np.stack([one, one / 2], axis=-1) for one in rand])
    assert chosen == [(1, 0), (0, 1)]
    np.testing.assert_allclose(slices, [[0.2, 0.1], [0.5, 0.25]])


def test_every_script_is_run_by_a_test() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    scripts = {path.stem: path.read_text() for path in SCRIPTS.glob("*.py")}
    shared = {name for name in scripts if any(f"from {name} import" in text for text in scripts.values())}
    assert {
        name for name in scripts.keys() - shared if f'"{name}"' not in tests and f'"{name}.py"' not in tests
    } == set()


def test_make_bench_names_scripts_that_exist() -> None:
    recipe = (ROOT / "Makefile").read_text().split("\nbench:")[1].split("\n\n")[0]
    named = recipe.split("for script in ")[1].split(";")[0].split()
    assert len(named) >= 6
    assert all((SCRIPTS / f"{name}.py").is_file() for name in named)
