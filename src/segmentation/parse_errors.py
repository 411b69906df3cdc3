"""What jsonargparse says of wrong arguments, in the words of a user."""

import re
from collections.abc import Iterator
from pathlib import Path

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "NoneType": "null",
    "dict": "a mapping such as {name: value}",
    "list": "a list such as [a, b]",
}


_MEANT = {
    "epochs": "--trainer.max_epochs",
    "gpus": "--trainer.devices",
    "imgsz": "--data.crop",
    "batch": "--data.batch_size",
    **{
        name: f"--data.source.{name}"
        for name in ("root", "images", "masks", "in_channels", "classes", "mask_values", "ignore_unknown", "lists")
    },
}
"""Names of options in other programs, and of arguments of the source without its name."""


def explained(message: str, options: list[str]) -> str:
    """A message with the values that would do, and the option that was meant.

    ``--data.crop is abc; give a whole number or null`` instead of eight lines about Union subtypes; what is not about a
    simple type stays as it is.

    Args:
        message: Of jsonargparse.
        options: All that the parser knows, as they are to be shown.
    """
    plain = _of_file(message) or _of_required(message) or _of_source(message) or _of_type(message)
    return (plain or message) + (_named(message, options) or nearest_option(message, options))


def nearest_option(message: str, options: list[str]) -> str:
    """What an option that a parser does not know was meant to be: ``"; did you mean --data.crop?"``, or nothing.

    Args:
        message: Of jsonargparse.
        options: All that the parser knows, as they are to be shown.
    """
    from difflib import get_close_matches  # slow to load, and rarely needed

    unknown = re.search(r"unrecognized arguments: .*?--([\w.]+)|[Oo]ption '([\w.]+)'", message)
    if unknown is None or "did you mean" in message:
        return ""
    name, known = unknown[1] or unknown[2], {option.removeprefix("--"): option for option in options}
    meant = _MEANT.get(name.rsplit(".", 1)[-1], "")
    if meant in options or (meant.startswith("--data.source.") and "--data.source" in options):
        return f"; did you mean {meant}?"
    last = {option: option.rsplit(".", 1)[-1] for option in known}  # data.lr is meant for model.lr
    lasts = get_close_matches(name.rsplit(".", 1)[-1], last.values(), n=1, cutoff=0.75)
    near = (
        get_close_matches(name, list(known), n=1, cutoff=0.85)
        or [option for option in known if last[option] in lasts]
        or [option for option in known if option.startswith(f"{name}_")]
    )
    return f"; did you mean {' or '.join(known[option] for option in near[:2])}?" if near else ""


def _named(message: str, options: list[str]) -> str:
    """For a value without the name of its option, such as ``check my_data``: ``"; did you mean --root my_data?"``."""
    stray = re.search(r"unrecognized arguments: ([^-\s]\S*)", message)
    if stray is None:
        return ""
    path = Path(stray[1])
    meant = {
        "--config": path.suffix in (".yaml", ".yml"),
        "--ckpt_path": path.suffix == ".ckpt" or any(any(path.glob(run)) for run in ("checkpoints", "*/checkpoints")),
        "--root": True,
    }
    name = next((name for name, is_meant in meant.items() if is_meant and name in options), None)
    return "" if name is None else f"; did you mean {name} {path}?"


def _of_file(message: str) -> str | None:
    missing = re.fullmatch(r'Parser key "([\w.]+)": File does not exist: (.*)', message)
    return None if missing is None else f"--{missing[1]}: there is no file {missing[2]}"


def _of_required(message: str) -> str | None:
    """For options that have to be given."""
    missing = re.fullmatch(r"the following arguments are required: (.*)", message)
    if missing is None:
        return None
    command, _, option = missing[1].partition(".")
    if option == "data.source":
        needed = (
            "--config FILE; check --root FOLDER writes one" if command == "fit" else "--ckpt_path, such as runs/isbi"
        )
        return f"{command} needs {needed}"
    return f"the following arguments are required: {', '.join(f'--{name}' for name in missing[1].split(', '))}"


def _of_source(message: str) -> str | None:
    """For a folder in the place of a kind of data set."""
    if not message.startswith('Parser key "data.source":') or "Expected a dot import path string:" not in message:
        return None
    value = message.rsplit(":", 1)[1].strip()
    return (
        f"--data.source is {value}; give a kind of data set, such as FolderSource with --data.source.root FOLDER; "
        "check --root FOLDER finds out which one fits a folder"
    )


def _of_type(message: str) -> str | None:
    """For a value of a wrong simple type."""
    name = re.match(r'Parser key "([\w.]+)":', message)
    value = re.search(r"(?:Got value|Given value): (.*)", message)
    types = re.search(r"^ *Subtypes: \[(.*)\]$", message, re.MULTILINE) or re.search(r"Expected a (.*?)\. Got", message)
    if name is None or value is None or types is None:
        return None
    kinds = [kind for text in _parts(types[1]) for kind in _kinds(text)]
    structured = "Given value type: <class 'dict'>" in message or "Given value type: <class 'list'>" in message
    if None in kinds or (structured and any("such as" in str(kind) for kind in kinds)):  # something within it is wrong
        return None
    *others, last = dict.fromkeys(map(str, kinds))
    return f"--{name[1]} is {value[1].strip()}; give {', '.join(others)}{' or ' if others else ''}{last}"


def _parts(text: str) -> Iterator[str]:
    """``a, b[c, d]`` is ``a`` and ``b[c, d]``."""
    depth, part = 0, ""
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and not depth:
            yield part.strip()
            part = ""
        else:
            part += letter
    yield part.strip()


def _kinds(text: str) -> list[str | None]:
    """What a person writes for a type; None for one that this does not know."""
    literal = re.fullmatch(r"typing\.Literal\[(.*)\]", text)
    if literal is not None:
        return [part.strip("'") for part in _parts(literal[1])]
    of_class = re.fullmatch(r"<class '(\w+)'>|(dict|list)\[.*\]", text)
    return [None if of_class is None else _KINDS.get(of_class[1] or of_class[2])]
