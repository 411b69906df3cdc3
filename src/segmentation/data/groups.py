"""Which samples belong together: a pattern in their ids, or a table."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from segmentation.data.sample import Sample
from segmentation.data.source import Lists
from segmentation.errors import InputError


def regrouped(samples: Sequence[Sample], group: str) -> list[Sample]:
    """The samples with groups of the user's instead of the source's.

    Args:
        samples: Those without a mask may lack a group.
        group: A regular expression searched in the id, whose first group, else the whole match, names the
            group; or the path of a .csv with the columns id and group.

    Raises:
        InputError: When the expression or table cannot be read, or gives a labelled sample no group.
    """
    table = _table(Path(group)) if group.lower().endswith(".csv") else None
    pattern = _pattern(group) if table is None else None

    def group_of(sample: Sample) -> str | None:
        if table is not None:
            return table.get(sample.id)
        found = pattern.search(sample.id) if pattern is not None else None
        return None if found is None else found[1 if found.re.groups else 0]

    result = [replace(sample, group=group_of(sample)) for sample in samples]
    bare = [sample.id for sample in result if sample.masks and not sample.group]
    if bare:
        count = f"{len(bare)} of {sum(bool(sample.masks) for sample in result)} labelled samples"
        shown = f"such as {', '.join(bare[:3])}"
        raise InputError(
            f"data.group {group}: {count} do not match, {shown}; give a regular expression that every id matches, "
            "or a .csv with the columns id and group"
            if table is None
            else f"data.group {group}: {count} are not in the table, {shown}; add a row for each"
        )
    return result


def check_together(lists: Lists, samples: Sequence[Sample], file: Path | str) -> None:
    """Refuse lists that share a group.

    Args:
        lists: Of existing ids.
        samples: Every listed sample.
        file: Where the lists come from, for the message.

    Raises:
        InputError: Naming the group and the lists.
    """
    group_of = {sample.id: sample.group for sample in samples}
    first: dict[str, str] = {}
    for name, ids in lists.items():
        for group in (group_of[sample_id] for sample_id in ids):
            if group is not None and first.setdefault(group, name) != name:
                raise InputError(
                    f"{file}: the group {group!r} is in {first[group]} and in {name}, so that scores would be of "
                    "images like those trained on; keep a group in one set, or correct data.group"
                )


def _pattern(group: str) -> re.Pattern[str]:
    try:
        return re.compile(group)
    except re.error as error:
        raise InputError(f"data.group {group!r} is no regular expression ({error}) and no .csv file") from error


def _table(path: Path) -> Mapping[str, str]:
    try:
        lines = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(
            f"data.group {path} cannot be read ({error}); give a .csv with the columns id and group"
        ) from error
    # the delimiter is the one that makes the header one
    for delimiter in ",;\t|":
        header, *rows = list(csv.reader(lines, delimiter=delimiter)) or [[]]
        names = [name.strip().lower() for name in header]
        if {"id", "group"} <= set(names):
            break
    else:
        raise InputError(
            f"data.group {path} has the header {lines[0] if lines else ''!r}; it needs the columns id and group, "
            "separated by a comma, semicolon, tab or bar"
        )
    id_column, group_column = names.index("id"), names.index("group")
    table: dict[str, str] = {}
    for row in rows:
        if len(row) <= max(id_column, group_column):
            raise InputError(f"data.group {path}: the row {delimiter.join(row)!r} has no group; fill every row")
        sample_id, group = row[id_column].strip(), row[group_column].strip()
        if table.setdefault(sample_id, group) != group:
            raise InputError(f"data.group {path}: {sample_id} has two groups, {table[sample_id]} and {group}; keep one")
    return table
