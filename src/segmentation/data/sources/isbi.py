"""The ISBI 2012 challenge: membranes in electron microscopy of neural tissue."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from segmentation.data.download import DownloadError, download
from segmentation.data.masks import MaskRule
from segmentation.data.reading import unreadable
from segmentation.data.sample import Part, Sample
from segmentation.data.source import Lists, Source
from segmentation.errors import InputError
from segmentation.inference.classes import Classes

URL = "https://downloads.imagej.net/ISBI-2012-challenge.zip"
ARCHIVE = "ISBI-2012-challenge.zip"
SHAPE = (30, 512, 512)

# sha256 over the decoded uint8 pixels; public copies agree in the pixels and differ in the file bytes
DIGESTS = {
    "train-volume": "200da3d452d726e6c9ca1ce04b869d4edb727320d23b516d01cce707dc8c4760",
    "train-labels": "a7cb64000a1a7e542682927e19c91339f58f9f178e0bcce4e207371116f0ca36",
    "test-volume": "1b58fa7ec1d0ff9d39a855622db3ff66a97863036339b0d04be51b2f5a99b0e9",
}
STACKS = ("test-labels", "test-volume", "train-labels", "train-volume")  # the needed ones last: see _unpack
NEEDED = ("train-volume", "train-labels")


class IsbiSource(Source):
    """30 serial sections of a Drosophila larva's nerve cord with membranes (class 0) and cells (class 1).

    512x512 grey slices of 4 x 4 x 50 nm; Arganda-Carreras et al. 2015, doi 10.3389/fnana.2015.00142.
    The three TIFF stacks of the official archive are read from ``root``, else the archive itself, else
    it is fetched. The pixels are checked against known digests. With ``test-labels.tif`` beside them the
    30 test slices are the test set, which no published digest covers.

    Args:
        root: Folder of the stacks or of the archive, or the archive, which is unpacked into a folder of
            its name beside it.
        download: Whether the archive may be fetched when nothing is there.
    """

    def __init__(self, root: str | Path = "data/isbi2012", download: bool = True) -> None:
        given = Path(root).expanduser()
        packed = given.suffix.lower() == ".zip"
        self.root = given.with_suffix("") if packed else given
        self.archive = given if packed else given / ARCHIVE
        self.download = download
        self.classes = Classes(("membrane", "cell"))
        self.in_channels = 1
        self.mask_rule = MaskRule(self.classes, {0: 0, 255: 1})
        self._stacks: dict[Path, NDArray[np.uint8]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the pixels: a worker reads its own."""
        return {**self.__dict__, "_stacks": {}}

    def prepare(self) -> None:
        """Unpack or fetch the stacks when they are not there.

        Raises:
            InputError: When they cannot be had, or are not the official ones.
        """
        if self._complete():
            return
        if self.archive.is_file():
            with _disk(self.root):
                _unpack(self.archive, self.root)
        elif self.download:
            self._fetch()
        else:
            raise self._missing("data.source.download is false")

    def samples(self) -> list[Sample]:
        """``train-00`` .. ``train-29``, and with labels ``test-00`` .. ``test-29``, in the order of the volume."""
        if not self._complete():
            raise self._missing("nothing was unpacked or downloaded yet")
        sets = ["train", "test"] if self._has_test() else ["train"]
        return [
            Sample(
                f"{name}-{page:02d}",
                (Part(self._path(f"{name}-volume"), page),),
                (Part(self._path(f"{name}-labels"), page),),
            )
            for name in sets
            for page in range(SHAPE[0])
        ]

    def lists(self) -> Lists | None:
        """The test slices when their labels are there."""
        return {"test": [f"test-{page:02d}" for page in range(SHAPE[0])]} if self._has_test() else None

    def read_image(self, sample: Sample) -> NDArray[Any]:
        """A slice (512, 512, 1), uint8."""
        return self._page(sample.images[0])[..., None].copy()

    def read_mask(self, sample: Sample) -> NDArray[np.uint8]:
        """0 on membranes, 1 in cells (512, 512)."""
        if not sample.masks:
            raise InputError(f"{sample.id} has no mask")
        return self.mask_rule.decode(self._page(sample.masks[0]), sample.masks[0])

    def _page(self, part: Part) -> NDArray[np.uint8]:
        if part.path not in self._stacks:
            self._stacks[part.path] = load(part.path)
        page: NDArray[np.uint8] = self._stacks[part.path][part.page or 0]
        return page

    def _path(self, name: str) -> Path:
        return self.root / f"{name}.tif"

    def _complete(self) -> bool:
        return all(self._path(name).is_file() for name in NEEDED)

    def _has_test(self) -> bool:
        return self._path("test-labels").is_file() and self._path("test-volume").is_file()

    def _fetch(self) -> None:
        with _disk(self.root):
            self.archive.parent.mkdir(parents=True, exist_ok=True)
            try:
                download(URL, self.archive)
            except DownloadError as error:
                raise self._missing(f"downloading {URL} failed: {error}") from error
            try:
                _unpack(self.archive, self.root)
            except InputError:
                self.archive.unlink()
                raise

    def _missing(self, reason: str) -> InputError:
        files = ", ".join(f"{name}.tif" for name in NEEDED)
        return InputError(
            f"the ISBI 2012 stacks are not here: looked for {files} in {self.root.absolute()} and for "
            f"{self.archive.absolute()}; {reason}. Fetch {URL} on a machine with network and put it, or its TIFF "
            f"files, into {self.root.absolute()}, or set data.source.root to where they are; configs/demo.yaml "
            "needs no data"
        )


