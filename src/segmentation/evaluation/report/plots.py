"""The plots of a report: PNG on white for a paper, SVG in the colours of the page around it, each with a caption."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from segmentation.evaluation.names import title_of
from segmentation.evaluation.report import drawing
from segmentation.evaluation.report.drawing import INK, STYLE
from segmentation.evaluation.report.summary import Summary


@dataclass(frozen=True)
class Plot:
    """One plot of the page.

    Attributes:
        name: Of its PNG file, without suffix.
        title: What it shows.
        caption: What to look for, for a reader who has never seen one.
        svg: The drawing, to be put into the page.
    """

    name: str
    title: str
    caption: str
    svg: str


def draw(summary: Summary, folder: Path) -> list[Plot]:
    """Draw every plot that has something to show, and save each as ``NAME.png``.

    Args:
        summary: What was scored.
        folder: Of the PNG files; it exists.
    """
    with rc_context(STYLE):  # type: ignore[arg-type] # the stubs list the names of all settings
        return [_saved(*parts, folder) for parts in _figures(summary)]


def _figures(summary: Summary) -> Iterator[tuple[str, str, str, Figure]]:
    """(name, title, caption, figure)."""
    curves, name = summary.curves, summary.classes.names[summary.target]
    yield (
        *("classes", "Scores of each class"),
        "How well each class is found, 1 is perfect; the bars are 95 % intervals, so classes whose bars overlap widely "
        "may well be equal.",
        drawing.by_class(summary),
    )
    yield (
        *("images", "Scores of the images"),
        "Each dot is an image, the worst on the left; a few dots far below the others are the images to look at first.",
        drawing.by_rank(summary),
    )
    yield (
        *("confusion", "What is taken for what"),
        "Each row is what the pixels truly are, each column what they were labelled; a perfect result has 100 % on the "
        "diagonal.",
        drawing.confusion(summary),
    )
    if curves.threshold is not None:
        yield (
            *("thresholds", f"Scores of {name} at every threshold"),
            "A pixel is labelled as the second class where its probability exceeds the threshold; the dashed line is the "
            "threshold that the checkpoint stores and predict uses.",
            drawing.thresholds(curves.threshold, ("dice", "iou", "precision", "recall"), summary.thresholds),
        )
    if curves.em is not None:
        yield (
            *("em_thresholds", "V_Rand and V_Info at every threshold"),
            "How well whole cells are kept apart, 1 is perfect; the highest point is the official score, the dashed line "
            "the threshold that the checkpoint stores.",
            drawing.thresholds(curves.em, ("v_rand", "v_info"), summary.thresholds),
        )
    if curves.precision_recall is not None and curves.precision_recall["recall"].size:
        yield (
            *("precision_recall", f"Precision against recall of {name}"),
            f"Recall is the share of the true {name} that is found, precision the share of the predicted {name} that is "
            "right; the closer the curve comes to the upper right corner, the better. The dot is the stored threshold.",
            drawing.precision_recall(curves.precision_recall, summary, name),
        )
    yield (
        *("reliability", "Are the probabilities right?"),
        "Of pixels predicted with 80 % confidence, 80 % should be right: below the diagonal the network is too sure of "
        "itself. The bars show how many pixels have each confidence.",
        drawing.reliability(curves.reliability),
    )
    yield from _against(summary)


def _against(summary: Summary) -> Iterator[tuple[str, str, str, Figure]]:
    """The score against what differs between images."""
    images, title = summary.images, title_of(summary.main)
    areas = np.array([height * width for height, width in (image.size for image in images)])
    if len(set(areas.tolist())) > 1:
        yield (
            *("size", f"{title} against image size"),
            "Each dot is an image; a slope means that large and small images are not served equally well.",
            drawing.scatter(areas / 1e6, summary.column(summary.main), "megapixels", title, log=True),
        )
    counts = np.stack([image.confusion.sum(1) for image in images]).astype(float)
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    if summary.classes.binary:
        share, name = shares[:, summary.target], summary.classes.names[summary.target]
        if len(np.unique(share)) > 1:
            yield (
                *("share", f"{title} against the share of {name}"),
                f"Each dot is an image; dots that fall to the left mean that images with little {name} are hard.",
                drawing.scatter(
                    100 * share, summary.column(summary.main), f"{name} in the image (% of its pixels)", title
                ),
            )
    else:
        yield (
            *("share", "IoU against the share of a class"),
            "Each dot is a class; rare classes on the left that score low need more examples, or weights in the loss.",
            drawing.class_shares(counts.sum(0), summary),
        )
    groups = [image.group for image in images]
    if 1 < len(set(groups)) < len(images):
        yield (
            *("groups", f"{title} by group"),
            "Each dot is an image, each line a group such as a patient or a scene, the worst on top; one group far from "
            "the others is a case that the training lacks.",
            drawing.by_group(groups, summary.column(summary.main), title),
        )


def _saved(name: str, title: str, caption: str, figure: Figure, folder: Path) -> Plot:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    figure.suptitle(drawing.plain(title))
    figure.savefig(folder / f"{name}.png", dpi=160, facecolor="white")
    return Plot(name, title, caption, _inline(file.getvalue(), title))


def _inline(svg: str, title: str) -> str:
    """An SVG file -> an element of a page: no head, as wide as its place, its text in the page's colour."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace("xlink:href", "href")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head = r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>"
    return re.sub(head, lambda found: f'<svg {found[1]} role="img" aria-label="{escape(title)}">', svg, count=1)
