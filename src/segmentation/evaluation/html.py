"""What every page shares: the templates, pictures within the page, numbers as a person writes them."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from segmentation.errors import InputError
from segmentation.inference.classes import Color


def write_html(path: Path, template: str, **values: Any) -> None:
    """Fill a template and write it: one file that needs nothing beside it.

    Args:
        path: Of the page.
        template: A file of ``templates/``.
        values: What the template names.

    Raises:
        InputError: When the file cannot be written.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"percent": percent, "number": number, "score": score}
    text = templates.get_template(template).render(**values)
    try:
        path.write_text(text, encoding="utf-8", errors="replace")  # the names of files may be no UTF-8
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}); give another --out") from error


def data_url(image: Image.Image, kind: str) -> str:
    """A picture within the page.

    Args:
        image: RGB.
        kind: ``png`` for flat colours, ``jpeg`` for photographs.
    """
    buffer = io.BytesIO()
    image.save(buffer, format=kind.upper(), **({"quality": 82} if kind == "jpeg" else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def legend(names: Sequence[str], colors: Sequence[Color]) -> list[tuple[str, str]]:
    """Classes and their colours in CSS."""
    return list(zip(names, map(css, colors), strict=True))


def css(color: Color) -> str:
    """RGB in 0..255 -> CSS."""
    return "rgb({} {} {})".format(*color)


def percent(share: float) -> str:
    """A share 0..1 as a person writes it: 12%, 1.5%, 0.03%; what is there is never 0%."""
    if share <= 0:
        return "0%"
    value = 100 * share
    if value >= 99.5:
        return "100%" if share >= 1 else f"{value:.1f}%" if value < 99.95 else "> 99.9%"
    return f"{value:.0f}%" if value >= 10 else f"{value:.1f}%" if value >= 1 else f"{max(value, 0.01):.2f}%"


def number(value: float) -> str:
    """Four digits; all of them before the point up to a million millions."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


def score(value: float | None) -> str:
    """Three decimals; a hyphen for what is not defined, such as the score of a class that does not occur."""
    if value is None or math.isnan(value):
        return "-"
    return "inf" if math.isinf(value) else f"{value:.3f}"
