"""From a click to an image: submit or attach, then one update after the other until the job ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.core.errors import NotFound, StudioError
from studio.core.events import Snapshot, Status
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.engine import Engine
from studio.engine.jobs.job import Job
from studio.tabs.common.events import Updates, make_toast
from studio.tabs.common.result_panel import render_result

UPDATE_INTERVAL = 0.25  # s between two updates: four a second are enough for the eye and cheap for the server
REFRESH_INTERVAL = 2.0  # s without news until the line is written again, for its ETA


@dataclass(frozen=True, kw_only=True)
class JobPanel:
    """The widgets that a running job writes to."""

    result: gr.HTML
    job: gr.BrowserState  # the id of the page's latest job: Stop needs it, and a reload finds the job by it
    generate: gr.Button
    stop: gr.Button
    skip: gr.Button
    actions: gr.Column

    def outputs(self) -> set[Any]:
        return {self.result, self.job, self.generate, self.stop, self.skip, self.actions}


def run_request(engine: Engine, panel: JobPanel, request: GenerationRequest, user: User) -> Iterator[Updates]:
    """Submit `request` and follow it.

    Raises:
        gr.Error: what the engine refuses, and what goes wrong on the way.
    """
    try:
        job = engine.submit(request, user)
    except StudioError as error:
        raise make_toast(error) from error
    yield from follow_job(engine, panel, job, user)


def reattach_job(engine: Engine, panel: JobPanel, job_id: Any, user: User) -> Iterator[Updates]:
    """Follow the job that this browser was busy with before a reload; nothing when there is none, or no longer."""
    if not isinstance(job_id, str) or not job_id:
        yield {panel.job: ""}  # Gradio empties every output of a generator that yields nothing
        return
    try:
        job = engine.attach(job_id, user)
    except NotFound:
        yield {panel.job: ""}
        return
    yield from follow_job(engine, panel, job, user)


def follow_job(engine: Engine, panel: JobPanel, job: Job, user: User) -> Iterator[Updates]:
    """One update now, then at most four a second, the last one when the job has ended.

    When the page goes away the generator is closed; the engine is told and decides what becomes of the job.
    """
    snapshot = job.snapshot
    try:
        yield _make_busy_updates(panel, job, snapshot)
        while not snapshot.status.is_final:
            snapshot = _wait_for_snapshot(job, snapshot)
            if not snapshot.status.is_final:
                yield {
                    panel.result: render_result(snapshot, job.id),
                    panel.skip: gr.update(interactive=_can_skip(snapshot)),
                }
        yield _make_idle_updates(panel, job, snapshot)
    finally:
        if not job.snapshot.status.is_final:
            engine.leave(job.id, user)
    if snapshot.status is Status.FAILED and snapshot.error is not None:
        raise make_toast(snapshot.error) from snapshot.error


def _wait_for_snapshot(job: Job, seen: Snapshot) -> Snapshot:
    """The job's snapshot after news and at least PACE later, at once when it ends, or after PATIENCE without news."""
    earliest = time.monotonic() + UPDATE_INTERVAL
    snapshot = job.wait(seen.version, REFRESH_INTERVAL)
    while not snapshot.status.is_final and (left := earliest - time.monotonic()) > 0:
        snapshot = job.wait(snapshot.version, left)
    return snapshot


def _make_busy_updates(panel: JobPanel, job: Job, snapshot: Snapshot) -> Updates:
    final = snapshot.status.is_final
    return {
        panel.result: render_result(snapshot, job.id),
        panel.job: job.id,
        panel.generate: gr.update(value="Generating…", interactive=False) if not final else gr.update(),
        panel.stop: gr.update(interactive=not final),
        panel.skip: gr.update(interactive=_can_skip(snapshot)),
        panel.actions: gr.update(visible=False),
    }


def _make_idle_updates(panel: JobPanel, job: Job, snapshot: Snapshot) -> Updates:
    return {
        panel.result: render_result(snapshot, job.id),
        panel.generate: gr.update(value="Generate", interactive=True),
        panel.stop: gr.update(interactive=False),
        panel.skip: gr.update(interactive=False),
        panel.actions: gr.update(visible=bool(snapshot.assets)),
    }


def _can_skip(snapshot: Snapshot) -> bool:
    return snapshot.status is Status.RUNNING and snapshot.images > 1
