"""Images of different sets that look alike are told, and strangers are not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from segmentation.data.checking.alike import alike, correlations, in_series, near_copies
from segmentation.data.checking.detect import describe
from segmentation.data.checking.mismatches import Thumbnail, thumbnail

Image = NDArray[np.float64]


def scene(seed: int, size: tuple[int, int] = (128, 160)) -> Image:
    """Blobs of a few cells of a thumbnail, on light and shade that all scenes share."""
    blobs = gaussian_filter(np.random.default_rng(seed).normal(size=size), 3)
    return 100 + 20 * blobs / blobs.std() + np.linspace(0, 80, size[0])[:, None]


def film(count: int, seed: int = 0, step: int = 2) -> list[Image]:
    """Frames of a camera that moves to the right."""
    wide = scene(seed, (128, 160 + count * step))
    return [wide[:, at * step : at * step + 160] for at in range(count)]


def small(images: list[Image]) -> dict[str, Thumbnail]:
    return {str(at): thumbnail(image[..., None], np.zeros(image.shape, np.uint8)) for at, image in enumerate(images)}


def every(count: int, nth: int) -> dict[str, list[str]]:
    """Each n-th image validates."""
    ids = [str(at) for at in range(count)]
    return {"train": [key for key in ids if int(key) % nth], "val": ids[::nth]}


def told(images: list[Image], split: dict[str, list[str]] | None) -> list[tuple[str, tuple[str, ...]]]:
    files = {str(at): f"{at}.png" for at in range(len(images))}
    return [(problem.fault, problem.files) for problem in alike(small(images), split, files)]


def test_nothing_is_said_of_strangers_nor_without_a_split() -> None:
    images = [scene(seed) for seed in range(30)]
    assert told(images, every(30, 5)) == []
    assert told(film(30), None) == []


def test_one_picture_saved_twice_names_both_with_their_lists() -> None:
    images = [scene(seed) for seed in range(10)]
    images[7] = 0.6 * images[2] + np.random.default_rng(0).normal(0, 5, images[2].shape)
    split = {"train": [str(at) for at in range(10) if at != 7], "val": ["7"]}
    ((fault, files),) = told(images, split)
    assert "nearly the same" in fault and files == ("2.png (train) and 7.png (val)",)
    assert told(images, {"train": ["2", "7"], "val": ["1", "3"]}) == []  # both train


def test_equal_images_are_no_near_copies() -> None:
    """They are named as copies by their digest."""
    images = [scene(seed) for seed in range(10)]
    images[7] = images[2]
    assert told(images, {"train": [str(at) for at in range(7)], "val": ["7", "8", "9"]}) == []


def test_frames_between_those_trained_on_are_told_and_the_end_of_a_film_is_not() -> None:
    images = film(30, step=3)
    ((fault, files),) = told(images, every(30, 5))
    assert "the images are in series" in fault and "6 of 6 that a model is scored on" in fault and files == ()
    last = {"train": [str(at) for at in range(24)], "val": [str(at) for at in range(24, 30)]}
    assert "in series" not in "".join(fault for fault, _ in told(images, last))


def test_what_all_images_share_does_not_make_them_copies() -> None:
    """The stage below each object, or the rim of the field of view."""
    rows, columns = np.indices((128, 160))
    rim = np.where((rows - 64) ** 2 + (columns - 80) ** 2 < 60**2, 1.0, 0.0)
    images = [scene(seed) * rim for seed in range(12)]
    table = correlations(list(small(images).values()))
    assert np.median(table) > 0.5
    assert told(images, every(12, 4)) == []


def test_a_table_by_hand() -> None:
    """Image 1 is most like image 0, 3 like 2, ...; a series needs more of them than chance gives."""
    table = np.zeros((40, 40))
    for at in range(0, 40, 2):
        table[at, at + 1] = table[at + 1, at] = 0.3
    assert in_series(table) == 40
    assert in_series(table[:4, :4]) == 0
    assert in_series(table[np.ix_(order := np.random.default_rng(0).permutation(40), order)]) == 0
    assert not near_copies(table).any()
    table[3, 9] = table[9, 3] = 0.5
    assert np.argwhere(near_copies(table)).tolist() == [[3, 9], [9, 3]]


@pytest.mark.parametrize("root", ["isic2018", "coco"])
def test_nothing_is_said_of_real_strangers(shared_data: Path, root: str) -> None:
    source = describe(shared_data / root).source
    samples = [sample for sample in source.samples() if sample.masks]
    small = {sample.id: thumbnail(source.read_image(sample), source.read_mask(sample)) for sample in samples}
    ids = list(small)
    assert alike(small, {"train": ids[1::2], "val": ids[::2]}, dict(zip(ids, ids, strict=True))) == []


def test_slices_of_a_real_stack_are_in_series(shared_data: Path) -> None:
    source = describe(shared_data / "isbi2012").source
    samples = [sample for sample in source.samples() if sample.masks]
    small = {sample.id: thumbnail(source.read_image(sample), source.read_mask(sample)) for sample in samples}
    ids = list(small)
    files = dict(zip(ids, ids, strict=True))
    (problem,) = alike(small, {"train": [key for key in ids if key not in ids[::5]], "val": ids[::5]}, files)
    assert "26 of 30 are most like the one before or after them" in problem.fault
    assert alike(small, {"train": ids[:24], "val": ids[24:]}, files) == []
