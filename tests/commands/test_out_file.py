"""A wrong --out is told before the work."""

from collections.abc import Callable
from pathlib import Path

import pytest

from segmentation.commands.out_file import check_out
from segmentation.errors import InputError

PLACES = ["taken/{}", "taken/deeper/{}", "/proc/{}", "/proc/deeper/{}"]
"""Folders in which nothing can be written, also not by root."""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("command", "name"),
    [("export", "m.onnx"), ("prune", "m.ckpt"), ("find_lr", "lr.yaml"), ("find_batch_size", "size.yml")],
)
def test_a_folder_that_cannot_be_written_is_told_first(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], command: str, name: str, place: str
) -> None:
    Path("taken").touch()
    out = Path(place.format(name))
    found = [] if command.startswith("find") else ["--ckpt_path", "nowhere"]  # which would be told next
    assert run(command, *found, "--out", out) == 1
    assert f"{out.parent} cannot be made or written" in capsys.readouterr().err
    assert list(Path().iterdir()) == [Path("taken")]


def test_a_folder_that_is_to_be_made_is_not_made_yet() -> None:
    check_out(Path("a/b/c.yaml"), Path("a/b/c.png"), overwrite=False)
    assert not list(Path().iterdir())


def test_a_file_stays_unless_it_may_go_and_a_folder_always() -> None:
    Path("there.ckpt").touch()
    with pytest.raises(InputError, match=r"there.ckpt is there already; nothing overwritten"):
        check_out(Path("new.ckpt"), Path("there.ckpt"), overwrite=False)
    check_out(Path("new.ckpt"), Path("there.ckpt"), overwrite=True)
    Path("folder.ckpt").mkdir()
    with pytest.raises(
        InputError, match=r"folder.ckpt is a folder; give a file in it, such as folder.ckpt/folder.ckpt"
    ):
        check_out(Path("folder.ckpt"), overwrite=True)
