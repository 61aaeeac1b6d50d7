"""What each user takes of the studio: images of a day and disk space, and the limits of both. Money has its own place
(`money/ledger.py`), the number of waiting jobs too (`jobs/dispatcher.py`)."""

from __future__ import annotations

import time

from studio.core.errors import QuotaExceeded
from studio.core.settings import Settings
from studio.library.database import Database

_GIB = 2**30


class Usage:
    """Reads what the library counts. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count_images_today(self, user: str) -> int:
        """How many images jobs of `user` have made since midnight, those that were deleted meanwhile too."""
        rows = self._database.rows("SELECT images FROM usage WHERE user = ? AND day = ?", (user, _get_today()))
        return rows[0]["images"] if rows else 0

    def sum_disk(self, user: str) -> int:
        """The bytes of the files that `user` has in the outputs folder, those in the trash too."""
        [row] = self._database.rows(
            "SELECT COALESCE(SUM(bytes), 0) AS sum FROM assets WHERE user = ? AND folder = 0", (user,)
        )
        return row["sum"]

    def check_images(
        self, user: str, settings: Settings, *, wanted: int, waiting: int, is_composed: bool = False
    ) -> None:
        """Refuse `wanted` images more, where `waiting` are yet to come of jobs that were taken. With `is_composed` some
        of them are the things of composed images.

        Raises:
            QuotaExceeded: the day's images would be passed.
        """
        limit = settings.images_per_day
        if not limit:
            return
        made = self.count_images_today(user)
        if made + waiting + wanted > limit:
            left = max(0, limit - made - waiting)
            raise QuotaExceeded(
                f"You may make {limit} images a day; {left} {'is' if left == 1 else 'are'} left today and this would be"
                f" {wanted}."
                f"{' Each thing of a composed image counts.' if is_composed else ''}",
                hint="Request fewer images, or try again tomorrow."
                if left
                else "Try again tomorrow, or ask an administrator for more.",
                details={"limit": limit, "used": made, "waiting": waiting, "requested": wanted},
            )

    def count_images(self, user: str, images: int) -> None:
        """Count images of which no file is saved here: those for another studio with a token of `user`, and the things
        that composed ones are made of."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO usage (user, day, images) VALUES (?, ?, ?)"
                " ON CONFLICT (user, day) DO UPDATE SET images = images + excluded.images",
                (user, _get_today(), images),
            )

    def check_disk(self, user: str, settings: Settings) -> None:
        """Refuse anything that makes files once the user's disk space is used up.

        Raises:
            QuotaExceeded: it is.
        """
        limit = settings.disk_gb_per_user * _GIB
        if limit and (used := self.sum_disk(user)) >= limit:
            raise QuotaExceeded(
                f"Your images take {used / _GIB:.2f} GiB of the {settings.disk_gb_per_user:g} GiB that you have.",
                hint="Delete images and empty the trash, or ask an administrator for more.",
                details={"limit": int(limit), "used": used},
            )


def _get_today() -> str:
    return time.strftime("%Y-%m-%d")
