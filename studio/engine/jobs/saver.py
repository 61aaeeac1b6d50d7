"""Saving off the lane: encode, write and index while the next pass is drawn already."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Mapping

from studio.core.errors import StorageFailed, StudioError
from studio.core.events import FailedEvent, SavedEvent
from studio.core.result import Asset, RenderedImage
from studio.engine.jobs.job import Job, StopReason
from studio.engine.jobs.unforeseen_errors import log_unexpected_error
from studio.engine.storage.outputs import Outputs

_DISK_TIMEOUT = 120.0  # seconds that a lane waits for the disk before it calls it broken


class Saver:
    """A few threads that write images. At most `backlog` images wait; then the lanes wait too."""

    def __init__(self, outputs: Outputs, *, threads: int = 2, backlog: int = 6) -> None:
        self._outputs = outputs
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="saver")
        self._room = threading.BoundedSemaphore(backlog)
        self._idle = threading.Condition()
        self._open = 0

    def open(self, job: Job) -> PendingSaves:
        """The saving of one run of `job`; it must be sealed."""
        with self._idle:
            self._open += 1
        return PendingSaves(self, job)

    def close(self, timeout: float) -> None:
        """Wait until all that was begun is saved, at most `timeout` seconds."""
        with self._idle:
            settled = self._idle.wait_for(lambda: self._open == 0, timeout)
        if settled:
            self._pool.shutdown(wait=False)

    def submit(
        self, asset: Asset, rendered: RenderedImage, job: Job, fields: Mapping[str, str]
    ) -> concurrent.futures.Future[Asset]:
        """Save one image in the background; waits while too many do already.

        Raises:
            StorageFailed: the disk has not taken an image for a long time.
        """
        if not self._room.acquire(timeout=_DISK_TIMEOUT):
            raise StorageFailed("The disk is too slow.", hint="Check the disk of the outputs folder, then try again.")
        future = self._pool.submit(self._outputs.save, asset, rendered, fields, job.settings)
        future.add_done_callback(lambda _: self._room.release())
        return future

    def finish(self, job: Job, work: Callable[[], None]) -> None:
        """Run `work`, the end of a job's run, in the background. If that fails, so has the job."""
        self._pool.submit(work).add_done_callback(lambda done: self._handle_finished(job, done.exception()))

    def _handle_finished(self, job: Job, error: BaseException | None) -> None:
        if error is not None:
            job.emit(FailedEvent(error if isinstance(error, StudioError) else log_unexpected_error(error)))
        with self._idle:
            self._open -= 1
            self._idle.notify_all()


class PendingSaves:
    """The images of one run that are being saved. When the run is sealed and the last is settled, its end is run."""

    def __init__(self, saver: Saver, job: Job) -> None:
        self.error: StudioError | None = None
        self._saver = saver
        self._job = job
        self._lock = threading.Lock()
        self._pending = 0
        self._end: Callable[[], None] | None = None

    def put(self, asset: Asset, rendered: RenderedImage, fields: Mapping[str, str]) -> None:
        """Save an image in the background. One that the disk refuses stays in `job.unsaved`, and the job is stopped."""
        with self._lock:
            self._pending += 1
        try:
            future = self._saver.submit(asset, rendered, self._job, fields)
        except StorageFailed as error:
            self._settle_save(asset, rendered, error)
            return
        future.add_done_callback(lambda done: self._handle_saved(asset, rendered, done))

    def end_after_saves(self, end: Callable[[], None]) -> None:
        """No more images come; run `end` in the background once all are settled."""
        with self._lock:
            if self._pending:
                self._end = end
                return
        self._saver.finish(self._job, end)

    def _handle_saved(self, asset: Asset, rendered: RenderedImage, done: concurrent.futures.Future[Asset]) -> None:
        error = done.exception()
        if error is None:
            self._job.emit(SavedEvent(done.result()))
        self._settle_save(asset, rendered, error)

    def _settle_save(self, asset: Asset, rendered: RenderedImage, error: BaseException | None) -> None:
        if error is not None:
            self._job.unsaved.append((asset, rendered))
            self._job.stop(StopReason.STORAGE)
        with self._lock:
            if error is not None and self.error is None:
                self.error = error if isinstance(error, StudioError) else log_unexpected_error(error)
            self._pending -= 1
            end = self._end if self._pending == 0 else None
        if end is not None:
            self._saver.finish(self._job, end)
