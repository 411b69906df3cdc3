"""The text files in which data sets list their training, validation and test samples."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from segmentation.data.pairing import Pattern, composed, natural
from segmentation.data.reading import is_image
from segmentation.data.source import Lists
from segmentation.data.splits import NAMES
from segmentation.errors import InputError


def read_lists(files: Mapping[str, str] | str, root: Path, ids: Collection[str], images: Sequence[Pattern]) -> Lists:
    """Read lists with a sample in each line: its id, or the path of its image.

    Args:
        files: Path below ``root`` for ``train``, ``val`` and ``test``, or one with ``{split}`` in it.
        root: Folder of the data set.
        ids: All samples.
        images: What the images are called.

    Raises:
        InputError: When a file cannot be read, or a line names no sample.
    """
    if isinstance(files, str):
        if "{split}" not in files:
            raise InputError(f'data.source.lists is {files!r}; write {{split}} for train, val, test: "{{split}}.txt"')
        every = {name: files.replace("{split}", name) for name in NAMES}
        files = {name: path for name, path in every.items() if (root / path).is_file()}
        if not files:
            raise InputError(f"data.source.lists: none of {', '.join(every.values())} is in {root.absolute()}")
    wrong = [name for name in files if name not in NAMES]
    if wrong:
        raise InputError(f"data.source.lists: {', '.join(wrong)} is none of {', '.join(NAMES)}")
    known = _Names(ids, root, images)
    return {name: known.read(root / path) for name, path in files.items()}


class _Names:
    """What a line may call a sample."""

    def __init__(self, ids: Collection[str], root: Path, images: Sequence[Pattern]) -> None:
        self.ids = set(ids)
        self.root = root
        self.images = images
        last = Counter(_last(key) for key in ids)
        self.short = {_last(key): key for key in ids if last[_last(key)] == 1}
        alike = Counter(map(composed, ids))
        self.composed = {composed(key): key for key in ids if alike[composed(key)] == 1}

    def read(self, path: Path) -> list[str]:
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise InputError(f"data.source.lists: {path} cannot be read ({error})") from error
        found = {line: self._of(line) for line in lines}
        lost = [line for line, key in found.items() if key is None]
        if lost:
            raise InputError(
                f"data.source.lists: {len(lost)} lines of {path} name no sample, such as "
                f"{', '.join(map(repr, lost[:3]))}; samples are called "
                f"{', '.join(sorted(self.ids, key=natural)[:3])}"
            )
        return [key for key in found.values() if key is not None]

    def _of(self, line: str) -> str | None:
        """The sample of a line, which may go on with the path of the mask."""
        texts = (line, re.split(r"[\s,;]+", line)[0])
        keys = [key for text in texts for key in self._spellings(text)]
        exact = (key for key in keys if key in self.ids)
        alike = (self.composed[composed(key)] for key in keys if composed(key) in self.composed)
        return next(exact, None) or next(alike, None)

    def _spellings(self, text: str) -> Iterator[str]:
        """Ids that a text may mean: as it stands, as a path of an image below any folder, by its last part."""
        bare = Path(text).with_suffix("").as_posix() if is_image(Path(text)) else text
        yield from (text, bare)
        parts = text.strip("/").split("/")  # a list that was written on another machine begins with its folders
        for path in ("/".join(parts[above:]) for above in range(len(parts))):
            yield from (key.sample for pattern in self.images if (key := pattern.key(self.root / path)))
        short = self.short.get(_last(bare), "")
        if f"/{bare}".endswith(f"/{short}") or f"/{short}".endswith(f"/{bare}"):  # val/3 is not train/3
            yield short


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]
