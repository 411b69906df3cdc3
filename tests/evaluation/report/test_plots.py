"""The plots of a report: which there are, and that they stand on light and dark ground."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from segmentation.evaluation.curves import curves
from segmentation.evaluation.image_scores import score_image
from segmentation.evaluation.report import plots
from segmentation.evaluation.report.drawing import INK
from segmentation.evaluation.report.plots import Plot, draw
from segmentation.evaluation.report.summary import Summary
from segmentation.evaluation.scoring import intervals, per_image, pool
from segmentation.inference.classes import Classes

BINARY = Classes(("background", "lesion"))
MANY = Classes(("road", "car", "tree"))


def summary(
    classes: Classes, sizes: list[tuple[int, int]], groups: list[str | None] | None = None, em: bool = False
) -> Summary:
    random = np.random.default_rng(0)
    images = []
    for number, (size, group) in enumerate(zip(sizes, groups or [None] * len(sizes), strict=True)):
        mask = random.integers(0, len(classes), size).astype(np.uint8)
        raw = random.random((len(classes), *size)) + 0.5 * (mask == np.arange(len(classes))[:, None, None])
        probabilities = (raw / raw.sum(0)).astype(np.float32)
        labels = probabilities.argmax(0).astype(np.uint8)
        images.append(score_image(f"image-{number}", group, probabilities, labels, mask, classes, em=em))
    ends = intervals(images, classes, resamples=50)
    return Summary(
        classes=classes,
        images=images,
        rows=[per_image(image, classes) for image in images],
        whole={name: (value, *ends[name]) for name, value in pool(images, classes).items()},
        curves=curves(images, classes),
        main="dice",
        target=1,
        thresholds=[0.5],
        resampled="images",
    )


def test_a_plot_takes_the_ink_of_the_page_and_is_white_as_a_file(tmp_path: Path) -> None:
    for plot in draw(summary(BINARY, [(16, 16)] * 4, em=True), tmp_path):
        root = ElementTree.fromstring(plot.svg)
        assert root.get("viewBox") and root.get("width") is None and root.get("aria-label") == plot.title
        assert INK not in plot.svg and "currentColor" in plot.svg
        picture = np.asarray(Image.open(tmp_path / f"{plot.name}.png").convert("RGB"))
        assert (picture[0] == 255).all() and picture.min() < 60
        assert plot.caption.endswith(".")


def test_only_what_varies_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_saved", lambda name, *_: Plot(name, "", "", ""))  # saving is what takes time

    def names(summary: Summary) -> set[str]:
        return {plot.name for plot in draw(summary, tmp_path)}

    always = {"classes", "images", "confusion", "reliability", "share"}
    binary = always | {"thresholds", "precision_recall"}
    assert names(summary(BINARY, [(16, 16)] * 4)) == binary
    assert names(summary(BINARY, [(16, 16)] * 4, em=True)) == binary | {"em_thresholds"}
    assert names(summary(BINARY, [(16, 16), (16, 20)] * 2)) == binary | {"size"}
    assert names(summary(MANY, [(16, 16)] * 4)) == always
    assert names(summary(MANY, [(16, 16)] * 4, ["a", "a", "b", None])) == always | {"groups"}
    assert "groups" not in names(summary(MANY, [(16, 16)] * 4, ["a", "b", "c", "d"]))  # an image each


def test_names_stay_text(tmp_path: Path) -> None:
    by_name = {plot.name: plot.svg for plot in draw(summary(MANY, [(16, 16)] * 3), tmp_path)}
    for plot in ("classes", "confusion", "share"):
        text = "".join(ElementTree.fromstring(by_name[plot]).itertext())
        assert all(name in text for name in MANY.names)


def test_the_confusion_matrix_has_the_shares_of_the_truth(tmp_path: Path) -> None:
    one = summary(BINARY, [(1, 20)])
    exact = replace(one.images[0], confusion=np.array([[3, 1], [0, 16]]))
    by_name = {plot.name: plot.svg for plot in draw(replace(one, images=[exact]), tmp_path)}
    text = [element.text for element in ElementTree.fromstring(by_name["confusion"]).iter() if element.text]
    assert [number for number in text if number.strip().isdigit()] == ["75", "25", "100"]


def test_the_same_scores_give_the_same_drawing(tmp_path: Path) -> None:
    scores = summary(BINARY, [(16, 16)] * 3)
    assert [plot.svg for plot in draw(scores, tmp_path)] == [plot.svg for plot in draw(scores, tmp_path)]


@pytest.mark.parametrize("absent", [0, 1])
def test_a_class_that_never_occurs_and_a_single_image_are_drawn(tmp_path: Path, absent: int) -> None:
    classes = Classes(("a", "b"))
    mask = np.full((8, 8), 1 - absent, np.uint8)
    probabilities = np.stack([mask == 0, mask == 1]).astype(np.float32)
    image = score_image("x", None, probabilities, mask, mask, classes)
    ends = intervals([image], classes)
    whole = {name: (value, *ends[name]) for name, value in pool([image], classes).items()}
    rows, drawn = [per_image(image, classes)], curves([image], classes)
    one = Summary(classes, [image], rows, whole, drawn, "dice", 1, [0.5], "images")
    assert {"classes", "images", "confusion"} <= {plot.name for plot in draw(one, tmp_path)}
