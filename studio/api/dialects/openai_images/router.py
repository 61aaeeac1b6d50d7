"""The routes below /v1, and their answers: at once, or as a stream of previews and images."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from studio.api.dialects.dialect_jobs import MAX_JOB_SECONDS, DialectJobs, require_dialect
from studio.api.dialects.dialect_paths import Dialect
from studio.api.dialects.error_shapes import shape_error
from studio.api.dialects.openai_images.fields import ImageFields, read_fields
from studio.api.dialects.openai_images.requests import (
    ImageOrder,
    build_edit,
    build_generation,
    build_variation,
    convert_preview,
)
from studio.api.error_responses import clean_json, describe_error
from studio.api.responses import PREFIX
from studio.api.submit_request import NO_STORE, get_caller
from studio.core.errors import JobCancelled, NotFound, StudioError
from studio.core.model import Model
from studio.core.result import Asset
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

_GENERATION, _EDIT = "image_generation", "image_edit"
Build = Callable[[ImageFields, User], ImageOrder]


def build_openai_router(studio: Studio) -> APIRouter:
    """POST /v1/images/generations, edits and variations; GET /v1/models."""
    routes = APIRouter(prefix="/v1", include_in_schema=False, dependencies=require_dialect(studio, Dialect.OPENAI))
    drawing = _DrawingRoutes(studio)

    @routes.post("/images/generations")
    async def generate_images(request: Request) -> Response:
        """Images from a prompt."""
        return await drawing.answer(request, lambda fields, _: build_generation(fields, studio), _GENERATION)

    @routes.post("/images/edits")
    async def edit_images(request: Request) -> Response:
        """Images from images and a prompt."""
        return await drawing.answer(request, lambda fields, user: build_edit(fields, studio, user), _EDIT)

    @routes.post("/images/variations")
    async def vary_image(request: Request) -> Response:
        """Images like another."""
        return await drawing.answer(request, lambda fields, user: build_variation(fields, studio, user), _EDIT)

    @routes.get("/models")
    def list_models(request: Request) -> dict[str, Any]:
        """The models that draw or edit and can be used."""
        get_caller(request)
        return {"object": "list", "data": [_describe_model(model) for model in _list_models(studio)]}

    @routes.get("/models/{model_id:path}")
    def get_model(request: Request, model_id: str) -> dict[str, Any]:
        """One of them."""
        get_caller(request)
        found = next((model for model in _list_models(studio) if model.id == model_id), None)
        return _describe_model(found if found is not None else studio.engine.model(model_id or "?"))

    @routes.options("/{path:path}")
    def list_methods(path: str) -> Response:
        """What clients ask to see whether somebody is there."""
        return Response(status_code=204, headers={"Allow": "GET, POST, OPTIONS"})

    @routes.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    def refuse_path(request: Request, path: str) -> Response:
        """Everything else of that API."""
        raise NotFound(f"Invalid URL ({request.method} /v1/{path[:100]})", hint="Only images and models are offered.")

    return routes


class _DrawingRoutes:
    """Draws for all three routes."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._jobs = DialectJobs(studio)

    async def answer(self, request: Request, build: Build, kind: str) -> Response:
        """The images of what `build` makes of the request; `kind` is the prefix of the stream's events."""
        user = get_caller(request)
        fields = await read_fields(request, self._studio.settings.current)
        order = await anyio.to_thread.run_sync(build, fields, user)
        job = await self._jobs.submit(request, lambda _: order.request)
        if order.stream:
            events = self._stream_events(request, job, order, kind)
            headers = {**NO_STORE, "X-Accel-Buffering": "no"}
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        await self._jobs.wait(request, job)
        assets = job.snapshot.assets
        if not assets:
            raise JobCancelled("The job was stopped.", hint="Send the request again.")
        data = [await self._build_entry(request, asset, order) for asset in assets]
        notices = list(dict.fromkeys((*order.notes, *job.snapshot.notices)))
        answer = {
            "created": int(job.created),
            "data": data,
            **_describe_output(order, assets[0]),
            "usage": _make_usage(),
            **({"notices": notices} if notices else {}),
        }
        return JSONResponse(clean_json(answer), headers=NO_STORE)

    async def _build_entry(self, request: Request, asset: Asset, order: ImageOrder) -> dict[str, Any]:
        if order.as_url:
            root = self._studio.settings.current.root_path.rstrip("/")
            address = f"{request.url.scheme}://{request.headers['host']}{root}{PREFIX}/images/{asset.id}"
            return {"url": address, "seed": asset.seed}
        data = await anyio.to_thread.run_sync(self._jobs.read_file, asset)
        return {"b64_json": base64.b64encode(data).decode(), "seed": asset.seed}

    async def _stream_events(self, request: Request, job: Job, order: ImageOrder, kind: str) -> AsyncIterator[str]:
        """Previews while each image is drawn, then the image; an error as OpenAI's client reads one."""
        sent, shown, finished = 0, None, 0
        try:
            async for now in self._jobs.waiters.stream_snapshots(job, request, MAX_JOB_SECONDS):
                for asset in now.assets[finished:]:
                    yield await self._format_completed(asset, order, kind)
                    finished, sent, shown = finished + 1, 0, now.preview  # which was of that image
                if now.preview is not None and now.preview != shown and sent < order.partials:
                    event = await anyio.to_thread.run_sync(_format_partial, now.preview, sent, order, kind)
                    shown = now.preview
                    if event:
                        sent += 1
                        yield event
            now = job.snapshot
            if now.error is not None:
                raise now.error
        except StudioError as error:
            yield f"data: {json.dumps(shape_error(request.scope['path'], describe_error(error)).body)}\n\n"
        finally:  # a caller that hangs up leaves the job, as a closed page does
            if not job.snapshot.status.is_final:
                self._studio.engine.leave(job.id, get_caller(request))

    async def _format_completed(self, asset: Asset, order: ImageOrder, kind: str) -> str:
        data = await anyio.to_thread.run_sync(self._jobs.read_file, asset)
        body = {
            "type": f"{kind}.completed",
            "b64_json": base64.b64encode(data).decode(),
            "created_at": int(time.time()),
            **_describe_output(order, asset),
            "usage": _make_usage(),
            "seed": asset.seed,
        }
        return f"event: {kind}.completed\ndata: {json.dumps(body)}\n\n"


