"""``synthesize``: what it writes is what the source draws, and it overwrites nothing unasked."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from segmentation.commands.synthesize import synthesize
from segmentation.data.reading import read_pixels, read_values
from segmentation.data.sample import Part
from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.errors import InputError


def test_files_hold_the_slices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data" / "demo"
    synthesize(out=out, slices=3, size=40, seed=5)
    assert capsys.readouterr().out == f"wrote 3 images and masks of 40x40 pixels to {out}/images and {out}/masks\n"
    source = SyntheticSource(slices=3, size=40, seed=5)
    names = [f"{sample.id}.png" for sample in source.samples()]
    for folder in ("images", "masks"):
        assert sorted(path.name for path in (out / folder).iterdir()) == names
    for sample, name in zip(source.samples(), names, strict=True):
        np.testing.assert_array_equal(read_pixels(Part(out / "images" / name)), source.read_image(sample))
        np.testing.assert_array_equal(read_values(Part(out / "masks" / name)), source.read_mask(sample) * 255)


@pytest.mark.parametrize("name", ["images/slice-000.png", "notes.txt"])
def test_a_folder_with_files_is_left_untouched(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"nothing overwritten.*--overwrite"):
        synthesize(out=tmp_path, slices=1, size=8)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
    assert file.read_bytes() == b"mine"


def test_overwrite_replaces_slices_and_keeps_the_rest(tmp_path: Path) -> None:
    synthesize(out=tmp_path, slices=3, size=8)
    (tmp_path / "images" / "notes.txt").write_text("mine")
    synthesize(out=tmp_path, slices=1, size=16, overwrite=True)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["images/notes.txt", "images/slice-000.png", "masks/slice-000.png"]
    assert read_pixels(Part(tmp_path / "images" / "slice-000.png")).shape == (16, 16, 1)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "demo"
    file.write_text("mine")
    with pytest.raises(InputError, match="is a file; nothing overwritten"):
        synthesize(out=file, slices=1, size=8, overwrite=True)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["images", "masks"])
def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    synthesize(out=tmp_path / "out", slices=1, size=8)
    shutil.rmtree(tmp_path / "out" / name)
    (tmp_path / "out" / name).write_text("mine")
    left = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(InputError, match=f"out/{name} cannot be made or written .*give another folder as --out"):
        synthesize(out=tmp_path / "out", slices=1, size=8, overwrite=True)
    assert sorted((tmp_path / "out").rglob("*")) == left


def test_a_wrong_argument_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size is 4"):
        synthesize(out=tmp_path / "demo", size=4)
    assert not (tmp_path / "demo").exists()
