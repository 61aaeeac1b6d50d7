"""The files of the library over HTTP: out one by one or as a zip, and in from other programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Form, Query, Request, UploadFile
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from studio.api.asset_bodies import AssetBody
from studio.api.responses import PRIVATE_CACHE_HEADERS, build_file_response, find_asset_files
from studio.api.submit_request import get_caller
from studio.core.errors import InvalidRequest, NotFound
from studio.core.user import User
from studio.engine.storage.asset_feed import FedFile
from studio.engine.storage.zip_stream import stream_zip
from studio.engine.studio import Studio
from studio.library.entries import AssetEntry
from studio.library.uses import Use

LISTING = "assets.jsonl"
MAX_EXPORT = 20_000  # assets in one zip


class FeedForm(BaseModel):
    """A file and what is known of it. Tags and parents may come several times, or separated by commas."""

    file: UploadFile
    kind: str = Field(default="", max_length=10, description="image, audio or video, to have it checked.")
    title: str = Field(default="", max_length=300)
    source: str = Field(default="", max_length=60, description="The program that the file comes from.")
    tags: list[str] = Field(default=[], max_length=200)
    collection: str = Field(default="", max_length=100, description="Id of a collection.")
    parents: list[str] = Field(default=[], max_length=50, description="Ids of the assets that it was made from.")


def add_asset_file_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes of files among `routes`; before those of one asset, whose ids they would be taken for."""
    engine, settings = studio.engine, studio.settings

    @routes.get("/assets/export", response_class=StreamingResponse)
    def export_assets(
        request: Request,
        q: Annotated[str | None, Query(max_length=2000)] = None,
        ids: Annotated[str, Query(max_length=200_000, description="Ids, separated by commas.")] = "",
    ) -> StreamingResponse:
        """The files of these assets as a zip, with a JSON line for each in assets.jsonl."""
        if q is None and not ids:
            raise InvalidRequest("No assets were given.", hint="Send “ids” or a query “q”.")
        return _build_export(studio, get_caller(request), q, [one for one in ids.split(",") if one])

    @routes.post("/assets", status_code=201)
    async def feed_asset(
        request: Request, form: Annotated[FeedForm, Form(media_type="multipart/form-data")]
    ) -> AssetBody:
        """Put an image, audio or video file of any program into the caller's library. Tags and parents may come several
        times, or separated by commas."""
        user = get_caller(request)
        fed = FedFile(
            data=await form.file.read(),
            title=form.title,
            source=form.source,
            kind=form.kind,
            tags=_split(form.tags),
            collection=form.collection,
            parents=_split(form.parents),
        )
        asset_id = await anyio.to_thread.run_sync(lambda: engine.feed(fed, user))
        return AssetBody.make(engine.asset_library.get_entry(asset_id, user.name), settings.current.root_path)

    @routes.get("/assets/{asset_id}/file", response_class=FileResponse)
    def get_asset_file(request: Request, asset_id: str) -> FileResponse:
        """The file of an asset; parts of it by a Range header."""
        return build_file_response(engine.asset(asset_id, get_caller(request)), engine.file_roots)

    @routes.get("/assets/{asset_id}/thumbnail", response_class=FileResponse)
    def get_asset_thumbnail(request: Request, asset_id: str) -> FileResponse:
        """A small image of an asset, at most 384 px."""
        return FileResponse(engine.get_thumbnail(asset_id, get_caller(request)), headers=PRIVATE_CACHE_HEADERS)


def _split(values: list[str]) -> tuple[str, ...]:
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _build_export(studio: Studio, user: User, text: str | None, ids: list[str]) -> StreamingResponse:
    """The zip, made while it is sent.

    Raises:
        NotFound: none of the assets is there. InvalidRequest: they are too many.
    """
    engine = studio.engine
    entries = engine.asset_library.list_for_export(user.name, ids=ids, text=text)
    if len(entries) > MAX_EXPORT:
        raise InvalidRequest(
            f"These are {len(entries)} assets; one zip takes {MAX_EXPORT}.", hint="Export a shorter period at a time."
        )
    assets = engine.library.list_by_ids([entry.id for entry in entries], user.name)
    if not assets:
        raise NotFound("There is nothing to export.", hint="Choose other images, or another search.")
    files = find_asset_files(assets, engine.file_roots)
    names = {asset.id: f"{asset.path.parent.name}/{asset.path.name}" for asset in assets}
    for asset_id in files:
        engine.asset_library.record_use(asset_id, Use.EXPORTED, user.name)
    infotexts = {asset.id: asset.infotext for asset in assets}
    return StreamingResponse(
        stream_zip(
            list(files.values()),
            [names[asset_id] for asset_id in files],
            [name for asset_id, name in names.items() if asset_id not in files],
            (LISTING, _describe(entries, names, infotexts)),
        ),
        media_type="application/zip",
        headers={"Content-Disposition": 'attachment; filename="easel-assets.zip"', "Cache-Control": "no-store"},
    )


def _describe(entries: list[AssetEntry], names: dict[str, str], infotexts: dict[str, str]) -> Iterator[str]:
    """A JSON line for each asset."""
    for entry in entries:
        body = AssetBody.make(entry, "").model_dump(exclude={"url", "thumbnail"})
        yield json.dumps({**body, "file": names.get(entry.id), "infotext": infotexts.get(entry.id, "")})
