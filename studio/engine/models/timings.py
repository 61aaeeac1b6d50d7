"""How long images took, remembered across runs, to estimate when a waiting job starts."""

from __future__ import annotations

import threading

from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.library.database import Database

_WEIGHT = 0.3  # of the newest measurement in the running mean


class Timings:
    """Seconds per image by model, size and steps. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {
            row["key"]: row["seconds"] for row in database.rows("SELECT key, seconds FROM timings")
        }

    def estimate_seconds(self, request: GenerationRequest, model: Model) -> float | None:
        """Seconds that one image is expected to take, None when none like it was made before."""
        with self._lock:
            return self._seconds.get(_build_key(request, model))

    def record_timing(self, request: GenerationRequest, model: Model, seconds: float) -> None:
        """One image took `seconds`."""
        key = _build_key(request, model)
        with self._lock:
            old = self._seconds.get(key, seconds)
            self._seconds[key] = mean = old + _WEIGHT * (seconds - old)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO timings (key, seconds) VALUES (?, ?)", (key, mean))


def _build_key(request: GenerationRequest, model: Model) -> str:
    width, height = model.get_hires_size(request)
    return f"{model.id} {width}x{height} {request.steps or model.sampling.steps} {request.hires is not None}"
