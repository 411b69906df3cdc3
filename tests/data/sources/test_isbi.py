"""The ISBI 2012 stacks: where they come from, what is checked, how they are read."""

import hashlib
import io
import pickle
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tifffile

from segmentation.data import download
from segmentation.data.sources import isbi
from segmentation.data.sources.isbi import ARCHIVE, IsbiSource
from segmentation.errors import InputError

REAL = Path(__file__).parents[4] / "shared" / "data" / "isbi2012"
TRAIN = [f"train-{index:02d}" for index in range(30)]
TEST = [f"test-{index:02d}" for index in range(30)]


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared data sets are not here")
def test_the_real_stacks() -> None:
    source = IsbiSource(REAL, download=False)
    source.prepare()
    samples = source.samples()
    assert [sample.id for sample in samples] == TRAIN
    assert source.lists() is None
    assert source.classes.names == ("membrane", "cell")
    volume = tifffile.imread(REAL / "train-volume.tif")
    labels = tifffile.imread(REAL / "train-labels.tif")
    for index in (0, 7, 29):
        image, mask = source.read_image(samples[index]), source.read_mask(samples[index])
        np.testing.assert_array_equal(image, volume[index][..., None])
        np.testing.assert_array_equal(mask, labels[index] == 255)
        assert image.dtype == mask.dtype == np.uint8
    for name in isbi.DIGESTS:
        assert isbi.load(REAL / f"{name}.tif").shape == (30, 512, 512)


# Small stacks in the place of the real ones from here on.


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Fake official stacks of 30 slices, 32x32, with their digests."""
    rng = np.random.default_rng(0)
    made = {
        "train-volume": rng.integers(0, 256, (30, 32, 32), np.uint8),
        "train-labels": rng.integers(0, 2, (30, 32, 32), np.uint8) * np.uint8(255),
        "test-volume": rng.integers(0, 256, (30, 32, 32), np.uint8),
    }
    monkeypatch.setattr(isbi, "SHAPE", (30, 32, 32))
    monkeypatch.setattr(isbi, "DIGESTS", {name: hashlib.sha256(stack).hexdigest() for name, stack in made.items()})
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return made


def tiff(stack: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, stack, photometric="minisblack")
    return buffer.getvalue()


def packed(stacks: dict[str, np.ndarray], folder: str = "ISBI-2012-challenge/") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._train-volume.tif", b"?")
        for name, stack in stacks.items():
            archive.writestr(f"{folder}{name}.tif", tiff(stack))
    return buffer.getvalue()


def write(root: Path, stacks: dict[str, np.ndarray]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, stack in stacks.items():
        (root / f"{name}.tif").write_bytes(tiff(stack))
    return root


def refusal(source: IsbiSource) -> str:
    with pytest.raises(InputError) as caught:
        source.prepare()
    return str(caught.value)


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir()) if root.is_dir() else []


class Server(ThreadingHTTPServer):
    """Serves one file and counts; how badly it does so is set per test."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.status = 200
        self.ranges = True
        self.cuts: list[int] = []  # bytes that each of the first answers ends after
        self.asked: list[str | None] = []  # the Range header of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/isbi.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        size = len(self.server.content)
        if start >= size:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        end = start + self.server.cuts.pop(0) if self.server.cuts else size
        self.wfile.write(self.server.content[start:end])

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(isbi, "URL", running.url)
        yield running
        running.shutdown()
        thread.join()


def assert_reads(source: IsbiSource, stacks: dict[str, np.ndarray]) -> None:
    samples = source.samples()
    assert [sample.id for sample in samples][:30] == TRAIN
    np.testing.assert_array_equal(source.read_image(samples[3])[..., 0], stacks["train-volume"][3])
    np.testing.assert_array_equal(source.read_mask(samples[3]), stacks["train-labels"][3] == 255)


def test_stacks_in_a_folder(tmp_path: Path, stacks: dict[str, np.ndarray]) -> None:
    source = IsbiSource(write(tmp_path, stacks), download=False)
    source.prepare()
    assert_reads(source, stacks)


