"""What belongs together, by a pattern or a table."""

from pathlib import Path

import pytest

from segmentation.data.groups import regrouped
from segmentation.data.sample import Part, Sample
from segmentation.errors import InputError


def samples_of(*ids: str, labelled: bool = True) -> list[Sample]:
    return [Sample(key, (), (Part(Path("mask.png")),) if labelled else (), "the source's") for key in ids]


def groups(samples: list[Sample], group: str) -> list[str | None]:
    return [sample.group for sample in regrouped(samples, group)]


def refusal(samples: list[Sample], group: str) -> str:
    with pytest.raises(InputError) as caught:
        regrouped(samples, group)
    return str(caught.value)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (r"^[^_]+", ["anna", "anna", "bob"]),
        (r"_(\d)", ["1", "2", "1"]),
        (r"^(an|bo)\w+_(\d)", ["an", "an", "bo"]),
    ],
)
def test_a_pattern_gives_its_first_group_or_the_match(group: str, expected: list[str]) -> None:
    assert groups(samples_of("anna_1", "anna_2", "bob_1"), group) == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_has_its_columns_anywhere_between_any_delimiter(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ("age", "Group", "ID"),
        ("40", "anna", "s1"),
        ("40", "anna", "s2"),
        ("7", "bob, jr", "s3"),
        ("1", "x", "s9"),
    ]
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in rows]
    path = tmp_path / "patients.csv"
    path.write_text("\ufeff" + "\n".join(delimiter.join(row) for row in quoted) + "\n\n", encoding="utf-8")
    assert groups(samples_of("s1", "s2", "s3"), str(path)) == ["anna", "anna", "bob, jr"]


def test_labelled_samples_without_a_group_are_counted_and_named() -> None:
    ids = [f"x{number}" for number in range(7)]
    told = refusal([*samples_of("anna_1", *ids), *samples_of("bare", labelled=False)], "^[^_]+(?=_)")
    assert "data.group ^[^_]+(?=_): 7 of 8 labelled samples do not match, such as x0, x1, x2; give a regular" in told


def test_samples_that_are_not_in_the_table_are_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_text("id,group\ns1,anna\ns2,\n")
    told = refusal(samples_of("s1", "s2", "s3"), str(path))
    assert (
        f"data.group {path}: 2 of 3 labelled samples are not in the table, such as s2, s3; add a row for each" in told
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has the header ''; it needs the columns id and group"),
        ("name,patient\ns1,anna\n", "has the header 'name,patient'; it needs the columns id and group"),
        ("id,group\ns1\n", "the row 's1' has no group; fill every row"),
        ("id,group\ns1,anna\ns1,bob\n", "s1 has two groups, anna and bob; keep one"),
        ("id,group\ns1,\xe9\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tmp_path: Path, text: str | None, told: str) -> None:
    path = tmp_path / "patients.csv"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    message = refusal(samples_of("s1"), str(path))
    assert told in message
    assert str(path) in message


def test_a_wrong_pattern_is_refused() -> None:
    assert "data.group '(anna' is no regular expression" in refusal(samples_of("anna_1"), "(anna")
