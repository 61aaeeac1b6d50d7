"""Memory of the device: how much there is, what a run took, how it is given back, and what "full" looks like."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from studio.core.container_memory import read_container_memory
from studio.core.durable_files import replace_synced
from studio.core.settings import Settings

GIB = 1024**3
DEVICE_SHARE = 0.9  # of the device, when no budget is set
IDLE_SECONDS = 30.0  # without a run, after which freed memory is given back


def read_total_and_free(device: str) -> tuple[int, int]:
    """Bytes of the device that models run on: graphics memory on "cuda", else the machine's.

    Before torch is there, a graphics card is not asked: the machine's memory stands in for it.
    """
    import psutil

    if device == "cuda" and "torch" in sys.modules:
        import torch

        free, total = torch.cuda.mem_get_info()
        return total, free
    memory, container = psutil.virtual_memory(), read_container_memory()
    if container is None:
        return memory.total, memory.available
    return min(memory.total, container.limit), min(memory.available, container.free)


def read_free_with_swap() -> int:
    """Bytes that this process can still take before the system ends it: free memory, and swap where there is some."""
    import psutil

    return read_total_and_free("cpu")[1] + psutil.swap_memory().free


def compute_budget(settings: Settings, device: str) -> int:
    """Bytes that resident checkpoints and the running job may take together."""
    if settings.memory_budget_gb > 0:
        return int(settings.memory_budget_gb * GIB)
    return int(read_total_and_free(device)[0] * DEVICE_SHARE)


def release_memory() -> None:
    """Hand memory that nobody uses back to the device and to the operating system."""
    gc.collect()
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(
            libc, "malloc_trim"
        ):  # glibc keeps freed weights for later unless it is configured not to; musl has no such call
            libc.malloc_trim(0)


class IdleRelease:
    """Hands freed memory back once no run has used it for `seconds`: the pages of the last run stay for the next one,
    and not for good. `before` is called first."""

    def __init__(self, seconds: float = IDLE_SECONDS, before: Callable[[], None] = lambda: None) -> None:
        self._seconds = seconds
        self._before = before
        self._lock = threading.Lock()
        self._running = 0
        self._timer: threading.Timer | None = None

    @contextmanager
    def postpone(self) -> Iterator[None]:
        """Nothing is handed back within the block; the time begins anew at its end."""
        with self._lock:
            self._running += 1
        self.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._timer = threading.Timer(self._seconds, self._release)
                    self._timer.daemon = True
                    self._timer.start()

    def cancel(self) -> None:
        """Hand nothing back until the next block ends."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _release(self) -> None:
        with self._lock:
            if self._running:
                return
        self._before()
        release_memory()


def count_weight_bytes(pipe: Any) -> int:
    """Bytes of all weights of a pipeline's components, each tensor counted once."""
    import torch

    tensors = {
        tensor.data_ptr(): tensor.nbytes
        for module in pipe.components.values()
        if isinstance(module, torch.nn.Module)
        for tensor in (*module.parameters(), *module.buffers())
    }
    return sum(tensors.values())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out. torch on a CPU says so in a plain RuntimeError."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text.lower())


@contextmanager
def measure_peak(device: str, report: Callable[[int], None]) -> Iterator[None]:
    """Call `report` with the most bytes that the block held at once: of the graphics card, or of this process on
    Linux."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        yield
        report(torch.cuda.max_memory_allocated())
        return
    reset = _reset_high_water()
    yield
    if reset:
        report(_read_high_water())


def _reset_high_water() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False  # another system, or a container that keeps it read-only
    return True


def _read_high_water() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


class PeakStore:
    """Memory of runs beyond the weights by (model, size, batch), kept in one JSON file across starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._bytes: dict[str, int] = _read_peaks(path)

    def get_expected_peak(self, model: str, width: int, height: int, batch: int) -> int:
        """Bytes that such a run took at most; from the nearest smaller known one of the model by area, 0 while nothing
        is known."""
        area = width * height * batch
        known = [(self._parse_area(key), taken) for key, taken in self._bytes.items() if key.startswith(f"{model}|")]
        below = [(size, taken) for size, taken in known if size <= area]
        if not below:
            return 0
        size, taken = max(below)
        return taken * area // size

    def record_peak(self, model: str, size: tuple[int, int], batch: int, taken: int) -> None:
        """Keep the largest figure; a write happens only when it grew by a twentieth. Where the file cannot be written,
        the next start does not know it."""
        key = f"{model}|{size[0]}x{size[1]}|{batch}"
        with self._lock:
            if taken <= self._bytes.get(key, 0) * 1.05:
                return
            self._bytes[key] = taken
            with suppress(OSError):  # a full or read-only disk is no reason to lose an image
                self._path.parent.mkdir(parents=True, exist_ok=True)
                replace_synced(self._path, json.dumps(self._bytes, indent=0).encode())

    @staticmethod
    def _parse_area(key: str) -> int:
        _, size, batch = key.rsplit("|", 2)
        width, height = size.split("x")
        return int(width) * int(height) * int(batch)


def _read_peaks(path: Path) -> dict[str, int]:
    try:
        return {str(key): int(value) for key, value in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}  # not there yet, or spoilt: it is only a memory
