"""A wrong --out is told before the work."""

from collections.abc import Callable
from pathlib import Path

import pytest

from segmentation.commands.out import check_files, check_folder
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


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("report", ("--ckpt_path", "nowhere")),
        ("benchmark", ("--ckpt_path", "nowhere")),
        ("compare", ("a", "b")),
        ("check", ("--root", "nowhere")),
        ("synthesize", ()),
    ],
)
def test_so_is_a_folder_of_results(
    run: Callable[..., int], capsys: pytest.CaptureFixture[str], command: str, found: tuple[str, ...], place: str
) -> None:
    Path("taken").touch()
    assert run(command, *found, "--out", place.format("results")) == 1
    assert f"{place.format('results')} cannot be made or written" in capsys.readouterr().err
    assert list(Path().iterdir()) == [Path("taken")]


def test_a_folder_of_results_is_new() -> None:
    check_folder(None)
    check_folder(Path("a/b"))
    Path("empty").mkdir()
    check_folder(Path("empty"))
    Path("full").mkdir()
    Path("full/mine").touch()
    for path in ("full", "full/mine"):
        with pytest.raises(InputError, match=f"{path} is there already; nothing overwritten"):
            check_folder(Path(path))
    assert sorted(map(str, Path().rglob("*"))) == ["empty", "full", "full/mine"]


def test_a_folder_that_is_to_be_made_is_not_made_yet() -> None:
    check_files(Path("a/b/c.yaml"), Path("a/b/c.png"), overwrite=False)
    assert not list(Path().iterdir())


def test_a_file_stays_unless_it_may_go_and_a_folder_always() -> None:
    Path("there.ckpt").touch()
    with pytest.raises(InputError, match=r"there.ckpt is there already; nothing overwritten"):
        check_files(Path("new.ckpt"), Path("there.ckpt"), overwrite=False)
    check_files(Path("new.ckpt"), Path("there.ckpt"), overwrite=True)
    Path("folder.ckpt").mkdir()
    with pytest.raises(
        InputError, match=r"folder.ckpt is a folder; give a file in it, such as folder.ckpt/folder.ckpt"
    ):
        check_files(Path("folder.ckpt"), overwrite=True)
