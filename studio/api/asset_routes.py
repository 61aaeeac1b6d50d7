"""The routes of the asset library: lists, search, what users note of their assets, and collections."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from studio.api import asset_files
from studio.api.asset_bodies import (
    QUERY_HELP,
    AssetBody,
    AssetChangeBody,
    AssetDetailsBody,
    AssetListQuery,
    AssetPage,
    BulkBody,
    BulkResult,
    CollectionBody,
    CollectionChangeBody,
    CollectionList,
    CompletionBody,
    DuplicateGroups,
    EmptyTrashResult,
    FacetsBody,
    FacetValue,
    ImportFolderBody,
    ImportList,
    NewCollectionBody,
    OptionBody,
    UndoBody,
    UndoResult,
    UseBody,
    UseResult,
)
from studio.api.rights import needs
from studio.api.submit_request import get_caller
from studio.core.errors import InvalidRequest
from studio.core.rights import Right
from studio.core.user import User
from studio.engine.studio import Studio
from studio.library.changes import Change
from studio.library.query import MAX_QUERY_LENGTH
from studio.library.search import MAX_PAGE

QueryText = Annotated[str, Query(max_length=MAX_QUERY_LENGTH, description=QUERY_HELP)]
PageLimit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


def add_asset_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes of the library among `routes`."""
    _add_list_routes(routes, studio)
    _add_bulk_routes(routes, studio)
    asset_files.add_asset_file_routes(routes, studio)
    _add_asset_routes(routes, studio)
    _add_collection_routes(routes, studio)
    _add_import_routes(routes, studio)


def _add_list_routes(routes: APIRouter, studio: Studio) -> None:
    library, settings = studio.engine.asset_library, studio.settings

    @routes.get("/assets")
    def list_assets(request: Request, wanted: Annotated[AssetListQuery, Query()]) -> AssetPage:
        """The caller's assets that fit the query; `next` is the cursor of the next page."""
        user, order, trashed = get_caller(request).name, wanted.order, wanted.trashed
        cursor = wanted.cursor or None
        page = library.list_assets(wanted.q, user, limit=wanted.limit, cursor=cursor, order=order, trashed=trashed)
        if wanted.whole_jobs:
            page = library.complete_job(page, wanted.q, user, order=order, trashed=trashed)
        return AssetPage.make(page, settings.current.root_path)

    @routes.get("/assets/duplicates")
    def list_duplicates(request: Request) -> DuplicateGroups:
        """Groups of the caller's assets that look nearly the same, among the newest 50,000."""
        root = settings.current.root_path
        groups = library.list_duplicates(get_caller(request).name)
        return DuplicateGroups(groups=[[AssetBody.make(one, root) for one in group] for group in groups])

    @routes.get("/assets/{asset_id}/similar")
    def list_similar(request: Request, asset_id: str, limit: PageLimit = 50) -> AssetPage:
        """Assets like one: near duplicates, then those whose prompt means nearly the same."""
        page = library.list_similar(asset_id, get_caller(request).name, limit)
        return AssetPage.make(page, settings.current.root_path)

    @routes.get("/assets/facets")
    def count_facets(request: Request, q: QueryText = "") -> FacetsBody:
        """What the caller can filter by, with numbers; with a query those of its newest 5,000 hits."""
        user = get_caller(request).name
        found = library.count_facets(q, user)
        lists = {
            f"{kind}s": [FacetValue(value=value, count=count) for value, count in values]
            for kind, values in found.items()
        }
        collections = [CollectionBody.make(one) for one in library.collections.list_all(user)]
        return FacetsBody(**lists, collections=collections)

    @routes.get("/assets/complete")
    def complete_query(
        request: Request, text: QueryText = "", position: Annotated[int | None, Query(ge=0)] = None
    ) -> CompletionBody:
        """What the word at `position` of a query (its end by default) could become."""
        place = len(text) if position is None else min(position, len(text))
        found = library.complete(text, place, get_caller(request).name)
        return CompletionBody(
            from_=found.start,
            to=found.end,
            options=[OptionBody(text=one.text, label=one.label, count=one.count) for one in found.options],
        )


def _add_asset_routes(routes: APIRouter, studio: Studio) -> None:
    library, settings = studio.engine.asset_library, studio.settings

    @routes.get("/assets/{asset_id}")
    def get_asset(request: Request, asset_id: str) -> AssetDetailsBody:
        """Everything about one asset."""
        details = library.get_details(asset_id, get_caller(request).name)
        return AssetDetailsBody.make_details(details, settings.current.root_path)

    @routes.patch("/assets/{asset_id}", dependencies=[needs(Right.ORGANIZE)])
    def change_asset(request: Request, asset_id: str, body: AssetChangeBody) -> AssetBody:
        """Set favourite, rating, tags, note or title; what is left out stays. A step that can be undone."""
        entry = library.change(asset_id, body.to_change(), get_caller(request).name)
        return AssetBody.make(entry, settings.current.root_path)

    @routes.delete("/assets/{asset_id}", dependencies=[needs(Right.ORGANIZE)])
    def trash_asset(request: Request, asset_id: str) -> AssetBody:
        """Move an asset to the trash; a step that can be undone."""
        user = get_caller(request).name
        library.get_entry(asset_id, user)
        library.change_many(Change(trash=True), user, ids=[asset_id])
        return AssetBody.make(library.get_entry(asset_id, user), settings.current.root_path)

    @routes.post("/assets/{asset_id}/uses")
    def record_use(request: Request, asset_id: str, body: UseBody) -> UseResult:
        """Count what an asset was used for."""
        return UseResult(uses=library.record_use(asset_id, body.use, get_caller(request).name))