def _format_partial(preview: Path, index: int, order: ImageOrder, kind: str) -> str:
    """The event of one preview; empty when the preview is gone already."""
    try:
        data = convert_preview(preview.read_bytes(), order.output_format)
    except (OSError, StudioError):
        return ""
    body = {
        "type": f"{kind}.partial_image",
        "b64_json": base64.b64encode(data).decode(),
        "partial_image_index": index,
        "created_at": int(time.time()),
        "size": f"{order.request.width}x{order.request.height}" if order.request.width else "auto",
        "quality": order.quality,
        "background": order.background,
        "output_format": order.output_format,
    }
    return f"event: {kind}.partial_image\ndata: {json.dumps(body)}\n\n"


def _describe_output(order: ImageOrder, asset: Asset) -> dict[str, Any]:
    return {
        "background": order.background,
        "output_format": order.output_format,
        "quality": order.quality,
        "size": f"{asset.width}x{asset.height}",
    }


def _make_usage() -> dict[str, Any]:
    """Nothing is counted in tokens here; the ledger has what a paid model costs."""
    return {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "total_tokens": 0,
    }


def _list_models(studio: Studio) -> list[Model]:
    drawing = {Task.TXT2IMG, Task.EDIT}
    return [model for model in studio.engine.models() if not model.problem and drawing & model.tasks]


def _describe_model(model: Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": 0, "owned_by": model.lane if model.paid else "easel"}
