"""The table of commands. A command's code is imported only when it is called."""

import errno
import json
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from itertools import islice, zip_longest

from segmentation import __version__
from segmentation.errors import InputError, near

TRAINER_COMMANDS = {
    "fit": "train on images and masks",
    "validate": "score a checkpoint on the validation samples",
    "test": "score a checkpoint on the test samples",
}
FUNCTION_COMMANDS = {
    "benchmark": "size, speed, memory and scores of checkpoints and exported files, side by side",
    "check": "what a data set holds, what is wrong with it, and a config that fits it",
    "compare": "whether one run is better than another, image by image, from their reports",
    "convert": "rewrite a data set as index masks, COCO or labelme files",
    "crossval": "fit every fold of a data set, pool the scores, keep the folds as an ensemble",
    "export": "a checkpoint as one ONNX file, kept only if it answers as the checkpoint",
    "find_batch_size": "the largest batch that fits into the memory of a GPU, as a config",
    "find_lr": "a learning rate from a short training in which it rises, as a config",
    "networks": "the networks that can be trained, with their parameters and operations",
    "predict": "label images, folders and stacks with a checkpoint",
    "prune": "take channels out of a checkpoint, so that it is smaller and faster after fine-tuning",
    "report": "scores with intervals, curves and pictures of a checkpoint on one page",
    "synthesize": "draw the synthetic EM stack of the demo into a folder",
    "tune": "search for the arguments of fit that score best on the validation samples",
}
"""Each is the function of its name in ``commands/<name>.py``."""


def main(args: list[str] | None = None) -> int:
    """Run a command.

    Args:
        args: Command and arguments; those of the process by default.

    Returns:
        Exit status: 0, 1 for wrong input or arguments, 130 when stopped by Ctrl-C, 143 by SIGTERM.
    """
    try:
        status = _run(sys.argv[1:] if args is None else args)
        sys.stdout.flush()
        return status
    except InputError as error:
        if os.environ.get("SEGMENTATION_TRACEBACK"):
            raise
        # torch puts the traceback of a loader process before the message
        message = re.split(r"^segmentation\.errors\.InputError: ", str(error), flags=re.MULTILINE)[-1].rstrip()
        print(f"error: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of the output has ended, as `| head` does: Python shall not try to write the rest when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or os.environ.get("SEGMENTATION_TRACEBACK"):
            raise
        print(f"error: no space left on the disk ({error.filename or 'while writing'}); free some", file=sys.stderr)
        return 1


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "--version"):
        print(__version__ if args and args[0] == "--version" else _help())
        return 0
    command = args[0]
    if command in TRAINER_COMMANDS:
        return int(import_module("segmentation.cli").run(args))
    if command in FUNCTION_COMMANDS:
        return call(getattr(import_module(f"segmentation.commands.{command}"), command), args[1:]) or 0
    commands = list(TRAINER_COMMANDS | FUNCTION_COMMANDS)
    meant = near(MEANT.get(command, command), commands)
    raise InputError(f"unknown command {command!r}; commands: {', '.join(commands)}{meant}")


MEANT = {"train": "fit", "val": "validate", "evaluate": "test", "eval": "test", "infer": "predict"}
"""Names of commands in other programs."""

SWITCHES = (bool, bool | None)
"""Types of the arguments that are true when only named."""


def call(function: Callable[..., int | None], args: list[str]) -> int | None:
    """Call a typed function with command-line arguments.

    Args:
        function: Its parameters before ``*`` are lists and become positional, those after it ``--name``; ``*names``
            takes all arguments that are none of its own.
        args: The arguments.

    Returns:
        What the function returns: an exit status, or None for 0.

    Raises:
        InputError: For a missing, unknown or wrong argument.
    """
    from docstring_parser import parse  # jsonargparse's own
    from jsonargparse import ArgumentError, ArgumentParser

    from segmentation.parse_errors import explained

    described = {entry.arg_name: entry.description for entry in parse(function.__doc__ or "").params}
    parameters = signature(function).parameters
    positional = [name for name, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    others = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_POSITIONAL]
    flags = [f"--{name}" for name, parameter in parameters.items() if parameter.annotation in SWITCHES]
    lists = [f"--{name}" for name, parameter in parameters.items() if "list[" in str(parameter.annotation)]
    parser = ArgumentParser(
        prog=f"python -m segmentation {function.__name__}",
        description=(function.__doc__ or "").split("Args:")[0],
        exit_on_error=False,
        allow_abbrev=False,  # a typing error is not to pass for the option that it begins
    )
    for name in positional:
        parser.add_argument(name, nargs="+", type=str, help=described.get(name))
    parser.add_function_arguments(function, skip={*positional, *others})
    own = _with_values(args, flags)
    rest: list[str] = []
    if others:
        own, rest = _divided(own, list(parser._option_string_actions))
    try:
        config = parser.parse_args(_with_lists(own, lists, bool(positional)))
    except ArgumentError as error:
        told = explained(str(error), list(parser._option_string_actions))
        raise InputError(f"{told} ({parser.prog} --help lists the arguments)") from error
    return function(*rest, **config)


def _divided(args: list[str], options: list[str]) -> tuple[list[str], list[str]]:
    """A function's own options with their values, and the rest."""
    own: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word.split("=")[0] not in options:
            rest.append(word)
        else:
            own += [word] if "=" in word or word in ("-h", "--help") else [word, *islice(words, 1)]
    return own, rest


def _with_values(args: list[str], flags: list[str]) -> list[str]:
    """``--overwrite`` alone means ``--overwrite true``."""
    return [
        word
        for arg, after in zip_longest(args, args[1:], fillvalue="")
        for word in ([arg, "true"] if arg in flags and after.lower() not in ("true", "false") else [arg])
    ]


def _with_lists(args: list[str], lists: list[str], needs_words: bool) -> list[str]:
    """``--ckpt_path a b`` means ``--ckpt_path [a, b]``; but b is an input where inputs are needed and nowhere else."""
    groups: list[list[str]] = [[]]  # an option and the words up to the next
    for arg in args:
        if arg.startswith("--"):
            groups.append([])
        groups[-1].append(arg)
    elsewhere = bool(groups[0]) or any(
        len(group) > (1 if "=" in group[0] else 2) for group in groups[1:] if group[0] not in lists
    )
    for group in groups[1:]:
        if group[0] in lists and len(group) > 1 and group[1][0:1] not in ("[", "{"):
            stop = len(group) if elsewhere or not needs_words else 2
            group[1:stop] = [json.dumps(group[1:stop])]
    return [word for group in groups for word in group]


def _help() -> str:
    rows = [f"  {name:<17}{text}" for name, text in (TRAINER_COMMANDS | FUNCTION_COMMANDS).items()]
    return "\n".join(
        [
            f"segmentation {__version__}: image segmentation with PyTorch Lightning",
            "",
            "usage: python -m segmentation COMMAND [arguments]    (COMMAND --help lists them)",
            "",
            *rows,
            "",
            "first steps: python -m segmentation fit --config configs/demo.yaml",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
