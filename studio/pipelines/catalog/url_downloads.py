"""Fetching one file from an https address of a host that is known, with resume, check sum and clear errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlparse

from studio.core.durable_files import sync_folder
from studio.core.errors import InvalidRequest, NotFound, ProviderError, Unreachable
from studio.core.weights import DownloadableWeights
from studio.pipelines.catalog.downloads import RemoteFile, check_sha256, make_disk_error

if TYPE_CHECKING:
    import requests

ALLOWED_HOSTS = (
    "github.com",
    "objects.githubusercontent.com",
    "release-assets.githubusercontent.com",
    "huggingface.co",
)
_ZONES = (".huggingface.co", ".hf.co")  # where the hub keeps its large files
_TIMEOUT = (15.0, 30.0)  # seconds to connect, and without a byte
_PIECE = 256 * 1024
_REDIRECTS = 5
_TOLERANCE = 0.05
"""How far the size may be from the offered one where no hash is known."""


def is_allowed(url: str) -> bool:
    """Whether files may be fetched from there: https, and a host of HOSTS."""
    address = urlparse(url)
    host = address.hostname or ""
    return (
        address.scheme == "https" and address.port in (None, 443) and (host in ALLOWED_HOSTS or host.endswith(_ZONES))
    )


def fetch_url(
    weights: DownloadableWeights, target: Path, on_bytes: Callable[[int], None], allowed: Callable[[str], bool]
) -> None:
    """Download the file of `weights` to `target`, going on where an earlier try stopped. `on_bytes` hears of every
    piece in bytes and may raise; each address on the way has to be `allowed`.

    Raises:
        InvalidRequest, NotFound, Unreachable, ProviderError, StorageFailed: as they come.
        what `on_bytes` raises; what has come so far is kept for the next try.
    """
    import requests

    part = target.with_name(f"{target.name}.part")
    with _translate_url_errors(weights), requests.Session() as session:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as out:
            on_bytes(out.tell())
            with _open_response(session, weights.source, out.tell(), allowed) as answer:
                _receive_file(weights, answer, out, on_bytes)
            out.flush()
            os.fsync(out.fileno())
        check_sha256(RemoteFile(weights.filename, weights.bytes, weights.sha256), part)
        part.replace(target)
        sync_folder(target.parent)


def _open_response(session: requests.Session, url: str, have: int, allowed: Callable[[str], bool]) -> requests.Response:
    """The answer to a request for the file from byte `have` on, after the redirects."""
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    for _ in range(_REDIRECTS):
        if not allowed(url):
            raise InvalidRequest(
                f"Downloads are not allowed from {urlparse(url).hostname or url[:60]}.",
                hint="Download the file manually and put it into models/.",
            )
        answer = session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=_TIMEOUT)
        if not answer.is_redirect:
            return answer
        url = urljoin(url, answer.headers["location"])
        answer.close()
    raise ProviderError("The download address redirects too often.", hint="Try again in a few minutes.")


def _receive_file(
    weights: DownloadableWeights, answer: requests.Response, out: BinaryIO, on_bytes: Callable[[int], None]
) -> None:
    have = out.tell()
    if answer.status_code == 416 and have:  # it has no byte after those that are here
        total = int(answer.headers.get("content-range", "*/0").rpartition("/")[2] or 0)
        if total == have:
            return
        _restart_file(out, on_bytes)
        raise Unreachable("The partial download belongs to another file.", hint="Start the download again.")
    if answer.status_code == 404:
        raise NotFound(f"{weights.title} is no longer available.", hint="Find it elsewhere and put it into models/.")
    if answer.status_code not in (200, 206):
        raise ProviderError(f"The server returned an error ({answer.status_code}).", hint="Try again in a few minutes.")
    if answer.status_code == 200 and have:  # a server that does not resume
        _restart_file(out, on_bytes)
        have = 0
    total = have + int(answer.headers.get("content-length", 0))
    _check_size(weights, total)
    for piece in answer.iter_content(_PIECE):
        out.write(piece)
        on_bytes(len(piece))
    if total != have and out.tell() != total:
        raise Unreachable("The download was interrupted.", hint="Start it again; it resumes where it stopped.")


def _restart_file(out: BinaryIO, on_bytes: Callable[[int], None]) -> None:
    on_bytes(-out.tell())
    out.truncate(0)


def _check_size(weights: DownloadableWeights, total: int) -> None:
    exact = weights.sha256 != ""
    if total and abs(total - weights.bytes) > (0 if exact else _TOLERANCE * weights.bytes):
        raise ProviderError(
            f"{weights.filename} has {total:,} bytes instead of {weights.bytes:,} and was not downloaded.",
            hint="Download it manually if you trust it.",
        )


@contextmanager
def _translate_url_errors(weights: DownloadableWeights) -> Iterator[None]:
    import requests

    try:
        yield
    except requests.RequestException as error:
        raise Unreachable(
            f"{urlparse(weights.source).hostname} cannot be reached.",
            hint="Check the network and start the download again; it resumes where it stopped.",
        ) from error
    except OSError as error:
        raise make_disk_error(error) from error
