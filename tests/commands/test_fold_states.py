"""What there is of a fold, by its files."""

from pathlib import Path

import pytest

from segmentation.commands.fold_states import state_of


@pytest.mark.parametrize(
    ("scores", "state"), [('{"iou": 0.5}', "finished"), ("", "begun"), ('{"iou": 0.', "begun"), ("[]", "begun")]
)
def test_a_fold_whose_scores_were_cut_goes_on(tmp_path: Path, scores: str, state: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        (tmp_path / name).touch()
    (tmp_path / "scores.json").write_text(scores)
    assert state_of(tmp_path) == state
