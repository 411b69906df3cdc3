"""The data of a config are those that ``fit`` has."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from segmentation.data.configured import data_of
from segmentation.errors import InputError


def config(**data: object) -> Path:
    source = {"class_path": "SyntheticSource", "init_args": {"slices": 6, "size": 64}}
    path = Path("mine.yaml")
    path.write_text(yaml.safe_dump({"data": {"source": source, "folds": 3, "fold": 2} | data}))
    return path


def test_a_run_and_its_config_have_the_same_data(tiny_fit: Callable[..., Path]) -> None:
    run = tiny_fit("--seed_everything", 7)
    data = data_of(run / "config.yaml")
    assert data.split == json.loads((run / "split.json").read_text())
    assert (data.seed, data.crop, data.source.classes.names) == (7, 32, ("membrane", "cell"))


def test_what_is_not_about_the_data_is_left_aside() -> None:
    path = config()
    path.write_text(path.read_text() + "seed_everything: 5\nmodel: {network: NoSuchNetwork}\ntrainer: {}\n")
    data = data_of(path, fold=0, crop=16)
    assert data.split["val"] == ["slice-000", "slice-001"]
    assert (data.crop, data.seed) == (16, 5)
    assert data_of(config(seed=3)).seed == 3


def test_numbers_are_read_as_the_command_line_reads_them() -> None:
    path = config()
    path.write_text(path.read_text() + "  val_fraction: 25e-2\n")  # a string in YAML 1.1
    assert data_of(path, folds=None, fold=None).val_fraction == 0.25


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("data: {source: {class_path: SyntheticSource}, crp: 8}", "crp"),
        ("data: {source: {class_path: SyntheticSource}, crop: wide}", "crop"),
        ("data: {source: {class_path: NoSource}}", "NoSource"),
        ("data: {source: {class_path: SyntheticSource}, crop: 0}", "data.crop is 0"),
        ("data: {crop: 8}", "source"),
        ("model: {}", "no section data"),
        ("data: [", "cannot be read"),
    ],
)
def test_a_wrong_config_is_refused_with_what_is_wrong(text: str, named: str) -> None:
    Path("wrong.yaml").write_text(text)
    with pytest.raises(InputError, match=named):
        data_of(Path("wrong.yaml"))


def test_a_missing_config_is_named() -> None:
    with pytest.raises(InputError, match="nowhere.yaml cannot be read"):
        data_of(Path("nowhere.yaml"))
