"""Which files belong together: patterns of names below a folder."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from segmentation.data.reading import IMAGE_SUFFIXES, is_image
from segmentation.data.walking import walk
from segmentation.errors import InputError

SPLIT_WORDS = {
    "train": ("training", "train", "tr"),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("testing", "test", "ts"),
}
"""What folders of a split are called, in any case; the longest first."""

_WORD = {word: name for name, words in SPLIT_WORDS.items() for word in words}
_PLACEHOLDERS = {
    "{stem}": r"(?P<stem>.+)",
    "{split}": f"(?P<split>(?i:{'|'.join(_WORD)}))",
    "{class}": r"(?P<class>[^/]+)",
}


@dataclass(frozen=True)
class Key:
    """What a file's name says.

    Attributes:
        stem: What image and mask have in common.
        split: ``train``, ``val``, ``test``, or empty.
        name: Of the class, or empty.
    """

    stem: str
    split: str = ""
    name: str = ""

    @property
    def sample(self) -> str:
        """The id of the sample."""
        return f"{self.split}/{self.stem}" if self.split else self.stem


@dataclass(frozen=True)
class Pattern:
    """Names of files below a folder.

    ``images`` is ``images/{stem}``: every image below that folder. ``{stem}`` is what image and mask share,
    sub-folders included; ``{split}`` a folder name such as train, val, Testing; ``{class}`` that of a class.
    Instead, a regular expression with a group ``(?P<stem>...)``. A file suffix is left out, or stated, in any case, when
    only that format is meant. A path with a suffix and no placeholder is that one file.

    Attributes:
        root: Folder that the pattern begins in.
        text: The pattern.
        setting: Where it stands in a config, for messages.
    """

    root: Path
    text: str
    setting: str

    def __post_init__(self) -> None:
        self.expression  # noqa: B018 - a wrong one is told at once

    @property
    def regular(self) -> bool:
        """Whether it is a regular expression."""
        return "(?P<stem>" in self.text

    @cached_property
    def full(self) -> str:
        """With a placeholder for the files of a plain folder."""
        if self.regular or "{stem}" in self.text or self.literal:
            return self.text
        return str(PurePosixPath(self.text) / "{stem}")

    @property
    def literal(self) -> bool:
        """Whether it is the path of one file."""
        return "{" not in self.text and not self.regular and self._has_suffix(self.text)

    @cached_property
    def folder(self) -> Path:
        """The deepest folder that all its files are in."""
        parts = PurePosixPath(self.full).parts[:-1]
        fixed = 0
        while fixed < len(parts) and not re.search(r"[{}()?*+\\\[\]|^$]", parts[fixed]):
            fixed += 1
        return self.root.joinpath(*parts[:fixed])

    @property
    def place(self) -> Path:
        """What has to be there: the one file, or ``folder``."""
        return self.root / self.text if self.literal else self.folder

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """Matches paths relative to ``root``, without their suffix unless the pattern states one."""
        text = str(PurePosixPath(self.full))
        if not self.regular:
            suffix = PurePosixPath(text).suffix if self._has_suffix(text) else ""
            pieces = re.split(r"(\{[^}]*\})", text.removesuffix(suffix))
            unknown = [piece for piece in pieces[1::2] if piece not in _PLACEHOLDERS]
            if unknown:
                raise InputError(
                    f"{self.setting} {self.text!r}: {unknown[0]} is unknown; there are {', '.join(_PLACEHOLDERS)}"
                )
            seen: set[str] = set()
            text = ""
            for piece in pieces:
                # a placeholder that comes again means the same text
                repeated = (
                    f"(?P={piece[1:-1]})"
                    if piece in seen and piece in _PLACEHOLDERS
                    else _PLACEHOLDERS.get(piece, re.escape(piece))
                )
                text += repeated
                seen.add(piece)
            text += f"(?i:{re.escape(suffix)})"  # cameras write .JPG
        try:
            return re.compile(text)
        except re.error as error:
            raise InputError(f"{self.setting} {self.text!r} is no regular expression ({error})") from error

    def same(self, other: "Pattern") -> bool:
        """Whether both are the same files."""
        return (self.root, PurePosixPath(self.full)) == (other.root, PurePosixPath(other.full))

    @property
    def weight(self) -> int:
        """How much of it is fixed; a file that fits two patterns is of the heavier one."""
        return len(re.sub(r"\{[^}]*\}|\(\?P<stem>.*?\)", "", self.full))

    def key(self, path: Path) -> Key | None:
        """What a file's name says; None when the pattern does not fit it."""
        names = [path] * (self.literal or self._has_suffix(self.full)) + [path.with_name(path.stem)] * (
            not self.literal
        )
        below = (Path(os.path.relpath(name, self.root)).as_posix() for name in names)  # X.jpg.png fits {stem}.jpg too
        found = next(filter(None, map(self.expression.fullmatch, below)), None)
        if found is None:
            return None
        groups = found.groupdict()
        split = _WORD.get((groups.get("split") or "").lower(), "")
        return Key(groups.get("stem") or path.stem, split, groups.get("class") or "")

    def files(self) -> Iterator[Path]:
        """Images in its folder and below."""
        if self.literal:
            yield from [self.root / self.text] if (self.root / self.text).is_file() else []
            return
        for here, names in walk(self.folder):
            yield from (path for name in names if is_image(path := here / name))

    def _has_suffix(self, text: str) -> bool:
        return text.lower().endswith(IMAGE_SUFFIXES)


def collect(pattern: Pattern, others: Iterable[Pattern] = ()) -> dict[Key, list[Path]]:
    """The files of a pattern by what their names say; more than one where only their suffixes differ.

    Args:
        pattern: Whose files.
        others: Files that fit one of these better are theirs.
    """
    found: dict[Key, list[Path]] = {}
    heavier = [other for other in others if other.weight > pattern.weight]
    for path in pattern.files():
        key = pattern.key(path)
        if key is not None and not any(other.key(path) for other in heavier):
            found.setdefault(key, []).append(path)
    return found


def aligned(found: dict[Key, list[Path]], images: Iterable[Key]) -> dict[Key, list[Path]]:
    """Files under the stems of the images, where both differ only in how their letters are composed.

    A name that is there in more than one spelling, among the files or the images, stays as it is.
    """
    stems: dict[tuple[str, str], set[str]] = {}
    for key in images:
        stems.setdefault((composed(key.stem), key.split), set()).add(key.stem)
    spellings = Counter(replace(key, stem=composed(key.stem)) for key in found)
    renamed: dict[Key, list[Path]] = {}
    for key, paths in found.items():
        fitting = stems.get((composed(key.stem), key.split), set())
        alone = len(fitting) == 1 and spellings[replace(key, stem=composed(key.stem))] == 1
        renamed[replace(key, stem=next(iter(fitting))) if alone else key] = paths
    return renamed


def composed(name: str) -> str:
    """A name in one spelling: macOS takes letters such as umlauts apart, other systems do not."""
    return unicodedata.normalize("NFC", name)


def natural(text: str) -> tuple[list[list[tuple[int, str]]], str]:
    """Sort key: numbers by value, sub-folder by sub-folder; the text itself decides between 01 and 1."""
    parts = [re.split(r"([0-9]+)", part) for part in text.split("/")]
    return [[(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in part] for part in parts], text
