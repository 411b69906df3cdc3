"""A folder of images and masks: pairing, order, channels, and messages with the cure."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentation.data.sample import Sample
from segmentation.data.sources.folder import FolderSource
from segmentation.errors import InputError

SHARED = Path(__file__).parents[4] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not here")

RGB = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
MASK = np.arange(48, dtype=np.uint8).reshape(6, 8) % 2


def save(path: Path, array: np.ndarray = RGB) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def pairs(root: Path, *names: str) -> Path:
    """A data set of ``images/NAME.png`` and ``masks/NAME.png``."""
    for name in names:
        save(root / "images" / f"{name}.png")
        save(root / "masks" / f"{name}.png", MASK)
    return root


def ids(samples: list[Sample]) -> list[str]:
    return [sample.id for sample in samples]


def refusal(source: FolderSource) -> str:
    with pytest.raises(InputError) as caught:
        source.samples()
    return str(caught.value)


def test_images_and_masks_pair_by_name_whatever_the_format(tmp_path: Path) -> None:
    save(tmp_path / "images" / "b.jpg")
    save(tmp_path / "images" / "a.b.c.PNG")
    save(tmp_path / "images" / "sub" / "b.Tif")
    save(tmp_path / "masks" / "b.tiff", MASK)
    save(tmp_path / "masks" / "a.b.c.Png", MASK)
    save(tmp_path / "masks" / "sub" / "b.gif", MASK)
    samples = FolderSource(tmp_path).samples()
    assert [(sample.id, sample.images[0].path.name, sample.masks[0].path.name) for sample in samples] == [
        ("a.b.c", "a.b.c.PNG", "a.b.c.Png"),
        ("b", "b.jpg", "b.tiff"),
        ("sub/b", "b.Tif", "b.gif"),
    ]


def test_a_stated_suffix_is_that_of_any_case(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JPG"):
        save(tmp_path / "images" / name)
        save(tmp_path / "masks" / f"{name[0]}.png", MASK)
    assert ids(FolderSource(tmp_path, images="images/{stem}.jpg").samples()) == ["a", "b"]
    save(tmp_path / "images" / "a.JPG")
    if len(list((tmp_path / "images").iterdir())) == 3:  # not where a.JPG is a.jpg
        message = refusal(FolderSource(tmp_path, images="images/{stem}.jpg"))
        assert "a.JPG = a.jpg: one name twice" in message


def test_the_same_names_in_another_order_still_pair_right(tmp_path: Path) -> None:
    """``1_x`` and ``10_x`` sort differently with and without a suffix, which is where order pairs wrongly."""
    for name in ("1", "1-b", "10", "2"):
        save(tmp_path / "images" / f"{name}.png")
        save(tmp_path / "masks" / f"{name}_mask.png", MASK)
    for sample in FolderSource(tmp_path, masks="masks/{stem}_mask").samples():
        assert sample.masks[0].path.stem == f"{sample.images[0].path.stem}_mask"


APART, TOGETHER = "u\u0308", "\u00fc"  # one umlaut, as macOS and as Linux write it


@pytest.mark.parametrize(("image", "mask"), [(APART, TOGETHER), (TOGETHER, APART), (APART, APART)])
def test_umlauts_pair_however_they_are_composed(tmp_path: Path, image: str, mask: str) -> None:
    save(tmp_path / "images" / f"{image}.png")
    save(tmp_path / "more" / f"{mask}.png")
    save(tmp_path / "masks" / f"{mask}.png", MASK)
    (sample,) = FolderSource(tmp_path, images=["images", "more"], in_channels=6).samples()
    assert sample.id == image  # as before, so that saved splits fit
    assert sample.masks[0].path.stem == sample.images[1].path.stem == mask


def test_two_spellings_of_one_umlaut_are_two_samples(tmp_path: Path) -> None:
    pairs(tmp_path, APART, TOGETHER)
    samples = FolderSource(tmp_path).samples()
    assert sorted(ids(samples)) == sorted([APART, TOGETHER])
    assert all(sample.masks[0].path.stem == sample.id for sample in samples)
    (tmp_path / "masks" / f"{APART}.png").unlink()
    assert f"images/{APART}.png: image without a mask" in refusal(FolderSource(tmp_path))


def test_order_is_natural_and_keeps_folders_together(tmp_path: Path) -> None:
    pairs(tmp_path, "s10", "s2", "s1", "p10/s1", "p2/s3", "p2/s20", "007", "7")
    assert ids(FolderSource(tmp_path).samples()) == ["007", "7", "p2/s3", "p2/s20", "p10/s1", "s1", "s2", "s10"]


def test_hidden_and_stray_files_are_passed_over(tmp_path: Path) -> None:
    pairs(tmp_path, "a")
    for name in ("images/.DS_Store", "images/Thumbs.db", "masks/classes.txt", "masks/._a.png", "notes.md"):
        (tmp_path / name).write_bytes(b"?")
    save(tmp_path / "images" / ".ipynb_checkpoints" / "a-checkpoint.png")
    assert ids(FolderSource(tmp_path).samples()) == ["a"]


def test_one_message_lists_every_fault(tmp_path: Path) -> None:
    pairs(tmp_path, "a", "b")
    save(tmp_path / "images" / "b.jpg")
    save(tmp_path / "masks" / "a.gif", MASK)
    save(tmp_path / "masks" / "only.png", MASK)
    for index in range(12):
        save(tmp_path / "images" / f"lonely{index}.png")
    message = refusal(FolderSource(tmp_path))
    assert "12 files: image without a mask masks/{stem}" in message
    assert f"lonely0.png, {tmp_path}/images/lonely1.png" in message
    assert "lonely9.png and 2 more" in message
    assert "lonely10.png" not in message
    assert "only.png: mask without an image images/{stem}" in message
    assert "b.jpg = b.png" in message
    assert "a.gif = a.png" in message


def test_duplicates_are_refused_without_masks_too(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png")
    save(tmp_path / "images" / "a.PNG.jpg")  # another name: a.PNG
    assert ids(FolderSource(tmp_path, masks=None).samples()) == ["a", "a.PNG"]
    save(tmp_path / "images" / "a.jpg")
    assert "a.jpg = a.png" in refusal(FolderSource(tmp_path, masks=None))


def test_a_forgotten_mask_suffix_is_found(tmp_path: Path) -> None:
    for name in ("1", "12"):
        save(tmp_path / "images" / f"{name}.png")
        save(tmp_path / "masks" / f"{name}_segmentation.png", MASK)
    message = refusal(FolderSource(tmp_path))
    assert 'Set data.source.masks: "masks/{stem}_segmentation"' in message
    assert ids(FolderSource(tmp_path, masks="masks/{stem}_segmentation").samples()) == ["1", "12"]
    assert 'Set data.source.masks: "masks/{stem}_segmentation"' in refusal(
        FolderSource(tmp_path, masks="masks/{stem}_mask")
    )


def test_a_missing_root_names_what_is_there(tmp_path: Path) -> None:
    pairs(tmp_path / "lesions", "a")
    message = refusal(FolderSource(tmp_path / "lesion" / "set"))
    assert str(tmp_path / "lesion" / "set") in message
    assert f"{tmp_path} holds the folders lesions/" in message


def test_missing_folders_are_found_under_their_other_names(tmp_path: Path) -> None:
    save(tmp_path / "image" / "a.png")
    save(tmp_path / "label" / "a.png", MASK)
    message = refusal(FolderSource(tmp_path))
    assert f"{tmp_path / 'images'} and {tmp_path / 'masks'} do not exist" in message
    assert "image/, label/" in message
    assert "Set data.source.images: image, data.source.masks: label" in message


def test_a_missing_mask_folder_names_both_ways_out(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png")
    message = refusal(FolderSource(tmp_path))
    assert f"{tmp_path / 'masks'} does not exist" in message
    assert "data.source.masks: FOLDER (null for images without labels)" in message
    assert "data.source.images:" not in message


def test_images_right_in_the_root(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "masks" / "a.png", MASK)
    assert "Set data.source.images: ." in refusal(FolderSource(tmp_path))
    assert ids(FolderSource(tmp_path, images=".").samples()) == ["a"]


def test_one_folder_for_both_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match="two folders"):
        FolderSource(tmp_path, masks="./images")


def test_empty_folders_say_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.mat").touch()
    message = refusal(FolderSource(tmp_path))
    assert f"{tmp_path / 'images'} holds no image" in message
    assert "only files such as 1 .mat" in message


def test_without_masks_samples_are_unlabelled(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png")
    source = FolderSource(tmp_path, masks=None)
    (sample,) = source.samples()
    assert sample.masks == ()
    with pytest.raises(InputError, match="a has no mask"):
        source.read_mask(sample)


def test_pixels_and_classes_are_read(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a.png", MASK * 255)
    source = FolderSource(tmp_path, mask_values={0: 0, 255: 1})
    (sample,) = source.samples()
    np.testing.assert_array_equal(source.read_image(sample), RGB)
    np.testing.assert_array_equal(source.read_mask(sample), MASK)
    with pytest.raises(InputError, match=r"a\.png holds the values \[0, 255\].*mask_values: \{0: 0, 255: 1\}"):
        FolderSource(tmp_path).read_mask(sample)


OPAQUE = np.full((6, 8, 1), 255, np.uint8)
GREY = RGB[..., :1]
GREY3 = np.repeat(GREY, 3, axis=-1)


@pytest.mark.parametrize(
    ("stored", "in_channels", "read"),
    [
        (GREY3, 1, GREY),
        (np.concatenate([RGB, OPAQUE], -1), 3, RGB),
        (np.concatenate([RGB, OPAQUE], -1), 4, np.concatenate([RGB, OPAQUE], -1)),
        (np.concatenate([GREY3, OPAQUE], -1), 1, GREY),
        (np.concatenate([GREY, OPAQUE], -1), 1, GREY),
        (GREY[..., 0], 3, GREY3),
        (np.concatenate([GREY, OPAQUE], -1), 3, GREY3),
    ],
)
def test_channels_are_dropped_or_repeated_where_nothing_is_lost(
    tmp_path: Path, stored: np.ndarray, in_channels: int, read: np.ndarray
) -> None:
    save(tmp_path / "images" / "a.png", stored)
    source = FolderSource(tmp_path, masks=None, in_channels=in_channels)
    np.testing.assert_array_equal(source.read_image(source.samples()[0]), read)


@pytest.mark.parametrize(
    ("stored", "in_channels", "cure"),
    [
        (GREY[..., 0], 4, 1),
        (RGB, 1, 3),
        (RGB, 4, 3),
        (np.concatenate([RGB, OPAQUE - 1], -1), 3, 4),
        (np.concatenate([GREY, OPAQUE], -1), 4, 1),
        (np.concatenate([GREY, OPAQUE - 1], -1), 3, 2),
    ],
)
def test_other_channels_are_refused_with_both_shapes(
    tmp_path: Path, stored: np.ndarray, in_channels: int, cure: int
) -> None:
    save(tmp_path / "images" / "a.png", stored)
    source = FolderSource(tmp_path, masks=None, in_channels=in_channels)
    with pytest.raises(InputError) as caught:
        source.read_image(source.samples()[0])
    message = str(caught.value)
    assert str(tmp_path / "images" / "a.png") in message
    assert str((6, 8, stored.size // 48)) in message and f"(6, 8, {in_channels})" in message
    assert f"data.source.in_channels: {cure}" in message


def test_a_grey_part_of_several_is_not_repeated(tmp_path: Path) -> None:
    for part, pixels in (("rgb", RGB), ("depth", GREY[..., 0])):
        save(tmp_path / part / "a.png", pixels)
    source = FolderSource(tmp_path, images=["rgb", "depth"], masks=None, in_channels=6)
    with pytest.raises(InputError, match=r"is RGB \+ grey.*set data.source.in_channels: 4"):
        source.read_image(source.samples()[0])


def test_every_ignored_colour_of_a_table_is_ignored(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", RGB[:2, :2])
    save(tmp_path / "masks" / "a.png", np.array([[[0, 0, 0], [7, 7, 7]], [[8, 8, 8], [0, 0, 9]]], np.uint8))
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nvoid:7,7,7::\ncar:0,0,9::\nignore:8,8,8::\n")
    source = FolderSource(tmp_path, classes="labelmap.txt")
    assert source.read_mask(source.samples()[0]).tolist() == [[0, 255], [255, 1]]


@pytest.mark.parametrize("suffix", ["png", "gif", "tif"])
def test_a_palette_is_read_in_its_colours_where_the_values_are_colours(tmp_path: Path, suffix: str) -> None:
    colors = np.array([[64, 0, 128], [0, 0, 0]], np.uint8)  # the palette has them in another order than the classes
    (pairs(tmp_path, "a") / "masks" / "a.png").unlink()
    mask = Image.fromarray(MASK).convert("P")
    mask.putdata(MASK.ravel().tolist())
    mask.putpalette(colors.ravel().tolist())
    mask.save(tmp_path / "masks" / f"a.{suffix}")
    stated = FolderSource(tmp_path, ["background", "car"], mask_values={"background": [0, 0, 0], "car": [64, 0, 128]})
    np.testing.assert_array_equal(stated.read_mask(stated.samples()[0]), 1 - MASK)
    indices = FolderSource(tmp_path, ["background", "car"])
    np.testing.assert_array_equal(indices.read_mask(indices.samples()[0]), MASK)


def test_the_arguments_alone_tell_classes_and_channels() -> None:
    source = FolderSource("nowhere", ["sky", "sea"], in_channels=5, colors=[[1, 2, 3], [4, 5, 6]], ignore_index=9)
    assert source.classes.names == ("sky", "sea")
    assert source.classes.colors == ((1, 2, 3), (4, 5, 6))
    assert source.classes.ignore_index == 9
    assert source.in_channels == 5
    assert source.lists() is None
    assert FolderSource("nowhere").classes.names == ("background", "foreground")


@pytest.mark.parametrize(
    "arguments",
    [{"in_channels": 0}, {"colors": [[0, 0], [1, 1]]}, {"colors": [[0, 0, 256], [1, 1, 1]]}, {"mask_values": {0: 7}}],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(arguments))):
        FolderSource("nowhere", **arguments)


def test_it_travels_to_workers(tmp_path: Path) -> None:
    source = pickle.loads(pickle.dumps(FolderSource(pairs(tmp_path, "a"))))
    np.testing.assert_array_equal(source.read_mask(source.samples()[0]), MASK)


@shared
def test_isic() -> None:
    source = FolderSource(SHARED / "isic2018", masks="masks/{stem}_segmentation", mask_values={0: 0, 255: 1})
    samples = source.samples()
    assert len(samples) == 60
    assert samples[0].id == "ISIC_0000000"
    assert source.read_image(samples[0]).shape == (512, 512, 3)
    assert np.unique(source.read_mask(samples[0])).tolist() == [0, 1]
    assert 'masks: "masks/{stem}_segmentation"' in refusal(FolderSource(SHARED / "isic2018"))


@shared
def test_isbi_slices() -> None:
    arguments = {"images": "image", "masks": "label", "in_channels": 1, "mask_values": {0: 0, 255: 1}}
    source = FolderSource(SHARED / "isbi2012-png" / "train", ["membrane", "cell"], **arguments)
    samples = source.samples()
    assert ids(samples) == [str(index) for index in range(30)]
    assert source.read_image(samples[2]).shape == (512, 512, 1)
    assert np.unique(source.read_mask(samples[2])).tolist() == [0, 1]
    message = refusal(FolderSource(SHARED / "isbi2012-png" / "train"))
    assert "Set data.source.images: image, data.source.masks: label" in message


@shared
def test_carvana() -> None:
    source = FolderSource(SHARED / "carvana", images="manual_test", masks="manual_test_masks/{stem}_mask")
    samples = source.samples()
    assert len(samples) == 5
    assert source.read_image(samples[0]).shape == (1280, 1918, 3)
    assert np.unique(source.read_mask(samples[0])).tolist() == [0, 1]
    message = refusal(FolderSource(SHARED / "carvana"))
    assert "Set data.source.images: manual_test, data.source.masks: manual_test_masks" in message


@shared
def test_damaged_masks_are_refused_by_name() -> None:
    source = FolderSource(SHARED, images="corrupt-png", masks=None)
    masks = [sample for sample in source.samples() if sample.id.endswith("_mask")]
    assert len(masks) == 5
    for sample in masks:
        with pytest.raises(InputError, match=r"_mask\.png cannot be read"):
            source.read_image(sample)
