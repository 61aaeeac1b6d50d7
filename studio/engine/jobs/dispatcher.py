"""All lanes together: choose a job's lane, limit how many wait, report their places."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from studio.core.errors import QueueFull
from studio.core.model import GPU_LANE
from studio.core.settings import Settings
from studio.engine.jobs.job import Job, StopReason
from studio.engine.jobs.lanes import Lane
from studio.engine.models.timings import Timings

_PROVIDER_THREADS = 4  # jobs of one cloud service that run side by side


class Dispatcher:
    """Makes lanes as they are needed: one thread for the GPU, a few for each cloud service. Thread-safe."""

    def __init__(
        self, run: Callable[[Job], None], timings: Timings, threads: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """`threads` says how many jobs run side by side in lanes that are neither the GPU's nor a cloud service's."""
        self._threads = {GPU_LANE: 1, **threads}
        self._run = run
        self._timings = timings
        self._lock = threading.Lock()
        self._lanes: dict[str, Lane] = {}

    def lane(self, name: str) -> Lane:
        """The lane of that name."""
        with self._lock:
            if name not in self._lanes:
                threads = self._threads.get(name, _PROVIDER_THREADS)
                self._lanes[name] = Lane(name, self._run, threads=threads, on_change=self._report_positions)
            return self._lanes[name]

    def put(self, *jobs: Job, first: bool = False) -> None:
        """Queue jobs in their models' lanes. Many at once are faster than one by one: the waiting are told their places
        once."""
        for lane, own in _group_by_lane(jobs).items():
            self.lane(lane).put(*own, first=first)

    def remove(self, *jobs: Job) -> list[Job]:
        """Take waiting jobs out; returns those that waited."""
        return [job for lane, own in _group_by_lane(jobs).items() for job in self.lane(lane).remove(*own)]

    def check_room(self, user: str, settings: Settings) -> None:
        """Raises QueueFull when one more job of `user` would be too many."""
        lanes = self._list_lanes()
        total, own = sum(lane.count_waiting() for lane in lanes), sum(lane.count_waiting(user) for lane in lanes)
        if total >= settings.queue_limit or own >= settings.queue_limit_per_user:
            whose = "of your jobs" if own >= settings.queue_limit_per_user else "jobs"
            ahead = own if own >= settings.queue_limit_per_user else total
            raise QueueFull(
                f"{ahead} {whose} are already queued.",
                hint="Try again when some have finished.",
                details={"ahead": ahead},
            )

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        return any(any(lane.list_jobs()) for lane in self._list_lanes())

    @property
    def has_ended(self) -> bool:
        """Whether no lane works any more, after `close`."""
        return _join_lanes(self._list_lanes(), 0.0)

    def count_jobs(self) -> dict[str, tuple[int, int]]:
        """(running, waiting) of each lane."""
        return {lane.name: lane.count_jobs() for lane in self._list_lanes()}

    def close(self, drain: float) -> list[Job]:
        """Begin no new job; wait up to `drain` seconds for the running ones, then ask them to be put back. Those that
        have not drawn a step here are asked at once.

        Returns the jobs that did not answer: their threads, which load a model, say, end with the process.
        """
        lanes = self._list_lanes()
        for lane in lanes:
            lane.close()
        drawing: list[Lane] = []
        loading: list[Lane] = []
        for lane in lanes:
            running = lane.list_jobs()[0]
            early = [job for job in running if _has_drawn_nothing(job)]
            for job in early:
                job.stop(StopReason.PUT_BACK)
            (loading if early and len(early) == len(running) else drawing).append(lane)
        if not _join_lanes(drawing, drain):
            for lane in drawing:
                for job in lane.list_jobs()[0]:
                    job.stop(StopReason.PUT_BACK)
            _join_lanes(drawing, 2.5)
        _join_lanes(loading, 0.5)
        return [job for lane in lanes for job in lane.list_jobs()[0]]

    def _list_lanes(self) -> list[Lane]:
        with self._lock:
            return list(self._lanes.values())

    def _report_positions(self, lane: Lane) -> None:
        """Report its place, and the time until its turn, to every waiting job."""
        running, waiting = lane.list_jobs()
        left: float | None = 0.0
        for job in running:
            eta = job.snapshot.eta
            left = None if left is None or eta is None else left + eta
        for place, job in enumerate(waiting):
            job.report_position(len(running) + place, left)
            expected = self._timings.estimate_seconds(job.request, job.model, job.generations / job.images)
            left = None if left is None or expected is None else left + expected * job.images


def _has_drawn_nothing(job: Job) -> bool:
    """Whether a running job only costs this machine the time to load its model again when it is put back."""
    snapshot = job.snapshot
    is_local = job.model.lane == GPU_LANE and not job.model.paid
    return is_local and not snapshot.step and not snapshot.assets and not snapshot.status.is_final


def _group_by_lane(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    lanes: dict[str, list[Job]] = {}
    for job in jobs:
        lanes.setdefault(job.model.lane, []).append(job)
    return lanes


def _join_lanes(lanes: list[Lane], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    return all([lane.join(max(0.0, deadline - time.monotonic())) for lane in lanes])
