"""The route that describes an image."""

# pyright: reportUnusedFunction=false

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from PIL import Image
from pydantic import BaseModel, Field

from studio.api.event_streams import iterate_in_thread
from studio.api.image_bodies import store_image
from studio.api.schemas import ImageRef, StrictModel
from studio.api.submit_request import get_caller
from studio.core.errors import Forbidden, NotConfigured
from studio.core.model import GPU_LANE
from studio.core.ports import Captioner
from studio.core.user import GUEST_PREFIX, User
from studio.engine.describe_image import ImageDescription, describe_offline
from studio.engine.prompt_room import TextPiece
from studio.engine.studio import Studio
from studio.prompting.dynamic_tree import escape_text

_POLL_SECONDS = 0.1
_LANE_SECONDS = 120.0  # that a caption waits for the job before it
_Look = Callable[[Image.Image, Callable[[], bool]], Iterator[TextPiece | ImageDescription]]


class InterrogateBody(StrictModel):
    """The image to describe."""

    image: ImageRef
    by: Literal["", "captioner", "chat"] = Field(
        default="",
        description="Who looks at it: captioner is a network here, whose weights are downloaded on request; chat shows"
        " a small copy to the chat server, whose model has to see images. Left out: the image's own metadata, else"
        " what can be measured.",
    )
    see: bool = Field(default=False, description="The same as by: chat.")


class DescriptionBody(BaseModel):
    """A prompt for the image; `source` says who gave it: recipe, infotext, measured, or the name of a captioner or
    language model."""

    prompt: str
    negativePrompt: str  # noqa: N815 - names on the wire are camelCase
    source: str


def add_interrogate_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the route among `routes`."""

    @routes.post("/prompts/interrogate", response_model=DescriptionBody)
    async def interrogate_image(request: Request, body: InterrogateBody) -> Any:
        """A prompt for an image: its own, else what can be measured; or what a captioner or a language model sees."""
        user = get_caller(request)
        by = "chat" if body.see else body.by
        if not by:
            return _build_body(await anyio.to_thread.run_sync(_describe, studio, body.image, user))
        look = _start_captioner(studio, user) if by == "captioner" else _start_chat(studio, user)
        kept = await anyio.to_thread.run_sync(store_image, body.image, studio.engine, user)
        image = await anyio.to_thread.run_sync(studio.engine.open_input, kept.hash, user)

        def start(is_gone: Callable[[], bool]) -> Iterator[TextPiece | ImageDescription]:
            return look(image, is_gone)

        found = [each async for each in iterate_in_thread(request, start) if isinstance(each, ImageDescription)]
        return _build_body(found[0]) if found else Response(status_code=499)  # 499: the caller hung up


def describe_by_captioner(
    studio: Studio, image: Image.Image, user: User, is_cancelled: Callable[[], bool] = lambda: False
) -> ImageDescription:
    """What the captioner sees, between two jobs of the GPU lane.

    Raises:
        NotConfigured: there is none. Forbidden: guests keep no GPU busy. ModelBroken, OutOfMemory, JobCancelled, and as
            `Engine.run_in_lane`.
    """
    captioner = _require_captioner(studio, user)
    text, name = studio.engine.run_in_lane(
        GPU_LANE, lambda ctx: captioner.write_caption(image, ctx, is_cancelled), timeout=_LANE_SECONDS
    )
    return ImageDescription(prompt=escape_text(text), source=name)


def _start_captioner(studio: Studio, user: User) -> _Look:
    _require_captioner(studio, user)

    def look(image: Image.Image, is_gone: Callable[[], bool]) -> Iterator[TextPiece | ImageDescription]:
        """The caption, from a thread of its own, so that a caller who hangs up is noticed meanwhile."""
        stopped = threading.Event()
        pool = ThreadPoolExecutor(1, thread_name_prefix="caption")
        try:
            caption = pool.submit(describe_by_captioner, studio, image, user, lambda: is_gone() or stopped.is_set())
            while not caption.done():
                wait([caption], timeout=_POLL_SECONDS)
                yield TextPiece("")
            yield caption.result()
        finally:
            stopped.set()
            pool.shutdown(wait=False)

    return look


def _require_captioner(studio: Studio, user: User) -> Captioner:
    if user.name.startswith(GUEST_PREFIX):  # as for the models of the GPU's lane
        raise Forbidden("Guests cannot use the captioner.", hint="Log in, or let the image be measured.")
    if studio.captioner is None or studio.captioner.caption_problem:
        problem = studio.captioner.caption_problem if studio.captioner else "there is none"
        raise NotConfigured("There is no captioner here.", hint=problem[:1].upper() + problem[1:])
    return studio.captioner


def _start_chat(studio: Studio, user: User) -> _Look:
    room = studio.prompts
    if room is None or not room.model:
        raise NotConfigured("There is no chat server.", hint="Enter its address in Configurations.")
    room.check_spending(user)
    return lambda image, is_gone: room.describe(image, user, is_gone)


def _describe(studio: Studio, image: str, user: User) -> ImageDescription:
    kept = store_image(image, studio.engine, user)
    return describe_offline(kept, lambda: studio.engine.open_input(kept.hash, user), studio.find_image_facts)


def _build_body(found: ImageDescription) -> DescriptionBody:
    return DescriptionBody(prompt=found.prompt, negativePrompt=found.negative_prompt, source=found.source)
