"""The calls and jobs of each user through this API. AUTOMATIC1111 has one state for everybody, and one caller would see
and stop what another does."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import Generator
from dataclasses import dataclass

from studio.core.events import Status
from studio.engine.jobs.job import Job

RUNNING = (Status.LOADING, Status.RUNNING)
_KEPT_JOBS = 100  # jobs of one user that are remembered
_MAX_USERS = 1000


@dataclass(eq=False)
class Call:
    """A call of txt2img or img2img that is not answered yet. `planned` jobs are carried out one after the other, `done`
    of them have ended, `job` is the newest. An interrupted call begins no other."""

    planned: int = 1
    done: int = 0
    job: Job | None = None
    interrupted: bool = False

    @property
    def is_running(self) -> bool:
        """Whether something is drawn for it now."""
        return self.job is not None and self.job.snapshot.status in RUNNING


class UserJobs:
    """What each user has open, and the ids of the jobs that each user submitted, the newest last, with the task id that
    the caller gave. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, deque[tuple[str, str]]] = OrderedDict()
        self._calls: dict[str, list[Call]] = {}

    @contextlib.contextmanager
    def open_call(self, user: str) -> Generator[Call]:
        """A call of `user` until it is answered."""
        call = Call()
        with self._lock:
            self._calls.setdefault(user, []).append(call)
        try:
            yield call
        finally:
            with self._lock:
                self._calls[user].remove(call)
                if not self._calls[user]:
                    del self._calls[user]

    def list_calls(self, user: str) -> list[Call]:
        """The user's calls that are not answered yet, the oldest first."""
        with self._lock:
            return list(self._calls.get(user, ()))

    def add(self, user: str, job_id: str, task_id: str = "") -> None:
        """Remember a job of `user`."""
        with self._lock:
            self._jobs.setdefault(user, deque(maxlen=_KEPT_JOBS)).append((job_id, task_id))
            self._jobs.move_to_end(user)
            while len(self._jobs) > _MAX_USERS:
                self._jobs.popitem(last=False)

    def list(self, user: str) -> list[tuple[str, str]]:
        """(job id, task id) of the user's jobs, the newest last."""
        with self._lock:
            return list(self._jobs.get(user, ()))
