"""Run jobs for a tab: submit or attach, then send updates to the page until the job ends."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from studio.core.errors import NotFound, StorageFailed, StudioError
from studio.core.events import Snapshot, Status
from studio.core.request import GenerationRequest
from studio.core.result import Asset
from studio.core.user import User
from studio.engine.engine import Engine
from studio.engine.jobs.job import Job
from studio.tabs.common.current_user import get_user
from studio.tabs.common.events import HIDDEN, Updates, make_toast, show_errors
from studio.tabs.common.result_panel import render_ended_result, render_result

UPDATE_INTERVAL = 0.25  # s between two updates: four a second are enough for the eye and cheap for the server
MAX_PAGES = 1_000  # whose last job is remembered
REFRESH_INTERVAL = 1.0  # s without news until the line is written again, for its seconds


class LastImages:
    """The job whose images each page shows, for when the next one ends with nothing. Thread-safe."""

    def __init__(self, capacity: int = MAX_PAGES) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, str] = OrderedDict()

    def remember(self, page: str, job_id: str) -> None:
        """`page` is the session of Gradio's page."""
        with self._lock:
            self._jobs[page] = job_id
            self._jobs.move_to_end(page)
            while len(self._jobs) > self._capacity:
                self._jobs.popitem(last=False)

    def find(self, page: str, engine: Engine, user: User) -> Job | None:
        """The user's job that `page` shows, None where there is none."""
        with self._lock:
            job_id = self._jobs.get(page)
        try:
            return engine.job(job_id, user) if job_id else None
        except NotFound:
            return None


@dataclass(frozen=True)
class ActionVerb:
    """What the button that starts a job says: before it and while it runs."""

    idle: str
    busy: str


GENERATE = ActionVerb("Generate", "Generating…")


@dataclass(frozen=True, kw_only=True)
class JobPanel:
    """The components that a running job updates. Without a `verb` the button keeps what the tab writes on it."""

    result: gr.HTML
    job: gr.BrowserState  # the id of the page's latest job: Stop needs it, and a reload finds the job by it
    generate: gr.Button
    stop: gr.Button
    skip: gr.Button
    actions: gr.Column
    save_again: gr.Button
    verb: ActionVerb | None = GENERATE
    last: LastImages = field(default_factory=lambda: LastImages())

    def outputs(self) -> set[Any]:
        return {self.result, self.job, self.generate, self.stop, self.skip, self.actions, self.save_again}


def run_request(
    engine: Engine, panel: JobPanel, request: GenerationRequest, user: User, page: str | None = None
) -> Iterator[Updates]:
    """Submit `request` and follow it; `page` is the session of the page that shows it.

    Raises:
        gr.Error: the engine refuses the request, or the job fails.
    """
    try:
        job = engine.submit(request, user)
    except StudioError as error:
        raise make_toast(error) from error
    yield from follow_job(engine, panel, job, user, page)


def submit_all(engine: Engine, requests: Sequence[GenerationRequest], user: User) -> list[Job]:
    """Submit all requests; where one is refused, those before it are stopped.

    Raises:
        StudioError: as the engine refuses it.
    """
    jobs: list[Job] = []
    try:
        for request in requests:
            jobs.append(engine.submit(request, user))
    except StudioError:
        for job in jobs:
            engine.cancel(job.id, user)
        raise
    return jobs


def reattach_job(
    engine: Engine, panel: JobPanel, job_id: Any, user: User, page: str | None = None
) -> Iterator[Updates]:
    """Follow the job that this browser was busy with before a reload; nothing when there is none, or no longer."""
    if not isinstance(job_id, str) or not job_id:
        yield {panel.job: ""}  # Gradio empties every output of a generator that yields nothing
        return
    try:
        job = engine.attach(job_id, user)
    except NotFound:
        yield {panel.job: ""}
        return
    yield from follow_job(engine, panel, job, user, page)


def build_save_again_button(prefix: str = "") -> gr.Button:
    """The button that shows when a job's images could not be saved."""
    return gr.Button("Save again", elem_id=f"{prefix}save-again", visible=False, min_width=120)


def has_unsaved_images(job: Job) -> bool:
    """Whether the disk refused images of the job, which has ended by that and keeps them."""
    return bool(job.unsaved) and isinstance(job.snapshot.error, StorageFailed)


def wire_save_again(engine: Engine, panel: JobPanel) -> Any:
    """Let the button write what the disk refused, and follow the job until that is done; gives the button's event."""

    @show_errors
    def save_again(job_id: Any, request: gr.Request) -> Iterator[Updates]:
        user = get_user(request)
        try:
            job = engine.retry_save(str(job_id), user)
        except StudioError as error:
            raise make_toast(error) from error
        yield from follow_job(engine, panel, job, user, request.session_hash)

    return panel.save_again.click(save_again, panel.job, panel.outputs(), trigger_mode="once", **HIDDEN)


