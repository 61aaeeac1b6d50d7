"""The asset library as a whole, for the engine to open and for page and HTTP to ask."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from studio.core.errors import BadImage
from studio.library.changes import Change
from studio.library.collections import Collections
from studio.library.curation import Curation, insert_media
from studio.library.curation_log import CurationLog
from studio.library.database import Database
from studio.library.entries import AssetDetails, AssetEntry, Entries
from studio.library.facets import Completion, Facets
from studio.library.file_sizes import fill_sizes
from studio.library.folder_scan import ForeignImage
from studio.library.imports import Imports
from studio.library.indexing import Indexing
from studio.library.likeness import MAX_COMPARED, Likeness, hash_image
from studio.library.marks import find_marked
from studio.library.meaning import Embedder, Meaning
from studio.library.query import Order
from studio.library.schema import DONE
from studio.library.search import MAX_PAGE, Search, make_cursor
from studio.library.trash import Trash
from studio.library.uses import Use, Uses, count_parents

_STEP = 20  # assets that are looked at for the end of a job


@dataclass(frozen=True, kw_only=True)
class Page:
    """Assets in their order; `next` continues the list, None at the end. `total` is how many there are in all, at least
    that many unless `exact`."""

    assets: tuple[AssetEntry, ...]
    next: str | None
    total: int
    exact: bool


def _ignore(asset_id: str) -> None:
    pass


def _refuse(path: Path) -> ForeignImage:
    raise BadImage("Images of other programs are not read here.", hint="Open the library in the studio.")


class AssetLibrary:
    """The assets of all users; every method is about those of one. Thread-safe."""

    def __init__(
        self,
        database: Database,
        root: Path,
        remove_thumbnail: Callable[[str], None] = _ignore,
        read: Callable[[Path], ForeignImage] = _refuse,
        embedder: Embedder | None = None,
    ) -> None:
        """`root` is the outputs folder; `remove_thumbnail` is called with the id of an asset that was removed for
        good; `read` tells what the head of a foreign image file holds, and raises StudioError for what is none;
        `embedder` tells what texts mean, None where no model does."""
        self._entries = Entries(database)
        self._meaning = Meaning(database, embedder)
        self._likeness = Likeness(database)
        self._search = Search(database, self._meaning)
        self._facets = Facets(database, self._search)
        log = CurationLog(root)
        self._trash = Trash(
            database, root, remove_thumbnail, lambda user, ids: log.append(user, [({"removed": True}, ids)])
        )
        self._curation = Curation(database, log, self._trash)
        self._uses = Uses(database, log)
        self._database, self._root, self._log = database, root, log
        self.imports = Imports(database, root, read, self._curation.replay)
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

    def complete_job(self, page: Page, text: str, user: str, *, order: Order, trashed: bool = False) -> Page:
        """`page` of `list_assets`, called with the same values, and at most 500 more assets, so that it does not end
        between two of one job. Orders that are not by time part jobs anyway: their pages stay as they are."""
        assets, following = list(page.assets), page.next
        wanted = len(assets) + MAX_PAGE
        while (
            following and assets and assets[-1].job and len(assets) < wanted and order in (Order.NEWEST, Order.OLDEST)
        ):
            more = self.list_assets(text, user, limit=_STEP, cursor=following, order=order, trashed=trashed)
            same = list(itertools.takewhile(lambda one, job=assets[-1].job: one.job == job, more.assets))
            assets += same
            following = more.next
            if len(same) < len(more.assets):
                following = make_cursor(order, assets[-1].seq)
                break
        return Page(assets=tuple(assets), next=following, total=page.total, exact=page.exact)

    def get_entry(self, asset_id: str, user: str) -> AssetEntry:
        """One asset as lists show it; raises NotFound for another user's."""
        return self._entries.get_entry(asset_id, user)

    def get_details(self, asset_id: str, user: str) -> AssetDetails:
        """Everything about one asset; raises NotFound for another user's."""
        return self._entries.get_details(asset_id, user)

    def change(self, asset_id: str, change: Change, user: str, *, is_step: bool = True) -> AssetEntry:
        """Change one asset; returns it as it is now. It is the last step that `undo` takes back unless `is_step` is
        False, as for what belongs to its making.

        Raises:
            NotFound, InvalidRequest, StorageFailed: as the message says; nothing was changed.
        """
        self._curation.change(asset_id, change, user, is_step=is_step)
        return self._entries.get_entry(asset_id, user)

    def count_facets(self, text: str, user: str) -> Mapping[str, list[tuple[str, int]]]:
        """(value, number) of models, LoRAs, tags, sources, tasks and days among the hits of `text`."""
        return self._facets.count(text, user)

    def complete(self, text: str, position: int, user: str) -> Completion:
        """What the word at `position` of the query `text` could become."""
        return self._facets.complete(text, position, user)

    def change_many(
        self, change: Change, user: str, *, ids: Sequence[str] = (), text: str | None = None
    ) -> tuple[int, str]:
        """Change the user's assets of these ids, and those that fit the query `text`; returns how many are different
        now, and the token that undoes the step.

        Raises:
            NotFound, InvalidRequest, StorageFailed, TooSlow: as the message says; what was changed before that can be
                undone as the last step.
        """
        chunks: list[Iterable[Sequence[int]]] = []
        if ids:
            chunks.append([self._entries.find_seqs(ids, user)])
        if text is not None:
            chunks.append(self._search.iterate_all(text, user, trashed=change.restore))
        return self._curation.change_many(itertools.chain.from_iterable(chunks), change, user)

    def undo(self, user: str, token: str = "") -> int:
        """Undo the step of that token, or the last one; returns how many assets are as before. Raises NotFound."""
        return self._curation.undo(user, token)

    def list_similar(self, asset_id: str, user: str, limit: int = 50) -> Page:
        """Assets like one: near duplicates first, then those whose prompt means nearly the same. Raises NotFound."""
        seq = self._entries.find_seqs([asset_id], user)
        alike = self._likeness.find_near(seq[0], limit) if seq else []
        same = self._search.find_similar(asset_id, user, limit)
        own = self._entries.select_shown(list(dict.fromkeys((*alike, *same))), user)[:limit]
        return Page(assets=tuple(self._entries.list_entries(own)), next=None, total=len(own), exact=True)

    def find_alike(self, image: Image.Image, user: str, limit: int = 5) -> list[AssetEntry]:
        """The user's assets that look like `image`, the nearest first."""
        looks = hash_image(image)
        near = self._likeness.find_near_hash(looks, MAX_COMPARED) if looks is not None else []
        return self._entries.list_entries(self._entries.select_shown(near, user)[:limit])

    def find_marked(self, mark: str, user: str, limit: int = 5) -> list[str]:
        """Ids of the user's assets whose pixels hold that hidden mark, the newest first; raises TooSlow."""
        return find_marked(self._database, mark, user, limit)

    def list_duplicates(self, user: str, limit: int = 200) -> list[list[AssetEntry]]:
        """Groups of near duplicates among the user's newest 50,000 assets, the newest group first."""
        groups = self._likeness.group(self._entries.list_newest_seqs(user, MAX_COMPARED))[:limit]
        found = {one.seq: one for one in self._entries.list_entries([seq for group in groups for seq in group])}
        return [[found[seq] for seq in group if seq in found] for group in groups]

    def make_indexing(self, is_busy: Callable[[], bool], get_thumbnail: Callable[[str, str], Path]) -> Indexing:
        """The thread that works out looks and meaning of new images while no job runs."""
        return Indexing(self._database, self._meaning, is_busy, get_thumbnail)

    def record_use(self, asset_id: str, use: Use, user: str) -> int:
        """Count a use; returns how often the asset was used by now. Raises NotFound for another user's."""
        return self._uses.record(asset_id, use, user)

    def add_media(
        self, asset_id: str, user: str, created: float, columns: Mapping[str, Any], parents: Sequence[str]
    ) -> None:
        """List an audio or video file that lies in the outputs folder; `columns` are kind, path, bytes and source.

        Raises:
            StorageFailed: it could not be written.
        """
        with self._database.transaction() as connection:
            note = {"media": dict(columns), "created": created, "parents": list(parents)}
            seq = insert_media(connection, asset_id, user, note)
            self._log.append(user, [(note, [asset_id])])
            if seq is not None:
                count_parents(connection, seq, user, self._log)
        self._log.sync()

    def list_for_export(self, user: str, *, ids: Sequence[str] = (), text: str | None = None) -> list[AssetEntry]:
        """The assets of these ids, and those that fit `text`, newest first; raises as `list_assets`."""
        seqs = self._entries.find_seqs(ids, user) if ids else []
        if text is not None:
            seqs += itertools.chain.from_iterable(self._search.iterate_all(text, user))
        return self._entries.list_entries(sorted(set(seqs), reverse=True))

    def empty_trash(self, user: str) -> int:
        """Remove the user's trashed assets for good; returns how many. Raises StorageFailed."""
        return self._trash.empty(user)

    def remove_older(self, user: str, before: float) -> int:
        """Remove the user's own assets made before that time for good, and everything in the trash; returns how
        many. Raises as `empty_trash`."""
        rows = self._database.rows(
            "SELECT seq FROM assets WHERE user = ? AND state = ? AND created < ?", (user, DONE, before)
        )
        self._trash.trash([row["seq"] for row in rows], user)
        return self._trash.empty(user)

    def replay_notes(self) -> int:
        """Read back what users noted of their images, once all images are in an index that was made anew; returns how
        many notes there are."""
        return self._curation.replay()

    def compact_notes(self) -> bool:
        """Shorten the log of what users noted where most of it was overtaken; returns whether it was. Raises
        StorageFailed."""
        return self._log.compact(self._database.transaction)

    def forget_notes(self, user: str) -> None:
        """Remove what `user` noted from the log of notes, once their assets are gone. Raises StorageFailed."""
        self._log.forget(user, self._database.transaction)

    def trash_old(self, days: int) -> int:
        """Move images of all users to the trash that were made more than `days` ago and are no favourites; 0 keeps
        them. Returns how many. Raises StorageFailed."""
        return self._trash.trash_old(days)

    def fill_sizes(self) -> int:
        """Write the sizes of our files into the index where an earlier version did not; returns of how many."""
        return fill_sizes(self._database, self._root)

    def settle_moves(self) -> int:
        """Bring to an end what a dead process moved to the trash or back; returns how many there were."""
        return self._trash.settle()

    def purge_trash(self, days: int) -> int:
        """Remove of all users what was trashed more than `days` ago; 0 keeps it for ever. Raises StorageFailed."""
        return self._trash.purge(days)
