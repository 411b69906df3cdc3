"""Weights & Biases and TensorBoard, offline."""

import json
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segmentation.evaluation.tracking import project_of

Run = Callable[..., int]
LOGGER = "{class_path: WandbLogger, init_args: {project: test}}"


def records(folder: Path) -> dict[str, Any]:
    """What a W&B run wrote: config, history keys with their last values, files."""
    found: dict[str, Any] = {"config": {}, "history": {}, "id": None}
    for kind, record in whole(next(folder.glob("wandb/*/*.wandb"))):
        if kind == "run":
            found["id"], found["project"] = record.run.run_id, record.run.project
            for item in record.run.config.update:
                found["config"][item.key] = json.loads(item.value_json)
        elif kind == "config":
            for item in record.config.update:
                found["config"][item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        elif kind == "history":
            for item in record.history.item:
                found["history"][item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return found


def whole(file: Path) -> list[tuple[str, Any]]:
    """The records of a W&B run by kind, as soon as the last one is there: a process of W&B writes them."""
    from wandb.proto import wandb_internal_pb2

    for _ in range(300):
        stored = []
        for data in leveldb_records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            stored.append((record.WhichOneof("record_type"), record))
        if any(kind == "exit" for kind, _ in stored):
            return stored
        time.sleep(0.1)
    raise AssertionError(f"{file} has no end after 30 s: {[kind for kind, _ in stored]}")


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    block, header, position, whole = 32768, 7, 7, b""
    while position + header <= len(data):
        if block - position % block < header:
            position += block - position % block
            continue
        _crc, length, kind = struct.unpack("<IHB", data[position : position + header])
        if position + header + length > len(data):  # it is being written
            return
        whole += data[position + header : position + header + length]
        position += header + length
        if kind in (1, 4):  # full, or the last of several parts
            yield whole
            whole = b""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb's own, of its settings
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # wandb leaves its service's pipes to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the same
def test_two_wandb_runs_in_a_row_and_the_second_read_back(
    tiny_fit: Callable[..., Path], run: Run, synthetic, quick
) -> None:
    first = tiny_fit("--trainer.logger", LOGGER)
    second = tiny_fit("--trainer.logger", LOGGER, "--model.lr", "2e-3")
    assert first != second
    found = records(second)
    assert found["id"] == f"SyntheticSource-{second.name}"
    assert found["config"]["model"]["lr"] == 0.002
    assert found["config"]["data"]["source"]["class_path"].endswith("SyntheticSource")
    assert {"train/loss", "val/iou", "val/iou/membrane", "lr-AdamW"} <= set(found["history"])
    assert found["history"]["validation/_type"] == "images/separated"
    assert {"truth", "prediction"} == set(found["history"]["validation/all_masks"][0])
    assert found["history"]["validation/captions"] == ["slice-004", "slice-005"]
    assert (second / "metrics.csv").exists()  # CSV always
    # resumed, it is the same W&B run
    args = (*synthetic, *quick, "--model.lr", "2e-3", "--trainer.max_epochs", 3, "--trainer.logger", LOGGER)
    assert run("fit", *args, "--ckpt_path", second / "checkpoints/last.ckpt") == 0
    written = [path.name for path in second.glob("wandb/offline-run-*")]
    assert len(written) == 2
    assert len({name.split("-", 4)[-1] for name in written}) == 1


def test_wandb_stays_offline_unless_the_user_says_online(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    import os

    monkeypatch.delenv("WANDB_MODE")
    assert run("validate", "--data.source", "SyntheticSource") == 1
    assert os.environ["WANDB_MODE"] == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert run("validate", "--data.source", "SyntheticSource") == 1
    assert os.environ["WANDB_MODE"] == "online"


@pytest.mark.parametrize(
    ("config", "project"),
    [
        ("", None),
        ("- a list", None),
        ("name: of another program", None),
        ("trainer:", None),
        ("trainer: fast", None),
        ("{", None),
        ("trainer: {logger: {class_path: WandbLogger, init_args: }}", "segmentation"),
        ("trainer: {logger: [{class_path: WandbLogger, init_args: {project: mine}}]}", "mine"),
    ],
)
def test_a_config_of_something_else_names_no_project(tmp_path: Path, config: str, project: str | None) -> None:
    (tmp_path / "config.yaml").write_text(config)
    assert project_of(tmp_path) == project


def test_tensorboard_gets_curves_and_pictures(tiny_fit: Callable[..., Path]) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    overlay = Path(__file__).parents[1] / "configs" / "tensorboard.yaml"
    folder = tiny_fit("--config", overlay)
    events = accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    assert {"train/loss", "val/iou"} <= set(events.Tags()["scalars"])
    assert {"augmentation", "validation"} <= set(events.Tags()["images"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb's own, of its settings
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # wandb leaves its service's pipes to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the same
def test_a_report_goes_into_the_wandb_run_of_its_checkpoint(tiny_fit: Callable[..., Path], run: Run) -> None:
    folder = tiny_fit("--trainer.logger", LOGGER)
    shutil.rmtree(folder / "wandb")  # what is read below is the report's alone
    assert run("report", "--ckpt_path", folder, "--out", "r") == 0
    found = records(folder)
    assert found["id"] == f"SyntheticSource-{folder.name}" and found["project"] == "test"
    scores = json.loads(Path("r/scores.json").read_text())["scores"]
    assert found["history"]["report/val/iou/cell"] == scores["iou/cell"]["value"]
    assert found["history"]["report/val/images/nrows"] == 2
    assert found["history"]["report/val/pictures/captions"] == ["01", "02"]
    assert found["history"]["report/val/page/_type"] == "html-file"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # wandb's own, of its settings
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # wandb leaves its service's pipes to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the same
def test_a_comparison_is_a_wandb_run_of_its_own(tiny_fit: Callable[..., Path], run: Run) -> None:
    folder = tiny_fit()
    for name in ("a", "b"):
        assert run("report", "--ckpt_path", folder, "--out", name) == 0
    assert not (folder / "wandb").exists()  # fit logged nothing there
    assert run("compare", "a", "b", "--out", "unlogged") == 0
    assert not Path("unlogged/wandb").exists()
    assert run("compare", "a", "b", "--out", "c", "--wandb") == 0
    found = records(Path("c"))
    rows = Path("c/compare.csv").read_text().splitlines()
    assert found["project"] == "segmentation"
    assert found["history"]["compare/scores/nrows"] == len(rows) - 1
    assert found["history"]["compare/page/_type"] == "html-file"