def load(path: Path) -> NDArray[np.uint8]:
    """A whole stack (30, 512, 512), checked.

    Args:
        path: A multi-page TIFF; its name says which of the stacks it is.

    Raises:
        InputError: When it cannot be read or holds other pixels than the official one.
    """
    name = path.stem
    if not path.is_file():
        raise InputError(f"{path.absolute()} does not exist")
    try:
        with tifffile.TiffFile(path) as file:
            stack: NDArray[Any] = file.asarray()
    except Exception as error:  # decoders raise whatever they like on damaged files
        raise unreadable(path.absolute(), error) from error
    cure = f"delete it and take the official file from {URL}, or describe your own images with FolderSource"
    if stack.shape != SHAPE or stack.dtype != np.uint8:
        raise InputError(f"{path.absolute()} is {stack.dtype} {stack.shape}, expected uint8 {SHAPE}; {cure}")
    if name in DIGESTS:
        found = hashlib.sha256(np.ascontiguousarray(stack).data).hexdigest()
        if found != DIGESTS[name]:
            raise InputError(
                f"{path.absolute()} holds other pixels than the official {name}.tif: their sha256 is {found}, expected "
                f"{DIGESTS[name]}; {cure}"
            )
    elif not np.isin(stack, (0, 255)).all():
        raise InputError(f"{path.absolute()} holds other values than 0 (membrane) and 255 (cell); {cure}")
    return stack


def _unpack(archive: Path, root: Path) -> None:
    """Check the stacks of an archive and move them into a folder; all that are wrong leave it as it was."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=root) as temporary:
        try:
            with zipfile.ZipFile(archive) as packed:
                members = {Path(name).stem: name for name in reversed(packed.namelist()) if _is_stack(name)}
                absent = [f"{name}.tif" for name in NEEDED if name not in members]
                if absent:
                    held = ", ".join(packed.namelist()[:10]) or "nothing"
                    raise InputError(
                        f"{archive.absolute()} lacks {' and '.join(absent)}, it holds {held}; "
                        f"replace it by the official archive {URL}"
                    )
                for name, member in members.items():
                    with packed.open(member) as source, Path(temporary, f"{name}.tif").open("wb") as target:
                        shutil.copyfileobj(source, target)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise InputError(
                f"{archive.absolute()} is no readable zip archive ({error}); replace it by the official archive {URL}"
            ) from error
        for name in members:
            try:
                load(Path(temporary, f"{name}.tif"))
            except InputError as error:
                told = str(error).replace(str(Path(temporary).absolute()), str(archive.absolute()))
                raise InputError(told.replace("delete it and", "delete the archive and")) from error
        # the needed stacks come last, so that a process killed here is not taken for done
        for name in STACKS:
            if name in members:
                Path(temporary, f"{name}.tif").replace(root / f"{name}.tif")


def _is_stack(member: str) -> bool:
    return any(Path(member).name == f"{name}.tif" for name in STACKS)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """A disk that is full or may not be written to is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder.absolute()} or the archive cannot be read or written ({error}); set data.source.root elsewhere"
        ) from error
