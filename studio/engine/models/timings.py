"""How long images and loading took, remembered across runs, to estimate how long a job waits."""

from __future__ import annotations

import threading

from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.library.database import Database

_LOAD_PREFIX = "load "
_WEIGHT = 0.3  # of the newest measurement in the running mean
_FASTER_WEIGHT = 0.8  # of an image that was faster: those before were held up, by the first start or other programs


class Timings:
    """Seconds per image by model, size and steps. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {
            row["key"]: row["seconds"] for row in database.rows("SELECT key, seconds FROM timings")
        }

    def estimate_seconds(self, request: GenerationRequest, model: Model, generations: float = 1.0) -> float | None:
        """Seconds that one image for which `generations` are generated is expected to take, None when none like it was
        made before."""
        with self._lock:
            each = self._seconds.get(_build_key(request, model, is_composed=generations > 1))
        return None if each is None else each * generations

    def record_timing(
        self, request: GenerationRequest, model: Model, seconds: float, *, is_composed: bool = False
    ) -> None:
        """What was generated for `request` took `seconds` each: of images that are composed of several things, each of
        these."""
        self._record(_build_key(request, model, is_composed=is_composed), seconds)

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
            weight = _FASTER_WEIGHT if seconds < old and not key.startswith(_LOAD_PREFIX) else _WEIGHT
            self._seconds[key] = mean = old + weight * (seconds - old)
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO timings (key, seconds) VALUES (?, ?)", (key, mean))


def _build_key(request: GenerationRequest, model: Model, *, is_composed: bool) -> str:
    if is_composed:  # each thing has the size that the model was trained at
        width, height = model.sizes.liked[0]
        request = request.replace(width=width, height=height, aspect=None)
    width, height = model.get_result_size(request)
    steps = request.steps or model.sampling.steps
    return f"{model.id} {width}x{height} {steps} {request.hires is not None}"
