"""The sizes that are chosen after ``fit``: that they gain, that they are stored, and that the scores are theirs."""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image

from segmentation.callbacks import calibration
from segmentation.callbacks.calibration import choose_sizes, sizes_for
from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.inference.decision import Decision
from segmentation.inference.predictor import Predictor
from segmentation.metrics.scores import Scores
from segmentation.model.checkpoint import read_checkpoint
from segmentation.model.predictor import load

Run = Callable[..., int]
Fit = Callable[..., Path]


def scores(folder: Path) -> dict[str, float]:
    return json.loads((folder / "scores.json").read_text())


def stored(path: Path) -> Decision:
    return Decision(**read_checkpoint(path)["segmentation"]["decision"])


@pytest.fixture
def specks(tmp_path: Path) -> Path:
    """Bright squares; the first two, which validate, lie among bright specks that are nothing, and have dark holes."""
    random = np.random.default_rng(0)
    root = tmp_path / "specks"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(8):
        image = random.normal(60, 8, (64, 64))
        truth = np.zeros((64, 64), np.uint8)
        top, left = random.integers(4, 24, 2)
        truth[top : top + 32, left : left + 32] = 1
        image += truth * 130
        for y, x in random.integers(0, 59, (14 if number < 2 else 0, 2)):
            inside = truth[y : y + 5, x : x + 5]
            if inside.all() or not inside.any():
                image[y : y + 5, x : x + 5] += -130 if inside.all() else 130
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(truth).save(root / "masks" / f"{number}.png")
    return root


