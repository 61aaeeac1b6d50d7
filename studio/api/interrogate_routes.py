"""The route that describes an image."""

# pyright: reportUnusedFunction=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from studio.api.event_streams import iterate_in_thread
from studio.api.image_bodies import store_image
from studio.api.schemas import ImageRef, StrictModel
from studio.api.submit_request import get_caller
from studio.core.errors import NotConfigured
from studio.core.user import User
from studio.engine.describe_image import ImageDescription, describe_offline
from studio.engine.prompt_room import TextPiece
from studio.engine.studio import Studio


class InterrogateBody(StrictModel):
    """The image to describe."""

    image: ImageRef
    see: bool = Field(
        default=False, description="Show a small copy of the image to the chat server, whose model has to see images."
    )


class DescriptionBody(BaseModel):
    """A prompt for the image; `source` says who gave it: recipe, infotext, measured, or a language model's name."""

    prompt: str
    negativePrompt: str  # noqa: N815 - names on the wire are camelCase
    source: str


def add_interrogate_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the route among `routes`."""

    @routes.post("/prompts/interrogate", response_model=DescriptionBody)
    async def interrogate_image(request: Request, body: InterrogateBody) -> Any:
        """A prompt for an image: its own, else what can be measured; with `see` what a language model sees."""
        user = get_caller(request)
        if not body.see:
            return _build_body(await anyio.to_thread.run_sync(_describe, studio, body.image, user))
        room = studio.prompts
        if room is None:
            raise NotConfigured("There is no chat server.", hint="Enter chat_url in Configurations.")
        room.check_spending(user)
        kept = await anyio.to_thread.run_sync(store_image, body.image, studio.engine, user)
        image = await anyio.to_thread.run_sync(studio.engine.open_input, kept.hash, user)

        def start(is_gone: Callable[[], bool]) -> Iterator[TextPiece | ImageDescription]:
            return room.describe(image, user.name, is_gone)

        found = [each async for each in iterate_in_thread(request, start) if isinstance(each, ImageDescription)]
        return _build_body(found[0]) if found else Response(status_code=499)  # 499: the caller hung up


def _describe(studio: Studio, image: str, user: User) -> ImageDescription:
    kept = store_image(image, studio.engine, user)
    return describe_offline(kept, lambda: studio.engine.open_input(kept.hash, user))


def _build_body(found: ImageDescription) -> DescriptionBody:
    return DescriptionBody(prompt=found.prompt, negativePrompt=found.negative_prompt, source=found.source)
