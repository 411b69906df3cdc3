"""The scores in the terminal and in scores.json, and a warning when a network predicts one class only."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from rich.console import Console
from rich.table import Table

from segmentation.callbacks.checkpoints import Checkpoints
from segmentation.callbacks.runs import SCORES
from segmentation.data.replacing import write_json
from segmentation.model.module import SegmentationModule

WHOLE = ("epoch", "seen_samples", "selected_on_these_data", "smallest_object", "largest_hole")
BY_CLASS = ("iou", "dice", "precision", "recall")


class ScoreTable(Callback):
    """Prints and writes the scores: of ``fit`` those of the best checkpoint.

    Args:
        folder: Where ``scores.json`` goes.
        notes: What else a reader of the scores must know, such as ``{"seen_samples": 3}``; written and
            logged beside them.

    Attributes:
        final: The best scores anew, where the decision changed after them.
    """

    def __init__(self, folder: Path, notes: dict[str, float] | None = None) -> None:
        self.folder = folder
        self.notes = notes or {}
        self.final: dict[str, float] = {}
        self._best: dict[str, float] = {}

    def state_dict(self) -> dict[str, float]:
        """The best scores, so that a resumed run knows them."""
        return self._best

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Take them back."""
        self._best = state_dict

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the scores when they are the best, or show them after ``validate``."""
        if trainer.sanity_checking:
            return
        scores = _of_stage(trainer, "val/")
        if trainer.state.fn == "validate":
            self._show(trainer, pl_module, scores, "validation")
        elif Checkpoints.of(trainer).improved(trainer):
            self._best = scores | {"epoch": float(trainer.current_epoch)}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the best scores, if a checkpoint has them."""
        if self._best and Checkpoints.of(trainer).best_model_path:
            self._show(trainer, pl_module, self._best | self.final, "validation, best checkpoint")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the scores."""
        self._show(trainer, pl_module, _of_stage(trainer, "test/"), "test")

    def _show(self, trainer: Trainer, module: LightningModule, scores: dict[str, float], title: str) -> None:
        assert isinstance(module, SegmentationModule)
        if not trainer.is_global_zero:
            return
        scores = self.notes | scores
        title = ", ".join([title, *(name.replace("_", " ") for name in self.notes)])
        for logger in trainer.loggers:
            logger.log_metrics(self.notes, trainer.global_step)
        console = Console(markup=False, highlight=False)  # a class may be called cell [nuclei]
        for table in tables(scores, module.classes.names, title):
            console.print(table)
        path = self.folder / SCORES
        write_json(path, {"scored": title} | scores)
        console.print(f"Scores: {path}", soft_wrap=True)


class WarnOneClass(Callback):
    """Warns when several validations in a row find a single class: the picture would be all black.

    Args:
        patience: Validations in a row.
    """

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience
        self._in_a_row = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the classes of which a pixel was found: the others have precision 0, or none."""
        assert isinstance(pl_module, SegmentationModule)
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        scores = _of_stage(trainer, "val/")
        found = [name for name in pl_module.classes.names if scores[f"precision/{name}"] > 0]
        self._in_a_row = self._in_a_row + 1 if len(found) == 1 else 0
        if self._in_a_row == self.patience:
            rank_zero_warn(
                f"{self.patience} validations in a row found nothing but {found[0]!r}. Look at the pictures; "
                "check that masks fit images, try loss {bce: 1, dice: 1}, class_weights, or another model.lr"
            )


def tables(scores: dict[str, float], names: tuple[str, ...], title: str) -> list[Table]:
    """The scores per class, and all others: two tables."""
    by_class = Table("class", *BY_CLASS, title=f"Scores ({title})")
    for name in names:
        by_class.add_row(name, *(f"{scores[f'{score}/{name}']:.4f}" for score in BY_CLASS))
    by_class.add_row("mean", *(f"{scores[score]:.4f}" for score in BY_CLASS), style="bold")
    others = Table("score", "value")
    for name, value in scores.items():
        if name not in BY_CLASS and "/" not in name:
            others.add_row(name, f"{value:.0f}" if name in WHOLE else f"{value:.4f}")
    return [by_class, others]


def _of_stage(trainer: Trainer, prefix: str) -> dict[str, float]:
    metrics = trainer.callback_metrics
    return {name.removeprefix(prefix): float(value) for name, value in metrics.items() if name.startswith(prefix)}
