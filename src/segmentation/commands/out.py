"""Whether ``--out`` can be written, asked before the work that it is to hold; nothing is left behind."""

from pathlib import Path
from tempfile import TemporaryFile

from segmentation.errors import InputError


def check_files(*files: Path, overwrite: bool) -> None:
    """Ask for files.

    Args:
        files: To be written; their folders need not exist.
        overwrite: Whether files that are there already may go.

    Raises:
        InputError: When a file must stay, is a folder, or its folder cannot be made or written.
    """
    for path in files:
        if path.is_dir():
            raise InputError(f"--out {path} is a folder; give a file in it, such as {path / path.name}")
        if path.exists() and not overwrite:
            raise InputError(f"{path} is there already; nothing overwritten. Give another --out, or --overwrite")
        check_writable(path.parent, "a file in another folder")


def check_folder(out: Path | None) -> None:
    """Ask for a new folder; None, for one that the command names itself, is not asked about.

    Raises:
        InputError: When it holds something, is a file, or cannot be made or written.
    """
    if out is None:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already; nothing overwritten. Give another folder as --out")
    check_writable(out)


def check_writable(folder: Path, cure: str = "another folder") -> None:
    """Ask for a folder whatever it holds.

    Raises:
        InputError: When it cannot be made or written; the message ends in the cure.
    """
    whole = folder.absolute()
    there = next(path for path in (whole, *whole.parents) if path.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{folder} cannot be made or written ({reason}); give {cure} as --out") from error
