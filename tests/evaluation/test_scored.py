"""Which samples a checkpoint is scored on, and what it predicts for them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml

import segmentation
from segmentation.errors import InputError
from segmentation.evaluation.scored import predictions, scored_of, seen_samples


def test_one_id_in_two_data_sets_is_no_overlap() -> None:
    trained = {"a": "1", "b": "2", "c": ""}
    assert seen_samples({"a": "9", "x": "1"}, trained, allowed=False) == []
    assert seen_samples({"a": "1", "b": "", "c": "5", "d": "2"}, trained, allowed=True) == ["a", "b", "c"]
    with pytest.raises(InputError, match="2 of 3 samples to be scored were trained on: a, b;"):
        seen_samples({"a": "1", "b": "2", "d": "2"}, trained, allowed=False)


def test_what_a_teacher_taught_counts_by_its_pixels() -> None:
    trained = {"a": "1", "unlabelled/new/b.png": "2", "unlabelled/new/c.png": ""}
    assert seen_samples({"b": "2", "c": "", "d": "3"}, trained, allowed=True) == ["b"]


def test_predictions_are_those_of_load(trained: Path) -> None:
    (one,) = scored_of(trained)
    assert (one.split, one.ids, one.name) == ("val", ["slice-004", "slice-005"], trained.name)
    calls: list[int] = []
    found = list(predictions([one], lambda: calls.append(1)))
    assert [prediction.sample.id for prediction in found] == one.ids and len(calls) == 2
    predictor = segmentation.load(trained / "checkpoints/best.ckpt")
    for prediction in found:
        assert prediction.image.shape == (64, 64, 1) and prediction.image.dtype == np.uint8  # as stored
        np.testing.assert_array_equal(prediction.labels, predictor(prediction.image))
        np.testing.assert_array_equal(prediction.mask, one.data.source.read_mask(prediction.sample))
    assert [prediction.sample.id for prediction in predictions([one], ids={"slice-005"})] == ["slice-005"]


def test_slices_of_a_stack_are_predicted_with_their_neighbours(run: Callable[..., int], quick: list[str]) -> None:
    random = np.random.default_rng(0)
    masks = np.where(random.random((6, 4, 4)) < 0.5, 255, 0).repeat(16, 1).repeat(16, 2).astype(np.uint8)
    pages = np.clip(masks * 0.5 + random.integers(0, 120, masks.shape), 0, 255).astype(np.uint8)
    for name, stack in (("volume", pages), ("labels", masks)):
        tifffile.imwrite(f"{name}.tif", stack, photometric="minisblack")
    Path("stack.yaml").write_text(
        yaml.safe_dump(
            {
                "data.source.class_path": "TiffStackSource",
                "data.source.init_args.root": ".",
                "data.source.init_args.images": "volume.tif",
                "data.source.init_args.masks": "labels.tif",
                "data.source.init_args.classes": ["membrane", "cell"],
                "data.source.init_args.mask_values": {0: 0, 255: 1},
            }
        )
    )
    arguments = ["--model.agglomeration", 0.6, "--run_folder", "run"]
    assert run("fit", "--config", "stack.yaml", *quick, *arguments) == 0
    (one,) = scored_of("run", neighbour_weight=0.5)
    assert one.ids == ["volume-004", "volume-005"]
    found = {prediction.sample.id: prediction.probabilities for prediction in predictions([one])}
    images = [one.data.reader(sample)[0] for sample in one.data.samples(one.ids)]
    expected = list(segmentation.load("run", neighbour_weight=0.5).stack(images))
    np.testing.assert_array_equal(list(found.values()), expected)
    (last,) = predictions([one], ids={one.ids[-1]})  # its neighbour is predicted too
    np.testing.assert_array_equal(last.probabilities, expected[-1])
    assert run("report", "--ckpt_path", "run", "--neighbour_weight", 0.5, "--out", "page", "--worst", 1) == 0
    assert "neighbouring slices 0.5" in Path("page/report.html").read_text()


def test_neighbours_that_no_sample_has_are_told(run: Callable[..., int], quick: list[str], folder_data: Path) -> None:
    source = (
        "--data.source",
        "FolderSource",
        "--data.source.root",
        folder_data,
        "--data.source.classes",
        "[floor, box]",
    )
    assert run("fit", *source, *quick, "--run_folder", "run") == 0
    with pytest.raises(InputError, match="no two samples are pages of one file"):
        scored_of("run", options={"agglomeration": 0.6}, neighbour_weight=0.3)


def test_data_of_other_classes_are_refused(trained: Path) -> None:
    config = yaml.safe_load((trained / "config.yaml").read_text())
    config["data"]["source"] = {"class_path": "FolderSource", "init_args": {"root": "x", "classes": ["a", "b"]}}
    Path("other.yaml").write_text(yaml.safe_dump(config))
    for part in ("images", "masks"):
        Path("x", part).mkdir(parents=True)
    from PIL import Image

    for number in range(3):
        for part in ("images", "masks"):
            Image.fromarray(np.zeros((64, 64), np.uint8)).save(f"x/{part}/{number}.png")
    with pytest.raises(InputError, match=r"\['membrane', 'cell'\], the data of other.yaml have \['a', 'b'\]"):
        scored_of(trained, config=Path("other.yaml"))


def test_a_cross_validation_takes_neither_list_nor_config(run: Callable[..., int], synthetic, quick) -> None:
    for fold in (0, 1):
        assert run("fit", *synthetic, *quick, "--data.fold", fold, "--run_folder", f"cv/fold{fold}") == 0
    first, second = scored_of("cv")
    assert (first.name, second.name) == ("fold0", "fold1")
    assert (first.ids, second.ids) == (["slice-000", "slice-001"], ["slice-002", "slice-003"])
    for arguments in ({"split": "test"}, {"config": Path("cv/fold0/config.yaml")}):
        with pytest.raises(InputError, match="is a cross-validation"):
            scored_of("cv", **arguments)