def follow_job(engine: Engine, panel: JobPanel, job: Job, user: User, page: str | None = None) -> Iterator[Updates]:
    """One update now, then at most four a second, the last one when the job has ended. The images that `page` showed
    before stay until the job has one, or for good when it ends with nothing.

    When the page closes, the generator is closed and the engine decides what happens to the job.
    """
    snapshot = job.snapshot
    shown = panel.last.find(page or "", engine, user)
    before = shown.snapshot.assets if shown is not None and shown.id != job.id else ()
    try:
        yield _make_busy_updates(panel, job, snapshot, before)
        while not snapshot.status.is_final:
            snapshot = _wait_for_snapshot(job, snapshot)
            if not snapshot.status.is_final:
                yield {
                    panel.result: _render_running(job, snapshot, before),
                    panel.skip: gr.update(interactive=_can_skip(snapshot)),
                }
        yield _make_idle_updates(panel, job, snapshot) | _keep_last_images(engine, panel, job, user, page or "")
    finally:
        if not job.snapshot.status.is_final:
            engine.leave(job.id, user)
    if snapshot.status is Status.FAILED and snapshot.error is not None:
        raise make_toast(snapshot.error) from snapshot.error


def follow_jobs(engine: Engine, jobs: Sequence[Job], user: User) -> Iterator[bool]:
    """Yield whether all `jobs` have ended: now, then at most four times a second, the last time True.

    When the page closes, the generator is closed and the engine decides what happens to the unfinished jobs.
    """
    try:
        while running := [job for job in jobs if not job.snapshot.status.is_final]:
            yield False
            _wait_for_snapshot(running[0], running[0].snapshot, patience=UPDATE_INTERVAL)
        yield True
    finally:
        for job in jobs:
            if not job.snapshot.status.is_final:
                engine.leave(job.id, user)


def _wait_for_snapshot(job: Job, seen: Snapshot, patience: float = REFRESH_INTERVAL) -> Snapshot:
    """Wait for a change of the job and return its snapshot: UPDATE_INTERVAL later at the earliest, at once when the job
    ends, and after `patience` seconds without a change."""
    earliest = time.monotonic() + UPDATE_INTERVAL
    snapshot = job.wait(seen.version, patience)
    while not snapshot.status.is_final and (left := earliest - time.monotonic()) > 0:
        snapshot = job.wait(snapshot.version, left)
    return snapshot


def _render_running(job: Job, snapshot: Snapshot, before: Sequence[Asset]) -> str:
    waited = None if snapshot.status.is_final else max(0.0, time.time() - job.created)
    return render_result(snapshot, job.id, waited=waited, before=before)


def _make_busy_updates(panel: JobPanel, job: Job, snapshot: Snapshot, before: Sequence[Asset]) -> Updates:
    final = snapshot.status.is_final
    return {
        panel.result: _render_running(job, snapshot, before),
        panel.job: job.id,
        panel.generate: _update_button(panel, busy=True) if not final else gr.update(),
        panel.stop: gr.update(interactive=not final),
        panel.skip: gr.update(interactive=_can_skip(snapshot)),
        panel.actions: gr.update(visible=False),
        panel.save_again: gr.update(visible=False),
    }


def _update_button(panel: JobPanel, *, busy: bool) -> Any:
    if panel.verb is None:
        return gr.update(interactive=not busy)
    return gr.update(value=panel.verb.busy if busy else panel.verb.idle, interactive=not busy)


def _make_idle_updates(panel: JobPanel, job: Job, snapshot: Snapshot) -> Updates:
    return {
        panel.result: render_result(snapshot, job.id),
        panel.generate: _update_button(panel, busy=False),
        panel.stop: gr.update(interactive=False),
        panel.skip: gr.update(interactive=False),
        panel.actions: gr.update(visible=bool(snapshot.assets)),
        panel.save_again: gr.update(visible=has_unsaved_images(job)),
    }


def _keep_last_images(engine: Engine, panel: JobPanel, job: Job, user: User, page: str) -> Updates:
    """Puts the images back that `page` showed before a job that ended with nothing; remembers those of any other."""
    snapshot = job.snapshot
    if not page:
        return {}
    if snapshot.assets:
        panel.last.remember(page, job.id)
        return {}
    last = panel.last.find(page, engine, user)
    if last is None or not last.snapshot.assets:
        return {}
    updates: Updates = {
        panel.result: render_ended_result(snapshot, last.snapshot, last.id),
        panel.actions: gr.update(visible=True),
    }
    return updates if job.unsaved else updates | {panel.job: last.id}  # what is unsaved is saved by its job's id


def _can_skip(snapshot: Snapshot) -> bool:
    return snapshot.status is Status.RUNNING and snapshot.images > 1
