"""The JSON of the asset library."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field

from studio.api.field_bodies import Name, StrictModel, Text
from studio.api.responses import PREFIX
from studio.library.asset_library import Page
from studio.library.changes import MAX_TAGS, Change
from studio.library.collections import Collection
from studio.library.entries import AssetDetails, AssetEntry
from studio.library.query import MAX_QUERY_LENGTH, Order
from studio.library.search import MAX_PAGE
from studio.library.uses import Use

MAX_BULK_IDS = 10_000
QUERY_HELP = "A query, for example `castle -night is:favourite`."
_LAST_SECOND = 253402300799.0  # of the year 9999
Tags = Annotated[list[Name], Field(max_length=MAX_TAGS)]


class AssetBody(BaseModel):
    """One asset of the library. `url` is its file, `thumbnail` a small image of it; `rating` is 0 to 5."""

    id: str
    url: str
    thumbnail: str
    width: int
    height: int
    created: str = Field(description="ISO 8601, UTC.")
    kind: str = Field(description="image, audio or video.")
    title: str
    prompt: str
    negative_prompt: str
    model: str
    seed: int
    task: str
    source: str = Field(description="The program that it comes from.")
    favourite: bool
    rating: int
    tags: list[str]
    note: str
    trashed: bool
    uses: int
    job: str | None = Field(description="The job that made it here.")
    blurred: bool = Field(default=False, description="Moderation holds the original back.")

    @classmethod
    def make(cls, entry: AssetEntry, root: str) -> Self:
        """The body of an asset, with addresses below `root`."""
        return cls(**_list_values(entry, root))


class AssetListQuery(BaseModel):
    """Which assets are listed, and from where on."""

    q: str = Field(default="", max_length=MAX_QUERY_LENGTH, description=QUERY_HELP)
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)
    cursor: str = Field(default="", max_length=100)
    order: Order = Order.NEWEST
    trashed: bool = False
    whole_jobs: bool = Field(
        default=False, description="Go beyond the limit until the page does not end between two assets of one job."
    )


class AssetPage(BaseModel):
    """Assets in their order. `next` is the cursor of the next page, null at the end; `total` is how many there are in
    all, or at least that many where `total_is_exact` is false."""

    assets: list[AssetBody]
    next: str | None
    total: int
    total_is_exact: bool

    @classmethod
    def make(cls, page: Page, root: str) -> Self:
        """The body of a page."""
        return cls(
            assets=[AssetBody.make(entry, root) for entry in page.assets],
            next=page.next,
            total=page.total,
            total_is_exact=page.exact,
        )


class RelativeBody(BaseModel):
    """An asset that another was made from, or that was made from it."""

    id: str
    thumbnail: str


class DuplicateGroups(BaseModel):
    """Groups of assets that look nearly the same, the newest first."""

    groups: list[list[AssetBody]]


class CollectionRef(BaseModel):
    id: str
    name: str


class AssetDetailsBody(AssetBody):
    """Everything about one asset. `request` is its recipe; `history` names the tasks of the requests before it.
    `seed_text` and `request_text` have every digit, for readers whose numbers end at 2**53, such as browsers."""

    seed_text: str
    request: dict[str, Any] | None
    request_text: str | None
    infotext: str | None
    parents: list[RelativeBody]
    children: list[RelativeBody]
    history: list[str]
    collections: list[CollectionRef]
    use_counts: dict[str, int]

    @classmethod
    def make_details(cls, details: AssetDetails, root: str) -> Self:
        """The body of everything about an asset."""
        return cls(
            **_list_values(details.entry, root),
            seed_text=str(details.entry.seed),
            request=None if details.request is None else dict(details.request),
            request_text=None if details.request is None else json.dumps(details.request, indent=2, ensure_ascii=False),
            infotext=details.infotext or None,
            parents=[_make_relative(one, root) for one in details.parents],
            children=[_make_relative(one, root) for one in details.children],
            history=list(details.history),
            collections=[CollectionRef(id=one, name=name) for one, name in details.collections],
            use_counts=dict(details.use_counts),
        )


class AssetChangeBody(StrictModel):
    """What becomes of an asset; what is left out stays. `tags` replaces all tags."""

    favourite: bool | None = None
    rating: int | None = Field(default=None, ge=0, le=5)
    tags: Tags | None = None
    note: Text | None = None
    title: Name | None = None

    def to_change(self) -> Change:
        """The change; raises InvalidRequest for a tag that is not possible."""
        return Change(
            favourite=self.favourite,
            rating=self.rating,
            tags=None if self.tags is None else tuple(self.tags),
            note=self.note,
            title=self.title,
        )


class BulkChange(AssetChangeBody):
    """What becomes of many assets; `add_to` and `remove_from` are ids of collections."""

    add_tags: Tags = Field(default=[])
    remove_tags: Tags = Field(default=[])
    add_to: Name = ""
    remove_from: Name = ""
    trash: bool = False
    restore: bool = False

    def to_change(self) -> Change:
        """The change; raises InvalidRequest for what is not possible."""
        return dataclasses.replace(
            super().to_change(),
            add_tags=tuple(self.add_tags),
            remove_tags=tuple(self.remove_tags),
            add_to=self.add_to,
            remove_from=self.remove_from,
            trash=self.trash,
            restore=self.restore,
        )


class BulkBody(StrictModel):
    """Assets by their `ids`, or all that fit a `query`, and what becomes of them."""

    ids: list[Name] = Field(default=[], max_length=MAX_BULK_IDS)
    query: Text | None = None
    change: BulkChange


class BulkResult(BaseModel):
    """`changed` assets are different now; `undo` is the token that undoes the step."""

    changed: int
    undo: str


class UndoBody(StrictModel):
    """The step to undo; the last one without a token."""

    token: Name = ""


class UndoResult(BaseModel):
    restored: int


class UseBody(StrictModel):
    """What an asset was used for."""

    use: Annotated[Use, Field(strict=False)]


class UseResult(BaseModel):
    """How often the asset was used by now."""

    uses: int


class ImportFolderBody(BaseModel):
    """A folder of another program. `state` is waiting, scanning, watching, cancelled, offline or failed; `done` of the
    `found` files were looked at so far."""

    id: int
    path: str
    program: str
    state: str
    found: int
    done: int
    error: str | None


class ImportList(BaseModel):
    folders: list[ImportFolderBody]


class EmptyTrashResult(BaseModel):
    removed: int


class FacetValue(BaseModel):
    value: str
    count: int


class CollectionBody(BaseModel):
    """A collection; a saved search has its query."""

    id: str
    name: str
    count: int
    query: str | None

    @classmethod
    def make(cls, collection: Collection) -> Self:
        """The body of a collection."""
        return cls(id=collection.id, name=collection.name, count=collection.count, query=collection.query)


class CollectionList(BaseModel):
    collections: list[CollectionBody]


class NewCollectionBody(StrictModel):
    """A new collection; with `query` a saved search."""

    name: Name = Field(min_length=1)
    query: Text | None = None


class CollectionChangeBody(StrictModel):
    """Another name, or another query of a saved search."""

    name: Name | None = None
    query: Text | None = None


class FacetsBody(BaseModel):
    """What can be filtered by, with numbers, the most frequent first; days with the latest first."""

    models: list[FacetValue]
    loras: list[FacetValue]
    tags: list[FacetValue]
    sources: list[FacetValue]
    tasks: list[FacetValue]
    days: list[FacetValue]
    collections: list[CollectionBody]


class OptionBody(BaseModel):
    """One way to go on: `text` replaces what is there, `label` is shown."""

    text: str
    label: str
    count: int | None = None


class CompletionBody(BaseModel):
    """Options for the characters `from` to `to` of the text."""

    from_: int = Field(serialization_alias="from")
    to: int
    options: list[OptionBody]


def _list_values(entry: AssetEntry, root: str) -> dict[str, Any]:
    same = ("id", "width", "height", "kind", "title", "prompt", "negative_prompt", "model", "seed", "task", "source")
    kept = ("favourite", "rating", "note", "trashed", "uses", "blurred")
    return {
        **{name: getattr(entry, name) for name in (*same, *kept)},
        "tags": list(entry.tags),
        "job": entry.job or None,
        "url": f"{root}{PREFIX}/assets/{entry.id}/file",
        "thumbnail": _make_thumbnail_address(entry.id, root),
        "created": datetime.fromtimestamp(min(max(entry.created, 0.0), _LAST_SECOND), UTC).isoformat(),
    }


def _make_relative(asset_id: str, root: str) -> RelativeBody:
    return RelativeBody(id=asset_id, thumbnail=_make_thumbnail_address(asset_id, root))


def _make_thumbnail_address(asset_id: str, root: str) -> str:
    return f"{root}{PREFIX}/assets/{asset_id}/thumbnail"
