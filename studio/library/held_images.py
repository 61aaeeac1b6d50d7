"""Images that moderation holds back: the file at the image's place is a blurred one, the original lies here with why.

So whatever reads the file (page, APIs, zips, edits, other programs) gets the blurred image, and no pixel is lost. What
is known of each lies beside its original, and in the table `held`, which is made anew from there.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from studio.core.durable_files import replace_synced, translate_os_errors
from studio.core.errors import NotFound
from studio.library.database import Database

HELD_FOLDER = ".held"


@dataclass(frozen=True, kw_only=True)
class HeldImage:
    """One held image. `verdict` is that of the filter, `appeal` what its user said against it; `created` in seconds
    since the epoch; `ending` is that of the file name."""

    asset: str
    user: str
    ending: str
    verdict: dict[str, Any]
    created: float
    appeal: str = ""


class HeldImages:
    """The held images of all users below `root`, the outputs folder. Thread-safe."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._folder = root / HELD_FOLDER
        if database.fresh:
            self._read_back()

    def hold(self, asset: str, user: str, data: bytes, ending: str, verdict: dict[str, Any]) -> None:
        """Keep `data`, the file of an image whose place a blurred one will take.

        Raises:
            StorageFailed: it cannot be written.
        """
        image = HeldImage(asset=asset, user=user, ending=ending, verdict=verdict, created=time.time())
        with translate_os_errors("the image"):
            self._get_path(image).parent.mkdir(parents=True, exist_ok=True)
            replace_synced(self._get_path(image), data, 0o600)
        self._save(image)

    def find(self, asset: str, user: str | None = None) -> HeldImage:
        """The held image of that asset, one of `user` where it is given.

        Raises:
            NotFound: the asset is not held, or another user's.
        """
        rows = self._database.rows(
            "SELECT facts FROM held WHERE asset = ? AND (? IS NULL OR user = ?)", (asset, user, user)
        )
        if not rows:
            raise NotFound("This image is not held back.", hint="It may have been released already.")
        return HeldImage(**json.loads(rows[0]["facts"]))

    def list_all(self, user: str | None = None, limit: int = 500) -> list[HeldImage]:
        """The held images of `user`, or of everybody, those with an appeal first, then the newest."""
        rows = self._database.rows(
            "SELECT facts FROM held WHERE ? IS NULL OR user = ? ORDER BY appealed DESC, created DESC LIMIT ?",
            (user, user, limit),
        )
        return [HeldImage(**json.loads(row["facts"])) for row in rows]

    def note_appeal(self, asset: str, user: str, text: str) -> None:
        """Keep what the user says against it; raises as `find`, and StorageFailed."""
        self._save(replace(self.find(asset, user), appeal=text or "–"))

    def read(self, image: HeldImage) -> bytes:
        """The original file.

        Raises:
            NotFound: it is gone.
        """
        try:
            return self._get_path(image).read_bytes()
        except FileNotFoundError as error:
            raise NotFound("The original image is gone.", hint="It may have been deleted by hand.") from error

    def get_original(self, image: HeldImage) -> Path:
        """The path of the original file."""
        return self._get_path(image)

    def remove(self, asset: str) -> None:
        """Forget a held image and its original; nothing when it is not held."""
        with contextlib.suppress(NotFound):
            image = self.find(asset)
            with translate_os_errors("the image"):
                self._get_path(image).unlink(missing_ok=True)
                self._get_facts_path(asset).unlink(missing_ok=True)
            with self._database.transaction() as connection:
                connection.execute("DELETE FROM held WHERE asset = ?", (asset,))

    def _save(self, image: HeldImage) -> None:
        with translate_os_errors("the image"):
            replace_synced(self._get_facts_path(image.asset), json.dumps(asdict(image)).encode(), 0o600)
        self._insert(image)

    def _insert(self, image: HeldImage) -> None:
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO held (asset, user, created, appealed, facts) VALUES (?, ?, ?, ?, ?)",
                (image.asset, image.user, image.created, bool(image.appeal), json.dumps(asdict(image))),
            )

    def _read_back(self) -> None:
        for path in self._folder.glob("??/*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                self._insert(HeldImage(**json.loads(path.read_bytes())))

    def _get_path(self, image: HeldImage) -> Path:
        return self._folder / image.asset[:2] / f"{Path(image.asset).name}{image.ending}"

    def _get_facts_path(self, asset: str) -> Path:
        return self._folder / asset[:2] / f"{Path(asset).name}.json"
