"""What fit says when it ends."""

from pathlib import Path

import pytest

from segmentation.callbacks import messages
from segmentation.callbacks.checkpoints import Checkpoints


@pytest.mark.parametrize(("best", "kind"), [("best.ckpt", "Best"), ("", "Last")])
def test_the_commands_to_go_on_with_can_be_typed(tmp_path: Path, monkeypatch, best: str, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "my run"
    checkpoints = Checkpoints()
    checkpoints.best_model_path = str(run / "checkpoints" / best) if best else ""
    checkpoints.last_model_path = str(run / "checkpoints" / "last.ckpt")
    path = f"my run/checkpoints/{kind.lower()}.ckpt"
    assert messages.finished(run, checkpoints, counts=True).splitlines() == [
        "Pictures: my run/pictures",
        f"{kind} checkpoint: {path}",
        f"  python -m segmentation test --ckpt_path '{path}'",
        f"  python -m segmentation predict IMAGES --ckpt_path '{path}' --out predictions --write labels,objects "
        "--instances watershed",
    ]


def test_without_a_checkpoint_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    assert messages.finished(tmp_path, Checkpoints(), counts=False) == ""


@pytest.mark.parametrize(("written", "told"), [(True, "--ckpt_path 'a run/checkpoints/last.ckpt'"), (False, "nothing")])
def test_a_stopped_fit_says_how_to_go_on(tmp_path: Path, monkeypatch, written: bool, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "a run"
    if written:
        (run / "checkpoints").mkdir(parents=True)
        (run / "checkpoints" / "last.ckpt").touch()
    assert told in messages.stopped("fit", run)
