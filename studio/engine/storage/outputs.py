"""Writing images: named by the user's pattern, with the recipe inside, whole or not at all, none twice.

The index learns of an image before it is written (an intent with the content's digest) and once more when it is in
place, so that after a crash `recover` knows for each what became of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from PIL import Image

from studio.core.durable_files import (
    make_folder,
    publish,
    replace_synced,
    sync_folder,
    translate_os_errors,
    write_synced,
)
from studio.core.errors import StorageFailed
from studio.core.image_gate import ImageLimits, open_image
from studio.core.result import Asset, RenderedImage
from studio.core.settings import Settings
from studio.engine.metadata.embed import EmbeddedMetadata
from studio.engine.moderation import Moderation
from studio.engine.storage.file_names import add_number, build_file_name, find_part_limit, get_user_folder
from studio.engine.storage.image_encoding import EncodedImage, encode_output
from studio.engine.storage.index_rebuild import build_recipe
from studio.engine.storage.marker_policy import apply_marker_policy
from studio.engine.storage.signing import AssetSigner
from studio.library.asset_index import AssetIndex
from studio.library.held_images import HeldImages

THUMBNAIL_SIDE = 384  # px, the longest side
BLURRED_TILES = 8  # colours along each side that are left of a blurred image
_THUMBS = ".thumbs"
_MAX_TRIES = 10_000
_FED_AGE = 3600.0  # seconds


class Outputs:
    """The outputs folder of one studio process; other processes may write there too. Thread-safe."""

    def __init__(
        self,
        root: Path,
        library: AssetIndex,
        *,
        tool: str,
        moderation: Moderation,
        held: HeldImages,
        signer: AssetSigner | None = None,
    ) -> None:
        """`tool` names program and version inside the images. What `moderation` objects to is kept back in `held`;
        `signer` hides a mark in pixels and signs files as the last step."""
        self.root = root
        self._library = library
        self._tool = tool
        self._moderation = moderation
        self._held = held
        self._signer = signer
        self._lock = threading.Lock()
        self._numbers: dict[Path, int] = {}  # the next free {number} of the folders written last

    def save(self, asset: Asset, rendered: RenderedImage, fields: Mapping[str, str], settings: Settings) -> Asset:
        """Write `rendered` as `asset` (whose `path` is not looked at) and its thumbnail; returns the asset with its
        path. An image that is there already under that id is not written again.

        `fields` are those of the naming pattern that the asset does not know itself.

        Raises:
            StorageFailed: nothing is left behind, and the same call may be made again.
            InvalidRequest: no file of the requested format stays below the requested size.
        """
        with translate_os_errors("the image"):
            for begun, its_digest in self._library.list_intents(asset_id=asset.id):
                self._settle_write(begun, its_digest)
        existing = self._library.find_finished(asset.id)
        if existing is not None:
            return existing
        verdict = self._moderation.inspect(asset, rendered.image, settings)
        if verdict is not None:
            asset = dataclasses.replace(asset, notes=(*asset.notes, verdict.describe_finding()))
        rendered = apply_marker_policy(asset, rendered, settings)
        if self._signer is not None:
            rendered = self._signer.mark(asset, rendered, settings)
        if rendered.notes:
            asset = dataclasses.replace(asset, notes=tuple(dict.fromkeys((*asset.notes, *rendered.notes))))
        encoded = self._encode(asset, rendered, settings, self._signer)
        if verdict is not None and self._moderation.is_held(settings):
            self._held.hold(asset.id, asset.user, encoded.data, encoded.ending, verdict.to_json())
            self._moderation.note_held(asset, verdict)
            asset = dataclasses.replace(asset, blurred=True)
            rendered = dataclasses.replace(rendered, image=blur_image(rendered.image))
            encoded = self._encode(asset, rendered, settings, None)  # only stands in for the signed original
        asset = dataclasses.replace(asset, notes=tuple(dict.fromkeys((*asset.notes, *encoded.notes))))
        digest = hashlib.sha256(encoded.data).hexdigest()
        with translate_os_errors("the image"):
            name = _FileName(asset, fields, settings.filename_pattern, encoded.ending, find_part_limit(self.root))
            saved = self._place(asset, encoded.data, digest, name)
        with contextlib.suppress(OSError):  # made again when somebody asks for it
            self._make_thumbnail(saved, rendered.image)
        return saved

    def _encode(
        self, asset: Asset, rendered: RenderedImage, settings: Settings, signer: AssetSigner | None
    ) -> EncodedImage:
        return encode_output(
            rendered.image,
            rendered.file,
            settings,
            carried=EmbeddedMetadata(
                infotext=asset.infotext if settings.embed_recipe else "",
                recipe=build_recipe(asset, self._tool) if settings.embed_recipe else None,
                tool=self._tool,
                source_type=asset.source_type,
            ),
            signer=signer.prepare(asset, rendered, settings) if signer is not None else None,
        )

    def release(self, asset: Asset) -> None:
        """Put the original of a held image in its place.

        Raises:
            NotFound: it is not held, or the original is gone. StorageFailed: it cannot be written.
        """
        data = self._held.read(self._held.find(asset.id))
        with translate_os_errors("the image"):
            replace_synced(asset.path, data)
        self._library.record_content(asset.id, hashlib.sha256(data).hexdigest(), len(data))
        self._held.remove(asset.id)
        self._remove_thumbnail_files(asset.id)

    def recover(self, job_id: str) -> None:
        """Settle what a dead process was writing for this job: a whole image is kept, a part of one removed."""
        for asset, digest in self._library.list_intents(job_id=job_id):
            with translate_os_errors("the image"):
                self._settle_write(asset, digest)

    def recover_fed(self) -> None:
        """As `recover`, for images that were sent by other programs; those of the last hour may still be being
        written."""
        for asset, digest in self._library.list_fed_intents(time.time() - _FED_AGE):
            with translate_os_errors("the image"):
                self._settle_write(asset, digest)

    def get_thumbnail(self, asset: Asset, limits: ImageLimits) -> Path:
        """A small JPEG or WebP of the image, made now when it is missing.

        Raises:
            StorageFailed: it cannot be written, or the image cannot be read.
        """
        for path in (self._get_thumbnail_path(asset.id, ".jpg"), self._get_thumbnail_path(asset.id, ".webp")):
            if path.is_file():
                return path
        with translate_os_errors("the thumbnail"):
            if not asset.path.is_relative_to(self.root):  # another program's, so through the gate
                return self._make_thumbnail(asset, open_image(asset.path, limits=limits))
            with Image.open(asset.path) as image:
                return self._make_thumbnail(asset, image)

    def remove_thumbnail(self, asset_id: str) -> None:
        """Remove the small image of an asset that is no longer there, and what is held back of it."""
        self._held.remove(asset_id)
        self._remove_thumbnail_files(asset_id)

    def _remove_thumbnail_files(self, asset_id: str) -> None:
        for ending in (".jpg", ".webp"):
            with contextlib.suppress(OSError):
                self._get_thumbnail_path(asset_id, ending).unlink(missing_ok=True)

    def _place(self, asset: Asset, data: bytes, digest: str, name: _FileName) -> Asset:
        for attempt in range(_MAX_TRIES):
            path = self._find_free_path(name, attempt)
            saved = dataclasses.replace(asset, path=path)
            if not self._library.record_intent(saved, digest):
                continue
            part = _get_part_path(saved)
            try:
                write_synced(part, data)
                publish(part, path)
            except FileExistsError:
                continue
            except OSError:
                self._clear_failed_write(saved, digest)
                if self._library.find_finished(saved.id) is None:
                    raise
                return saved
            self._library.record_done(saved.id)
            return saved
        raise StorageFailed("No free file name was found for the image.", hint="Use {number} in the file name pattern.")

    def _clear_failed_write(self, asset: Asset, digest: str) -> None:
        """Settle a write that failed; what cannot be brought into its place is removed, as its pixels are still here.
        Raises nothing: the disk's first error is the one to report."""
        try:
            self._settle_write(asset, digest)
        except (OSError, StorageFailed):
            with contextlib.suppress(OSError, StorageFailed):
                _get_part_path(asset).unlink(missing_ok=True)
                self._library.forget(asset.id)

    def _settle_write(self, asset: Asset, digest: str) -> None:
        """Bring a write that broke off to an end: the whole image in its place, or nothing."""
        part = _get_part_path(asset)
        if asset.path.is_file() and asset.path.stat().st_size == 0:
            asset.path.unlink()  # it only held the name
        if _hash_file(asset.path) == digest:
            part.unlink(missing_ok=True)
            sync_folder(asset.path.parent)
            self._library.record_done(asset.id)
        elif _hash_file(part) == digest and not _is_taken(asset.path):
            publish(part, asset.path)
            self._library.record_done(asset.id)
        else:
            part.unlink(missing_ok=True)
            self._library.forget(asset.id)

    def _find_free_path(self, name: _FileName, attempt: int) -> Path:
        """The next path to try; its folder exists afterwards."""
        folder = self._ensure_folder(name)
        with self._lock:
            number = max(self._numbers.pop(folder, 0) or _find_next_number(folder), 1)
            while True:
                relative = name.path(number)
                if attempt and not name.counts:
                    relative = add_number(relative, attempt + 1)
                path = self.root / relative
                if not name.counts or not _is_taken(path):
                    break
                number += 1
            self._numbers[folder] = number + 1
            if len(self._numbers) > 64:
                self._numbers.pop(next(iter(self._numbers)))
        return path

    def _ensure_folder(self, name: _FileName) -> Path:
        folder = (self.root / name.path(1)).parent
        make_folder(folder, self.root)
        if not folder.resolve().is_relative_to(self.root.resolve()):
            raise StorageFailed(
                "The file name pattern points outside the outputs folder.", hint="Change it in Configurations."
            )
        return folder

    def _make_thumbnail(self, asset: Asset, image: Image.Image) -> Path:
        small = image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
        side = max(small.size)
        if side > THUMBNAIL_SIDE:
            size = (max(1, small.width * THUMBNAIL_SIDE // side), max(1, small.height * THUMBNAIL_SIDE // side))
            small = small.resize(size, Image.Resampling.BICUBIC, reducing_gap=1.1)
        out = io.BytesIO()
        small.save(out, "JPEG" if small.mode == "RGB" else "WEBP", quality=85)
        path = self._get_thumbnail_path(asset.id, ".jpg" if small.mode == "RGB" else ".webp")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{threading.get_ident()}.part")
        part.write_bytes(out.getvalue())
        os.replace(part, path)
        return path

    def _get_thumbnail_path(self, asset_id: str, ending: str) -> Path:
        return self.root / _THUMBS / asset_id[:2] / f"{Path(asset_id).name}{ending}"


class _FileName:
    """The file name of one image, but for its {number}."""

    def __init__(self, asset: Asset, fields: Mapping[str, str], pattern: str, ending: str, longest: int) -> None:
        """`longest` is how many bytes a name may have."""
        self._longest = longest
        when = time.localtime(asset.created)
        folders, slash, stem = pattern.replace("\\", "/").rpartition("/")
        if asset.label and "{label}" not in stem:
            stem += "-{label}"  # one of several files of one image
        self._pattern = folders.replace("{number}", "") + slash + stem  # the number counts files, within one folder
        self.counts = "{number}" in stem
        self._ending = ending
        self._ensure_folder = get_user_folder(asset.user)
        self._fields = {
            "date": time.strftime("%Y-%m-%d", when),
            "time": time.strftime("%H-%M-%S", when),
            "seed": str(asset.seed),
            "prompt": asset.drawn.prompt,
            "job": asset.job_id,
            "index": str(asset.index + 1),
            "width": str(asset.width),
            "height": str(asset.height),
            "label": asset.label.replace(".", "-"),
            **fields,
        }

    def path(self, number: int) -> PurePosixPath:
        """The path below the outputs folder with that {number}."""
        return self._ensure_folder / build_file_name(
            self._pattern, {**self._fields, "number": f"{number:05d}"}, self._ending, self._longest
        )


def blur_image(image: Image.Image) -> Image.Image:
    """`image` so coarse that only its colours are left; the size stays."""
    plain = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")
    small = plain.resize((min(plain.width, BLURRED_TILES), min(plain.height, BLURRED_TILES)), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def _get_part_path(asset: Asset) -> Path:
    return asset.path.with_name(f".{asset.id}.part")


def _is_taken(path: Path) -> bool:
    return os.path.lexists(path)


def _hash_file(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def _find_next_number(folder: Path) -> int:
    """One more than the greatest number that a file name in `folder` begins with."""
    numbers = (re.match(r"\d{1,9}", name) for name in os.listdir(folder))
    return 1 + max((int(found[0]) for found in numbers if found), default=0)
