"""CPU of an idle server, and the time of an event there and back."""

from __future__ import annotations

import statistics
import time

import psutil
from gradio_client import Client

from benchmarks.plain_gradio import serve_page
from benchmarks.report import Row
from benchmarks.startup import start_studio_process

SETTLE_SECONDS = 30.0  # seconds until what happens once after the start, the warm-up included, is over
WATCH_SECONDS = 30.0
EVENTS = 50
PLAIN_EVENT = 'gr.Button().click(lambda: None, None, None, api_name="nothing")'


def rows() -> list[Row]:
    """The idle CPU, of one core, and the medians of fifty queued events that do nothing, here and in Gradio alone."""
    with start_studio_process() as (url, pid), serve_page(PLAIN_EVENT) as plain_url:
        time.sleep(SETTLE_SECONDS)
        before, began = _read_cpu_seconds(pid), time.perf_counter()
        time.sleep(WATCH_SECONDS)
        percent = 100 * (_read_cpu_seconds(pid) - before) / (time.perf_counter() - began)
        ours, plain = _measure_event_seconds((url, "/txt2img_stop", ("",)), (plain_url, "/nothing", ()))
    return [
        Row("CPU of an idle server, of one core", percent, 0.1, "%", f"over {WATCH_SECONDS:.0f} s, no page open"),
        Row(
            "a queued event that does nothing, there and back / in plain Gradio",
            ours / plain,
            1.0,
            "×",
            f"{ours * 1000:.0f} ms / {plain * 1000:.0f} ms, medians of {EVENTS}, taken in turn",
        ),
    ]


def _read_cpu_seconds(pid: int) -> float:
    """User and system time of the process and its threads so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _measure_event_seconds(*events: tuple[str, str, tuple[str, ...]]) -> list[float]:
    """The median seconds of each event, given as (URL, name, values), all of them in turn."""
    clients = [Client(url, verbose=False, download_files=False) for url, _, _ in events]
    taken: list[list[float]] = [[] for _ in events]
    for _ in range(EVENTS):
        for client, (_, name, values), times in zip(clients, events, taken, strict=True):
            begin = time.perf_counter()
            client.submit(*values, api_name=name).exception()
            times.append(time.perf_counter() - begin)
    return [statistics.median(times) for times in taken]
