"""Votes between images of two models in a blind comparison."""

from __future__ import annotations

import time
from dataclasses import dataclass

from studio.core.errors import InvalidRequest
from studio.library.database import Database


@dataclass(frozen=True, kw_only=True)
class Tally:
    """All votes between two models; `first` comes before `second` in the alphabet."""

    first: str
    second: str
    for_first: int
    for_second: int
    ties: int


class Votes:
    """The votes of all users. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def cast(self, user: str, winner: str, loser: str, *, tie: bool = False) -> None:
        """Count one vote between two models.

        Raises:
            InvalidRequest: a model against itself.
        """
        if winner == loser:
            raise InvalidRequest("A model cannot be compared with itself.", hint="Compare two different models.")
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO votes (user, created, winner, loser, tie) VALUES (?, ?, ?, ?, ?)",
                (user, time.time(), winner, loser, int(tie)),
            )

    def tallies(self) -> list[Tally]:
        """The votes of everybody, per pair of models."""
        rows = self._database.rows(
            "SELECT MIN(winner, loser) AS first, MAX(winner, loser) AS second, SUM(NOT tie AND winner < loser) AS"
            " for_first, SUM(NOT tie AND winner > loser) AS for_second, SUM(tie) AS ties FROM votes GROUP BY first,"
            " second ORDER BY COUNT(*) DESC, first, second"
        )
        return [
            Tally(**{name: row[name] for name in ("first", "second", "for_first", "for_second", "ties")})
            for row in rows
        ]
