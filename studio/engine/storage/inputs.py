"""The images that requests work on: let in through the one gate, kept once by content, each user's own.

They lie below the outputs folder in .inputs, so that a job of yesterday still finds its source, and carry nothing but
pixels; where an image came from is kept beside them in the library.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from PIL import Image

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import BadImage, NotFound, StudioError
from studio.core.image_gate import ImageLimits, open_image
from studio.core.provenance import ContentCredentials, CredentialReport
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.source_type import GENERATED, MADE_BY_MODELS, find_source_type
from studio.core.stored_requests import parse_requests
from studio.engine.metadata.embed import Metadata, read_metadata
from studio.engine.metadata.file_texts import is_generated_image
from studio.library.database import Database

INPUTS_FOLDER = ".inputs"
_TOUCH_AFTER = 86_400.0  # seconds
_COLUMNS = "width, height, asset, infotext, history, source_type, notice"
_MAX_HISTORY = 50  # requests of a foreign history that are kept
_MAX_COUNTED = 20_000  # files of one user whose sizes are added up
_MAX_DECODED = 3  # images that are kept decoded: the passes of one job read the same ones

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeptImage:
    """An image that requests may name by `hash`. `asset` is the studio's own image that it is, "" for a foreign one;
    `history` the requests that made it, the first one first; `infotext` what it said about its making; `source_type`
    the IPTC digital source type that it states or that follows from its metadata; `notice` what a user should know of
    how it was let in."""

    hash: str
    width: int
    height: int
    asset: str = ""
    infotext: str = ""
    history: tuple[GenerationRequest, ...] = ()
    source_type: str = ""
    notice: str = ""


class Images:
    """The kept images of all users. Thread-safe."""

    def __init__(self, database: Database, root: Path, credentials: ContentCredentials | None = None) -> None:
        """`credentials` reads those of files, so that what is made of them can carry them on."""
        self._database = database
        self._root = root
        self._credentials = credentials
        self._folder = root / INPUTS_FOLDER
        self._lock = threading.Lock()
        self._decoded: collections.OrderedDict[str, Image.Image] = collections.OrderedDict()

    def keep(
        self,
        source: Path | bytes | Image.Image,
        user: str,
        limits: ImageLimits,
        check: Callable[[Image.Image], None] = lambda image: None,
    ) -> KeptImage:
        """Let an image in: a file, its bytes, or pixels of our own making (mode L, RGB or RGBA). `check` looks at the
        pixels first, and raises what keeps them out.

        Raises:
            BadImage: the gate refuses it. StorageFailed: it cannot be written.
        """
        if isinstance(source, Image.Image):
            check(source)
            return self._keep(
                source, user, KeptImage(hash=hash_pixels(source), width=source.width, height=source.height)
            )
        image = open_image(source, limits=limits)
        check(image)
        metadata, source_type, notice = read_source_metadata(source)
        report, archive, refused = self._take_credentials(source)
        kept = KeptImage(
            hash=hash_pixels(image),
            width=image.width,
            height=image.height,
            infotext=metadata.infotext,
            history=read_history(metadata.recipe or {}),
            source_type=merge_source_types(source_type, report),
            notice=" ".join(filter(None, [notice, refused])),
        )
        return self._keep(image, user, kept, archive)

    def keep_version(self, image: Image.Image, origin: str | bytes, user: str) -> KeptImage:
        """Keep pixels that were made of another image, by a resize or a stroke: with its source type and credentials.
        `origin` is the hash of a kept image, or a file. Raises as `keep` and `get`."""
        kept = KeptImage(hash=hash_pixels(image), width=image.width, height=image.height)
        if isinstance(origin, str):
            kept = dataclasses.replace(kept, source_type=self.get(origin, user).source_type)
            return self._keep(image, user, kept, self.get_credentials(origin, user))
        report, archive, notice = self._take_credentials(origin)
        source_type = merge_source_types(read_source_metadata(origin)[1], report)
        return self._keep(image, user, dataclasses.replace(kept, source_type=source_type, notice=notice), archive)

    def keep_asset(self, asset: Asset, limits: ImageLimits) -> KeptImage:
        """Let one of the studio's own images in, with all that is known of it; raises as `keep`."""
        image = open_image(asset.path, limits=limits)
        kept = KeptImage(
            hash=hash_pixels(image),
            width=image.width,
            height=image.height,
            asset=asset.id,
            infotext=asset.infotext,
            history=(*asset.history, asset.request),
            source_type=asset.source_type or self._read_source_type(asset),
        )
        return self._keep(image, asset.user, kept, self._archive_asset(asset))

    def sum_bytes(self, user: str) -> int:
        """The bytes of the files that the user brought, of the latest ones where there are very many."""
        rows = self._database.rows(
            "SELECT hash FROM inputs WHERE user = ? ORDER BY created DESC LIMIT ?", (user, _MAX_COUNTED)
        )
        total = 0
        for row in rows:
            with contextlib.suppress(OSError):  # removed meanwhile
                total += self._get_path(row["hash"]).stat().st_size
        return total

    def get_credentials(self, content: str, user: str) -> bytes:
        """The credentials that came with a kept image, as an archive; b"" where there are none, or no such image."""
        rows = self._database.rows("SELECT credentials FROM inputs WHERE hash = ? AND user = ?", (content, user))
        return bytes(rows[0]["credentials"]) if rows else b""

    def _take_credentials(self, source: Path | bytes) -> tuple[CredentialReport, bytes, str]:
        """What the file's credentials say, their archive, and a notice where they are not carried on."""
        if self._credentials is None:
            return CredentialReport(), b"", ""
        try:
            data = source.read_bytes() if isinstance(source, Path) else source
            return (*self._credentials.take(data), "")
        except StudioError as error:
            return CredentialReport(), b"", f"{error.message} {error.hint}"
        except OSError:  # removed since it was opened
            return CredentialReport(), b"", ""

    def _archive_asset(self, asset: Asset) -> bytes:
        """The credentials of one of the studio's own files, or of another program's that it shows."""
        if self._credentials is None:
            return b""
        if not asset.path.is_relative_to(self._root):
            return self._take_credentials(asset.path)[1]
        try:
            return self._credentials.archive_own(asset.path.read_bytes())
        except (StudioError, OSError) as error:
            _log.warning("the credentials of %s are not carried on: %s", asset.id, error)
            return b""

    def _read_source_type(self, asset: Asset) -> str:
        """The digital source type of an asset that an older version indexed, by its tasks."""
        story = (*asset.history, asset.request)
        rows = self._database.rows(
            "SELECT source_type FROM inputs WHERE hash = ? AND user = ?", (story[0].source or "", asset.user)
        )
        steps = [step for request in story for step in (request.replace(then=()), *request.then)]
        return find_source_type(rows[0]["source_type"] if rows else "", steps)

    def get(self, content: str, user: str) -> KeptImage:
        """A kept image's data.

        Raises:
            NotFound: there is none of that hash, or it is another user's.
        """
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM inputs WHERE hash = ? AND user = ?", (content, user))
        if not rows or not self._mark_used(content):
            raise NotFound(
                "This image is no longer available.", hint="Choose it again.", details={"image": content[:80]}
            )
        row = rows[0]
        return KeptImage(
            hash=content,
            width=row["width"],
            height=row["height"],
            asset=row["asset"],
            infotext=row["infotext"],
            history=parse_requests(row["history"]),
            source_type=row["source_type"],
            notice=row["notice"],
        )

    def mark_used(self, names: Iterable[str], user: str) -> None:
        """Note that a page still names these images, so that they are not removed as unused; unknown ones count as
        none."""
        for content in names:
            if self._database.rows("SELECT 1 FROM inputs WHERE hash = ? AND user = ?", (content, user)):
                self._mark_used(content)

    def _mark_used(self, content: str) -> bool:
        """False when there is no such file. Its time of change says when it was used last, to the day."""
        path = self._get_path(content)
        try:
            if path.stat().st_mtime < time.time() - _TOUCH_AFTER:
                os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:  # a read-only disk, where nothing is removed either
            _log.debug("%s is not marked as used: %s", path.name, error)
        return True

    def file(self, content: str, user: str) -> Path:
        """The PNG file of a kept image; raises as `get`."""
        self.get(content, user)
        return self._get_path(content)

    def open(self, content: str, user: str) -> Image.Image:
        """The pixels of a kept image, the caller's own copy; raises as `get`."""
        self.get(content, user)
        with self._lock:
            image = self._decoded.get(content)
        if image is None:
            try:
                with Image.open(self._get_path(content), formats=("PNG",)) as file:
                    file.load()
                    image = file.copy()
            except (OSError, ValueError, SyntaxError) as error:
                raise NotFound("A stored image can no longer be read.", hint="Choose it again.") from error
            self._remember(content, image)
        return image.copy()

    def _remember(self, content: str, image: Image.Image) -> None:
        with self._lock:
            self._decoded[content] = image
            while len(self._decoded) > _MAX_DECODED:
                self._decoded.popitem(last=False)

    def _keep(self, image: Image.Image, user: str, kept: KeptImage, archive: bytes = b"") -> KeptImage:
        with translate_os_errors("the image"):
            if not self._mark_used(kept.hash):
                self._write(image, kept.hash)
        if not kept.history and not archive and self._is_better_known(kept, user):
            return self.get(kept.hash, user)  # the same pixels again, this time without their story
        with translate_os_errors("the image"), self._database.transaction() as connection:
            if not self._mark_used(kept.hash):  # removed as unused between the two
                self._write(image, kept.hash)
            connection.execute(
                "INSERT OR REPLACE INTO inputs (hash, user, width, height, created, asset, infotext, history,"
                " source_type, notice, credentials) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    kept.hash,
                    user,
                    kept.width,
                    kept.height,
                    time.time(),
                    kept.asset,
                    kept.infotext,
                    json.dumps([request.to_json() for request in kept.history]),
                    kept.source_type,
                    kept.notice,
                    archive,
                ),
            )
        return kept

    def _is_better_known(self, kept: KeptImage, user: str) -> bool:
        """Whether the user kept the same pixels before with more of their story."""
        rows = self._database.rows(
            "SELECT history, source_type, length(credentials) AS size FROM inputs WHERE hash = ? AND user = ?",
            (kept.hash, user),
        )
        if not rows:
            return False
        row = rows[0]
        return bool(row["history"] != "[]" or row["source_type"] > kept.source_type or row["size"])

    def _write(self, image: Image.Image, content: str) -> None:
        path = self._get_path(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=1)
        replace_synced(path, out.getvalue())

    def _get_path(self, content: str) -> Path:
        if not (len(content) == 64 and all(character in "0123456789abcdef" for character in content)):
            raise NotFound("Invalid image id.", hint="Choose the image again.")
        return self._folder / content[:2] / f"{content}.png"


