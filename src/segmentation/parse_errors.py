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


def explained(message: str, options: list[str]) -> str:
    """A message with the values that would do, and the option that was meant.

    ``--data.crop is abc; give a whole number or null`` instead of eight lines about Union subtypes; what is not about a
    simple type stays as it is.

    Args:
        message: Of jsonargparse.
        options: All that the parser knows, as they are to be shown.
    """
    missing = re.fullmatch(r'Parser key "([\w.]+)": File does not exist: (.*)', message)
    plain = _of_type(message) if missing is None else f"--{missing[1]}: there is no file {missing[2]}"
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
    last = {option: option.rsplit(".", 1)[-1] for option in known}  # data.lr is meant for model.lr
    lasts = get_close_matches(name.rsplit(".", 1)[-1], last.values(), n=1, cutoff=0.75)
    near = get_close_matches(name, list(known), n=1, cutoff=0.85) or [
        option for option in known if last[option] in lasts
    ]
    return f"; did you mean {' or '.join(known[option] for option in near[:2])}?" if near else ""


def _named(message: str, options: list[str]) -> str:
    """For a value without the name of its option, such as ``check my_data``: ``"; did you mean --root my_data?"``."""
    stray = re.search(r"unrecognized arguments: ([^-\s]\S*)", message)
    if stray is None:
        return ""
    path = Path(stray[1])
    meant = {
        "--config": path.suffix in (".yaml", ".yml"),
        "--ckpt_path": path.suffix == ".ckpt" or (path / "checkpoints").is_dir(),
        "--root": True,
    }
    name = next((name for name, is_meant in meant.items() if is_meant and name in options), None)
    return "" if name is None else f"; did you mean {name} {path}?"


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
