"""The routes of finished pictures: larger, restored, in many sizes, as a zip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from studio.api import request_bodies, schemas
from studio.api.edit_routes import TAKEN, work
from studio.api.image_bodies import decoded, kept_in
from studio.api.multipart_forms import FormsToo
from studio.api.responses import asset_file
from studio.api.submit_request import Submitter, caller
from studio.core.errors import NotFound
from studio.core.image_gate import Limits, open_image
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User
from studio.engine.metadata.image_info import picture_info
from studio.engine.storage.zip_stream import zipped
from studio.engine.studio import Studio


def add(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes of finishing among `routes`."""
    forms = APIRouter(route_class=FormsToo)

    @forms.post("/upscale", status_code=202, response_model=schemas.Queued, responses=TAKEN)
    async def upscale(request: Request, body: request_bodies.UpscaleBody, wait: bool = False) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Enlarge a picture. Answers as /create does."""

        def wanted(user: User) -> GenerationRequest:
            return kept_in(body.to_request(studio.engine.models(Task.UPSCALE)), studio.engine, user)

        return await submitter.answer(request, wanted, wait=wait)

    @forms.post("/png-info")
    def png_info(request: Request, body: request_bodies.PictureBody) -> request_bodies.PictureInfoBody:  # pyright: ignore[reportUnusedFunction]
        """What a picture tells of its making: ours, AUTOMATIC1111's, ComfyUI's and others'."""
        caller(request)
        return _info(studio, body.image)

    @forms.post("/restore-faces", status_code=202, response_model=schemas.Queued, responses=TAKEN)
    async def restore_faces(request: Request, body: request_bodies.RestoreBody, wait: bool = False) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Restore the faces in a picture. Answers as /create does."""
        return await submitter.answer(request, work(studio, body), wait=wait)

    @forms.post("/derivatives", status_code=202, response_model=schemas.Queued, responses=TAKEN)
    async def derivatives(request: Request, body: request_bodies.DerivativesBody, wait: bool = False) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Finish a picture and write it in several sizes and formats. Answers as /create does; the files come as a zip too."""
        return await submitter.answer(request, work(studio, body), wait=wait)

    @routes.get("/jobs/{job_id}/zip", response_class=StreamingResponse)
    def as_zip(request: Request, job_id: str) -> StreamingResponse:  # pyright: ignore[reportUnusedFunction]
        """All pictures of a job in one zip."""
        return zip_answer(studio, job_id, request)

    routes.include_router(forms)


def zip_answer(studio: Studio, job_id: str, request: Request) -> StreamingResponse:
    """The job's files as a zip that is made while it is sent.

    Raises:
        NotFound: no such job, or it has no picture.
    """
    job = studio.engine.job(job_id, caller(request))
    files = [asset_file(asset, studio.engine.outputs_dir) for asset in job.snapshot.assets]
    if not files:
        raise NotFound("This job has no pictures.", hint="Wait until it has made some.")
    name = re.sub(r"[^0-9A-Za-z-]", "", job.id)
    return StreamingResponse(
        _sent(files), media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="easel-{name}.zip"', "Cache-Control": "no-store"},
    )  # fmt: skip


def _info(studio: Studio, text: str) -> request_bodies.PictureInfoBody:
    settings = studio.settings.current
    data = decoded(text)
    info = picture_info(data, settings)
    hidden = studio.read_hidden(open_image(data, limits=Limits.of(settings)))
    return request_bodies.PictureInfoBody(
        program=info.program, infotext=info.infotext, request=info.request.to_json() if info.request else None,
        history=[one.to_json() for one in info.history], raw=dict(info.raw), passedOver=list(info.passed_over), hidden=hidden,
        width=info.width, height=info.height, format=info.format, bytes=info.bytes,
    )  # fmt: skip


def _sent(files: list[Path]) -> Iterator[bytes]:
    yield from zipped(files)
