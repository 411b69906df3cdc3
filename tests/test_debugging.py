"""What one tries when nothing is learned: a single batch, and a search for the operation that gives NaN."""

import csv
from collections.abc import Callable
from pathlib import Path


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]


def test_overfitting_has_the_same_batch_in_each_epoch(tiny_fit: Callable[..., Path]) -> None:
    # with a rate of 0 the loss says which batch it was
    frozen = ("--model.optimizer", "sgd", "--model.lr", 0, "--data.augment", "em", "--trainer.max_epochs", 3)
    same = losses(tiny_fit(*frozen, "--trainer.overfit_batches", 1, "--trainer.detect_anomaly", "true"))
    assert len(same) == 3 and len(set(same)) == 1
    assert len(set(losses(tiny_fit(*frozen, "--trainer.limit_train_batches", 1)))) == 3


def test_a_batch_can_be_learned_by_heart(tiny_fit: Callable[..., Path]) -> None:
    learned = losses(
        tiny_fit(
            *("--trainer.overfit_batches", 1, "--trainer.max_epochs", 30, "--trainer.check_val_every_n_epoch", 30),
            *("--data.augment", "none", "--model.schedule", "constant", "--model.lr", 1e-2),
        )
    )
    assert len(learned) == 30
    assert learned[-1] < 0.5 * learned[0]
