from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.checking.peek import peek
from segmentation.data.sample import Part


def written(path: Path, pixels: NDArray[np.uint8]) -> Part:
    Image.fromarray(pixels).save(path)
    return Part(path)


def test_a_peek_counts_pixels_and_masks_and_passes_over_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    parts = [
        written(tmp_path / "a.png", np.array([[0, 0], [0, 7]], np.uint8)),
        written(tmp_path / "b.png", np.array([[0, 7], [7, 9]], np.uint8)),
        Part(tmp_path / "broken.png"),
    ]
    seen = peek(parts)
    assert seen.masks == 2
    assert seen.pixels == {0: 4, 7: 3, 9: 1}
    assert seen.holders == {0: 2, 7: 2, 9: 1}
    assert seen.distinct == (2, 3)
    assert peek(parts[2:]).masks == 0


def test_a_peek_is_spread_over_all_masks(tmp_path: Path) -> None:
    parts = [written(tmp_path / f"{n}.png", np.full((1, 1), n, np.uint8)) for n in range(10)]
    assert set(peek(parts, 4).pixels) == {0, 3, 6, 9}