@pytest.mark.parametrize("folder", ["", "ISBI-2012-challenge/"])
def test_an_archive_in_the_folder(tmp_path: Path, stacks: dict[str, np.ndarray], folder: str) -> None:
    (tmp_path / ARCHIVE).write_bytes(packed(stacks, folder))
    source = IsbiSource(tmp_path, download=False)
    source.prepare()
    assert_reads(source, stacks)
    assert left(tmp_path) == [ARCHIVE, "test-volume.tif", "train-labels.tif", "train-volume.tif"]


def test_the_archive_itself(tmp_path: Path, stacks: dict[str, np.ndarray]) -> None:
    (tmp_path / "mine.zip").write_bytes(packed(stacks))
    source = IsbiSource(tmp_path / "mine.zip", download=False)
    source.prepare()
    assert_reads(source, stacks)
    assert left(tmp_path) == ["mine", "mine.zip"]


def test_test_labels_make_a_test_list(tmp_path: Path, stacks: dict[str, np.ndarray]) -> None:
    labels = 255 - stacks["train-labels"]
    source = IsbiSource(write(tmp_path, {**stacks, "test-labels": labels}), download=False)
    samples = source.samples()
    assert [sample.id for sample in samples] == TRAIN + TEST
    assert source.lists() == {"test": TEST}
    np.testing.assert_array_equal(source.read_image(samples[32])[..., 0], stacks["test-volume"][2])
    np.testing.assert_array_equal(source.read_mask(samples[32]), labels[2] == 255)


def test_wrong_test_labels_are_refused(tmp_path: Path, stacks: dict[str, np.ndarray]) -> None:
    source = IsbiSource(write(tmp_path, {**stacks, "test-labels": stacks["test-volume"]}), download=False)
    with pytest.raises(InputError, match=r"test-labels\.tif holds other values"):
        source.read_mask(source.samples()[-1])


def test_other_pixels_are_refused_with_both_digests(tmp_path: Path, stacks: dict[str, np.ndarray]) -> None:
    changed = stacks["train-labels"].copy()
    changed[0, 0, 0] ^= 255
    source = IsbiSource(write(tmp_path, {**stacks, "train-labels": changed}), download=False)
    sample = source.samples()[5]
    source.read_image(sample)
    with pytest.raises(InputError) as caught:
        source.read_mask(sample)
    message = str(caught.value)
    assert str(tmp_path / "train-labels.tif") in message
    assert hashlib.sha256(changed).hexdigest() in message
    assert isbi.DIGESTS["train-labels"] in message
    assert isbi.URL in message


