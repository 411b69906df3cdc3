"""Every config in configs/ through fit, validate, test and predict on tiny data; those of folders are in test_recipes.py."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from segmentation.commands.synthesize import synthesize

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
TINY = (
    *("--data.source", "SyntheticSource", "--data.source.slices", 6, "--data.source.size", 64, "--data.folds", 3),
    *("--data.fold", 2, "--data.samples_per_epoch", 4, "--data.batch_size", 2, "--data.workers", 0),
    *("--trainer.max_epochs", 2, "--trainer.check_val_every_n_epoch", 1, "--trainer.precision", "32-true"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
)


def on_slices(path: Path) -> bool:
    """Whether drawn slices can stand in for the data; other data sets keep their own folders in test_recipes.py."""
    data = yaml.safe_load(path.read_text()).get("data")
    return data is None or data["source"]["class_path"] in ("IsbiSource", "SyntheticSource")


def test_there_are_configs() -> None:
    names = {path.stem for path in CONFIGS}
    assert names >= {"demo", "isbi", "tutorial_unet", "wandb"}
    assert names - {path.stem for path in CONFIGS if on_slices(path)} >= {"isic", "camvid", "voc", "cityscapes", "coco"}


@pytest.mark.parametrize("path", [path for path in CONFIGS if on_slices(path)], ids=lambda path: path.stem)
def test_config(path: Path, run: Callable[..., int]) -> None:
    config = yaml.safe_load(path.read_text())
    layers = (path,) if "data" in config else (path.parent / "demo.yaml", path)  # the others are laid over one
    args = [part for layer in layers for part in ("--config", layer)] + [*TINY]
    if "data" in config and config["data"].get("crop", 256) is not None:
        args += ["--data.crop", 32]
    if "distillation" in config:  # the teacher is a run of the config of that name
        teacher = CONFIGS[0].with_name(f"{Path(config['distillation']['teacher']).name}.yaml")
        assert (
            run("fit", "--config", teacher, *TINY, "--data.crop", 32, "--model.encoder", "tu-test_resnet.r160_in1k")
            == 0
        )
    small = '{"width": 4}' if config.get("model", {}).get("network") == "PlainUnet" else None
    args += ["--model.network_options", small] if small else ["--model.encoder", "tu-test_resnet.r160_in1k"]
    assert run("fit", *args) == 0
    assert run("validate", *args, "--ckpt_path", "best") == 0
    checkpoint = next(Path(f"runs/{layers[0].stem}").glob("*/checkpoints/best.ckpt"))
    assert run("test", *args, "--ckpt_path", checkpoint) == 0
    synthesize(out=Path("images"), slices=2, size=48)
    kinds = "labels,index,probabilities,overlay"
    assert run("predict", "images/images", "--ckpt_path", checkpoint, "--out", "out", "--write", kinds) == 0
    assert {path.parent.name for path in Path("out").rglob("*") if path.is_file()} == set(kinds.split(","))
    folder = checkpoint.parent.parent
    fitted, validated, tested = (
        json.loads((found / "scores.json").read_text())
        for found in (folder, next(folder.glob("validate-*")), next(folder.glob("test-*")))
    )
    assert fitted["iou"] == pytest.approx(validated["iou"], abs=1e-6) == pytest.approx(tested["iou"], abs=1e-6)
    assert tested["selected_on_these_data"] == 1


def test_each_config_says_how_it_is_run() -> None:
    for path in CONFIGS:
        assert f"python -m segmentation fit --config configs/{path.name}" in path.read_text().replace(
            "configs/isbi.yaml --config ", ""
        ), path.name
