"""Test-time augmentation: means over mirror images and quarter turns."""

import numpy as np
import pytest
import torch

from segmentation.inference.flips import VIEWS, Tta, averaged


def ramp(images: np.ndarray) -> np.ndarray:
    """A network that looks only at where a pixel lies: its column."""
    return np.zeros_like(images) + np.arange(images.shape[-1])


@pytest.mark.parametrize("tta", list(VIEWS))
@pytest.mark.parametrize("shape", [(6, 6), (5, 8)])
def test_a_network_that_sees_one_pixel_answers_the_same(tta: Tta, shape: tuple[int, int]):
    image = torch.rand(2, 3, *shape)
    torch.testing.assert_close(averaged(lambda pixels: pixels**2, tta)(image), image**2)
    np.testing.assert_allclose(averaged(np.square, tta)(image.numpy()), image.numpy() ** 2, rtol=1e-6)


def test_mirror_images_cancel_what_depends_on_the_place():
    image = np.zeros((1, 1, 4, 6))
    assert (averaged(ramp, "none")(image)[0, 0, 0] == range(6)).all()
    assert (averaged(ramp, "flips")(image) == 2.5).all()
    assert (averaged(ramp, "d4")(image) == (2.5 + 1.5) / 2).all()  # turned, the columns are the rows


def test_turns_are_turned_back():
    """The mean over all eight views of a corner detector has its four corners at their places."""
    image = np.arange(16.0).reshape(1, 1, 4, 4)

    def corner(images: np.ndarray) -> np.ndarray:
        marked = np.zeros_like(images)
        marked[..., 0, 0] = images[..., 0, 0]
        return marked

    expected = np.zeros((4, 4))
    for y, x in [(0, 0), (0, 3), (3, 0), (3, 3)]:
        expected[y, x] = image[0, 0, y, x] / 4
    np.testing.assert_allclose(averaged(corner, "d4")(image)[0, 0], expected)


@pytest.mark.parametrize(("batch", "counts"), [(1, [1] * 8), (3, [3, 3, 2]), (8, [8])])
def test_views_go_through_the_network_together(batch: int, counts: list[int]):
    seen = []

    def predict(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return images

    averaged(predict, "d4", batch)(np.zeros((1, 1, 5, 5)))
    assert seen == counts


def test_views_of_other_shapes_go_separately():
    seen = []

    def predict(images: np.ndarray) -> np.ndarray:
        seen.append(images.shape)
        return images

    averaged(predict, "d4", 8)(np.zeros((1, 1, 5, 7)))
    assert seen == [(4, 1, 5, 7), (4, 1, 7, 5)]


def test_no_more_views_go_together_than_fit() -> None:
    seen: list[int] = []

    def predict(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return images

    averaged(predict, "d4", 4)(np.zeros((2, 1, 5, 5)))
    assert seen == [4, 4, 4, 4]  # 8 views of 2 images, 4 at once
