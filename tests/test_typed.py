"""What a user is told to type."""

from pathlib import Path

from segmentation.typed import typed


def test_words_and_options_are_quoted_where_they_must_be() -> None:
    assert typed("predict", "IMAGES", ckpt_path=Path("run 1"), out=None, overwrite=True) == (
        "python -m segmentation predict IMAGES --ckpt_path 'run 1' --overwrite"
    )
    assert typed("tune", "--model.loss={bce: 1}", trials=0) == (
        "python -m segmentation tune '--model.loss={bce: 1}' --trials 0"
    )
