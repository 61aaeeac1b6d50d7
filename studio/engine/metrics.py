"""Numbers about the running studio for Prometheus: what was done, counted as it happens, and how things stand, asked at
each look. No prompts, no names of users, models or files: labels are lanes, outcomes, error codes and phases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_JOB_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500)  # s
_PHASE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)  # s


class Metrics:
    """Counts what jobs do. Thread-safe."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._began = time.time()
        self._submitted = Counter("easel_jobs_submitted", "Jobs that were accepted.", ["lane"], registry=self._registry)
        self._ended = Counter("easel_jobs_ended", "Jobs that ended.", ["lane", "status"], registry=self._registry)
        self._errors = Counter("easel_job_errors", "Jobs that failed.", ["lane", "code"], registry=self._registry)
        self._images = Counter("easel_images", "Images that were made.", ["lane"], registry=self._registry)
        self._waits = Histogram(
            "easel_job_wait_seconds",
            "Time from the submission of a job to its start.",
            ["lane"],
            registry=self._registry,
            buckets=_JOB_BUCKETS,
        )
        self._jobs = Histogram(
            "easel_job_run_seconds",
            "Time from the start of a job to its end.",
            ["lane"],
            registry=self._registry,
            buckets=_JOB_BUCKETS,
        )
        self._phases = Histogram(
            "easel_phase_seconds",
            "Time that a job spent in a phase, such as load, encode, denoise or decode.",
            ["lane", "phase"],
            registry=self._registry,
            buckets=_PHASE_BUCKETS,
        )

    def add_source(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Ask `collect` at each look how things stand; it must be quick."""
        self._registry.register(_Source(collect))

    def count_submission(self, lane: str) -> None:
        """A job was accepted into `lane`."""
        self._submitted.labels(lane).inc()

    def record_start(self, lane: str, created: float) -> None:
        """A job that was submitted at `created` (seconds since the epoch) starts. One of an earlier run did not wait
        here."""
        if created >= self._began:
            self._waits.labels(lane).observe(max(0.0, time.time() - created))

    def record_end(self, lane: str, status: str, *, code: str = "", seconds: float | None = None) -> None:
        """A job ended with `status`, after `seconds` unless it never started; `code` is that of its error."""
        self._ended.labels(lane, status).inc()
        if code:
            self._errors.labels(lane, code).inc()
        if seconds is not None:
            self._jobs.labels(lane).observe(seconds)

    def record_work(self, lane: str, images: int, phases: Mapping[str, float]) -> None:
        """A job made `images`, and spent so many seconds in each of its `phases`."""
        self._images.labels(lane).inc(images)
        for phase, seconds in phases.items():
            self._phases.labels(lane, phase).observe(seconds)

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Source(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()

    def describe(self) -> Iterable[Metric]:
        """None: what there is to say is not asked before the first look."""
        return ()
