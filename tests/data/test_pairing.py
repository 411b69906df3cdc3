"""Patterns say which files belong together."""

from pathlib import Path

import pytest

from segmentation.data.inputs import find_jobs
from segmentation.data.pairing import Key, Pattern, aligned, collect, natural
from segmentation.data.sources.labelme import LabelmeSource
from segmentation.data.walking import walk
from segmentation.errors import InputError


def key_of(pattern: str, path: str) -> Key | None:
    return Pattern(Path("root"), pattern, "data.source.images").key(Path("root", path))


@pytest.mark.parametrize(
    ("pattern", "path", "key"),
    [
        ("images", "images/a.png", Key("a")),
        ("./images/", "images/p1/a.b.tif", Key("p1/a.b")),
        (".", "a.jpg", Key("a")),
        ("images/{stem}_mask", "images/a_mask.gif", Key("a")),
        ("images/{stem}_mask", "images/a.gif", None),
        ("images/{stem}.png", "images/a.png", Key("a")),
        ("images/{stem}.png", "images/a.jpg", None),
        ("images/t{stem}", "images/t07.tif", Key("07")),
        ("{split}/{stem}", "Training/a.png", Key("a", "train")),
        ("{split}annot/{stem}", "valannot/a.png", Key("a", "val")),
        ("{split}/{stem}", "other/a.png", None),
        ("labels{split}/{stem}", "labelsTr/a.png", Key("a", "train")),
        ("masks/{class}/{stem}", "masks/nucleus/x/a.png", Key("x/a", "", "nucleus")),
        (r"img/(?P<stem>\d+)_.*", "img/12_left.png", Key("12")),
        ("{stem}/{stem}_mask", "a/a_mask.png", Key("a")),
        ("{stem}/{stem}_mask", "a/b_mask.png", None),
        ("{stem}/image", "P00/image.png", Key("P00")),
        ("masks/{stem}.jpg", "masks/a.jpg.png", Key("a")),
        ("masks/{stem}.jpg", "masks/a.jpg", Key("a")),
        ("masks/{stem}.jpg", "masks/a.png", None),
        ("masks/{stem}.jpg", "masks/a.JPG", Key("a")),
        ("masks/{stem}.PNG", "masks/a.b.png", Key("a.b")),
        ("masks/{stem}.jpg", "Masks/a.jpg", None),
        ("train-volume.tif", "train-volume.tif", Key("train-volume")),
    ],
)
def test_what_a_name_says(pattern: str, path: str, key: Key | None) -> None:
    assert key_of(pattern, path) == key


@pytest.mark.parametrize(
    ("pattern", "told"), [("images/{name}", "{name} is unknown"), ("a/(?P<stem>[", "no regular expression")]
)
def test_a_wrong_pattern_is_told_at_once(pattern: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        Pattern(Path("root"), pattern, "data.source.images")
    assert told in str(caught.value) and "data.source.images" in str(caught.value)


def test_a_file_is_of_the_more_exact_pattern(tmp_path: Path) -> None:
    for name in ("a.png", "a_mask.png", "b.png"):
        (tmp_path / name).touch()
    images, masks = (Pattern(tmp_path, text, "") for text in ("{stem}", "{stem}_mask"))
    assert set(collect(images, [masks])) == {Key("a"), Key("b")}
    assert set(collect(masks, [images])) == {Key("a")}


APART, TOGETHER = "u\u0308", "\u00fc"  # one umlaut, as macOS and as Linux write it


def test_files_are_under_the_spelling_of_the_images() -> None:
    files = {Key(f"{TOGETHER}1", name=name): [Path(name)] for name in ("cell", "wall")}
    assert aligned(files, [Key(f"{APART}1"), Key("u1")]) == {
        Key(f"{APART}1", name="cell"): [Path("cell")],
        Key(f"{APART}1", name="wall"): [Path("wall")],
    }
    assert aligned(files, [Key(f"{APART}1", "train")]) == files  # of another split


def test_a_name_in_two_spellings_stays_as_it_is() -> None:
    both, one = {Key(APART): [Path("a")], Key(TOGETHER): [Path("b")]}, {Key(TOGETHER): [Path("b")]}
    assert aligned(both, [Key(APART)]) == both
    assert aligned(one, list(both)) == one
    assert aligned(both, list(both)) == both


def test_folders_behind_links_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "images")
    assert set(collect(Pattern(tmp_path, "images", ""))) == {Key("linked/a")}


def test_everything_that_is_read_goes_through_folders_the_same_way(tmp_path: Path) -> None:
    """Links too, hidden files and what macOS adds to archives not; each real folder once."""
    for name in ("b/2.png", "b/.hidden.png", ".hidden/3.png", "__MACOSX/4.png", "1.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/5.json").touch()
    (tmp_path / "data/a").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(tmp_path / "data")
    found = [(here.relative_to(tmp_path / "data").as_posix(), names) for here, names in walk(tmp_path / "data")]
    assert found == [(".", ["1.png"]), ("a", ["5.json"]), ("b", ["2.png"])]
    assert [job.name.as_posix() for job in find_jobs([str(tmp_path / "data")], tmp_path / "out")] == ["1", "b/2"]
    with pytest.raises(InputError, match=r"5\.json"):  # found, and no annotation
        LabelmeSource(tmp_path / "data").samples()


def test_numbers_sort_by_value() -> None:
    assert sorted(["s10", "s2", "p2/s1", "s1"], key=natural) == ["p2/s1", "s1", "s2", "s10"]
