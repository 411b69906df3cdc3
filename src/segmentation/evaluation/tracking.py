"""Reports and comparisons in Weights & Biases; offline unless ``WANDB_MODE`` says otherwise."""

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import WandbLogger

from segmentation.callbacks.loggers import place_logger
from segmentation.callbacks.runs import flattened, stored_config
from segmentation.evaluation.report.report import PAGE, PLOTS
from segmentation.evaluation.report.reported import IMAGES, PICTURES, SCORES

PROJECT = "segmentation"
"""Where a run that was not logged to W&B is reported when the user wants it to be."""


def project_of(run: Path) -> str | None:
    """The W&B project of a run folder or of the first fold of a cross-validation; None when it was not logged."""
    trainer = (stored_config(run) or stored_config(run / "fold0")).get("trainer")  # or a config.yaml of something else
    loggers = trainer.get("logger") if isinstance(trainer, dict) else None
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if isinstance(logger, dict) and str(logger.get("class_path")).endswith("WandbLogger"):
            return str(flattened(logger).get("init_args.project") or PROJECT)
    return None


def log_report(report: Path, run: Path) -> None:
    """Send the scores, tables, plots, pictures and the page of a report.

    Args:
        report: Its folder.
        run: Of the checkpoint; its W&B run is continued where there is one.
    """
    stored = json.loads((report / SCORES).read_text(encoding="utf-8"))
    place = f"report/{stored['split']}"
    with _logger(run, project_of(run)) as logger:
        values = {f"{place}/{name}": score["value"] for name, score in stored["scores"].items()}
        logger.log_metrics({name: value for name, value in values.items() if value is not None})
        scores = [[name, *(score[end] for end in ("value", "low", "high"))] for name, score in stored["scores"].items()]
        logger.log_table(f"{place}/scores", columns=["score", "value", "low", "high"], data=scores)
        logger.log_table(f"{place}/images", **_table(report / IMAGES, text={"id", "group", "picture", "truth"}))
        for folder in (PLOTS, PICTURES):
            files = sorted((report / folder).glob("*.png"))
            if files:
                logger.log_image(f"{place}/{folder}", list(map(str, files)), caption=[file.stem for file in files])
        _log_page(logger, f"{place}/page", report / PAGE)


def log_comparison(table: Path, page: Path, project: str | None) -> None:
    """Send the table and the page of a comparison as a W&B run of its own.

    Args:
        table: Its CSV file.
        page: Its HTML file, in the folder that W&B writes into and names the run by.
        project: Of W&B; None for the default one.
    """
    with _logger(page.parent, project) as logger:
        logger.log_table("compare/scores", **_table(table, text={"report", "score"}))
        _log_page(logger, "compare/page", page)


@contextmanager
def _logger(folder: Path, project: str | None) -> Iterator[WandbLogger]:
    """Of the W&B run of a folder."""
    import wandb

    os.environ.setdefault("WANDB_MODE", "offline")  # as in fit
    settings = Namespace(class_path="WandbLogger", init_args=Namespace(save_dir=None, name=None, id=None))  # type: ignore[no-untyped-call] # jsonargparse's
    place_logger(settings, folder)
    try:
        yield WandbLogger(**vars(settings.init_args), project=project or PROJECT)
    finally:
        wandb.finish()


def _log_page(logger: WandbLogger, name: str, page: Path) -> None:
    import wandb

    logger.experiment.log({name: wandb.Html(str(page))})


def _table(path: Path, text: set[str]) -> dict[str, Any]:
    """Columns and rows of a CSV file, as numbers but for the columns of text; W&B wants one type in a column."""
    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = list(csv.reader(file))
    data = [
        [cell if name in text else float(cell) if cell else None for name, cell in zip(columns, row, strict=True)]
        for row in rows
    ]
    return {"columns": columns, "data": data}
