"""Expected and billed costs of paid models' images by job, provider, day and user; and the
budgets.

A line is on disk before a paid call is sent, so that after a crash it is known that money may have been spent.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

from studio.core.errors import (
    MAY_BE_BILLED,
    ORDERED_AT,
    BudgetExceeded,
    ImageSkipped,
    JobCancelled,
    StudioError,
)
from studio.core.settings import Settings
from studio.library.database import Database

_WARN_SHARE = 0.8  # of a budget
_SENT, _BILLED, _UNKNOWN, _FREE = "sent", "billed", "unknown", "free"
_SPENT_SQL = "COALESCE(billed, estimated, 0)"


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One row of the table: US dollars and images of one day, provider and user."""

    day: str
    provider: str
    user: str
    images: int
    estimated: float
    billed: float


class Purchase:
    """One paid call in the making; `cost` is what the service says it billed, in US dollars, None while it has not
    said. `ordered_at` is when the service took the order (seconds since the epoch), where an earlier call paid for
    it."""

    def __init__(self) -> None:
        self.cost: float | None = None
        self.ordered_at: float | None = None


class Ledger:
    """The money of all users. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._reserved: dict[str, tuple[str, float]] = {}  # job id -> (user, what it has yet to spend)

    def reserve(self, job_id: str, user: str, amount: float, settings: Settings) -> str:
        """Take `amount` US dollars of the user's budgets for a job; returns a warning, "" while all is well.

        Raises:
            BudgetExceeded: it would pass the day's or the month's budget; nothing is taken.
        """
        warning = ""
        with self._lock:
            waiting = sum(held for owner, held in self._reserved.values() if owner == user)
            for name, budget, since in _list_budgets(settings):
                spent = self.sum_spent(user, since) + waiting
                if budget and amount and spent + amount > budget:
                    raise BudgetExceeded(
                        f"This would cost about ${amount:.3f}; ${spent:.2f} of the {name}'s budget of ${budget:.2f} are"
                        " spent.",
                        hint="Raise the budget in Configurations, or pick a local or cheaper model.",
                        details={"estimated": amount, "spent": spent, "budget": budget},
                    )
                if budget and amount and spent + amount > _WARN_SHARE * budget:
                    warning = _describe_spending(spent + amount, name, budget)
            self._reserved[job_id] = (user, amount)
        return warning

    def release(self, job_id: str) -> None:
        """The job has ended: what it reserved and did not spend is free again."""
        with self._lock:
            self._reserved.pop(job_id, None)

    def sum_spent(self, user: str, since: float) -> float:
        """US dollars of `user` since that time (seconds since the epoch), as billed, else as estimated."""
        [row] = self._database.rows(
            f"SELECT COALESCE(SUM({_SPENT_SQL}), 0) AS sum FROM ledger WHERE user = ? AND created >= ? AND state != ?",
            (user, since, _FREE),
        )
        return float(row["sum"])

    def list_spending(self, user: str, settings: Settings) -> list[tuple[str, float, float]]:
        """What `user` has spent this day and this month, as (period, US dollars, budget); a budget of 0 is none."""
        return [(name, self.sum_spent(user, since), budget) for name, budget, since in _list_budgets(settings)]

    def sum_by_provider(self) -> dict[str, float]:
        """US dollars that all users have spent, ever, by provider; as billed, else as estimated."""
        rows = self._database.rows(
            f"SELECT provider, COALESCE(SUM({_SPENT_SQL}), 0) AS sum FROM ledger WHERE state != ? GROUP BY provider",
            (_FREE,),
        )
        return {row["provider"]: float(row["sum"]) for row in rows}

    @contextlib.contextmanager
    def record_purchase(
        self, job: tuple[str, str], model: tuple[str, str], images: int, estimated: float | None
    ) -> Generator[Purchase]:
        """Around one paid call of `job` (its id and user) to `model` (its provider and id). A StudioError that does not
        say that it may be billed was free; a cancelled call may have been billed. An order that an earlier call sent is
        settled in that call's row, and this one costs nothing."""
        number = self._insert_row(job, model, images, estimated)
        bought = Purchase()
        state = _UNKNOWN
        try:
            yield bought
            state = _BILLED
        except StudioError as error:
            bought.ordered_at = error.details.get(ORDERED_AT)
            if not isinstance(error, JobCancelled | ImageSkipped) and not error.details.get(MAY_BE_BILLED):
                state = _FREE
            raise
        finally:
            cost = bought.cost
            if bought.ordered_at is not None and self._settle_earlier(number, model, bought, state):
                state, cost = _FREE, None
            self._update_row(number, state, cost)
            self._spend(job[0], 0.0 if state == _FREE else cost or estimated or 0.0)

    def count_paid_images(self, job_id: str) -> int:
        """Images of the job that were, or may have been, paid for; an image that several paid steps made counts
        once."""
        rows = self._database.rows(
            "SELECT SUM(pictures) AS sum FROM ledger WHERE job_id = ? AND state != ? GROUP BY model", (job_id, _FREE)
        )
        return max((int(row["sum"]) for row in rows), default=0)

    def lines(self, user: str | None, days: int = 31) -> list[LedgerRow]:
        """The table of the last `days` days, newest first; of everybody when `user` is None."""
        rows = self._database.rows(
            "SELECT date(created, 'unixepoch', 'localtime') AS day, provider, user, SUM(pictures) AS images,"
            f" SUM(COALESCE(estimated, 0)) AS estimated, SUM({_SPENT_SQL}) AS billed FROM ledger WHERE created >= ? AND"
            " state != ? AND (? IS NULL OR user = ?) GROUP BY day, provider, user ORDER BY day DESC, provider",
            (time.time() - days * 86400, _FREE, user, user),
        )
        return [
            LedgerRow(**{name: row[name] for name in ("day", "provider", "user", "images", "estimated", "billed")})
            for row in rows
        ]

    def _insert_row(self, job: tuple[str, str], model: tuple[str, str], images: int, estimated: float | None) -> int:
        with self._database.transaction() as connection:
            number = connection.execute(
                "INSERT INTO ledger (job_id, user, provider, model, created, pictures, estimated, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*job, *model, time.time(), images, estimated, _SENT),
            ).lastrowid
        assert number is not None
        return number

    def _update_row(self, number: int, state: str, billed: float | None) -> None:
        with self._database.transaction() as connection:
            connection.execute("UPDATE ledger SET state = ?, billed = ? WHERE id = ?", (state, billed, number))

    def _settle_earlier(self, number: int, model: tuple[str, str], bought: Purchase, state: str) -> bool:
        """Settle the row, before `number`, of the call that sent the order: the last one of the model that was open
        when the service took it. Whether there is one."""
        rows = self._database.rows(
            "SELECT id FROM ledger WHERE id < ? AND provider = ? AND model = ? AND created <= ? AND state IN (?, ?)"
            " ORDER BY id DESC LIMIT 1",
            (number, *model, bought.ordered_at, _SENT, _UNKNOWN),
        )
        for row in rows:
            self._update_row(row["id"], state, bought.cost)
        return bool(rows)

    def _spend(self, job_id: str, amount: float) -> None:
        with self._lock:
            if job_id in self._reserved:
                user, held = self._reserved[job_id]
                self._reserved[job_id] = (user, max(0.0, held - amount))


def _describe_spending(spent: float, name: str, budget: float) -> str:
    """The warning before a budget in US dollars, of the day or the month, is used up."""
    return f"With this job ${spent:.2f} of the {name}'s budget of ${budget:.2f} is already used."


def _list_budgets(settings: Settings) -> tuple[tuple[str, float, float], ...]:
    """(name, US dollars, begin) of the day's and the month's budget; 0 dollars means none."""
    now = time.localtime()
    day = time.mktime((now.tm_year, now.tm_mon, now.tm_mday, 0, 0, 0, 0, 0, -1))
    month = time.mktime((now.tm_year, now.tm_mon, 1, 0, 0, 0, 0, 0, -1))
    return (("day", settings.budget_day, day), ("month", settings.budget_month, month))
