"""A job: what was asked, where it stands, and the switches that stop it."""

from __future__ import annotations

import dataclasses
import threading
import time
from enum import Enum

from studio.core.errors import ImageSkipped, JobCancelled
from studio.core.events import Event, Snapshot, Status, WaitingEvent
from studio.core.model import Model
from studio.core.request import GenerationRequest
from studio.core.result import Asset, RenderedImage
from studio.core.settings import Settings


class StopReason(Enum):
    """Why a job is asked to stop."""

    CANCEL = "cancel"  # by its user: it ends
    PUT_BACK = "put back"  # the studio closes: it waits in the journal for the next start
    STORAGE = "storage"  # its images cannot be saved: drawing more of them is for nothing


class Job:
    """One request on its way. Every method and property may be used from any thread.

    `request` has its seed and model fixed. `model` is the one that is asked for, or the fallback that stands in for it.
    """

    def __init__(
        self,
        *,
        job_id: str,
        user: str,
        request: GenerationRequest,
        model: Model,
        settings: Settings,
        created: float | None = None,
    ) -> None:
        self.id = job_id
        self.user = user
        self.request = request
        self.model = model
        self.settings = settings
        self.created = time.time() if created is None else created
        self.images = 1  # how many it asks for
        self.generations = 1  # for them, more where some are composed of several things
        self.notes: tuple[str, ...] = ()  # what was changed before it began; each of its images carries them
        self.unsaved: list[tuple[Asset, RenderedImage]] = []  # drawn, but the disk refused them
        self._changed = threading.Condition()
        self._snapshot = Snapshot()
        self._interrupt = threading.Event()
        self._stop: StopReason | None = None
        self._skip = False

    def __repr__(self) -> str:
        return f"Job({self.id}, {self.snapshot.status})"

    @property
    def snapshot(self) -> Snapshot:
        """The state of the job now."""
        with self._changed:
            return self._snapshot

    def wait(self, version: int, timeout: float) -> Snapshot:
        """The first snapshot with a version above `version`, or the present one after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._snapshot.version > version, timeout)
            return self._snapshot

    def emit(self, *events: Event) -> bool:
        """Fold `events` into the snapshot and wake all who wait. What comes after the last event is dropped: False."""
        with self._changed:
            if self._snapshot.status.is_final:
                return False
            for event in events:
                self._snapshot = self._snapshot.after(event)
            self._changed.notify_all()
            return True

    def report_position(self, ahead: int, eta: float | None) -> None:
        """Report the place in the queue, unless the job has begun meanwhile or knows it already."""
        with self._changed:
            old = self._snapshot
            if old.status is Status.QUEUED and (old.version == 0 or (old.ahead, old.eta) != (ahead, eta)):
                self._snapshot = old.after(WaitingEvent(ahead, eta))
                self._changed.notify_all()

    def restore(self, snapshot: Snapshot) -> None:
        """Put the job where it stood, or open an ended one again. The version still grows."""
        with self._changed:
            version = max(self._snapshot.version, snapshot.version) + 1
            self._snapshot = dataclasses.replace(snapshot, version=version)
            self._stop, self._skip = None, False
            self._interrupt.clear()
            self._changed.notify_all()

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the job is to stop, None while it may go on."""
        return self._stop

    @property
    def is_skipping(self) -> bool:
        """Whether what is drawn now is to be left out."""
        return self._skip

    def stop(self, why: StopReason) -> None:
        """Ask the job to stop; the first reason given holds, but a user's stop always takes effect."""
        with self._changed:
            if self._stop is None or why is StopReason.CANCEL:
                self._stop = why
            self._interrupt.set()

    def skip(self) -> None:
        """Ask to leave out what is being drawn now and go on with the next."""
        with self._changed:
            self._skip = True
            self._interrupt.set()

    def raise_if_stopped(self) -> None:
        """Raises JobCancelled when the job is to stop, ImageSkipped (once for each skip) when the pass is."""
        if not self._interrupt.is_set():
            return
        with self._changed:
            if self._stop is not None:
                raise JobCancelled("Stopped")
            self._interrupt.clear()
            if self._skip:
                self._skip = False
                raise ImageSkipped("Skipped")

    def sleep(self, seconds: float) -> None:
        """Wait `seconds`, or until the job is interrupted; raises as `raise_if_stopped`."""
        self._interrupt.wait(seconds)
        self.raise_if_stopped()

    def forget_skip(self) -> None:
        """Drop a skip that came when there was nothing left to skip."""
        with self._changed:
            self._skip = False
            if self._stop is None:
                self._interrupt.clear()
