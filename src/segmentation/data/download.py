"""A file of a server, resumed where the connection was cut."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # for a connection that is cut; one that cannot be made is not tried again
PAUSE = 1.0  # seconds before the second attempt


class DownloadError(Exception):
    """The server does not give the file; what came so far stays for the next try."""


class _CutError(Exception):
    """The connection ended before the file did."""


def download(url: str, target: Path) -> None:
    """Fetch a file under a temporary name, from where an earlier try ended, and move it into its place.

    Raises:
        DownloadError: When the server refuses it or cannot be reached, or the connection is cut again and again.
        OSError: When the disk is full or may not be written to.
    """
    part = target.with_name(f".{target.name}.part")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(target.name, total=None)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _receive(url, part, progress, task)
                break
            except _CutError as error:
                if attempt == ATTEMPTS:
                    raise DownloadError(f"the connection was cut {ATTEMPTS} times ({error})") from error
                time.sleep(PAUSE * attempt)
    part.replace(target)


def _receive(url: str, part: Path, progress: Progress, task: Any) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "segmentation", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # what is here is no beginning of what is there
            part.unlink()
            raise _CutError("the file on the server has changed") from error
        raise DownloadError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise DownloadError(str(getattr(error, "reason", error)) or type(error).__name__) from error
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status == 206 and not resumed:
            part.unlink()
            raise _CutError("the server resumes at another place")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        progress.update(task, total=total, completed=have)
        with part.open("ab" if resumed else "wb") as file:
            for block in _blocks(response):
                file.write(block)
                have += len(block)
                progress.update(task, completed=have)
    if total is not None and have < total:
        raise _CutError(f"{have} of {total} bytes came")


def _blocks(response: IO[bytes]) -> Iterator[bytes]:
    while True:
        try:
            block = response.read(1 << 16)
        except (OSError, http.client.HTTPException) as error:
            raise _CutError(str(error) or type(error).__name__) from error
        if not block:
            return
        yield block
