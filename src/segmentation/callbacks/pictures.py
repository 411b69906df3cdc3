"""Pictures of a run: validation images with truth, prediction and error; augmented training pairs."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segmentation.callbacks.checkpoints import Checkpoints
from segmentation.inference.classes import Classes, Color, hatching, overlay, to_rgb
from segmentation.model.module import SegmentationModule

Rgb = NDArray[np.uint8]

ROWS = 6
SIDE = 320
_LINE = 22
_TOO_MUCH, _TOO_LITTLE = (230, 60, 40), (40, 110, 230)


class Pictures(Callback):
    """Writes picture sheets as PNG, and to W&B and TensorBoard where they are on.

    Args:
        folder: Where ``validation.png`` (the latest), ``best.png`` (that of best.ckpt), ``test.png`` and
            ``augmentation.png`` go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: list[tuple[str, NDArray[Any], NDArray[np.uint8], NDArray[Any]]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the first augmented pairs of the run."""
        assert isinstance(pl_module, SegmentationModule)
        if not trainer.is_global_zero:
            return
        draws = trainer.datamodule.training_draws()  # type: ignore[attr-defined] # set by the CLI
        rows, masks = [], []
        for number in range(min(len(draws), ROWS)):
            item = draws[0, number]
            image, mask = _channels_last(item["image"].numpy()), item["mask"].numpy().astype(np.uint8)
            painted = pl_module.classes.paint(mask)
            masks.append(mask)
            rows.append((item["id"], [to_rgb(image), painted, overlay(image, mask, pl_module.classes.tints)]))
        self._write(
            trainer, "augmentation", sheet(["image", "mask", "both"], rows, class_legend(pl_module.classes, masks))
        )

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Keep the first images."""
        self._keep(trainer, pl_module, outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Keep the first images."""
        self._keep(trainer, pl_module, outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them, at the decision that this validation chose."""
        fits = trainer.state.fn == "fit" and not trainer.sanity_checking
        improved = fits and Checkpoints.of(trainer).improved(trainer)  # which asks all processes
        if self._draw(trainer, pl_module, "validation") and improved:
            shutil.copyfile(self.folder / "validation.png", self.folder / "best.png")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them."""
        self._draw(trainer, pl_module, "test")

    def _keep(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any) -> None:
        assert isinstance(module, SegmentationModule)
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        for place in range(min(len(batch["id"]), ROWS - len(self._kept))):
            if batch["id"][place]:
                image = _channels_last(batch["image"][place].cpu().numpy())
                mask = batch["mask"][place].cpu().numpy().astype(np.uint8)
                answer = outputs["probabilities"][place].cpu().numpy()
                if not module.classes.binary:  # only the threshold of two classes is chosen at the end
                    answer = module.decision.labels(answer)
                self._kept.append((batch["id"][place], image, mask, answer))

    def _draw(self, trainer: Trainer, module: LightningModule, name: str) -> bool:
        assert isinstance(module, SegmentationModule)
        kept, self._kept = self._kept, []
        if not kept:
            return False
        classes = module.classes
        samples = [
            (key, image, mask, (module.decision.labels(answer) if classes.binary else answer).astype(np.uint8))
            for key, image, mask, answer in kept
        ]
        rows = [
            (key, [to_rgb(image), classes.paint(mask), classes.paint(labels), error_map(image, mask, labels, classes)])
            for key, image, mask, labels in samples
        ]
        legend = [*class_legend(classes, [mask for _, _, mask, _ in samples]), *error_legend(classes)]
        self._write(trainer, name, sheet(["image", "truth", "prediction", "error"], rows, legend))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _to_wandb(logger, name, samples, classes)
        return True

    def _write(self, trainer: Trainer, name: str, picture: Rgb) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(self.folder / f"{name}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(name, picture, trainer.global_step, dataformats="HWC")
            elif isinstance(logger, WandbLogger) and name == "augmentation":
                logger.log_image(name, [picture])


def sheet(
    titles: Sequence[str], rows: Sequence[tuple[str, list[Rgb]]], legend: Sequence[tuple[str, Color | None]]
) -> Rgb:
    """Pictures in rows under column titles, with a legend of colours below.

    Args:
        titles: Of the columns.
        rows: A name and one RGB picture (H, W, 3) per column; each is scaled to at most 320 pixels.
        legend: Texts and RGB colours; None is hatched.

    Returns:
        RGB (H, W, 3).
    """
    scaled = [(name, [_scaled(picture) for picture in pictures]) for name, pictures in rows]
    width = max((len(pictures) * (pictures[0].width + 4) for _, pictures in scaled), default=SIDE)
    width, font = max(width, SIDE), ImageFont.load_default(size=14)
    entry = 40 + max((int(font.getlength(text)) for text, _ in legend), default=0)
    columns = max(1, width // entry)
    height = _LINE + sum(pictures[0].height + _LINE for _, pictures in scaled) + 4 + _LINE * -(-len(legend) // columns)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
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
    for number, (text, color) in enumerate(legend):
        left, line = number % columns * entry, top + number // columns * _LINE
        draw.rectangle((left + 4, line + 6, left + 18, line + 20), fill=color, outline="black")
        if color is None:
            canvas.paste(Image.fromarray(hatching((SIDE, SIDE))[:13, :13]), (left + 5, line + 7))
        draw.text((left + 26, line + 4), text, "black", font)
    return np.asarray(canvas)


def class_legend(classes: Classes, masks: Iterable[NDArray[np.uint8]]) -> list[tuple[str, Color | None]]:
    """What the colours of painted masks (H, W) mean; ignored pixels too where one of them has some."""
    named = list(zip(classes.names, classes.colors, strict=True))
    ignored = any((mask == classes.ignore_index).any() for mask in masks)
    return [*named, ("ignored", None)] if ignored else [*named]


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


def error_legend(classes: Classes) -> list[tuple[str, Color]]:
    """What the colours of an error map mean."""
    if not classes.binary:
        return [("wrong", _TOO_MUCH)]
    zero, one = classes.names
    return [(f"{one} predicted, {zero} true", _TOO_MUCH), (f"{zero} predicted, {one} true", _TOO_LITTLE)]


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
