"""The routes of named chains: steps that follow an image, kept to be used again."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from studio.api import schemas
from studio.api.image_bodies import store_request_images
from studio.api.multipart_forms import MultipartRoute
from studio.api.request_bodies import ImageRef
from studio.api.rights import needs
from studio.api.schemas import CreateBody, StrictModel
from studio.api.social_packs import append_social_formats
from studio.api.submit_request import Submitter, get_caller
from studio.core.request import GenerationRequest
from studio.core.rights import Right
from studio.core.user import User
from studio.engine.jobs import saved_chains
from studio.engine.jobs.saved_chains import parse_steps
from studio.engine.studio import Studio


class ChainBody(StrictModel):
    """The steps, each a request as recipes hold them, without an image."""

    steps: list[dict[str, Any]] = Field(min_length=1, max_length=12)


class ChainRunBody(StrictModel):
    """The images that go through a chain."""

    image: ImageRef | None = None
    images: list[ImageRef] = Field(default=[], max_length=500)


class Chain(BaseModel):
    """A chain by its name."""

    name: str
    steps: list[dict[str, Any]]


class ChainList(BaseModel):
    chains: list[Chain]


def add_chain_routes(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes of chains among `routes`."""
    kept = studio.engine.chains
    forms = APIRouter(route_class=MultipartRoute)

    def build_chain(name: str, steps: Sequence[GenerationRequest]) -> Chain:
        return Chain(name=name, steps=[step.to_json() for step in steps])

    @routes.get("/chains")
    def list_chains(request: Request) -> ChainList:
        """The caller's chains; `chain` in /create, /edit and the others names one."""
        return ChainList(
            chains=[build_chain(name, steps) for name, steps in kept.all(get_caller(request).name).items()]
        )

    @routes.get("/chains/{name:path}")
    def get_chain(request: Request, name: str) -> Chain:
        """One chain."""
        return build_chain(name, kept.steps(get_caller(request).name, name))

    @routes.put("/chains/{name:path}", dependencies=[needs(Right.ORGANIZE)])
    def save_chain(request: Request, name: str, body: ChainBody) -> Chain:
        """Keep steps under a name, in the place of what had it. Their images are let in, and named by their ids from
        then on."""
        user = get_caller(request)
        steps = [store_request_images(step, studio.engine, user) for step in parse_steps(body.steps)]
        return build_chain(kept.save(user.name, name, steps), steps)

    @routes.delete("/chains/{name:path}", status_code=204, dependencies=[needs(Right.ORGANIZE)])
    def delete_chain(request: Request, name: str) -> None:
        """Forget a chain."""
        kept.delete(get_caller(request).name, name)

    @forms.post(
        "/chains/{name:path}",
        status_code=202,
        response_model=schemas.QueuedJobBody,
        responses={200: {"model": schemas.JobBody}},
    )
    async def run_chain(request: Request, name: str, body: ChainRunBody, wait: bool = False) -> Response:
        """Send images through a chain. Answers as /create does."""

        def build_request(user: User) -> GenerationRequest:
            images = [body.image] if body.image else body.images
            return store_request_images(
                saved_chains.build_chain_request(kept.steps(user.name, name), images), studio.engine, user
            )

        return await submitter.answer(request, build_request, wait=wait)

    routes.include_router(forms)


def build_chained_request(body: CreateBody, studio: Studio, user: User) -> GenerationRequest:
    """The request of `body` with the steps that it wants after it, those of its chain, its own, then platform formats;
    its images let in.

    Raises:
        NotFound: no such chain, or image. InvalidRequest, BadImage: the message says what is wrong.
    """
    steps = studio.engine.chains.steps(user.name, body.chain) if body.chain else ()
    own = parse_steps(body.then) if body.then else ()
    followed = store_request_images(saved_chains.append_steps(body.to_request(), (*steps, *own)), studio.engine, user)
    return append_social_formats(studio, followed, body.social, user)
