"""The routes of changing an image: keep one, edit it, make a control map of it, list what can be done."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from studio.api import chain_routes, request_bodies, schemas
from studio.api.image_bodies import store_image, store_request_images
from studio.api.multipart_forms import MultipartRoute
from studio.api.schemas import SocialBody
from studio.api.social_packs import append_social_formats
from studio.api.submit_request import Submitter, get_caller
from studio.core.operations import OPERATIONS
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.storage.inputs import KeptImage
from studio.engine.studio import Studio

JOB_RESPONSES: dict[int | str, dict[str, object]] = {200: {"model": schemas.JobBody}}


class RequestBody(Protocol):
    """A body that knows its request; one that has `social` goes on to platform formats."""

    def to_request(self) -> GenerationRequest: ...


def make_request_builder(studio: Studio, body: RequestBody) -> Callable[[User], GenerationRequest]:
    """Return a function that builds a caller's request from `body` and stores its images."""
    social: SocialBody | None = getattr(body, "social", None)

    def build_request(user: User) -> GenerationRequest:
        return append_social_formats(studio, store_request_images(body.to_request(), studio.engine, user), social, user)

    return build_request


def add_editing_routes(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes of editing among `routes`."""
    forms = APIRouter(route_class=MultipartRoute)

    @forms.post("/pictures", status_code=201, include_in_schema=False)  # its name until version 0.2
    @forms.post("/inputs", status_code=201)
    async def upload_image(request: Request, body: request_bodies.ImageBody) -> request_bodies.StoredImageBody:
        """Let an image in, so that later requests may name it by its id."""
        user = get_caller(request)
        return _build_stored_image(await anyio.to_thread.run_sync(lambda: store_image(body.image, studio.engine, user)))

    @forms.post("/edit", status_code=202, response_model=schemas.QueuedJobBody, responses=JOB_RESPONSES)
    async def edit_image(request: Request, body: request_bodies.EditBody, wait: bool = False) -> Response:
        """Change an image. Answers as /create does."""

        return await submitter.answer(
            request, lambda user: chain_routes.build_chained_request(body, studio, user), wait=wait
        )

    @forms.post("/preprocess", status_code=202, response_model=schemas.QueuedJobBody, responses=JOB_RESPONSES)
    async def preprocess_image(request: Request, body: request_bodies.PreprocessBody, wait: bool = False) -> Response:
        """Make the control map of an image. Answers as /create does."""
        return await submitter.answer(request, make_request_builder(studio, body), wait=wait)

    @routes.get("/edit/operations")
    def list_operations(request: Request) -> request_bodies.OperationList:
        """List the editing operations, and the models that can do them now."""
        get_caller(request)
        return request_bodies.OperationList(
            operations=[
                request_bodies.OperationBody(
                    operation=one.task.value,
                    title=one.title,
                    help=one.help,
                    needs=list(one.needs),
                    takes=list(one.takes),
                    models=[model.id for model in studio.engine.models(one.task) if not model.problem],
                    would=one.would,
                )
                for one in OPERATIONS
            ]
        )

    @routes.get("/pictures/{image_id}", response_class=FileResponse, include_in_schema=False)
    @routes.get("/inputs/{image_id}", response_class=FileResponse)
    def get_stored_image(request: Request, image_id: str) -> FileResponse:
        """A kept image as PNG."""
        path = studio.engine.get_kept_file(image_id, get_caller(request))
        return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    routes.include_router(forms)


def _build_stored_image(image: KeptImage) -> request_bodies.StoredImageBody:
    known = dataclasses.asdict(image)
    return request_bodies.StoredImageBody(
        id=image.hash, **{name: known[name] for name in ("width", "height", "infotext")}
    )