def hash_pixels(image: Image.Image) -> str:
    """The name of these pixels: SHA-256 of mode, size and bytes, in hex.

    Raises:
        BadImage: pixels of a mode that the gate does not give out.
    """
    if image.mode not in ("L", "RGB", "RGBA"):
        raise BadImage(f"Images of mode {image.mode} are not supported.", hint="Convert to RGB first.")
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height} ".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def read_source_metadata(source: Path | bytes) -> tuple[Metadata, str, str]:
    """(the file's metadata, its digital source type, a notice of what is left out)."""
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as image:
            metadata = read_metadata(image)
            source_type = metadata.source_type or (
                GENERATED if metadata.recipe is None and is_generated_image(image) else ""
            )
            return metadata, source_type, _describe_frames(image)
    except (BadImage, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Metadata(), "", ""


def merge_source_types(stated: str, report: CredentialReport) -> str:
    """The source type of a file by what it states and what its credentials say, which nobody changed since they were
    signed: a file that says less there than it does here is not believed."""
    signed = report.source_type if report.state.is_valid else ""
    return signed if signed in MADE_BY_MODELS and stated not in MADE_BY_MODELS else stated or signed


def _describe_frames(image: Image.Image) -> str:
    """The notice for a file of several images, of which the first is used."""
    if image.format not in ("GIF", "WEBP", "PNG", "AVIF", "TIFF") or not getattr(image, "is_animated", False):
        return ""
    if image.format == "TIFF":
        return "The source has several pages: the first was taken."
    return "The source is animated: its first frame was taken."


def read_history(recipe: Mapping[str, Any]) -> tuple[GenerationRequest, ...]:
    """The requests that made an image with this recipe, the last one its own."""
    earlier: Any = recipe.get("history")
    own: list[Any] = [*(cast("list[Any]", earlier) if isinstance(earlier, list) else []), recipe.get("request")]
    return parse_requests(json.dumps([data for data in own if isinstance(data, dict)][-_MAX_HISTORY:]))
