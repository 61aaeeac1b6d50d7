"""Visitors without a login: what they may do beyond what the role of guests allows, and the removal of what they leave.

Their rights, and the limits that guests with a login have too, are in core/rights.py. A visitor is known by the name
that the login gives; the limits hold whatever route a request comes by, since all of them end in
`Engine.submit`.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import Forbidden, InvalidRequest, QuotaExceeded, StudioError
from studio.core.model import TOOLS_LANE, Model
from studio.core.user import GUEST_PREFIX
from studio.engine.privacy import UserData
from studio.engine.storage.input_cleanup import InputCleanup
from studio.library.asset_library import AssetLibrary
from studio.library.database import Database

_SWEEP_PERIOD = 300.0  # seconds
_HOUR = 3600.0  # seconds
_MAX_COUNTED = 10_000  # guests whose images are counted
_SAVED_KINDS = ("recipes", "personas", "wildcards")  # folders of what users save

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class GuestLimits:
    """Guests may use `models`; beside them only tools that need no GPU run. `lifetime` is in seconds."""

    models: frozenset[str] = frozenset({"embedded"})
    images_an_hour: int = 20
    images_a_job: int = 4
    lifetime: float = _HOUR


class GuestQuota:
    """Counts the images of guests. Thread-safe; forgets with the process, as guests do."""

    def __init__(self, limits: GuestLimits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._drawn: collections.OrderedDict[str, list[tuple[float, int]]] = collections.OrderedDict()

    def admit(self, models: list[Model], images: int, user: str, *, generations: int) -> None:
        """Count a job of `images` by `models` for the guest `user`, for which `generations` are generated: more than
        `images` where some are composed of several things.

        Raises:
            Forbidden: a model that guests may not use. InvalidRequest: too many images or things for one job.
            QuotaExceeded: too many images in the last hour; `details` has the seconds to wait.
        """
        limits = self.limits
        barred = next((one for one in models if not _may_use(one, limits)), None)
        if barred is not None:
            raise Forbidden(f"Guests cannot use {barred.title}.", hint="Log in, or choose the embedded model.")
        if images > limits.images_a_job:
            raise InvalidRequest(
                f"Guests can make at most {limits.images_a_job} images at once.",
                hint="Log in, or request fewer images.",
            )
        if generations > limits.images_an_hour:
            raise InvalidRequest(
                f"Guests can make {limits.images_an_hour} images an hour and this would be {generations}. Each thing of"
                " a composed image counts.",
                hint="Log in, or request fewer images or things.",
            )
        self._count(user, generations)

    def _count(self, user: str, images: int) -> None:
        now = self._clock()
        with self._lock:
            drawn = [one for one in self._drawn.pop(user, []) if one[0] > now - _HOUR]
            self._drawn[user] = drawn
            if sum(number for _, number in drawn) + images > self.limits.images_an_hour:
                wait = round(drawn[0][0] + _HOUR - now) if drawn else round(_HOUR)
                raise QuotaExceeded(
                    f"Guests can make {self.limits.images_an_hour} images an hour.",
                    hint=f"Log in, or try again in {max(1, wait // 60)} min.",
                    details={"retry_after": wait},
                )
            drawn.append((now, images))
            while len(self._drawn) > _MAX_COUNTED:
                self._drawn.popitem(last=False)


def _may_use(model: Model, limits: GuestLimits) -> bool:
    return not model.paid and (model.id in limits.models or model.lane == TOOLS_LANE)


class GuestSweeper:
    """Removes for good what guests left: images, jobs, uploads, saved recipes, chains, personas, wildcards. Runs in a
    thread of its own."""

    def __init__(
        self, database: Database, library: AssetLibrary, inputs: InputCleanup, folder: Path, data: UserData
    ) -> None:
        """`folder` has what users save, `data` removes all that is known of one."""
        self._database, self._library, self._inputs, self._folder = database, library, inputs, folder
        self._data = data
        self._lifetime = GuestLimits().lifetime
        self._closed = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="guest sweeper", daemon=True).start()

    def close(self) -> None:
        """Stop; what is being removed now is still removed."""
        self._closed.set()

    def sweep(self) -> int:
        """Remove what is too old, and of guests who made nothing for as long everything that names them; returns the
        number of images.

        Raises:
            StorageFailed: a file or the library cannot be written.
        """
        before = time.time() - self._lifetime
        removed = sum(self._library.remove_older(user, before) for user in self._list_owners(before))
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM jobs WHERE user GLOB ? AND finished < ?", (_PATTERN, before))
            connection.execute("DELETE FROM chains WHERE user GLOB ? AND created < ?", (_PATTERN, before))
            rows = connection.execute(
                "DELETE FROM inputs WHERE user GLOB ? AND created < ? RETURNING hash", (_PATTERN, before)
            ).fetchall()
        self._inputs.remove_unnamed({row["hash"] for row in rows})
        self._remove_saved(before)
        for user in self._list_gone(before):
            removed += self._data.delete(user, user, lambda: True)["images"]
        return removed

    def _list_gone(self, before: float) -> list[str]:
        """The guests that anything is known of, and who made nothing since `before`."""
        rows = self._database.rows(
            "SELECT user FROM (SELECT user FROM assets UNION SELECT user FROM jobs UNION SELECT user FROM inputs"
            " UNION SELECT user FROM usage) WHERE user GLOB ? EXCEPT SELECT user FROM (SELECT user, created FROM assets"
            " UNION ALL SELECT user, created FROM jobs UNION ALL SELECT user, created FROM inputs) WHERE created >= ?",
            (_PATTERN, before),
        )
        return [row["user"] for row in rows]

    def _list_owners(self, before: float) -> list[str]:
        rows = self._database.rows(
            "SELECT DISTINCT user FROM assets WHERE user GLOB ? AND created < ?", (_PATTERN, before)
        )
        return [row["user"] for row in rows]

    def _remove_saved(self, before: float) -> None:
        for kind in _SAVED_KINDS:
            for folder in (self._folder / kind / "users").glob(_PATTERN):
                with contextlib.suppress(OSError):  # tried again in a while
                    if folder.stat().st_mtime < before:
                        shutil.rmtree(folder)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                if count := self.sweep():
                    _log.info("removed %d images of guests", count)
            except StudioError as error:
                _log.warning("what guests left was not removed: %s", error.message)
            self._closed.wait(_SWEEP_PERIOD)


_PATTERN = f"{GUEST_PREFIX}*"  # of SQLite's GLOB and of paths
