"""The jobs of this process that are held in memory."""

from __future__ import annotations

import collections
import math
import threading

from studio.core.request import count_outputs
from studio.engine.jobs.job import Job

_MAX_ENDED_JOBS = 200  # ended jobs that are kept; all are in the journal
_MAX_UNSAVED_JOBS = 8  # ended jobs whose images are kept for another try at saving


class JobRegistry:
    """Jobs by id, oldest first; of the ended ones only the latest. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: collections.OrderedDict[str, Job] = collections.OrderedDict()

    def get(self, job_id: str) -> Job | None:
        """The job of that id when it is held."""
        with self._lock:
            return self._jobs.get(job_id)

    def of(self, user: str) -> list[Job]:
        """All held jobs of a user."""
        with self._lock:
            return [job for job in self._jobs.values() if job.user == user]

    def count_coming_images(self, user: str) -> int:
        """How many images the user's unfinished jobs will yet make: their files, and the things of composed ones."""
        return sum(_count_coming(job) for job in self.of(user) if not job.snapshot.status.is_final)

    def forget(self, user: str) -> None:
        """Let go of the ended jobs of a user."""
        with self._lock:
            for job in [job for job in self._jobs.values() if job.user == user and job.snapshot.status.is_final]:
                del self._jobs[job.id]

    def put(self, *jobs: Job) -> None:
        """Hold `jobs`, and let go of ended ones that are too many."""
        with self._lock:
            self._jobs.update((job.id, job) for job in jobs)
            ended = [old for old in self._jobs.values() if old.snapshot.status.is_final]
            for old in ended[: max(0, len(ended) - _MAX_ENDED_JOBS)]:
                del self._jobs[old.id]
            for old in [old for old in ended if old.unsaved][:-_MAX_UNSAVED_JOBS]:
                old.unsaved.clear()


def _count_coming(job: Job) -> int:
    files = job.images * count_outputs(job.request)
    left = max(0, files - len(job.snapshot.assets))
    return left + math.ceil((job.generations - job.images) * left / files)
