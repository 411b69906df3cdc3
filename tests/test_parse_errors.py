"""A misspelt option is answered with the one that was meant."""

from pathlib import Path

import pytest

from segmentation.__main__ import main
from segmentation.parse_errors import explained, nearest_option

OPTIONS = [
    "--help",
    "--ckpt_path",
    "--data.source",
    "--data.crop",
    "--data.fold",
    "--data.folds",
    "--model.lr",
    "--trainer.max_epochs",
    "--config",
]


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
        ("unrecognized arguments: --epochs 3", "; did you mean --trainer.max_epochs?"),
        ("unrecognized arguments: --trainer.epochs 3", "; did you mean --trainer.max_epochs?"),
        ("unrecognized arguments: --mask_values objects", "; did you mean --data.source.mask_values?"),
        ("unrecognized arguments: --data.ignore_unknown true", "; did you mean --data.source.ignore_unknown?"),
        ("unrecognized arguments: --ckpt best.ckpt", "; did you mean --ckpt_path?"),
        ("unrecognized arguments: --gpus 2", ""),
        ("unrecognized arguments: --quite_another_thing 3", ""),
        ("unrecognized arguments: stray", ""),
        ("data.crop is 0; give 1 or more", ""),
    ],
)
def test_the_option_that_was_meant(message: str, meant: str) -> None:
    assert nearest_option(message, OPTIONS) == meant


@pytest.mark.parametrize(
    ("command", "value", "meant"),
    [
        ("check", "my_data", "; did you mean --root my_data?"),
        ("fit", "configs/isbi.yaml", "; did you mean --config configs/isbi.yaml?"),
        ("test", "best.ckpt", "; did you mean --ckpt_path best.ckpt?"),
        ("report", "runs/mine", "; did you mean --ckpt_path runs/mine?"),
        ("report", "runs", "; did you mean --ckpt_path runs?"),
        ("fit", "my_data", ""),
    ],
)
def test_a_value_without_its_option_is_answered_with_the_option(
    command: str,
    value: str,
    meant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/mine/checkpoints").mkdir(parents=True)
    assert main([command, value]) == 1
    words = f"(python -m segmentation {command} --help lists the arguments)"
    assert capsys.readouterr().err == f"error: unrecognized arguments: {value}{meant} {words}\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("test", "test needs --ckpt_path, such as runs/isbi"),
        ("fit", "fit needs --config FILE; check --root FOLDER writes one"),
        ("report", "the following arguments are required: --ckpt_path"),
        ("export", "the following arguments are required: --ckpt_path, --out"),
    ],
)
def test_a_command_alone_says_what_it_needs(command: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 1
    assert capsys.readouterr().err == f"error: {told} (python -m segmentation {command} --help lists the arguments)\n"


def test_a_folder_is_no_kind_of_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--data.source", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert f"--data.source is {tmp_path}; give a kind of data set, such as FolderSource" in told
    assert "check --root FOLDER finds out" in told


WORDS = "(python -m segmentation fit --help lists the arguments)"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--model.lr", "abc"), "--model.lr is abc; give a number"),
        (("--data.crop", "abc"), "--data.crop is abc; give a whole number or null"),
        (("--data.workers", "-1.5"), "--data.workers is -1.5; give a whole number or null"),
        (("--model.tta", "foo"), "--model.tta is foo; give none, flips or d4"),
        (("--data.split_kind", "foo"), "--data.split_kind is foo; give contiguous, random, stratified or null"),
        (("--model.loss", "{bce:1}"), "--model.loss is {bce:1}; give a mapping such as {name: value} or null"),
        (("--model.scores", "foo"), "--model.scores is foo; give a list such as [a, b] or null"),
        (("--model.lrr", "1"), "did you mean --model.lr?"),
    ],
)
def test_a_value_of_a_wrong_type_is_told_with_those_that_would_do(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--data.source", "SyntheticSource", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.endswith(f" {WORDS}\n") and error.count("\n") == 1
    assert told in error


def test_a_config_that_is_not_there_is_told_with_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", "nowhere.yaml"]) == 1
    assert capsys.readouterr().err == f"error: --config: there is no file '{Path('nowhere.yaml').absolute()}' {WORDS}\n"


def test_commands_say_it_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "a", "--ckpt_path", "b", "--out", "c", "--tta", "foo"]) == 1
    assert "--tta is foo; give none, flips, d4 or null (python" in capsys.readouterr().err


def test_what_is_wrong_within_a_mapping_stays_as_the_parser_says_it() -> None:
    message = (
        'Parser key "model.loss":\n  Does not validate against any of the Union subtypes\n'
        "  Subtypes: [dict[str, float], <class 'NoneType'>]\n  Errors:\n    - Expected a <class 'float'>\n"
        "  Given value type: <class 'dict'>\n  Given value: {'bce': 'x'}"
    )
    assert explained(message, []) == message
    unknown = "Parser key \"data.source\":\n  Expected a <class 'Source'>. Got value: 5"
    assert explained(unknown, []) == unknown
