"""The images that requests work on: let in through the one gate, kept once by content, each user's own.

They lie below the outputs folder in .inputs, so that a job of yesterday still finds its source, and carry nothing but
pixels; where an image came from is kept beside them in the library.
"""

from __future__ import annotations

import collections
import hashlib
import io
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from PIL import Image

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import BadImage, NotFound
from studio.core.image_gate import ImageLimits, open_image
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.source_type import GENERATED, find_source_type
from studio.core.stored_requests import parse_requests
from studio.engine.metadata.embed import Metadata, read_metadata
from studio.engine.metadata.file_texts import is_generated_image
from studio.library.database import Database

INPUTS_FOLDER = ".inputs"
_TOUCH_AFTER = 86_400.0  # seconds
_MAX_HISTORY = 50  # requests of a foreign history that are kept
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

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._folder = root / INPUTS_FOLDER
        self._lock = threading.Lock()
        self._decoded: collections.OrderedDict[str, Image.Image] = collections.OrderedDict()

    def keep(self, source: Path | bytes | Image.Image, user: str, limits: ImageLimits) -> KeptImage:
        """Let an image in: a file, its bytes, or pixels of our own making (mode L, RGB or RGBA).

        Raises:
            BadImage: the gate refuses it. StorageFailed: it cannot be written.
        """
        if isinstance(source, Image.Image):
            return self._keep(
                source, user, KeptImage(hash=hash_pixels(source), width=source.width, height=source.height)
            )
        image = open_image(source, limits=limits)
        metadata, source_type, notice = read_source_metadata(source)
        return self._keep(
            image,
            user,
            KeptImage(
                hash=hash_pixels(image),
                width=image.width,
                height=image.height,
                infotext=metadata.infotext,
                history=read_history(metadata.recipe or {}),
                source_type=source_type,
                notice=notice,
            ),
        )

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
        return self._keep(image, asset.user, kept)

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
        rows = self._database.rows("SELECT * FROM inputs WHERE hash = ? AND user = ?", (content, user))
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

    def _keep(self, image: Image.Image, user: str, kept: KeptImage) -> KeptImage:
        with translate_os_errors("the image"):
            if not self._mark_used(kept.hash):
                self._write(image, kept.hash)
        known = self._database.rows("SELECT * FROM inputs WHERE hash = ? AND user = ?", (kept.hash, user))
        if known and not kept.history and (known[0]["history"] != "[]" or known[0]["source_type"] > kept.source_type):
            return self.get(kept.hash, user)  # the same pixels again, this time without their story
        with translate_os_errors("the image"), self._database.transaction() as connection:
            if not self._mark_used(kept.hash):  # removed as unused between the two
                self._write(image, kept.hash)
            connection.execute(
                "INSERT OR REPLACE INTO inputs (hash, user, width, height, created, asset, infotext, history,"
                " source_type, notice) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
                ),
            )
        return kept

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
