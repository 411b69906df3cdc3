"""How many objects of each class are in each image: one table over all tables of objects."""

import csv
from collections import defaultdict
from pathlib import Path

from segmentation.data.reading import pages
from segmentation.data.results import result_paths
from segmentation.data.writing import Table
from segmentation.inference.classes import Classes

COUNTS = "objects.csv"
COLUMNS = ("file", "page", "class", "objects", "area", "mean_area")
"""The name of an image without suffix; its page (from 0) in a stack; pixels."""


def write_counts(out: Path, classes: Classes) -> Path:
    """Count what lies in ``objects/`` below ``out``, also that of earlier calls; images and classes without objects too.

    Args:
        out: Folder of the results.
        classes: Of the predictions; all but the first have objects.

    Returns:
        ``objects.csv`` in ``out``.

    Raises:
        FileError: When a picture of objects is damaged.
        WriteError: When the disk refuses.
    """
    path = out / COUNTS
    with Table(path, COLUMNS) as counts:
        for table in sorted((out / "objects").rglob("*.csv")):
            name = table.relative_to(out / "objects").with_suffix("")
            picture, _ = result_paths(out, "objects", name)
            if not picture.is_file():  # a table of somebody else
                continue
            areas: dict[tuple[str, str], list[int]] = defaultdict(list)
            with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                rows = csv.DictReader(file)
                stack = "page" in (rows.fieldnames or ())
                for row in rows:
                    areas[row.get("page", ""), row["class"]].append(int(row["area"]))
            labels = dict.fromkeys([*classes.names[1:], *(label for _, label in areas)])  # of another network, earlier
            for page in map(str, range(pages(picture))) if stack else [""]:
                for label in labels:
                    found = areas[page, label]
                    mean = round(sum(found) / len(found), 1) if found else ""
                    counts.rows.append((name.as_posix(), page, label, len(found), sum(found), mean))
    return path
