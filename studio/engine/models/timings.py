"""How long images and loading took, remembered across runs, to estimate how long a job waits."""

from __future__ import annotations

import threading

from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.library.database import Database

_LOAD_PREFIX = "load "
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

    def record_timing(self, request: GenerationRequest, model: Model, seconds: float, steps: int = 0) -> None:
        """One image took `seconds` and `steps`. Of one that was composed of several things, what one of them took is
        remembered: how many there are stands in the prompt."""
        things = max(1.0, steps / _get_steps(request, model)) if request.compose else 1.0
        self._record(_build_key(request, model), seconds / things)

    def estimate_load(self, what: str) -> float | None:
        """Seconds that loading `what` is expected to take, None when it was never loaded before."""
        with self._lock:
            return self._seconds.get(_LOAD_PREFIX + what)

    def record_load(self, what: str, seconds: float) -> None:
        """Loading `what` took `seconds`."""
        self._record(_LOAD_PREFIX + what, seconds)

    def _record(self, key: str, seconds: float) -> None:
        with self._lock:
            old = self._seconds.get(key, seconds)
            self._seconds[key] = mean = old + _WEIGHT * (seconds - old)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO timings (key, seconds) VALUES (?, ?)", (key, mean))


def _get_steps(request: GenerationRequest, model: Model) -> int:
    return request.steps or model.sampling.steps


def _build_key(request: GenerationRequest, model: Model) -> str:
    width, height = model.get_result_size(request)
    return f"{model.id} {width}x{height} {_get_steps(request, model)} {request.hires is not None}"
