"""The size that an annotation file states is compared with the image's header."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmentation.data.problems import FileError
from segmentation.data.sample import Part
from segmentation.data.stated_sizes import check_stated

PIXELS = np.zeros((6, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.png", lambda path: Image.fromarray(PIXELS).save(path)),
        ("a.jpg", lambda path: Image.fromarray(PIXELS).save(path)),
        ("a.tif", lambda path: tifffile.imwrite(path, PIXELS, photometric="rgb")),
        ("a.npy", lambda path: np.save(path, PIXELS)),
    ],
)
def test_a_size_is_that_of_the_image_or_refused(tmp_path: Path, name: str, save: Callable[[Path], None]) -> None:
    part = Part(tmp_path / name)
    save(part.path)
    check_stated((6, 8), Path("x/a.json"), part)
    check_stated((8, 6), Path("x/a.json"), part)  # as the camera was held
    with pytest.raises(FileError) as caught:
        check_stated((1_000_000, 8), Path("x/a.json"), part)
    assert str(caught.value).startswith(f"{part} is 6x8 (HxW), a.json says 1000000x8; export")


def test_an_image_without_a_header_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"?")
    with pytest.raises(FileError, match=r"a\.png cannot be read"):
        check_stated((6, 8), Path("a.json"), Part(tmp_path / "a.png"))
