"""The routes of named chains: steps that follow a picture, kept to be used again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from studio.api import schemas
from studio.api.image_bodies import kept_in
from studio.api.multipart_forms import FormsToo
from studio.api.request_bodies import Picture
from studio.api.schemas import CreateBody, Strict
from studio.api.social_packs import packed
from studio.api.submit_request import Submitter, caller
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.jobs import saved_chains
from studio.engine.jobs.saved_chains import steps_of
from studio.engine.studio import Studio


class ChainBody(Strict):
    """The steps, each a request as recipes hold them, without a picture."""

    steps: list[dict[str, Any]] = Field(min_length=1, max_length=12)


class ThroughBody(Strict):
    """The pictures that go through a chain."""

    image: Picture | None = None
    images: list[Picture] = Field(default=[], max_length=500)


class Chain(BaseModel):
    """A chain by its name."""

    name: str
    steps: list[dict[str, Any]]


class ChainList(BaseModel):
    chains: list[Chain]


def add(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes of chains among `routes`."""
    kept = studio.engine.chains
    forms = APIRouter(route_class=FormsToo)

    def told(name: str, steps: Sequence[GenerationRequest]) -> Chain:
        return Chain(name=name, steps=[step.to_json() for step in steps])

    @routes.get("/chains")
    def listed(request: Request) -> ChainList:  # pyright: ignore[reportUnusedFunction]
        """The caller's chains; `chain` in /create, /edit and the others names one."""
        return ChainList(chains=[told(name, steps) for name, steps in kept.all(caller(request).name).items()])

    @routes.get("/chains/{name:path}")
    def one(request: Request, name: str) -> Chain:  # pyright: ignore[reportUnusedFunction]
        """One chain."""
        return told(name, kept.steps(caller(request).name, name))

    @routes.put("/chains/{name:path}")
    def save(request: Request, name: str, body: ChainBody) -> Chain:  # pyright: ignore[reportUnusedFunction]
        """Keep steps under a name, in the place of what had it. Their pictures are let in, and named by their ids from then on."""
        user = caller(request)
        steps = [kept_in(step, studio.engine, user) for step in steps_of(body.steps)]
        return told(kept.save(user.name, name, steps), steps)

    @routes.delete("/chains/{name:path}", status_code=204)
    def delete(request: Request, name: str) -> None:  # pyright: ignore[reportUnusedFunction]
        """Forget a chain."""
        kept.delete(caller(request).name, name)

    @forms.post(
        "/chains/{name:path}",
        status_code=202,
        response_model=schemas.Queued,
        responses={200: {"model": schemas.JobBody}},
    )
    async def through(request: Request, name: str, body: ThroughBody, wait: bool = False) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Send pictures through a chain. Answers as /create does."""

        def asked(user: User) -> GenerationRequest:
            pictures = [body.image] if body.image else body.images
            return kept_in(saved_chains.begun(kept.steps(user.name, name), pictures), studio.engine, user)

        return await submitter.answer(request, asked, wait=wait)

    routes.include_router(forms)


def wanted(body: CreateBody, studio: Studio, user: User) -> GenerationRequest:
    """The request of `body` with the steps that it wants after it, those of its chain, its own, then platform formats;
    its pictures let in.

    Raises:
        NotFound: no such chain, or picture. InvalidRequest, BadImage: the message says what is wrong.
    """
    steps = studio.engine.chains.steps(user.name, body.chain) if body.chain else ()
    own = steps_of(body.then) if body.then else ()
    followed = kept_in(saved_chains.followed(body.to_request(), (*steps, *own)), studio.engine, user)
    return packed(studio, followed, body.social, user)
