"""Converted networks on disk, found by what they were made of, and what was measured of them on this machine."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.core.durable_files import replace_synced
from studio.pipelines.accelerate import openvino_network
from studio.pipelines.accelerate.network_calls import Shapes

LAYOUT = "3"  # of these files and of the networks in them; another one finds nothing of this
LIMIT = 16 * 2**30  # bytes of all files; the least recently used go first
_REMAINS_SECONDS = 24 * 3600.0  # after which nobody writes a file any more that was not finished
_RESERVE = 2 * 2**30  # bytes of the disk that stay free


@dataclass(frozen=True)
class Measurement:
    """The seconds of a call by torch and accelerated, the fastest of `samples` each, and the largest difference of
    their results, of the largest value."""

    torch: float
    accelerated: float
    error: float
    samples: int = 1

    @property
    def gain(self) -> float:
        """How many times as fast it is."""
        return self.torch / self.accelerated if self.accelerated else 0.0

    def combine(self, other: Measurement) -> Measurement:
        """Both as one."""
        return Measurement(
            min(self.torch, other.torch),
            min(self.accelerated, other.accelerated),
            max(self.error, other.error),
            self.samples + other.samples,
        )


@dataclass
class StoredNetwork:
    """What is known of one converted network beside its file."""

    digest: str
    pattern: str
    measured: dict[str, Measurement]


class NetworkStore:
    """The folder of converted networks. Used by one thread at a time."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    def get_path(self, digest: str, pattern: str) -> Path:
        """Where the network with these weights is or will be, for calls of `pattern`."""
        parts = (LAYOUT, digest, pattern, openvino_network.get_version(), platform.machine(), platform.processor())
        return self._folder / f"{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:32]}.xml"

    def has_any(self) -> bool:
        """Whether anything is stored."""
        return any(self._folder.glob("*.json"))

    def list_networks(self, digest: str) -> list[StoredNetwork]:
        """What is stored of the network with these weights and can be used by this version."""
        found = [self._read(path) for path in self._folder.glob("*.json")]
        return [
            one for one in found if one and one.digest == digest and self.get_path(one.digest, one.pattern).is_file()
        ]

    def save(self, network: StoredNetwork) -> None:
        """Write what is known of a network, beside its file."""
        path = self.get_path(network.digest, network.pattern).with_suffix(".json")
        replace_synced(path, json.dumps(asdict(network)).encode())

    def measure_network(self, network: StoredNetwork) -> int:
        """Bytes of a network's weights, on disk and compiled.

        Raises:
            OSError: its file is gone.
        """
        return self.get_path(network.digest, network.pattern).with_suffix(".bin").stat().st_size

    def make_room(self, wanted: int) -> bool:
        """Remove what was least recently used until a network of `wanted` bytes fits; whether it does."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_remains()
        known = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        while known and self._measure_size() + wanted > self._limit:
            self._remove(known.pop(0))
        return shutil.disk_usage(self._folder).free > wanted + _RESERVE

    def discard(self, digest: str, pattern: str) -> None:
        """Remove a network that is of no use."""
        self._remove(self.get_path(digest, pattern).with_suffix(".json"))

    def _remove_remains(self) -> None:
        """Remove what studios left that ended while they wrote a network: nothing finds it any more."""
        for path in self._folder.glob("*"):
            name, *endings = path.name.removeprefix(".").split(".")
            is_part = len(endings) > 1 or not (self._folder / f"{name}.json").is_file()
            if is_part and path.is_file() and time.time() - path.stat().st_mtime > _REMAINS_SECONDS:
                path.unlink(missing_ok=True)

    def _measure_size(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("*") if path.is_file())

    def _remove(self, path: Path) -> None:
        for suffix in (".xml", ".bin", ".json"):
            path.with_suffix(suffix).unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path) -> StoredNetwork | None:
        try:
            data = json.loads(path.read_text())
            measured = {name: Measurement(**one) for name, one in data["measured"].items()}
            return StoredNetwork(str(data["digest"]), str(data["pattern"]), measured)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # spoilt: it is converted again


def compute_digest(network: Any, is_stopped: Callable[[], bool] = lambda: False) -> str:
    """SHA-256 of a network's kind, settings, and weights with their names; "" once `is_stopped`."""
    import torch

    found = hashlib.sha256(type(network).__name__.encode())
    config = getattr(network, "config", None)
    found.update(repr(sorted(dict(config).items(), key=lambda item: item[0]) if config else "").encode())
    for name, weight in network.state_dict().items():
        if is_stopped():
            return ""
        found.update(f"{name}{weight.dtype}{tuple(weight.shape)}".encode())
        plain = weight.detach().cpu().contiguous().view(-1).view(torch.uint8)  # numpy has no bfloat16
        found.update(plain.numpy().data)
    return found.hexdigest()


def name_shapes(shapes: Shapes) -> str:
    """Shapes as a key of measurements."""
    return ",".join("x".join(map(str, shape)) for shape in shapes)


def read_shapes(name: str) -> Shapes:
    """The shapes that `name_shapes` made `name` of."""
    return tuple(tuple(map(int, filter(None, shape.split("x")))) for shape in name.split(","))
