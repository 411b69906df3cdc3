"""``segmentation synthesize``: a folder of drawn images and masks to try the other commands on."""

from pathlib import Path

from PIL import Image

from segmentation.commands.out import check_writable
from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.errors import InputError


def synthesize(
    *, out: Path = Path("data/demo"), slices: int = 30, size: int = 512, seed: int = 0, overwrite: bool = False
) -> None:
    """Draw a stack of slices that look like electron microscopy, with exact masks.

    Writes ``OUT/images/slice-000.png`` and ``OUT/masks/slice-000.png`` and so on, 8-bit grey. Masks hold
    0 on membranes and 255 in cells.

    Args:
        out: Folder to write to.
        slices: Number of slices.
        size: Side of the slices in pixels, at least 8.
        seed: Another seed draws other tissue.
        overwrite: Write to a folder that has files; its earlier slices are removed, all else is kept.

    Raises:
        InputError: When the folder has files and overwrite is false, or an argument is out of its range.
    """
    source = SyntheticSource(slices, size, seed)
    _make_way(out, overwrite)
    for sample in source.samples():
        image, mask = source.read_image(sample)[..., 0], source.read_mask(sample) * 255
        Image.fromarray(image).save(out / "images" / f"{sample.id}.png")
        Image.fromarray(mask).save(out / "masks" / f"{sample.id}.png")
    print(f"wrote {slices} images and masks of {size}x{size} pixels to {out}/images and {out}/masks")


def _make_way(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; nothing overwritten. Give another folder as --out")
    if not overwrite and any(path.is_file() for path in out.rglob("*")):
        raise InputError(f"{out} has files; nothing overwritten. Give another folder as --out, or --overwrite")
    folders = out / "images", out / "masks"
    for folder in (out, *folders):
        check_writable(folder)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("slice-*.png"):  # of a longer stack or another seed: they would mix with the new ones
            path.unlink()
