"""The routes of finished images: larger, restored, in many sizes, as a zip."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import re

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from studio.api import request_bodies, schemas
from studio.api.edit_routes import JOB_RESPONSES, make_request_builder
from studio.api.image_bodies import decode_file, store_request_images
from studio.api.multipart_forms import MultipartRoute
from studio.api.responses import find_asset_files
from studio.api.submit_request import Submitter, get_caller
from studio.core.errors import NotFound
from studio.core.image_gate import ImageLimits, open_image
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import User
from studio.engine.metadata.image_info import read_image_info
from studio.engine.storage.zip_stream import stream_zip
from studio.engine.studio import Studio


def add_finishing_routes(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes of finishing among `routes`."""
    forms = APIRouter(route_class=MultipartRoute)

    @forms.post("/upscale", status_code=202, response_model=schemas.QueuedJobBody, responses=JOB_RESPONSES)
    async def upscale_image(request: Request, body: request_bodies.UpscaleBody, wait: bool = False) -> Response:
        """Enlarge an image. Answers as /create does."""

        def build_request(user: User) -> GenerationRequest:
            return store_request_images(body.to_request(studio.engine.models(Task.UPSCALE)), studio.engine, user)

        return await submitter.answer(request, build_request, wait=wait)

    @forms.post("/png-info")
    def read_png_info(request: Request, body: request_bodies.ImageBody) -> request_bodies.ImageInfoBody:
        """Metadata of an image: ours, AUTOMATIC1111's, ComfyUI's and others'."""
        get_caller(request)
        return _read_image_info(studio, body.image)

    @forms.post("/restore-faces", status_code=202, response_model=schemas.QueuedJobBody, responses=JOB_RESPONSES)
    async def restore_faces(request: Request, body: request_bodies.RestoreBody, wait: bool = False) -> Response:
        """Restore the faces in an image. Answers as /create does."""
        return await submitter.answer(request, make_request_builder(studio, body), wait=wait)

    @forms.post("/derivatives", status_code=202, response_model=schemas.QueuedJobBody, responses=JOB_RESPONSES)
    async def create_derivatives(
        request: Request, body: request_bodies.DerivativesBody, wait: bool = False
    ) -> Response:
        """Finish an image and write it in several sizes and formats. Answers as /create does; the files come as a zip
        too."""
        return await submitter.answer(request, make_request_builder(studio, body), wait=wait)

    @routes.get("/jobs/{job_id}/zip", response_class=StreamingResponse)
    def download_zip(request: Request, job_id: str) -> StreamingResponse:
        """All images of a job in one zip."""
        return build_zip_response(studio, job_id, request)

    routes.include_router(forms)


def build_zip_response(studio: Studio, job_id: str, request: Request) -> StreamingResponse:
    """The job's files as a zip that is made while it is sent.

    Raises:
        NotFound: no such job, or it has no image.
    """
    job = studio.engine.job(job_id, get_caller(request))
    assets = job.snapshot.assets
    files = find_asset_files(assets, studio.engine.file_roots)
    if not files:
        raise NotFound("This job has no images yet.", hint="Wait until the first image is saved.")
    name = re.sub(r"[^0-9A-Za-z-]", "", job.id)
    return StreamingResponse(
        stream_zip(list(files.values()), missing=[asset.path.name for asset in assets if asset.id not in files]),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="easel-{name}.zip"', "Cache-Control": "no-store"},
    )


def _read_image_info(studio: Studio, text: str) -> request_bodies.ImageInfoBody:
    settings = studio.settings.current
    data = decode_file(text)
    info = read_image_info(data, settings)
    hidden = studio.read_hidden(open_image(data, limits=ImageLimits.of(settings)))
    return request_bodies.ImageInfoBody(
        program=info.program,
        infotext=info.infotext,
        request=studio.engine.match_model(info.request, info.infotext).to_json() if info.request else None,
        history=[one.to_json() for one in info.history],
        raw=dict(info.raw),
        passedOver=list(info.passed_over),
        hidden=hidden,
        width=info.width,
        height=info.height,
        format=info.format,
        bytes=info.bytes,
    )
