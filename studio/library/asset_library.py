"""The asset library as a whole, for the engine to open and for page and HTTP to ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.library.changes import Change
from studio.library.collections import Collections
from studio.library.curation import Curation
from studio.library.curation_log import CurationLog
from studio.library.database import Database
from studio.library.entries import AssetDetails, AssetEntry, Entries
from studio.library.facets import Completion, Facets
from studio.library.query import Order
from studio.library.search import Search


@dataclass(frozen=True, kw_only=True)
class Page:
    """Assets in their order; `next` continues the list, None at the end. `total` is how many there are in all, at least
    that many unless `exact`."""

    assets: tuple[AssetEntry, ...]
    next: str | None
    total: int
    exact: bool


class AssetLibrary:
    """The assets of all users; every method is about those of one. Thread-safe."""

    def __init__(self, database: Database, root: Path) -> None:
        self._entries = Entries(database)
        self._search = Search(database)
        self._facets = Facets(database, self._search)
        log = CurationLog(root)
        self._curation = Curation(database, log)
        self.collections = Collections(database, log, self._search)

    def list_assets(
        self,
        text: str,
        user: str,
        *,
        limit: int = 50,
        cursor: str | None = None,
        order: Order = Order.NEWEST,
        trashed: bool = False,
    ) -> Page:
        """One page of the assets that fit the query `text`.

        Raises:
            InvalidRequest: `text` or `cursor` cannot be read; `details` has the place. TooSlow: it took too long.
        """
        hits = self._search.find(text, user, limit=limit, cursor=cursor, order=order, trashed=trashed)
        assets = tuple(self._entries.list_entries(hits.seqs))
        return Page(assets=assets, next=hits.next, total=hits.total, exact=hits.exact)

    def get_entry(self, asset_id: str, user: str) -> AssetEntry:
        """One asset as lists show it; raises NotFound for another user's."""
        return self._entries.get_entry(asset_id, user)

    def get_details(self, asset_id: str, user: str) -> AssetDetails:
        """Everything about one asset; raises NotFound for another user's."""
        return self._entries.get_details(asset_id, user)

    def change(self, asset_id: str, change: Change, user: str) -> AssetEntry:
        """Change one asset; returns it as it is now.

        Raises:
            NotFound, InvalidRequest, StorageFailed: as the message says; nothing was changed.
        """
        self._curation.change(asset_id, change, user)
        return self._entries.get_entry(asset_id, user)

    def count_facets(self, text: str, user: str) -> Mapping[str, list[tuple[str, int]]]:
        """(value, number) of models, LoRAs, tags, sources, tasks and days among the hits of `text`."""
        return self._facets.count(text, user)

    def complete(self, text: str, position: int, user: str) -> Completion:
        """What the word at `position` of the query `text` could become."""
        return self._facets.complete(text, position, user)