def _add_bulk_routes(routes: APIRouter, studio: Studio) -> None:
    library = studio.engine.asset_library

    @routes.post("/assets/bulk", dependencies=[needs(Right.ORGANIZE)])
    def change_assets(request: Request, body: BulkBody) -> BulkResult:
        """Change many assets at once; ids of others are left out. The last 20 steps can be undone."""
        change = body.change.to_change()
        if not body.ids and body.query is None:
            raise InvalidRequest("No assets were given.", hint="Send “ids” or a “query”.")
        if change.is_empty:
            raise InvalidRequest("No change was given.", hint="Send what is to become of the assets as “change”.")
        user = get_caller(request).name
        changed, token = library.change_many(change, user, ids=body.ids, text=body.query)
        return BulkResult(changed=changed, undo=token)

    @routes.post("/assets/undo", dependencies=[needs(Right.ORGANIZE)])
    def undo_step(request: Request, body: UndoBody | None = None) -> UndoResult:
        """Undo the step of a token, or the last one."""
        token = body.token if body is not None else ""
        return UndoResult(restored=library.undo(get_caller(request).name, token))

    @routes.post("/trash/empty", dependencies=[needs(Right.DELETE)])
    def empty_trash(request: Request) -> EmptyTrashResult:
        """Delete the caller's trashed files for good."""
        return EmptyTrashResult(removed=library.empty_trash(get_caller(request).name))


def _add_collection_routes(routes: APIRouter, studio: Studio) -> None:
    collections = studio.engine.asset_library.collections

    @routes.get("/collections")
    def list_collections(request: Request) -> CollectionList:
        """The caller's collections and saved searches, by name."""
        return CollectionList(
            collections=[CollectionBody.make(one) for one in collections.list_all(get_caller(request).name)]
        )

    @routes.post("/collections", status_code=201, dependencies=[needs(Right.ORGANIZE)])
    def create_collection(request: Request, body: NewCollectionBody) -> CollectionBody:
        """Make a collection, or with a query a saved search."""
        return CollectionBody.make(collections.create(body.name, get_caller(request).name, body.query))

    @routes.patch("/collections/{collection_id}", dependencies=[needs(Right.ORGANIZE)])
    def change_collection(request: Request, collection_id: str, body: CollectionChangeBody) -> CollectionBody:
        """Rename a collection, or give a saved search another query."""
        user = get_caller(request).name
        return CollectionBody.make(collections.change(collection_id, user, name=body.name, query=body.query))

    @routes.delete("/collections/{collection_id}", status_code=204, dependencies=[needs(Right.ORGANIZE)])
    def delete_collection(request: Request, collection_id: str) -> None:
        """Delete a collection; its assets stay."""
        collections.delete(collection_id, get_caller(request).name)


def _add_import_routes(routes: APIRouter, studio: Studio) -> None:
    imports = studio.engine.asset_library.imports

    def list_folders(user: User) -> ImportList:
        folders = imports.list_folders(user.name, everybody=user.may(Right.SETTINGS))
        return ImportList(
            folders=[
                ImportFolderBody(
                    id=one.id,
                    path=one.path,
                    program=one.program,
                    state=one.state,
                    found=one.found,
                    done=one.done,
                    error=one.error or None,
                )
                for one in folders
            ]
        )

    @routes.get("/imports")
    def list_imports(request: Request) -> ImportList:
        """The caller's import folders and how far they are; an administrator sees all. They are set by file,
        environment or flag."""
        return list_folders(get_caller(request))

    @routes.post("/imports/{folder_id}/scan", status_code=202, dependencies=[needs(Right.SETTINGS)])
    def scan_folder(request: Request, folder_id: int) -> ImportList:
        """Look through a folder again (administrators)."""
        imports.scan(folder_id)
        return list_folders(get_caller(request))

    @routes.post("/imports/{folder_id}/cancel", status_code=202, dependencies=[needs(Right.SETTINGS)])
    def cancel_scan(request: Request, folder_id: int) -> ImportList:
        """Stop looking through a folder; what was found stays (administrators)."""
        imports.cancel(folder_id)
        return list_folders(get_caller(request))
