"""Images without masks: their samples, their masks, and that none of them is a validation image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from segmentation.data.datamodule import SegmentationDataModule
from segmentation.data.dataset import Reader
from segmentation.data.problems import DataError
from segmentation.data.sources.tiff_stack import TiffStackSource
from segmentation.data.unlabelled import unlabelled_samples
from segmentation.errors import InputError

SourceOf = Callable[..., Any]


@pytest.fixture
def inputs() -> list[str]:
    """A folder with one image, and a stack of three pages."""
    Path("bare/deep").mkdir(parents=True)
    Image.fromarray(np.full((9, 7), 50, np.uint8)).save("bare/deep/a.png")
    pages = np.stack([np.full((8, 8), value, np.uint8) for value in (10, 20, 30)])
    tifffile.imwrite("stack.tif", pages, photometric="minisblack")
    return ["bare", "stack.tif"]


@pytest.fixture
def source(source_of: SourceOf) -> Any:
    random = np.random.default_rng(0)
    return source_of(
        {
            f"s{number}": (random.integers(0, 256, (8, 8, 1), np.uint8), random.integers(0, 2, (8, 8), np.uint8))
            for number in range(4)
        }
    )


def test_every_image_and_page_is_a_sample(inputs: list[str]) -> None:
    samples = unlabelled_samples(inputs, 1)
    assert [sample.id for sample in samples] == [
        "unlabelled/bare/deep/a.png",
        "unlabelled/stack.tif-000",
        "unlabelled/stack.tif-001",
        "unlabelled/stack.tif-002",
    ]
    assert all(sample.masks == () for sample in samples)


def test_images_of_one_name_are_samples_each() -> None:
    names = ["one/a.png", "two/a.png", "two/a.tif"]
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(name)
    ids = [sample.id for sample in unlabelled_samples(["one", "two", str(Path("two/a.tif").absolute())], 1)]
    assert ids == [f"unlabelled/{name}" for name in names]


def test_their_masks_are_ignored_everywhere(inputs: list[str], source: Any) -> None:
    image, mask = Reader(source)(unlabelled_samples(inputs, 1)[2])
    assert image.shape == (8, 8, 1) and (image == 20).all()
    assert mask.shape == (8, 8) and (mask == 255).all()


def test_they_are_drawn_as_often_as_the_others(inputs: list[str], source: Any) -> None:
    data = SegmentationDataModule(source, val_fraction=0.25, crop=8, unlabelled=inputs, augment="none", workers=0)
    data.setup("fit")
    data.setup("fit")  # by the command line and by Lightning
    draws = data.training_draws()
    ids = [draws[0, k]["id"] for k in range(len(draws))]
    assert sorted(ids) == sorted([*data.split["train"], *(sample.id for sample in unlabelled_samples(inputs, 1))])
    bare = [draws[0, k] for k in range(len(draws)) if ids[k].startswith("unlabelled/")]
    assert all((item["mask"] == 255).all() for item in bare)
    assert data.trained_on().keys() == set(ids)
    assert sum(data.class_pixels()) == 3 * 64  # of the masks that there are


def test_nothing_changes_without_them(source: Any) -> None:
    data = SegmentationDataModule(source, val_fraction=0.25, crop=8, workers=0)
    data.setup("fit")
    assert len(data.training_draws()) == 3
    assert data.trained_on().keys() == set(data.split["train"])


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_validation_and_test_images_are_refused(held_out: str, source: Any) -> None:
    data = SegmentationDataModule(
        source, val_fraction=0.25, test_fraction=0.25, crop=8, workers=0, unlabelled=["copy.png"]
    )
    Image.fromarray(source.arrays[data.split[held_out][0]][0][..., 0]).save("copy.png")
    with pytest.raises(
        InputError, match="1 images are validation or test images too, such as unlabelled/copy.png; take them away"
    ):
        data.setup("fit")


def test_pages_of_a_stack_have_the_neighbours_that_labelled_ones_have() -> None:
    pages = np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8)
    Path("images").mkdir()
    Path("masks").mkdir()
    tifffile.imwrite("images/a.tif", pages, photometric="minisblack")
    tifffile.imwrite("masks/a.tif", (pages > 99).astype(np.uint8), photometric="minisblack")
    source = TiffStackSource(".", in_channels=1, context=1)
    labelled = [source.read_image(sample) for sample in source.samples()]
    bare = [Reader(source)(sample)[0] for sample in unlabelled_samples(["images/a.tif"], 3, context=1)]
    assert all(np.array_equal(one, other) for one, other in zip(labelled, bare, strict=True))
    data = SegmentationDataModule(source, val_fraction=0.2, crop=8, workers=0, unlabelled=["images/a.tif"])
    with pytest.raises(
        InputError, match=r"1 images are validation or test images too, such as unlabelled/images/a.tif-0"
    ):
        data.setup("fit")


def test_what_cannot_be_read_is_named(source: Any) -> None:
    Path("broken.png").write_bytes(b"no image")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save("colour.png")
    data = SegmentationDataModule(source, crop=8, workers=0, unlabelled=["broken.png", "colour.png"])
    with pytest.raises(DataError) as caught:
        data.setup("fit")
    assert "broken.png" in str(caught.value) and "colour.png" in str(caught.value)
    data = SegmentationDataModule(source, crop=8, workers=0, unlabelled=["nothing"])
    with pytest.raises(InputError, match=r"no images in nothing \(does not exist\)"):
        data.setup("fit")
