"""``networks``: what ``model.network`` takes, how large it is and what an image costs."""

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segmentation.errors import InputError, nearest
from segmentation.model.networks.any_size import AnySize
from segmentation.model.networks.build import ARCHITECTURES, build_network, usual_encoder


def networks(
    *,
    names: str | None = None,
    encoder: str | None = None,
    size: int = 512,
    in_channels: int = 3,
    classes: int = 2,
) -> None:
    """List the networks with their parameters and the multiply-accumulates of one image.

    Nothing is downloaded or trained. GMAC are thousand millions of multiply-accumulates in convolutions and matrix
    products; a network that takes one size only is counted at that size.

    Args:
        names: Some of the networks, separated by commas, or your own as FOLDER.FILE.CLASS; all by default.
        encoder: For all of them, such as resnet34 or tu-convnext_tiny; by default each one's usual.
        size: Height and width of the image in pixels.
        in_channels: Of the image.
        classes: Of the task; two need one logit per pixel.

    Raises:
        InputError: For a number out of its range, an unknown name, or when no network that is named can be built.
    """
    for option, number, least in (("size", size, 1), ("in_channels", in_channels, 1), ("classes", classes, 2)):
        if number < least:
            raise InputError(f"--{option} is {number}; give {least} or more")
    asked = list(ARCHITECTURES) if names is None else [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in ARCHITECTURES and "." not in name:
            raise InputError(f"--names: no network is called {name!r}{nearest(name, list(ARCHITECTURES))}")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("network", "encoder"):
        table.add_column(title, overflow="fold")
    for title in ("million\nparameters", f"GMAC at\n{size}x{size}"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("padded to\nmultiples of", "paper (doi)"):
        table.add_column(title, overflow="fold")
    failures: dict[str, InputError] = {}
    for name in asked:
        usual, doi = usual_encoder(name), ARCHITECTURES[name].doi if name in ARCHITECTURES else ""
        taken = None if usual is None else encoder or usual
        try:
            network = build_network(name, taken, None, in_channels, 1 if classes == 2 else classes, {})
        except InputError as error:
            failures[name] = error
            table.add_row(name, taken, "", "", "see below", doi)
        else:
            table.add_row(name, taken, *_counts(network, in_channels, size), doi)
    console = Console(markup=False, highlight=False)
    console.print(table)
    for name, failure in failures.items():
        console.print(f"{name} cannot be built: {failure}", soft_wrap=True)
    if len(failures) == len(asked):
        raise InputError("none of these networks can be built")


def multiplications(network: nn.Module, in_channels: int, size: int) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image.

    Args:
        network: Is moved to the meta device, where shapes are computed and numbers are not.
        in_channels: C of the image.
        size: Its H and W in pixels.
    """
    image = torch.zeros(1, in_channels, size, size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval().to("meta")(image)
    return int(counter.get_total_flops()) // 2


def _counts(network: AnySize, in_channels: int, size: int) -> tuple[str, str, str]:
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    operations = multiplications(network, in_channels, network.fixed or size) / 1e9
    lengths = (
        f"{network.stride}, at least {network.shortest}" if network.fixed is None else f"{network.fixed} only, in tiles"
    )
    return f"{parameters:.1f}", f"{operations:.1f}", lengths
