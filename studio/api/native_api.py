"""The studio's own HTTP API, below /api/image-studio, over the same engine and behind the same guard as the page."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from studio import __version__
from studio.api import (
    asset_routes,
    brief_routes,
    chain_routes,
    cost_routes,
    edit_routes,
    extras_routes,
    interrogate_routes,
    merge_routes,
    moderation_routes,
    persona_routes,
    prompt_routes,
    recipe_routes,
    schemas,
    social_routes,
    template_routes,
    trust_routes,
)
from studio.api.error_responses import NotReady
from studio.api.job_waiting import WaiterPool
from studio.api.multipart_forms import MultipartRoute
from studio.api.responses import (
    FILE_IS_GONE,
    PREFIX,
    build_file_response,
    build_image_info,
    build_job_body,
    build_model_body,
    find_asset_files,
)
from studio.api.rights import needs
from studio.api.submit_request import NO_STORE, Submitter, get_caller
from studio.api.webhooks import Webhooks
from studio.core.errors import StudioError
from studio.core.events import Status
from studio.core.rights import Right
from studio.core.task import Task
from studio.core.user import User
from studio.engine.studio import Studio

MAX_STREAM_SECONDS = 3600.0
RETRY_MILLISECONDS = 3000  # after which a browser connects again
SIGN_OF_LIFE_SECONDS = 10.0
LOOK_SECONDS = 0.2  # between two looks at all jobs of a caller
MAX_RESULT_BYTES = 256 * 1024 * 1024  # bytes of images in one result
_ERROR_RESPONSES: dict[int | str, dict[str, object]] = {
    "4XX": {"model": schemas.ErrorBody, "description": "What went wrong and what to do."}
}


def build_api_routers(studio: Studio) -> list[APIRouter]:
    """All routes of the native API. Not one router of routers: FastAPI makes all routes anew for each level of them."""
    routes = APIRouter(
        prefix=PREFIX, tags=["image-studio"], responses=_ERROR_RESPONSES, dependencies=[needs(Right.USE)]
    )
    submitter = Submitter(studio, Webhooks(studio, studio.settings.folder / "webhooks"))
    _add_create_route(routes, studio, submitter)
    edit_routes.add_editing_routes(routes, studio, submitter)
    extras_routes.add_finishing_routes(routes, studio, submitter)
    cost_routes.add_cost_routes(routes, studio)
    chain_routes.add_chain_routes(routes, studio, submitter)
    social_routes.add_social_routes(routes, studio, submitter)
    template_routes.add_template_routes(routes, studio)
    trust_routes.add_trust_routes(routes, studio)
    asset_routes.add_asset_routes(routes, studio)
    moderation_routes.add_moderation_routes(routes, studio)
    _add_event_routes(routes, studio)
    prompt_routes.add_prompt_routes(routes, studio)
    brief_routes.add_brief_routes(routes, studio)
    persona_routes.add_persona_routes(routes, studio)
    interrogate_routes.add_interrogate_routes(routes, studio)
    recipe_routes.add_recipe_routes(routes, studio, submitter)
    merge_routes.add_merge_routes(routes, studio)
    _add_job_routes(routes, studio)
    _add_result_routes(routes, studio)
    _add_model_routes(routes, studio)
    return [routes, _build_health_router(studio)]


def _add_create_route(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    forms = APIRouter(route_class=MultipartRoute)

    @forms.post(
        "/create", status_code=202, response_model=schemas.QueuedJobBody, responses={200: {"model": schemas.JobBody}}
    )
    async def create_images(request: Request, body: schemas.CreateBody, wait: bool = False) -> Response:
        """Make images. Answers at once with the job; with `?wait=true` when it has ended, or after ten minutes."""
        return await submitter.answer(
            request, lambda user: chain_routes.build_chained_request(body, studio, user), wait=wait
        )

    routes.include_router(forms)


def _add_job_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/jobs")
    def list_jobs(request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> schemas.JobList:
        """The caller's jobs, newest first."""
        root = studio.settings.current.root_path
        return schemas.JobList(
            jobs=[build_job_body(job, root) for job in studio.engine.jobs(get_caller(request), limit)]
        )

    @routes.get("/jobs/{job_id}")
    def get_job(request: Request, job_id: str) -> schemas.JobBody:
        """Show the state of a job."""
        return build_job_body(studio.engine.job(job_id, get_caller(request)), studio.settings.current.root_path)

    @routes.post("/jobs/{job_id}/retry-save", status_code=202)
    def retry_save(request: Request, job_id: str) -> schemas.JobBody:
        """Write the images of a failed job that the disk refused; nothing is drawn again. Possible until the studio is
        restarted."""
        job = studio.engine.retry_save(job_id, get_caller(request))
        return build_job_body(job, studio.settings.current.root_path)

    @routes.delete("/jobs/{job_id}")
    def cancel_job(request: Request, job_id: str) -> schemas.JobBody:
        """Stop a job. One that runs stops within a step; its finished images stay."""
        user = get_caller(request)
        studio.engine.cancel(job_id, user)
        return build_job_body(studio.engine.job(job_id, user), studio.settings.current.root_path)


