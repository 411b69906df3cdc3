"""A report in Weights & Biases, in the run that trained the checkpoint."""

import csv
import json
from pathlib import Path

import yaml
from jsonargparse import Namespace
from lightning.pytorch.loggers import WandbLogger

from segmentation.callbacks.loggers import place_logger
from segmentation.callbacks.runs import CONFIG
from segmentation.evaluation.report.report import PAGE, PLOTS
from segmentation.evaluation.report.reported import IMAGES, PICTURES, SCORES


def log_report(report: Path, run: Path) -> None:
    """Send the scores, tables, plots, pictures and the page of a report.

    Offline unless ``WANDB_MODE`` says otherwise.

    Args:
        report: Its folder.
        run: Of the checkpoint; its W&B run is continued where there is one.
    """
    import wandb

    stored = json.loads((report / SCORES).read_text(encoding="utf-8"))
    place = f"report/{stored['split']}"
    logger = _logger(run)
    try:
        values = {f"{place}/{name}": score["value"] for name, score in stored["scores"].items()}
        logger.log_metrics({name: value for name, value in values.items() if value is not None})
        scores = [[name, *(score[end] for end in ("value", "low", "high"))] for name, score in stored["scores"].items()]
        logger.log_table(f"{place}/scores", columns=["score", "value", "low", "high"], data=scores)
        with (report / IMAGES).open(newline="", encoding="utf-8") as file:
            columns, *rows = list(csv.reader(file))
        logger.log_table(f"{place}/images", columns=columns, data=_typed(columns, rows))
        for folder in (PLOTS, PICTURES):
            files = sorted((report / folder).glob("*.png"))
            if files:
                logger.log_image(f"{place}/{folder}", list(map(str, files)), caption=[file.stem for file in files])
        logger.experiment.log({f"{place}/page": wandb.Html(str(report / PAGE))})
    finally:
        wandb.finish()


def _logger(run: Path) -> WandbLogger:
    """Of the W&B run of a run folder, in the project that its config names."""
    settings = Namespace(class_path="WandbLogger", init_args=Namespace(save_dir=None, name=None, id=None))  # type: ignore[no-untyped-call] # jsonargparse's
    place_logger(settings, run)
    return WandbLogger(**vars(settings.init_args), project=_project(run / CONFIG))


def _project(config: Path) -> str:
    loggers = yaml.safe_load(config.read_text(encoding="utf-8"))["trainer"]["logger"] if config.is_file() else None
    for logger in loggers if isinstance(loggers, list) else [loggers]:
        if isinstance(logger, dict) and logger.get("init_args", {}).get("project"):
            return str(logger["init_args"]["project"])
    return "segmentation"


def _typed(columns: list[str], rows: list[list[str]]) -> list[list[float | str | None]]:
    """Numbers but for the names; W&B wants one type in a column."""
    text = {"id", "group", "picture"}
    return [
        [cell if name in text else float(cell) if cell else None for name, cell in zip(columns, row, strict=True)]
        for row in rows
    ]
