"""The table of commands is fast, and a wrong command or input is one line."""

import errno
import os
import subprocess
import sys
from importlib import import_module
from inspect import isfunction
from pathlib import Path
from typing import Any

import pytest

import segmentation
from segmentation import __main__
from segmentation import __main__ as entry
from segmentation.__main__ import FUNCTION_COMMANDS, TRAINER_COMMANDS, main
from segmentation.errors import InputError

HEAVY = ("torch", "lightning", "jsonargparse", "numpy", "albumentations", "segmentation_models_pytorch")


@pytest.fixture
def wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that finds its input wrong."""

    def refuse(args: list[str]) -> int:
        raise InputError("a.png is torn; replace it")

    monkeypatch.setattr(entry, "_run", refuse)


def test_ctrl_c_is_one_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(args: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "_run", stop)
    assert main(["networks"]) == 130
    assert capsys.readouterr() == ("", "Stopped\n")


@pytest.mark.parametrize("args", [["--help"], ["-h"], [], ["--version"]])
def test_help_and_version_import_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from segmentation.__main__ import main\n"
        f"status = main({args})\n"
        f"print(status, [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "segmentation", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{segmentation.__version__}\n", "")


def test_a_reader_that_has_seen_enough_gets_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "segmentation", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()  # as `| head` does
        assert (process.wait(), process.stderr.read()) == (1, b"")


def test_the_status_of_a_wrong_command_reaches_the_shell() -> None:
    done = subprocess.run([sys.executable, "-m", "segmentation", "train"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: unknown command 'train'; commands: fit, validate, test")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, text in (TRAINER_COMMANDS | FUNCTION_COMMANDS).items():
        assert f"  {name}" in out
        assert text in out


@pytest.mark.parametrize("command", list(FUNCTION_COMMANDS))
def test_every_command_has_its_function_and_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    function = getattr(import_module(f"segmentation.commands.{command}"), command)
    assert isfunction(function)
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: python -m segmentation {command}" in out
    for name in function.__annotations__:
        assert name == "return" or name in out


@pytest.mark.parametrize("command", ["fitt", "--fit", "train", "", "segmentation.commands"])
def test_an_unknown_command_is_refused_with_those_there_are(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 1
    out, err = capsys.readouterr()
    commands = ", ".join(TRAINER_COMMANDS | FUNCTION_COMMANDS)
    meant = err.removeprefix(f"error: unknown command {command!r}; commands: {commands}").rstrip("\n")
    assert out == "" and "error" not in meant
    assert meant.startswith("; did you mean 'fit'") if "fit" in command or command == "train" else meant == ""


@pytest.mark.usefixtures("wrong_input")
def test_wrong_input_is_one_line_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEGMENTATION_TRACEBACK", raising=False)
    assert main(["predict", "a.png"]) == 1
    assert capsys.readouterr() == ("", "error: a.png is torn; replace it\n")


@pytest.mark.usefixtures("wrong_input")
def test_the_traceback_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENTATION_TRACEBACK", "1")
    with pytest.raises(InputError, match="a.png is torn"):
        main(["predict", "a.png"])


def test_the_traceback_reaches_the_shell() -> None:
    environment = os.environ | {"SEGMENTATION_TRACEBACK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "segmentation", "fitt"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "InputError: unknown command 'fitt'" in done.stderr


def test_a_bug_is_not_dressed_up_as_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: list[str]) -> int:
        raise ValueError("a bug")

    monkeypatch.setattr(entry, "_run", fail)
    with pytest.raises(ValueError, match="a bug"):
        main(["predict"])


def noted(*, size: int = 3, overwrite: bool = False, out: Path = Path("x")) -> None:
    """Note the arguments.

    Args:
        size: A number.
        overwrite: A flag.
        out: A folder.
    """
    NOTED.append((size, overwrite, out))


NOTED: list[Any] = []


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], (3, False, Path("x"))),
        (["--size", "5"], (5, False, Path("x"))),
        (["--overwrite"], (3, True, Path("x"))),
        (["--overwrite", "--out", "y"], (3, True, Path("y"))),
        (["--overwrite", "true"], (3, True, Path("x"))),
        (["--overwrite", "False", "--size=4"], (4, False, Path("x"))),
        (["--out", "true"], (3, False, Path("true"))),
    ],
)
def test_a_function_is_called_with_typed_arguments(args: list[str], expected: tuple[Any, ...]) -> None:
    NOTED.clear()
    entry.call(noted, args)
    (called,) = NOTED
    assert called == expected
    assert list(map(type, called)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("args", "told"),
    [(["--size", "big"], "size"), (["--sise", "3"], "--sise"), (["stray"], "stray"), (["--size"], "expected one")],
)
def test_a_wrong_argument_is_refused_with_where_to_look(args: list[str], told: str) -> None:
    with pytest.raises(InputError) as caught:
        entry.call(noted, args)
    assert told in str(caught.value)
    assert str(caught.value).endswith("(python -m segmentation noted --help lists the arguments)")


def test_public_names_are_there_when_used() -> None:
    assert segmentation.InputError is InputError
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = segmentation.lode


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import errno

    from segmentation import __main__

    def full(_args: list[str]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/metrics.csv")

    monkeypatch.setattr(__main__, "_run", full)
    assert __main__.main(["fit"]) == 1
    assert capsys.readouterr().err == "error: no space left on the disk (runs/metrics.csv); free some\n"


def repeated(*fit: str, folds: int = 5, dry: bool = False) -> None:
    """Note the arguments.

    Args:
        fit: Handed on.
        folds: A number.
        dry: A flag.
    """
    NOTED.append((fit, folds, dry))


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ((), 5, False)),
        (["--config", "a.yaml", "--folds", "3", "--model.lr=1"], (("--config", "a.yaml", "--model.lr=1"), 3, False)),
        (["--folds=3", "--flag"], (("--flag",), 3, False)),
        (["--config", "a.yaml", "--dry", "true"], (("--config", "a.yaml"), 5, True)),
        (["--dry", "--config", "a.yaml"], (("--config", "a.yaml"), 5, True)),
    ],
)
def test_what_is_not_the_functions_own_is_handed_on(args: list[str], expected: tuple[Any, ...]) -> None:
    NOTED.clear()
    entry.call(repeated, args)
    (called,) = NOTED
    assert called == expected


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_and_a_full_quota_are_named(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_args: list[str]) -> int:
        raise OSError(number, "full", "out/a.png")

    monkeypatch.setattr(__main__, "_run", full)
    assert __main__.main(["predict"]) == 1
    assert capsys.readouterr().err == "error: no space left on the disk (out/a.png); free some\n"
