"""A misspelt option is answered with the one that was meant."""

import pytest

from segmentation.errors import nearest_option

OPTIONS = ["--help", "--data.crop", "--data.fold", "--data.folds", "--model.lr", "--trainer.max_epochs", "--config"]


@pytest.mark.parametrize(
    ("message", "meant"),
    [
        ("unrecognized arguments: --data.crp 1", "; did you mean --data.crop?"),
        ("unrecognized arguments: --data.crp=1", "; did you mean --data.crop?"),
        ("unrecognized arguments: stray --max_epochs 3", "; did you mean --trainer.max_epochs?"),
        ("unrecognized arguments: --model.max_epochs 3", "; did you mean --trainer.max_epochs?"),
        ("unrecognized arguments: --data.lr 3", "; did you mean --model.lr?"),
        ("Subcommand 'fit' does not accept option 'data.crp'", "; did you mean --data.crop?"),
        ("Group 'data' does not accept option 'fols'", "; did you mean --data.folds?"),
        ("unrecognized arguments: --quite_another_thing 3", ""),
        ("unrecognized arguments: stray", ""),
        ("data.crop is 0; give 1 or more", ""),
    ],
)
def test_the_option_that_was_meant(message: str, meant: str) -> None:
    assert nearest_option(message, OPTIONS) == meant
