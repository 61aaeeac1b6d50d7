"""Files that other programs and users put into the library: images through the gate, audio and video as they are."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from studio.core.durable_files import make_folder, publish, translate_os_errors, write_synced
from studio.core.errors import InvalidRequest, NotFound
from studio.core.finish import OutputOptions
from studio.core.image_gate import ImageLimits, detect_format, open_image
from studio.core.provenance import has_credentials
from studio.core.request import GenerationRequest
from studio.core.result import Asset, RenderedImage
from studio.core.settings import Settings
from studio.core.text_checks import check_name
from studio.engine.metadata.image_info import read_image_info
from studio.engine.moderation import Moderation
from studio.engine.storage.file_names import get_user_folder
from studio.engine.storage.inputs import read_source_metadata
from studio.engine.storage.outputs import Outputs
from studio.library.asset_library import AssetLibrary
from studio.library.asset_rows import get_day
from studio.library.changes import MAX_TITLE_LENGTH, Change
from studio.library.media import detect_media

MAX_SOURCE_LENGTH = 60  # characters of a program's name
MAX_PARENTS = 50


@dataclass(frozen=True, kw_only=True)
class FedFile:
    """A file for the library. `source` names the program that it comes from, `kind` is what the sender takes it for
    ("" for whatever it is), `collection` the id of one, `parents` are ids of assets that it was made from."""

    data: bytes
    title: str = ""
    source: str = ""
    kind: str = ""
    tags: tuple[str, ...] = ()
    collection: str = ""
    parents: tuple[str, ...] = ()


class AssetFeed:
    """Puts files into the library. Thread-safe."""

    def __init__(self, outputs: Outputs, library: AssetLibrary, moderation: Moderation) -> None:
        self._outputs = outputs
        self._moderation = moderation
        self._library = library

    def add(self, file: FedFile, user: str, settings: Settings) -> str:
        """Keep a file; returns the id of the new asset.

        Raises:
            BadImage, InvalidRequest: the file is none that is taken, or something about it is impossible.
            NotFound: no such parent or collection of the user. StorageFailed: it cannot be written.
        """
        change = self._check(file, user)
        media = detect_media(file.data)
        kind = media[0] if media is not None else "image"
        if file.kind and file.kind != kind:
            raise InvalidRequest(f"The file is no {file.kind}.", hint=f"It is read as {kind}; leave “kind” out.")
        asset_id = f"{secrets.token_hex(8)}-0"
        if media is not None:
            self._add_media(file, asset_id, media, user)
        else:
            self._add_image(file, asset_id, user, settings)
        if not change.is_empty:
            self._library.change(asset_id, change, user, is_step=False)
        return asset_id

    def _check(self, file: FedFile, user: str) -> Change:
        if not file.data:
            raise InvalidRequest("The file is empty.", hint="Send it again.")
        check_name(file.source, "The source")
        if len(file.source) > MAX_SOURCE_LENGTH:
            raise InvalidRequest(
                f"The source has {len(file.source)} characters.", hint=f"Use at most {MAX_SOURCE_LENGTH}."
            )
        if len(file.parents) > MAX_PARENTS:
            raise InvalidRequest(f"These are {len(file.parents)} parents.", hint=f"Name at most {MAX_PARENTS}.")
        for parent in file.parents:
            self._library.get_entry(parent, user)
        if file.collection and self._library.collections.get(file.collection, user).query is not None:
            raise NotFound("A saved search cannot take a file.", hint="Choose another collection.")
        title = file.title[:MAX_TITLE_LENGTH] or None
        return Change(title=title, add_tags=file.tags, add_to=file.collection)

    def _add_image(self, file: FedFile, asset_id: str, user: str, settings: Settings) -> None:
        image = open_image(file.data, limits=ImageLimits.of(settings))
        self._moderation.check_upload(image, user, settings)
        told = (
            read_image_info(file.data, settings)
            if detect_format(file.data) in ("PNG", "JPEG", "WEBP", "AVIF")
            else None
        )
        asset = Asset(
            id=asset_id,
            job_id="",
            user=user,
            index=0,
            path=Path(),
            width=image.width,
            height=image.height,
            seed=told.request.seed or 0 if told and told.request else 0,
            created=time.time(),
            request=_make_recipe(told.request if told else None),
            infotext=told.infotext if told else "",
            history=told.history if told else (),
            parents=file.parents,
            source_type=read_source_metadata(file.data)[1],
            source=file.source or (told.program if told else "") or "Upload",
        )
        name = {"prompt": file.title or asset.drawn.prompt, "seed": "upload", "model": asset.drawn.model}
        original = file.data if has_credentials(file.data, detect_format(file.data)) else None
        rendered = RenderedImage(image=image, file=OutputOptions(format="png"), original=original)
        self._outputs.save(asset, rendered, name, settings)

    def _add_media(self, file: FedFile, asset_id: str, media: tuple[str, str], user: str) -> None:
        kind, ending = media
        created = time.time()
        relative = get_user_folder(user) / PurePosixPath(get_day(created), f"{asset_id}{ending}")
        path = self._outputs.root / relative
        with translate_os_errors("the file"):
            make_folder(path.parent, self._outputs.root)
            part = path.with_name(f".{asset_id}.part")
            try:
                write_synced(part, file.data)
                publish(part, path)
            finally:
                part.unlink(missing_ok=True)
        row: Mapping[str, object] = {
            "kind": kind,
            "path": str(relative),
            "bytes": len(file.data),
            "source": file.source or "Upload",
        }
        self._library.add_media(asset_id, user, created, row, file.parents)


def _make_recipe(request: GenerationRequest | None) -> GenerationRequest:
    """The recipe of a foreign image without the files that it names, which are not here."""
    if request is None:
        return GenerationRequest()
    plain = {field.name: field.default for field in dataclasses.fields(request) if field.metadata.get("image")}
    return request.replace(**plain, control=(), references=(), count=1, batch_size=1)
