"""Images that look alike: a hash of 64 bits each, of which near duplicates differ in few.

The hash is the sign pattern of the low frequencies of the image (a DCT of 32 × 32 grey pixels, as pHash has it): what
JPEG, scaling and grey change are the high ones. Crops and mirrored images differ in more bits and are not found here.
"""

from __future__ import annotations

import collections
import itertools
import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.library.database import Database

MAX_DISTANCE = 6  # bits in which two near duplicates may differ
MAX_COMPARED = 50_000  # newest assets that are compared with one another
_SIDE, _KEPT, _BANDS = 32, 8, 8
_FLAT = 2.0  # strength below which the frequencies of an image say nothing: it is one colour

U64 = NDArray[np.uint64]


def _build_dct() -> NDArray[np.float32]:
    """The rows of a DCT-II that give the lowest frequencies but the mean's."""
    places = np.arange(_SIDE)
    rows = [np.cos(math.pi * (2 * places + 1) * k / (2 * _SIDE)) for k in range(1, _KEPT + 1)]
    return np.array(rows, np.float32) * math.sqrt(2 / _SIDE)


_DCT = _build_dct()


def hash_image(image: Image.Image) -> int | None:
    """64 bits that stand for the looks of the image, None for one colour alone, which says nothing."""
    grey = image.convert("RGB").convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    waves = _DCT @ np.asarray(grey, np.float32) @ _DCT.T
    if np.abs(waves).max() < _FLAT * _SIDE / 2:
        return None
    bits = np.packbits((waves > np.median(waves)).ravel())
    return int.from_bytes(bits.tobytes(), "big")


class Likeness:
    """Compares the hashes of one user's assets at a time. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._last = 0
        self._seqs: NDArray[np.int64] = np.empty(0, np.int64)
        self._hashes: U64 = np.empty(0, np.uint64)

    def find_near(self, seq: int, limit: int) -> list[int]:
        """Row numbers of any user's assets that look like that one, the nearest first, without itself; the caller
        leaves out those of others."""
        seqs, hashes = self._load()
        own = hashes[seqs == seq]
        return [one for one in self.find_near_hash(int(own[0]), limit + 1) if one != seq][:limit] if len(own) else []

    def find_near_hash(self, looks: int, limit: int) -> list[int]:
        """As `find_near`, for the hash of an image that need not be an asset."""
        seqs, hashes = self._load()
        distances = np.bitwise_count(hashes ^ np.uint64(looks))
        near = np.flatnonzero(distances <= MAX_DISTANCE)
        order = near[np.lexsort((-seqs[near], distances[near]))]
        return [int(one) for one in seqs[order[:limit]]]

    def group(self, shown: Sequence[int]) -> list[list[int]]:
        """Groups of at least two of the row numbers `shown` that are near duplicates, the newest group first."""
        seqs, hashes = self._load()
        chosen = np.isin(seqs, np.array(sorted(shown, reverse=True)[:MAX_COMPARED], np.int64))
        seqs, hashes = seqs[chosen], hashes[chosen]
        parent = {int(seq): int(seq) for seq in seqs}

        def find(seq: int) -> int:
            while parent[seq] != seq:
                parent[seq] = parent[parent[seq]]
                seq = parent[seq]
            return seq

        for one, other in find_pairs(hashes):
            parent[find(int(seqs[one]))] = find(int(seqs[other]))
        groups: dict[int, list[int]] = collections.defaultdict(list)
        for seq in parent:
            groups[find(seq)].append(seq)
        found = [sorted(group, reverse=True) for group in groups.values() if len(group) > 1]
        return sorted(found, key=lambda group: group[0], reverse=True)

    def _load(self) -> tuple[NDArray[np.int64], U64]:
        """All hashes; what came since the last time is read."""
        with self._lock:
            with self._database.read() as connection:
                rows = connection.execute(
                    "SELECT place, seq, hash FROM hashes WHERE place > ? AND hash IS NOT NULL ORDER BY place",
                    (self._last,),
                ).fetchall()
            if rows:
                self._last = rows[-1]["place"]
                new = np.array([row["hash"] for row in rows], np.int64).view(np.uint64)
                fresh = np.array([row["seq"] for row in rows], np.int64)
                kept = ~np.isin(self._seqs, fresh)  # an image that was replaced has a new hash
                self._seqs = np.concatenate((self._seqs[kept], fresh))
                self._hashes = np.concatenate((self._hashes[kept], new))
            return self._seqs, self._hashes


def find_pairs(hashes: U64) -> Iterable[tuple[int, int]]:
    """Index pairs of hashes that differ in at most MAX_DISTANCE bits, some of them twice, so that equal ones are linked
    in a chain. Two such hashes agree in at least one of eight bytes, so only those are compared."""
    order = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    yield from ((int(order[one]), int(order[one + 1])) for one in equal)
    firsts = np.unique(hashes, return_index=True)[1]
    values = hashes[firsts]
    for band in range(_BANDS):
        keys = (values >> np.uint64(8 * band)) & np.uint64(0xFF)
        by_key = np.argsort(keys, kind="stable")
        bounds = np.searchsorted(keys[by_key], np.arange(257))
        for begin, end in itertools.pairwise(bounds):
            yield from _compare_bucket(values, firsts, by_key[begin:end])


def _compare_bucket(values: U64, firsts: NDArray[Any], bucket: NDArray[Any]) -> Iterable[tuple[int, int]]:
    own = values[bucket]
    for place in range(len(bucket) - 1):
        near = np.flatnonzero(np.bitwise_count(own[place + 1 :] ^ own[place]) <= MAX_DISTANCE)
        yield from ((int(firsts[bucket[place]]), int(firsts[bucket[place + 1 + one]])) for one in near)