@pytest.mark.parametrize("content", [b"", b"no tiff", tiff(np.zeros((3, 32, 32), np.uint8))])
def test_a_damaged_stack_is_named(tmp_path: Path, stacks: dict[str, np.ndarray], content: bytes) -> None:
    source = IsbiSource(write(tmp_path, stacks), download=False)
    (tmp_path / "train-volume.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"train-volume\.tif"):
        source.read_image(source.samples()[0])


def test_workers_get_no_pixels_and_caches_are_not_handed_out(tmp_path: Path, stacks: dict[str, np.ndarray]) -> None:
    source = IsbiSource(write(tmp_path, stacks), download=False)
    sample = source.samples()[3]
    source.read_image(sample)[:] = 0
    assert len(pickle.dumps(source)) < 4000 < stacks["train-volume"].nbytes
    assert_reads(source, stacks)
    assert_reads(pickle.loads(pickle.dumps(source)), stacks)


def test_download(tmp_path: Path, stacks: dict[str, np.ndarray], server: Server) -> None:
    server.content = packed(stacks)
    source = IsbiSource(tmp_path / "data" / "isbi2012")
    source.prepare()
    assert_reads(source, stacks)
    assert left(source.root) == [ARCHIVE, "test-volume.tif", "train-labels.tif", "train-volume.tif"]
    source.prepare()
    assert server.asked == [None]


def test_a_cut_connection_goes_on_where_it_ended(tmp_path: Path, stacks: dict[str, np.ndarray], server: Server) -> None:
    server.content = packed(stacks)
    server.cuts = [1000, 500]
    source = IsbiSource(tmp_path)
    source.prepare()
    assert_reads(source, stacks)
    assert server.asked == [None, "bytes=1000-", "bytes=1500-"]


def test_a_server_without_ranges_starts_anew(tmp_path: Path, stacks: dict[str, np.ndarray], server: Server) -> None:
    server.content = packed(stacks)
    server.cuts = [1000]
    server.ranges = False
    source = IsbiSource(tmp_path)
    source.prepare()
    assert_reads(source, stacks)
    assert server.asked == [None, "bytes=1000-"]


def test_the_next_run_goes_on_where_the_last_one_gave_up(
    tmp_path: Path, stacks: dict[str, np.ndarray], server: Server
) -> None:
    server.content = packed(stacks)
    server.cuts = [100] * download.ATTEMPTS
    source = IsbiSource(tmp_path)
    message = refusal(source)
    assert f"cut {download.ATTEMPTS} times" in message
    assert left(tmp_path) == [f".{ARCHIVE}.part"]
    source.prepare()
    assert_reads(source, stacks)
    assert server.asked[-1] == f"bytes={100 * download.ATTEMPTS}-"


def test_a_leftover_that_is_longer_than_the_file_is_dropped(
    tmp_path: Path, stacks: dict[str, np.ndarray], server: Server
) -> None:
    server.content = packed(stacks)
    (tmp_path / f".{ARCHIVE}.part").write_bytes(server.content + b"more")
    source = IsbiSource(tmp_path)
    source.prepare()
    assert_reads(source, stacks)


@pytest.mark.parametrize("status", [404, 503])
def test_a_refusing_server_is_quoted(
    tmp_path: Path, stacks: dict[str, np.ndarray], server: Server, status: int
) -> None:
    server.status = status
    message = refusal(IsbiSource(tmp_path))
    assert f"the server answers {status}" in message
    assert server.url in message
    assert left(tmp_path) == []


def test_a_download_with_other_pixels_leaves_nothing_behind(
    tmp_path: Path, stacks: dict[str, np.ndarray], server: Server
) -> None:
    server.content = packed({**stacks, "train-labels": 255 - stacks["train-labels"]})
    source = IsbiSource(tmp_path)
    message = refusal(source)
    assert "train-labels.tif" in message
    assert isbi.DIGESTS["train-labels"] in message
    assert ".unpacking" not in message
    assert left(tmp_path) == []


@pytest.mark.parametrize("content", [b"<html>Log in to the network</html>", b"PK"])
def test_a_download_that_is_no_archive_leaves_nothing_behind(
    tmp_path: Path, stacks: dict[str, np.ndarray], server: Server, content: bytes
) -> None:
    server.content = content
    assert "no readable zip archive" in refusal(IsbiSource(tmp_path))
    assert left(tmp_path) == []


def test_an_archive_of_somebody_stays_when_it_is_wrong(tmp_path: Path, stacks: dict[str, np.ndarray]) -> None:
    (tmp_path / ARCHIVE).write_bytes(packed({"train-volume": stacks["train-volume"]}))
    message = refusal(IsbiSource(tmp_path, download=False))
    assert "lacks train-labels.tif" in message
    assert left(tmp_path) == [ARCHIVE]


def test_offline_the_message_says_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(isbi, "URL", "http://127.0.0.1:9/isbi.zip")  # port 9: nobody listens, refused at once
    message = refusal(IsbiSource(tmp_path / "isbi"))
    for told in (str(tmp_path / "isbi"), ARCHIVE, isbi.URL, "refused", "data.source.root", "configs/demo.yaml"):
        assert told in message


def test_download_false_never_asks_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("urllib.request.urlopen", forbidden)
    source = IsbiSource(tmp_path / "isbi", download=False)
    message = refusal(source)
    assert "data.source.download is false" in message
    assert isbi.URL in message
    with pytest.raises(InputError, match="not here"):
        source.samples()


def test_a_folder_that_cannot_be_made_is_no_traceback(
    tmp_path: Path, stacks: dict[str, np.ndarray], server: Server
) -> None:
    server.content = packed(stacks)
    (tmp_path / "file").touch()
    assert "cannot be read or written" in refusal(IsbiSource(tmp_path / "file" / "isbi"))
