"""CPU of an idle server, and the time of an event there and back."""

from __future__ import annotations

import statistics
import time

import psutil
from gradio_client import Client

from benchmarks.report import Row
from benchmarks.startup import start_studio_process

SETTLE_SECONDS = 5.0  # seconds until what happens once after the start is over
WATCH_SECONDS = 30.0


def rows() -> list[Row]:
    """The idle CPU, of one core, and the median of fifty queued events that find no job to stop."""
    with start_studio_process() as (url, pid):
        time.sleep(SETTLE_SECONDS)
        before, began = _read_cpu_seconds(pid), time.perf_counter()
        time.sleep(WATCH_SECONDS)
        percent = 100 * (_read_cpu_seconds(pid) - before) / (time.perf_counter() - began)
        delay = _measure_event_seconds(url)
    return [
        Row("CPU of an idle server, of one core", percent, 0.1, "%", f"over {WATCH_SECONDS:.0f} s, no page open"),
        Row("a queued event that does nothing, there and back", delay * 1000, 50, "ms", "median of 50"),
    ]


def _read_cpu_seconds(pid: int) -> float:
    """User and system time of the process and its threads so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _measure_event_seconds(url: str) -> float:
    client = Client(url, verbose=False, download_files=False)
    taken: list[float] = []
    for _ in range(50):
        begin = time.perf_counter()
        client.submit("", api_name="/txt2img_stop").exception()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)
