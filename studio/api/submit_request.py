"""From a request to its answer: the job at once, or with ?wait=true its end."""

from __future__ import annotations

from collections.abc import Callable

import anyio.to_thread
from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import HTTPConnection

from studio.api.error_responses import build_error_response
from studio.api.job_waiting import WaiterPool
from studio.api.responses import PREFIX, build_job_body
from studio.api.schemas import QueuedJobBody
from studio.api.webhooks import Webhooks
from studio.core.errors import Forbidden
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

MAX_WAIT_SECONDS = 600.0  # seconds of ?wait=true
NO_STORE = {"Cache-Control": "no-store"}


def get_caller(connection: HTTPConnection) -> User:
    """The caller, as identified by the login middleware.

    Raises:
        Forbidden: nobody was found, which only a hole in the gate could bring about.
    """
    user = connection.scope.get("user")
    if not isinstance(user, User):
        raise Forbidden("Please log in.", hint="Log in at /login, or use HTTP Basic.")
    return user


class Submitter:
    """Submits for all routes, so that the number of callers that wait is bounded once."""

    def __init__(self, studio: Studio, webhooks: Webhooks) -> None:
        self._studio = studio
        self._webhooks = webhooks
        self._waiters = WaiterPool()

    async def answer(self, request: Request, wanted: Callable[[User], GenerationRequest], *, wait: bool) -> Response:
        """Submit what `wanted` makes of the caller's body; it runs in a thread, for it may have to decode images.
        Answers 202 with the job, or with `wait` when it has ended, or after ten minutes. With the headers Webhook-Url
        and Webhook-Secret that address is notified of the end."""
        engine, user = self._studio.engine, get_caller(request)
        url, secret = request.headers.get("webhook-url", ""), request.headers.get("webhook-secret", "")

        def submit() -> Job:
            with self._webhooks.expect(user, url, secret) as register:
                job = engine.submit(wanted(user), user)
                register(job)
            return job

        job = await anyio.to_thread.run_sync(submit)
        root = self._studio.settings.current.root_path
        if not wait:
            now = job.snapshot
            queued = QueuedJobBody(jobId=job.id, status=now.status.value, queuePosition=now.ahead)
            return JSONResponse(queued.model_dump(), 202, {"Location": f"{root}{PREFIX}/jobs/{job.id}"})
        async for _ in self._waiters.stream_snapshots(job, request, MAX_WAIT_SECONDS):
            pass
        now = job.snapshot
        if now.error is not None:
            return build_error_response(now.error, jobId=job.id)
        if not now.status.is_final and await request.is_disconnected():
            engine.leave(job.id, user)
        return JSONResponse(build_job_body(job, root).model_dump(), 200 if now.status.is_final else 202, NO_STORE)