def _add_result_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/jobs/{job_id}/result")
    def get_result(request: Request, job_id: str, data: bool = True) -> schemas.Result:
        """The images of an ended job; `?data=false` leaves the bytes out."""
        job = studio.engine.job(job_id, get_caller(request))
        now = job.snapshot
        if now.status is Status.FAILED and now.error is not None and not now.assets:
            raise now.error
        if not now.status.is_final:
            raise NotReady(
                "The job is still running.",
                hint="Try again later, or create the job with ?wait=true.",
                details={"status": now.status.value},
            )
        root, roots = studio.settings.current.root_path, studio.engine.file_roots
        if not data:
            return schemas.Result(images=[build_image_info(asset, root) for asset in now.assets])
        files = find_asset_files(now.assets, roots)
        if sum(file.stat().st_size for file in files.values()) > MAX_RESULT_BYTES:
            raise NotReady(
                "The images are too large for one response.",
                hint="Request the result with ?data=false and fetch each image by its URL.",
            )
        return schemas.Result(
            images=[
                build_image_info(asset, root, data=files[asset.id].read_bytes())
                if asset.id in files
                else build_image_info(dataclasses.replace(asset, notes=(*asset.notes, FILE_IS_GONE)), root)
                for asset in now.assets
            ]
        )

    @routes.get("/images/{image_id}", response_class=FileResponse, responses={200: {"content": {"image/*": {}}}})
    def get_image(request: Request, image_id: str) -> FileResponse:
        """One image as its file."""
        return build_file_response(studio.engine.asset(image_id, get_caller(request)), studio.engine.file_roots)


def _add_event_routes(routes: APIRouter, studio: Studio) -> None:
    waiters, streams = WaiterPool(), WaiterPool()

    @routes.get("/jobs/events", response_class=StreamingResponse)
    async def stream_all_events(request: Request) -> StreamingResponse:
        """Stream all of the caller's jobs as server-sent events: each unfinished one at once, then every change of any,
        until the caller hangs up."""
        user = get_caller(request)
        streams.check_room(user.name)
        return StreamingResponse(
            _hold_place(streams, user, _stream_all_jobs(studio, request, user)),
            media_type="text/event-stream",
            headers={**NO_STORE, "X-Accel-Buffering": "no"},
        )

    @routes.get("/jobs/{job_id}/events", response_class=StreamingResponse)
    async def stream_events(request: Request, job_id: str) -> StreamingResponse:
        """The job as a stream of server-sent events, one for each change; the last has a final status."""
        job = studio.engine.job(job_id, get_caller(request))
        root = studio.settings.current.root_path

        async def generate_events() -> AsyncIterator[str]:
            last = -1
            yield f"retry: {RETRY_MILLISECONDS}\n\n"
            try:
                async for now in waiters.stream_snapshots(job, request, MAX_STREAM_SECONDS):
                    yield (
                        ": still here\n\n"
                        if now.version == last
                        else f"data: {json.dumps(build_job_body(job, root).model_dump())}\n\n"
                    )
                    last = now.version
            except StudioError as error:
                yield f"event: error\ndata: {json.dumps(error.to_json())}\n\n"

        return StreamingResponse(
            generate_events(), media_type="text/event-stream", headers={**NO_STORE, "X-Accel-Buffering": "no"}
        )


async def _hold_place(streams: WaiterPool, user: User, events: AsyncIterator[str]) -> AsyncIterator[str]:
    """`events` while one of the places is held for them."""
    with streams.take_place(user.name):
        async for event in events:
            yield event


async def _stream_all_jobs(studio: Studio, request: Request, user: User) -> AsyncIterator[str]:
    """The events of `stream_all_events`, with a sign of life when nothing happens."""
    root = studio.settings.current.root_path
    seen = {job.id: -1 for job in studio.engine.list_held_jobs(user) if not job.snapshot.status.is_final}
    known = {job.id for job in studio.engine.list_held_jobs(user)} - seen.keys()
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    end, quiet = time.monotonic() + MAX_STREAM_SECONDS, time.monotonic()
    while time.monotonic() < end and not await request.is_disconnected():
        for job in studio.engine.list_held_jobs(user):
            version = job.snapshot.version
            if job.id in known or seen.get(job.id, -1) == version:
                continue
            seen[job.id], quiet = version, time.monotonic()
            yield f"event: job\ndata: {json.dumps(build_job_body(job, root).model_dump())}\n\n"
        if time.monotonic() - quiet > SIGN_OF_LIFE_SECONDS:
            quiet = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_SECONDS)


def _add_model_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/models")
    def list_models(request: Request, task: Task | None = None) -> schemas.ModelList:
        """All models, those with a problem too; with `?task=` those that do it."""
        get_caller(request)
        return schemas.ModelList(models=[build_model_body(model) for model in studio.engine.models(task)])


def _build_health_router(studio: Studio) -> APIRouter:
    """What a caller that is not logged in may ask too."""
    routes = APIRouter(prefix=PREFIX, tags=["image-studio"], responses=_ERROR_RESPONSES, dependencies=[needs(None)])
    began = time.monotonic()

    @routes.get("/health", response_model_exclude_none=True)
    def get_health(request: Request) -> schemas.Health:
        """Whether the studio is up; to those logged in also version, uptime, queue and device."""
        user = request.scope.get("user")
        if not isinstance(user, User):
            return schemas.Health(status="ok")
        return schemas.Health(
            status="ok",
            version=__version__,
            uptime=round(time.monotonic() - began, 1),
            queueLength=studio.engine.count_unfinished(user),
            device=_get_device(studio),
        )

    return routes


def _get_device(studio: Studio) -> str:
    """The device of local models, found without loading torch, which takes seconds."""
    return studio.store.get_memory_report().device if "torch" in sys.modules else studio.settings.current.device
