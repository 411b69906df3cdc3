"""Commands that a user is told to go on with, as they can be typed."""

import shlex


def typed(*words: object, **options: object) -> str:
    """A command line, quoted where a path has a space.

    Args:
        words: The command and its arguments.
        options: ``ckpt_path="runs/isbi"`` is ``--ckpt_path runs/isbi``; None is left out, and True is the name alone.
    """
    given = [
        word
        for name, value in options.items()
        if value is not None
        for word in ([f"--{name}"] if value is True else [f"--{name}", value])
    ]
    return shlex.join(["python", "-m", "segmentation", *map(str, (*words, *given))])


def predicting(checkpoint: object, counts: bool = False) -> str:
    """``predict`` with a checkpoint.

    Args:
        checkpoint: Its file or run.
        counts: Whether the masks number objects, which are to be counted then.
    """
    counting = {"write": "labels,objects", "instances": "watershed"} if counts else {}
    return typed("predict", "IMAGES", ckpt_path=checkpoint, out="predictions", **counting)
