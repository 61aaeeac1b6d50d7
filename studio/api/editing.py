"""The routes of changing a picture: keep one, edit it, make a control map of it, list what can be done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from studio.api import bodies, chains, schemas
from studio.api.forms import FormsToo
from studio.api.packing import packed
from studio.api.pictures import keep, kept_in
from studio.api.schemas import SocialBody
from studio.api.submitting import Submitter, caller
from studio.core.operations import OPERATIONS
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.pictures import KeptPicture
from studio.engine.studio import Studio

TAKEN: dict[int | str, dict[str, object]] = {200: {"model": schemas.JobBody}}


class Body(Protocol):
    """A body that knows its request; one that has `social` goes on to platform formats."""

    def to_request(self) -> GenerationRequest: ...


def work(studio: Studio, body: Body) -> Callable[[User], GenerationRequest]:
    """What makes the request of `body`, with its pictures let in, for a caller."""
    wish: SocialBody | None = getattr(body, "social", None)

    def wanted(user: User) -> GenerationRequest:
        return packed(studio, kept_in(body.to_request(), studio.engine, user), wish, user)

    return wanted


def add(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes of editing among `routes`."""
    forms = APIRouter(route_class=FormsToo)

    @forms.post("/pictures", status_code=201)
    async def keep_picture(request: Request, body: bodies.PictureBody) -> bodies.KeptBody:  # pyright: ignore[reportUnusedFunction]
        """Let a picture in, so that later requests may name it by its id."""
        user = caller(request)
        return _kept(await anyio.to_thread.run_sync(lambda: keep(body.image, studio.engine, user)))

    @forms.post("/edit", status_code=202, response_model=schemas.Queued, responses=TAKEN)
    async def edit(request: Request, body: bodies.EditBody, wait: bool = False) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Change a picture. Answers as /create does."""

        return await submitter.answer(request, lambda user: chains.wanted(body, studio, user), wait=wait)

    @forms.post("/preprocess", status_code=202, response_model=schemas.Queued, responses=TAKEN)
    async def preprocess(request: Request, body: bodies.PreprocessBody, wait: bool = False) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Make the control map of a picture. Answers as /create does."""
        return await submitter.answer(request, work(studio, body), wait=wait)

    @routes.get("/edit/operations")
    def operations(request: Request) -> bodies.OperationList:  # pyright: ignore[reportUnusedFunction]
        """What can be done to a picture, and which models do it now."""
        caller(request)
        return bodies.OperationList(
            operations=[
                bodies.OperationBody(
                    operation=one.task.value, title=one.title, help=one.help, needs=list(one.needs), takes=list(one.takes),
                    models=[model.id for model in studio.engine.models(one.task) if not model.problem], would=one.would,
                )
                for one in OPERATIONS
            ]
        )  # fmt: skip

    @routes.get("/pictures/{picture_id}", response_class=FileResponse)
    def picture(request: Request, picture_id: str) -> FileResponse:  # pyright: ignore[reportUnusedFunction]
        """A kept picture as PNG."""
        path = studio.engine.kept_file(picture_id, caller(request))
        return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    routes.include_router(forms)


def _kept(picture: KeptPicture) -> bodies.KeptBody:
    known = dataclasses.asdict(picture)
    return bodies.KeptBody(id=picture.hash, **{name: known[name] for name in ("width", "height", "infotext")})
