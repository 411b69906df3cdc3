"""Whether ``--out`` can be written, asked before the work that it is to hold."""

from pathlib import Path
from tempfile import TemporaryFile

from segmentation.errors import InputError


def check_out(*files: Path, overwrite: bool) -> None:
    """Leave nothing behind, whatever the answer.

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
        there = next(folder for folder in path.absolute().parents if folder.exists())
        try:
            with TemporaryFile(dir=there):
                pass
        except OSError as error:
            reason = error.strerror or error
            raise InputError(
                f"{path.parent} cannot be made or written ({reason}); give a file in another folder as --out"
            ) from error
