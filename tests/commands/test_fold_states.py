"""What there is of a fold, by its files."""

from pathlib import Path

import pytest

from segmentation.commands.fold_states import going_on, state_of


@pytest.mark.parametrize(
    ("scores", "state"), [('{"iou": 0.5}', "finished"), ("", "begun"), ('{"iou": 0.', "begun"), ("[]", "begun")]
)
def test_a_fold_whose_scores_were_cut_goes_on(tmp_path: Path, scores: str, state: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        (tmp_path / name).touch()
    (tmp_path / "scores.json").write_text(scores)
    assert state_of(tmp_path) == state


@pytest.mark.parametrize(
    ("files", "goes_on", "left"),
    [
        (["config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"], True, True),
        (["config.yaml", "checkpoints/best.ckpt"], False, False),  # killed between the two
        (["config.yaml"], False, False),
        (["notes.txt"], False, True),
    ],
)
def test_a_run_goes_on_from_its_last_checkpoint_or_begins_anew(
    tmp_path: Path, files: list[str], goes_on: bool, left: bool
) -> None:
    run = tmp_path / "fold0"
    (run / "checkpoints").mkdir(parents=True)
    for name in files:
        (run / name).touch()
    assert going_on(run) == (["--ckpt_path", str(run / "checkpoints/last.ckpt")] if goes_on else [])
    assert run.exists() == left
