"""The one exception for what a user can mend."""


class InputError(Exception):
    """Something the user gave is wrong: a file, a value, a path.

    The message names the file, the value found and the cure. The command line prints it without a
    traceback and exits with status 1 (``SEGMENTATION_TRACEBACK=1`` shows the traceback).
    """


def near(name: str, known: list[str]) -> str:
    """``"; did you mean 'Unet' or 'UnetPlusPlus'?"``, or nothing."""
    from difflib import get_close_matches

    lowered = {candidate.lower(): candidate for candidate in known}
    matches = [lowered[match] for match in get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)]
    return "; did you mean " + " or ".join(repr(match) for match in matches) + "?" if matches else ""


def nearest(name: str, known: list[str]) -> str:
    """As ``near``, or all of a short list when nothing is near."""
    return near(name, known) or ("; known: " + ", ".join(sorted(known)) if len(known) <= 40 else "")
