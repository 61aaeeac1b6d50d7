"""Which notification is sent next: users take turns, so that one whose receivers are slow or gone holds up nobody
else."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from studio.core.errors import QuotaExceeded

MAX_PENDING_PER_USER = 200  # notifications that wait
MAX_PENDING = 5000  # of all users
MAX_SENDING = 8  # at once
MAX_SENDING_PER_USER = 2  # at once


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One that is due when its job ends. `due` in seconds since the epoch, 0 while the job has not ended; `attempts`
    are those that failed."""

    id: str
    job_id: str
    user: str
    url: str
    secret: str
    attempts: int = 0
    due: float = 0.0


class WebhookQueue:
    """Notifications that wait or are being sent. Thread-safe."""

    def __init__(self, pending: Iterable[Notification] = ()) -> None:
        self._lock = threading.Lock()
        self._pending = {one.id: one for one in pending}
        self._reserved: Counter[str] = Counter()  # places by user
        self._sending: dict[str, Notification] = {}
        self._turns: dict[str, int] = {}  # the turn in which a user was last served
        self._turn = 0

    def reserve(self, user: str) -> None:
        """Keep a place for one more of `user`, until `free` is called.

        Raises:
            QuotaExceeded: too many wait already.
        """
        with self._lock:
            waiting = sum(one.user == user for one in self._pending.values())
            everybodys = len(self._pending) + self._reserved.total()
            if waiting + self._reserved[user] >= MAX_PENDING_PER_USER or everybodys >= MAX_PENDING:
                raise QuotaExceeded("Too many notifications are waiting.", hint="Try again later.")
            self._reserved[user] += 1

    def free(self, user: str) -> None:
        """Give a reserved place back."""
        with self._lock:
            self._reserved[user] -= 1
            if not self._reserved[user]:
                del self._reserved[user]

    def add(self, one: Notification) -> None:
        """Add a notification, which may be due or not."""
        with self._lock:
            self._pending[one.id] = one

    def finish(self, one: Notification) -> None:
        """Note that a notification is not being sent any more, and when it is due again; it may be removed by now."""
        with self._lock:
            self._sending.pop(one.id, None)
            if one.id in self._pending:
                self._pending[one.id] = one

    def remove(self, one: Notification) -> None:
        """Forget a notification."""
        with self._lock:
            self._pending.pop(one.id, None)
            if all(other.user != one.user for other in self._pending.values()):
                self._turns.pop(one.user, None)

    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is being sent."""
        with self._lock:
            return not self._pending

    def list_unended(self) -> list[Notification]:
        """Those whose jobs were not known to have ended."""
        with self._lock:
            return [one for one in self._pending.values() if not one.due]

    def mark_due(self, one: Notification, now: float) -> None:
        """Note that the job has ended; nothing where the notification is gone."""
        with self._lock:
            if one.id in self._pending:
                self._pending[one.id] = replace(one, due=now)

    def take_next(self, now: float) -> Notification | None:
        """The notification to send now, which counts as being sent until `finish`: that which is due longest
        of the user who waits longest for a turn. None while none is due or all senders are busy."""
        with self._lock:
            if len(self._sending) >= MAX_SENDING:
                return None
            busy = Counter(one.user for one in self._sending.values())
            due = [
                one
                for one in self._pending.values()
                if 0 < one.due <= now and one.id not in self._sending and busy[one.user] < MAX_SENDING_PER_USER
            ]
            if not due:
                return None
            chosen = min(due, key=lambda one: (self._turns.get(one.user, 0), one.due))
            self._turn += 1
            self._turns[chosen.user] = self._turn
            self._sending[chosen.id] = chosen
            return chosen