@pytest.fixture
def fit_specks(run: Run, specks: Path, quick: tuple[object, ...]) -> Fit:
    """Train until bright and dark are told apart; what a speck is nobody taught. Gives the run folder."""

    def fit(*args: object) -> Path:
        source = ("--data.source", "FolderSource", "--data.source.root", specks, "--data.source.in_channels", 1)
        training = ("--data.crop", 64, "--trainer.max_epochs", 12, "--data.samples_per_epoch", 16, "--model.lr", 0.003)
        seldom = ("--trainer.check_val_every_n_epoch", 6)
        assert run("fit", *source, *quick, *training, *seldom, "--data.folds", 4, "--data.fold", 0, *args) == 0
        return max(Path("runs/FolderSource").iterdir(), key=lambda path: path.stat().st_mtime_ns)

    return fit


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the choice says."""
    lines: list[str] = []
    monkeypatch.setattr("segmentation.callbacks.calibration.rank_zero_info", lines.append)
    return lines


def test_the_sizes_that_are_tried_grow_with_the_image() -> None:
    assert sizes_for(512 * 512) == [0, 8, 32, 128, 512, 2048]
    assert sizes_for(64 * 64) == [0, 2, 8, 32]
    assert sizes_for(1) == [0]


def by_table(table: dict[tuple[int, int], float]) -> Callable[[Sequence[Decision]], np.ndarray]:
    return lambda decisions: np.array([table[one.smallest_object, one.largest_hole] for one in decisions])


def test_a_size_of_one_pixel_is_not_tried() -> None:
    """No object is smaller, so that it would be 0 again."""
    assert sizes_for(2**15)[:2] == [0, 4]
    assert 1 not in sizes_for(2**13)


@pytest.mark.parametrize(
    ("limit", "most", "batches"), [(1.0, 2**26, 5), (2, 2**26, 2), (0.5, 2**26, 2), (1.0, 4096 * 2, 2)]
)
def test_so_many_validation_images_choose(
    tiny_fit: Fit, monkeypatch: pytest.MonkeyPatch, limit: float, most: int, batches: int
) -> None:
    """Those that were scored, and of very many every second, third, ..."""
    counted: list[int] = []
    pairs = calibration._pairs

    def counting(module: object, given: Iterable[object]) -> Iterator[object]:
        batches = list(given)
        counted.append(len(batches))
        return pairs(module, iter(batches))

    monkeypatch.setattr(calibration, "_pairs", counting)
    monkeypatch.setattr(calibration, "MOST_PIXELS", most)
    tiny_fit("--data.source.slices", 10, "--data.folds", 2, "--data.fold", 1, "--trainer.limit_val_batches", limit)
    assert counted == [batches]


def test_objects_are_chosen_first_and_holes_at_that_by_hand() -> None:
    table = {(0, 0): 0.5, (8, 0): 0.6, (32, 0): 0.55, (8, 8): 0.61, (8, 32): 0.7, (0, 8): 0.9, (0, 32): 0.9}
    free = ["smallest_object", "largest_hole"]
    chosen, before, after = choose_sizes(Decision(0.3), free, [0, 8, 32], by_table(table))
    assert chosen == Decision(0.3, 8, 32)
    assert (before, after) == (0.5, 0.7)
    only, _, _ = choose_sizes(Decision(0.3), ["largest_hole"], [0, 8, 32], by_table(table))
    assert only == Decision(0.3, 0, 8)  # the smaller of equally good ones


def test_a_gain_of_a_few_pixels_is_none() -> None:
    chosen, before, after = choose_sizes(
        Decision(), ["smallest_object"], [0, 8], by_table({(0, 0): 0.5, (8, 0): 0.50009})
    )
    assert chosen == Decision()
    assert before == after == 0.5


@pytest.mark.filterwarnings("error")
def test_a_score_that_is_undefined_gains_nothing() -> None:
    table = {(0, 0): math.nan, (8, 0): 0.5, (32, 0): math.nan}
    assert choose_sizes(Decision(), ["smallest_object"], [0, 8, 32], by_table(table))[0] == Decision()
    table = {(0, 0): 0.5, (8, 0): math.nan, (32, 0): 0.6}
    assert choose_sizes(Decision(), ["smallest_object"], [0, 8, 32], by_table(table))[0] == Decision(0.5, 32)


def test_the_sizes_gain_and_validate_gives_exactly_the_scores_of_fit(
    fit_specks: Fit, run: Run, told: list[str]
) -> None:
    args = ("--model.criterion", "iou", "--model.target_class", "foreground", "--data.eval_batch_size", 2)
    folder = fit_specks(*args)
    best = folder / "checkpoints/best.ckpt"
    decision = stored(best)
    assert decision.smallest_object > 1
    assert f"smallest object {decision.smallest_object} pixels" in told[0]
    assert run("validate", "--ckpt_path", best, "--model.smallest_object", 0, "--model.largest_hole", 0) == 0
    without = scores(next(folder.glob("validate-*")))
    assert run("validate", "--ckpt_path", best) == 0
    fitted, validated = scores(folder), scores(max(folder.glob("validate-*")))
    assert fitted["smallest_object"] == decision.smallest_object
    assert fitted.pop("epoch") > 0
    assert fitted.pop("scored") != validated.pop("scored")
    assert fitted == validated
    assert validated["iou/foreground"] > without["iou/foreground"] + 1e-4


def test_no_other_size_has_a_better_dice_and_a_resumed_run_chooses_the_same(
    fit_specks: Fit, run: Run, specks: Path
) -> None:
    folder = fit_specks()
    best, last = folder / "checkpoints/best.ckpt", folder / "checkpoints/last.ckpt"
    images, masks = ([np.array(Image.open(specks / part / f"{n}.png")) for n in "01"] for part in ("images", "masks"))
    check_choice(load(best, device="cpu"), list(zip(images, masks, strict=True)), "region", "dice")
    chosen, fitted = stored(best), scores(folder)
    assert chosen.smallest_object > 0
    assert stored(last) == Decision(stored(last).threshold)
    # nothing is left to train, so best.ckpt and its scores are the same again
    assert run("fit", "--ckpt_path", last) == 0
    assert stored(best) == chosen
    assert scores(folder) == fitted
    # a copy of the run has its own, though its checkpoints name the original's
    shutil.copytree(folder, "copied/run")
    best.write_bytes(b"")
    assert run("fit", "--ckpt_path", "copied/run/checkpoints/last.ckpt") == 0
    assert stored(Path("copied/run/checkpoints/best.ckpt")) == chosen
    assert best.read_bytes() == b""


def test_no_other_size_has_a_better_v_rand(tiny_fit: Fit) -> None:
    training = ("--trainer.max_epochs", 3, "--data.samples_per_epoch", 16, "--model.lr", 0.01)
    folder = tiny_fit(*training, "--model.scores", "[region,em]", "--model.criterion", "v_rand")
    source = SyntheticSource(slices=6, size=64)
    pairs = [(source.read_image(one), source.read_mask(one)) for one in source.samples()[4:]]
    check_choice(load(folder / "checkpoints/best.ckpt", device="cpu"), pairs, "em", "v_rand_at_threshold")


def check_choice(
    predictor: Predictor, pairs: list[tuple[np.ndarray, np.ndarray]], kind: Literal["region", "em"], name: str
) -> None:
    """Try all sizes, one after the other, with a score as ``validate`` takes it."""
    maps = [torch.from_numpy(predictor.probabilities(image)) for image, _ in pairs]

    def score(decision: Decision) -> float:
        metric = Scores(predictor.classes, [kind], decision, "dice", None)
        for probabilities, (_, mask) in zip(maps, pairs, strict=True):
            metric.update(probabilities[None], torch.from_numpy(mask).long()[None], torch.zeros(1))
        return metric.compute()[1][name]

    expected = Decision(predictor.decision.threshold)
    for field in ("smallest_object", "largest_hole"):
        options = {size: score(replace(expected, **{field: size})) for size in sizes_for(64 * 64)}
        best = max(options, key=options.__getitem__)
        expected = replace(expected, **{field: best if options[best] > options[0] + 1e-4 else 0})
    assert predictor.decision == expected


def test_what_the_user_gave_is_not_chosen(fit_specks: Fit, run: Run, told: list[str]) -> None:
    folder = fit_specks("--model.smallest_object", 3, "--model.largest_hole", 0)
    assert told == []
    assert load(folder / "checkpoints/best.ckpt").decision.smallest_object == 3
    fitted = scores(folder)
    assert fitted["smallest_object"] == 3
    assert "largest_hole" not in fitted
    assert run("validate", "--ckpt_path", folder / "checkpoints/best.ckpt") == 0
    validated = scores(next(folder.glob("validate-*")))
    assert {name: fitted[name] for name in validated if name != "scored"} == {
        name: value for name, value in validated.items() if name != "scored"
    }


def test_closed_gaps_are_not_filled_as_holes(fit_specks: Fit, told: list[str]) -> None:
    folder = fit_specks("--model.agglomeration", 0.6)
    assert stored(folder / "checkpoints/best.ckpt").largest_hole == 0
    assert any("smallest object" in line for line in told) and not any("largest hole" in line for line in told)


def test_of_several_classes_only_what_was_left_open_is_chosen(
    run: Run, folder_data: Path, quick: tuple[object, ...], told: list[str]
) -> None:
    args = ("--data.source", "FolderSource", "--data.source.root", folder_data, "--data.source.classes", "[a,b,c]")
    assert run("fit", *args, *quick, "--model.smallest_object", 0) == 0
    folder = next(Path("runs/FolderSource").iterdir())
    assert len(told) == 1
    assert "largest hole" in told[0]
    assert "smallest object" not in told[0]
    assert run("validate", "--ckpt_path", folder / "checkpoints/best.ckpt") == 0
    fitted, validated = scores(folder), scores(next(folder.glob("validate-*")))
    del fitted["epoch"], fitted["scored"], validated["scored"]
    assert fitted == validated


def test_sizes_are_chosen_where_only_some_samples_were_surveyed(
    tiny_fit: Fit, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a data set of more than 2,000 samples."""
    monkeypatch.setattr("segmentation.data.survey.SURVEYED", 3)
    folder = tiny_fit("--data.source.slices", 12)
    assert any(line.startswith("Decision: ") for line in told)
    assert (folder / "scores.json").is_file()


def test_a_fit_without_validation_chooses_nothing(tiny_fit: Fit, told: list[str]) -> None:
    folder = tiny_fit("--trainer.limit_val_batches", 0)
    assert told == []
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt"}
