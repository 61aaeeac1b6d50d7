"""Where the caller's jobs stand, and the ways to stop them."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from studio.api.dialects.automatic1111.bodies import ProgressBody
from studio.api.dialects.automatic1111.user_jobs import RUNNING, Call, UserJobs
from studio.api.submit_request import get_caller
from studio.core.events import Snapshot, Status
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

_IDLE_TIMESTAMP = "0"


class ProgressRoutes:
    """Progress, interrupt and skip, over the jobs that the caller submitted through this API."""

    def __init__(self, studio: Studio, user_jobs: UserJobs) -> None:
        self._studio = studio
        self._user_jobs = user_jobs

    def add_to(self, routes: APIRouter) -> None:
        """Put the routes below /sdapi/v1 among `routes`."""

        @routes.get("/progress")
        def get_progress(request: Request, skip_current_image: bool = False) -> dict[str, Any]:
            """The running job, or progress 0 and job_count 0 when there is none."""
            return self._describe_progress(get_caller(request), with_image=not skip_current_image)

        @routes.post("/interrupt")
        def interrupt(request: Request) -> dict[str, Any]:
            """Stop what is drawn for the caller; the call is answered with its finished images, and calls that wait go
            on. What callers that hung up have left is stopped too."""
            user = get_caller(request)
            calls = self._user_jobs.list_calls(user.name)
            for call in [call for call in calls if call.is_running] or calls[:1]:
                call.interrupted = True
            kept = {call.job.id for call in calls if call.job is not None and not call.interrupted}
            for job in reversed(self._list_open_jobs(user)):
                if job.id not in kept:
                    self._studio.engine.cancel(job.id, user)
            return {}

        @routes.post("/skip")
        def skip(request: Request) -> None:
            """Leave out the image that is being drawn."""
            user = get_caller(request)
            for job in self._list_open_jobs(user):
                self._studio.engine.skip(job.id, user)

    def add_internal_to(self, routes: APIRouter) -> None:
        """Put the routes below /internal among `routes`."""

        @routes.post("/progress")
        def get_task_progress(request: Request, body: ProgressBody) -> dict[str, Any]:
            """How the task of the id that its caller gave stands."""
            return self._describe_task(get_caller(request), body)

        @routes.get("/pending-tasks")
        def list_pending_tasks(request: Request) -> dict[str, Any]:
            """The caller's waiting tasks."""
            user = get_caller(request)
            waiting = {job.id for job in self._list_open_jobs(user) if job.snapshot.status is Status.QUEUED}
            tasks = [task or job_id for job_id, task in self._user_jobs.list(user.name) if job_id in waiting]
            return {"size": len(tasks), "tasks": tasks}

    def _list_open_jobs(self, user: User) -> list[Job]:
        """The caller's jobs that have not ended, the oldest first."""
        own = {job_id for job_id, _ in self._user_jobs.list(user.name)}
        held = self._studio.engine.list_held_jobs(user)
        return [job for job in held if job.id in own and not job.snapshot.status.is_final]

    def _describe_progress(self, user: User, *, with_image: bool) -> dict[str, Any]:
        jobs = self._list_open_jobs(user)
        job = next((one for one in jobs if one.snapshot.status in RUNNING), jobs[0] if jobs else None)
        now = job.snapshot if job is not None else Snapshot()
        image = _encode_preview(now.preview) if with_image else None
        calls = self._user_jobs.list_calls(user.name)  # one may be between two of its jobs
        call = next((one for one in calls if one.job is job), calls[0] if calls else None)
        done, planned = (call.done, call.planned) if call is not None else (0, 1)
        progress = min(0.99, max(0.01, (done + now.progress) / planned))
        return {
            "progress": progress if job is not None or call is not None else 0.0,
            "eta_relative": now.eta or 0.0,
            "state": _describe_state(job, now, call),
            "current_image": image,
            "textinfo": now.loading if now.status is Status.LOADING else None,
        }

    def _describe_task(self, user: User, body: ProgressBody) -> dict[str, Any]:
        known = {task or job_id: job_id for job_id, task in self._user_jobs.list(user.name)}
        job = self._studio.engine.job(known[body.id_task], user) if body.id_task in known else None
        now = job.snapshot if job is not None else Snapshot()
        active = job is not None and now.status in RUNNING
        preview = _encode_preview(now.preview) if body.live_preview and active else None
        shown = now.version != body.id_live_preview and preview is not None
        return {
            "active": active,
            "queued": job is not None and now.status is Status.QUEUED,
            "completed": job is not None and now.status.is_final,
            "progress": now.progress if active else None,
            "eta": now.eta if active else None,
            "live_preview": f"data:image/jpeg;base64,{preview}" if shown else None,
            "id_live_preview": now.version if shown else body.id_live_preview,
            "textinfo": now.loading or ("In queue..." if job is not None and now.status is Status.QUEUED else None),
        }


def _describe_state(job: Job | None, now: Snapshot, call: Call | None) -> dict[str, Any]:
    """The state of a job, of the call that has it, or of a call that is between two; idle where there is neither."""
    done, planned, interrupted = (0, 1, False) if call is None else (call.done, call.planned, call.interrupted)
    created = time.strftime("%Y%m%d%H%M%S", time.localtime(job.created)) if job is not None else _IDLE_TIMESTAMP
    return {
        "skipped": job is not None and job.is_skipping,
        "interrupted": interrupted or (job is not None and job.stop_reason is not None),
        "stopping_generation": False,
        "job": job.id if job is not None else "",
        "job_count": max(planned, now.images) if job is not None or call is not None else 0,
        "job_timestamp": created,
        "job_no": done + max(0, now.image - 1),
        "sampling_step": now.step,
        "sampling_steps": now.steps,
    }


def _encode_preview(file: Path | None) -> str | None:
    """The preview in base64; None where there is none, or none any more."""
    try:
        return base64.b64encode(file.read_bytes()).decode() if file is not None else None
    except OSError:
        return None
