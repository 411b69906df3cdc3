"""The one exception for what a user can mend."""


class InputError(Exception):
    """Something the user gave is wrong: a file, a value, a path.

    The message names the file, the value found and the cure. The command line prints it without a
    traceback and exits with status 1 (``SEGMENTATION_TRACEBACK=1`` shows the traceback).
    """


def nearest(name: str, known: list[str]) -> str:
    """``"; did you mean 'Unet' or 'UnetPlusPlus'?"``, or all of a short list when nothing is near."""
    from difflib import get_close_matches

    lowered = {candidate.lower(): candidate for candidate in known}
    matches = [lowered[match] for match in get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)]
    if matches:
        return "; did you mean " + " or ".join(repr(match) for match in matches) + "?"
    return "; known: " + ", ".join(sorted(known)) if len(known) <= 40 else ""


def nearest_option(message: str, options: list[str]) -> str:
    """What an option that a parser does not know was meant to be: ``"; did you mean --data.crop?"``, or nothing.

    Args:
        message: Of jsonargparse.
        options: All that the parser knows, as they are to be shown.
    """
    import re
    from difflib import get_close_matches

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
