"""Pictures of a run: validation images with truth, prediction and error; augmented training pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segmentation.inference.classes import Classes, overlay, to_rgb
from segmentation.model.module import SegmentationModule

Rgb = NDArray[np.uint8]

ROWS = 6
SIDE = 320
_LINE = 22
_TOO_MUCH, _TOO_LITTLE = (230, 60, 40), (40, 110, 230)


class Pictures(Callback):
    """Writes picture sheets as PNG, and to W&B and TensorBoard where they are on.

    Args:
        folder: Where ``validation.png`` (the latest), ``test.png`` and ``augmentation.png`` go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: list[tuple[str, NDArray[Any], NDArray[np.uint8], NDArray[np.float32]]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the first augmented pairs of the run."""
        assert isinstance(pl_module, SegmentationModule)
        if not trainer.is_global_zero:
            return
        draws = trainer.datamodule.training_draws()  # type: ignore[attr-defined] # set by the CLI
        rows = []
        for number in range(min(len(draws), ROWS)):
            item = draws[0, number]
            image, mask = _channels_last(item["image"].numpy()), item["mask"].numpy().astype(np.uint8)
            painted = pl_module.classes.paint(mask)
            rows.append((item["id"], [to_rgb(image), painted, overlay(image, mask, pl_module.classes.tints)]))
        self._write(trainer, "augmentation", sheet(["image", "mask", "both"], rows, _legend(pl_module.classes)))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Keep the first images."""
        self._keep(trainer, outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Keep the first images."""
        self._keep(trainer, outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them, at the decision that this validation chose."""
        self._draw(trainer, pl_module, "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them."""
        self._draw(trainer, pl_module, "test")

    def _keep(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        for place in range(min(len(batch["id"]), ROWS - len(self._kept))):
            if batch["id"][place]:
                image = _channels_last(batch["image"][place].cpu().numpy())
                mask = batch["mask"][place].cpu().numpy().astype(np.uint8)
                self._kept.append((batch["id"][place], image, mask, outputs["probabilities"][place].cpu().numpy()))

    def _draw(self, trainer: Trainer, module: LightningModule, name: str) -> None:
        assert isinstance(module, SegmentationModule)
        kept, self._kept = self._kept, []
        if not kept:
            return
        classes = module.classes
        samples = [
            (key, image, mask, module.decision.labels(probabilities).astype(np.uint8))
            for key, image, mask, probabilities in kept
        ]
        rows = [
            (key, [to_rgb(image), classes.paint(mask), classes.paint(labels), error_map(image, mask, labels, classes)])
            for key, image, mask, labels in samples
        ]
        legend = _legend(classes) + _error_legend(classes)
        self._write(trainer, name, sheet(["image", "truth", "prediction", "error"], rows, legend))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _to_wandb(logger, name, samples, classes)

    def _write(self, trainer: Trainer, name: str, picture: Rgb) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(self.folder / f"{name}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(name, picture, trainer.global_step, dataformats="HWC")
            elif isinstance(logger, WandbLogger) and name == "augmentation":
                logger.log_image(name, [picture])


def sheet(titles: Sequence[str], rows: Sequence[tuple[str, list[Rgb]]], legend: Sequence[tuple[str, Any]]) -> Rgb:
    """Pictures in rows under column titles, with a legend of colours below.

    Args:
        titles: Of the columns.
        rows: A name and one RGB picture (H, W, 3) per column; each is scaled to at most 320 pixels.
        legend: Text and RGB colour pairs.

    Returns:
        RGB (H, W, 3).
    """
    scaled = [(name, [_scaled(picture) for picture in pictures]) for name, pictures in rows]
    width = max((len(pictures) * (pictures[0].width + 4) for _, pictures in scaled), default=SIDE)
    height = _LINE + sum(pictures[0].height + _LINE for _, pictures in scaled) + 4 + _LINE * len(legend)
    canvas = Image.new("RGB", (max(width, SIDE), height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=14)
    top = _LINE
    for number, (name, pictures) in enumerate(scaled):
        step = pictures[0].width + 4
        if number == 0:
            for column, title in enumerate(titles):
                draw.text((column * step + 2, 3), title, "black", font)
        for column, picture in enumerate(pictures):
            canvas.paste(picture, (column * step, top))
        draw.text((2, top + pictures[0].height + 2), name, "black", font)
        top += pictures[0].height + _LINE
    for text, color in legend:
        draw.rectangle((4, top + 6, 18, top + 20), fill=tuple(color), outline="black")
        draw.text((26, top + 4), text, "black", font)
        top += _LINE
    return np.asarray(canvas)


def error_map(image: NDArray[Any], mask: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Classes) -> Rgb:
    """The image, paled, with its wrong pixels in colour: (H, W, 3).

    Binary: red where class 1 is predicted and wrong, blue where it is missed. Multiclass: red.
    """
    shown = (to_rgb(image) * 0.5 + 127).astype(np.uint8)
    wrong = (mask != labels) & (mask != classes.ignore_index)
    shown[wrong] = _TOO_MUCH
    if classes.binary:
        shown[wrong & (mask == 1)] = _TOO_LITTLE
    return shown


def _error_legend(classes: Classes) -> list[tuple[str, Any]]:
    if not classes.binary:
        return [("wrong", _TOO_MUCH)]
    zero, one = classes.names
    return [(f"{one} predicted, {zero} true", _TOO_MUCH), (f"{zero} predicted, {one} true", _TOO_LITTLE)]


def _legend(classes: Classes) -> list[tuple[str, Any]]:
    return list(zip(classes.names, classes.colors, strict=True))


def _scaled(picture: Rgb) -> Image.Image:
    image = Image.fromarray(picture)
    factor = SIDE / max(image.size)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, Image.Resampling.BILINEAR if factor < 1 else Image.Resampling.NEAREST)


def _channels_last(image: NDArray[Any]) -> NDArray[Any]:
    return image.transpose(1, 2, 0)


def _to_wandb(logger: WandbLogger, name: str, samples: Sequence[Any], classes: Classes) -> None:
    names = dict(enumerate(classes.names)) | {classes.ignore_index: "ignored"}
    logger.log_image(
        name,
        [to_rgb(image) for _, image, _, _ in samples],
        caption=[key for key, _, _, _ in samples],
        masks=[
            {
                "truth": {"mask_data": mask, "class_labels": names},
                "prediction": {"mask_data": labels, "class_labels": names},
            }
            for _, _, mask, labels in samples
        ],
    )
