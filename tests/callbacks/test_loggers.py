"""Loggers write into the run folder, and a resumed W&B run is the same one."""

from pathlib import Path

import pytest
from jsonargparse import Namespace

from segmentation.callbacks.loggers import place_logger


def wandb(**arguments: str) -> Namespace:
    given: dict[str, str | None] = {"save_dir": ".", "name": None, "id": None}
    return Namespace(class_path="lightning.pytorch.loggers.WandbLogger", init_args=Namespace(**given | dict(arguments)))


@pytest.mark.parametrize(
    ("folder", "name"),
    [("runs/isbi/20261121-101500", "isbi-20261121-101500"), ("runs/isbi/crossval/fold0", "isbi-crossval-fold0")],
)
def test_a_run_is_called_by_its_folder(folder: str, name: str) -> None:
    logger = wandb()
    place_logger(logger, Path(folder))
    assert logger.init_args.name == name
    assert logger.init_args.id.startswith(name)
    assert logger.init_args.save_dir == str(Path(folder).absolute())


def test_a_named_folder_gets_an_id_of_its_time_and_keeps_it(tmp_path: Path) -> None:
    first, resumed = wandb(), wandb()
    place_logger(first, tmp_path)
    assert first.init_args.id != first.init_args.name
    (tmp_path / "wandb" / f"offline-run-20261121_101500-{first.init_args.id}").mkdir(parents=True)
    place_logger(resumed, tmp_path)
    assert resumed.init_args.id == first.init_args.id


def test_what_the_user_gave_stays(tmp_path: Path) -> None:
    logger = wandb(id="mine", save_dir="elsewhere")
    place_logger(logger, tmp_path)
    assert (logger.init_args.id, logger.init_args.save_dir) == ("mine", "elsewhere")
