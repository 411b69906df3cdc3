"""Networks as a function from pixels to labels, whatever computes them; here it is numpy."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segmentation.errors import InputError
from segmentation.inference.agglomeration import close_gaps, close_gaps_in_stack
from segmentation.inference.classes import Classes
from segmentation.inference.decision import Decision
from segmentation.inference.intensity import Intensity
from segmentation.inference.predictor import Description, Predictor

PLAIN = Description(Classes(("membrane", "cell")), 1, Intensity(), Decision())


class Brightness:
    """The probability of class 1 is what the network sees, of 255."""

    def __init__(self, description: Description = PLAIN) -> None:
        self.description, self.together = description, 1
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, tiles: NDArray[Any]) -> NDArray[np.float32]:
        self.seen.append(tiles.shape)
        one = tiles.astype(np.float32) / 255
        return np.concatenate([1 - one, one], axis=1)


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_a_description_survives_json() -> None:
    described = Description(
        Classes(("sky", "road", "car"), ((10, 20, 30), (200, 0, 0), (0, 0, 250)), 254),
        3,
        Intensity("uint16", "percentile", (1.0, 2.0, 3.0), (100.0, 200.0, 300.0)),
        Decision(0.25, 12, 7),
        tile=512,
        overlap=0.125,
        tta="d4",
        tta_scales=(0.5, 1.0),
        agglomeration=0.6,
        fixed=224,
        trained_on={"a.png": "abc", "b.png": ""},
    )
    stored = json.loads(json.dumps({"format": 1} | described.to_dict()))
    assert Description.from_dict(stored) == described
    assert Description.from_dict(json.loads(json.dumps(PLAIN.to_dict()))) == PLAIN


def test_pixels_become_probabilities_and_labels() -> None:
    predictor = Predictor([Brightness(replace(PLAIN, decision=Decision(0.25)))])
    image = noise(20, 30)
    np.testing.assert_allclose(predictor.probabilities(image)[1], image / 255, atol=1e-6)
    np.testing.assert_array_equal(predictor(image), image > 0.25 * 255)
    np.testing.assert_array_equal(predictor(image[..., None]), predictor.labels(predictor.probabilities(image)))


def test_pixels_that_are_no_numbers_are_refused() -> None:
    """A network would spread them over all that it sees around them, and nothing is greater than NaN."""
    image = np.full((20, 30), 0.5, np.float32)
    image[3, 4] = np.inf
    predictor = Predictor([Brightness(replace(PLAIN, intensity=Intensity("float32")))])
    with pytest.raises(InputError, match="NaN or infinite"):
        predictor(image)


def test_no_tile_is_larger_than_the_description_says() -> None:
    network = Brightness(replace(PLAIN, tile=16, overlap=0.5))
    image = noise(50, 40)
    np.testing.assert_allclose(Predictor([network]).probabilities(image)[1], image / 255, atol=1e-6)
    assert set(network.seen) == {(1, 1, 16, 16)}
    fixed = Brightness(replace(PLAIN, tile=16, fixed=8))
    Predictor([fixed])(image)
    assert set(fixed.seen) == {(1, 1, 8, 8)}
    largest = Brightness(replace(PLAIN, tile=32))  # of an ensemble, whichever comes first
    Predictor([largest, fixed, Brightness(replace(PLAIN, fixed=24))])(image)
    assert set(largest.seen) == set(fixed.seen) == {(1, 1, 8, 8)}


def test_networks_are_averaged_each_with_its_own_rule_and_their_decisions_too() -> None:
    brighter = Intensity("uint8", "max", (0.0,), (0.5,))  # stored pixels are doubled
    members = [
        Brightness(replace(PLAIN, decision=Decision(0.2, 10, 4))),
        Brightness(replace(PLAIN, decision=Decision(0.3, 30, 0), intensity=brighter)),
        Brightness(replace(PLAIN, decision=Decision(0.7, 20, 2))),
    ]
    predictor = Predictor(members)
    image = noise(9, 11) // 2
    np.testing.assert_allclose(predictor.probabilities(image)[1], image / 255 * 4 / 3, atol=1e-6)
    assert predictor.decision.threshold == pytest.approx(0.4)
    assert (predictor.decision.smallest_object, predictor.decision.largest_hole) == (20, 2)


def test_networks_of_other_classes_or_channels_do_not_belong_together() -> None:
    for other in (replace(PLAIN, in_channels=3), replace(PLAIN, classes=Classes(("membrane", "nucleus")))):
        with pytest.raises(InputError, match=r"do not belong together: \['membrane', 'cell'\] in 1 channels"):
            Predictor([Brightness(), Brightness(other)])


def test_gaps_are_closed_in_the_whole_image_whatever_the_tiles() -> None:
    image = noise(40, 50)
    closing = replace(PLAIN, agglomeration=0.4, tile=16)
    found = Predictor([Brightness(closing)]).probabilities(image)
    plain = Predictor([Brightness(replace(closing, agglomeration=None))]).probabilities(image)
    np.testing.assert_array_equal(found[1], close_gaps(plain[1], 0.4))
    assert (found != plain).any()


def test_the_slices_of_a_stack_ask_their_neighbours_where_wanted() -> None:
    slices = [noise(40, 50), np.roll(noise(40, 50), 3, 1), noise(50, 40).T]
    closing = replace(PLAIN, agglomeration=0.6, tile=16)
    alone = Predictor([Brightness(closing)])
    one_by_one = [alone.probabilities(one) for one in slices]
    np.testing.assert_array_equal(list(alone.stack(slices)), one_by_one)
    np.testing.assert_array_equal(list(Predictor([Brightness(closing)], 0.0).stack(slices)), one_by_one)
    together = list(Predictor([Brightness(closing)], 0.5).stack(slices))
    unclosed = Predictor([Brightness(replace(closing, agglomeration=None))])
    plain = [unclosed.probabilities(one)[1] for one in slices]
    np.testing.assert_array_equal([one[1] for one in together], list(close_gaps_in_stack(plain, 0.6, 0.5)))
    assert (np.stack(together) != np.stack(one_by_one)).any()
    np.testing.assert_allclose(np.stack(together).sum(1), 1, atol=1e-6)


def test_neighbours_without_closed_gaps_or_with_a_negative_weight_are_refused() -> None:
    with pytest.raises(InputError, match="give --agglomeration too, 0.6 for membranes"):
        Predictor([Brightness()], 0.3)  # before any image is read
    with pytest.raises(InputError, match="--neighbour_weight is -1"):
        Predictor([Brightness()], -1)


def test_what_was_trained_on_is_known_where_the_pixels_were_seen() -> None:
    members = [Brightness(replace(PLAIN, trained_on=seen)) for seen in ({"a": "1", "b": ""}, {"a": "2"})]
    assert Predictor(members).trained_on == {"1", "2"}


def test_pages_are_no_colours() -> None:
    colours, pages = replace(PLAIN, in_channels=3), replace(PLAIN, in_channels=3, context=1)
    with pytest.raises(InputError, match="do not belong together: .*in 3 channels and .*in 3 channels of 3 pages"):
        Predictor([Brightness(colours), Brightness(pages)])


def test_the_context_survives_json() -> None:
    described = replace(PLAIN, in_channels=3, context=1)
    assert Description.from_dict(json.loads(json.dumps(described.to_dict()))) == described
