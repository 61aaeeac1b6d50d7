"""Requests that go on to platform formats: every format looked up before there is a job."""

from __future__ import annotations

import dataclasses
from typing import Any

from studio.api.image_bodies import store_image
from studio.api.schemas import SocialBody
from studio.core.errors import InvalidRequest, NotConfigured
from studio.core.image_fields import replace_images
from studio.core.model_ids import AUTO_PREFIX
from studio.core.request import GenerationRequest
from studio.core.social import ExtendMode, SocialExport
from studio.core.social_formats import Format
from studio.core.social_pack import (
    SOCIAL_MODEL,
    append_format_steps,
    build_enlarge_step,
    choose_drawing_size,
    collect_formats,
    get_result_size,
)
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.source_checks import list_sources
from studio.engine.studio import SocialParts, Studio


def require_social_parts(studio: Studio) -> SocialParts:
    """The platform data and templates; raises NotConfigured for a studio that has none."""
    if studio.social is None:
        raise NotConfigured("Platform formats are not available in this studio.", hint="Start it with app.py.")
    return studio.social


def append_social_formats(
    studio: Studio, wanted: GenerationRequest, body: SocialBody | None, user: User
) -> GenerationRequest:
    """`wanted`, followed by the formats that `body` asks for. What is drawn from text alone, for one format and without
    a size, gets the size that the model likes best for that format.

    Raises:
        NotFound: an unknown format or platform. InvalidRequest: formats that cannot be made.
    """
    if body is None:
        return wanted
    social, formats = _build_social(studio, body, user)
    model = studio.engine.model("" if wanted.model.startswith(AUTO_PREFIX) else wanted.model, wanted.task)
    if len(formats) == 1 and wanted.task is Task.TXT2IMG and not (wanted.width or wanted.height or wanted.aspect):
        width, height = choose_drawing_size(formats[0], model.sizes)
        wanted = wanted.replace(width=width, height=height)
    first = next(iter(list_sources(wanted)), None)
    kept = studio.engine.get_input(first, user) if first else None
    size = get_result_size(wanted, model, (kept.width, kept.height) if kept else None)
    return append_format_steps(wanted, social, formats, size, studio.engine.models(Task.UPSCALE))


def build_social_request(studio: Studio, body: SocialBody, images: list[str], user: User) -> GenerationRequest:
    """The formats of images that are there; raises as `packed`, and what letting an image in raises."""
    social, formats = _build_social(studio, body, user)
    kept = [store_image(text, studio.engine, user) for text in images]
    if not kept:
        raise InvalidRequest("No image selected.", hint="Send one as “image”, or several as “images”.")
    smallest = min(((one.width, one.height) for one in kept), key=lambda size: size[0] * size[1])
    enlarge = build_enlarge_step(formats, smallest, studio.engine.models(Task.UPSCALE)) if social.upscale else None
    cut = GenerationRequest(task=Task.SOCIAL, model=SOCIAL_MODEL, social=social)
    wanted = enlarge.replace(then=(cut,)) if enlarge else cut
    if len(kept) == 1:
        return wanted.replace(source=kept[0].hash)
    return wanted.replace(batch=tuple(one.hash for one in kept))


def _build_social(studio: Studio, body: SocialBody, user: User) -> tuple[SocialExport, tuple[Format, ...]]:
    formats = collect_formats(require_social_parts(studio).platforms.of(user.name), body.formats, body.platforms)
    if body.extend is ExtendMode.OUTPAINT:
        raise InvalidRequest(
            "Platform formats are cropped from an image; outpainting is not available here.",
            hint="Outpaint first with POST /edit, or fill with blur, colour or mirror.",
        )
    given: dict[str, Any] = {field.name: getattr(body, field.name) for field in dataclasses.fields(SocialExport)}
    given |= {"formats": tuple(each.id for each in formats), "crops": tuple(body.crops), "text": tuple(body.text)}
    social = SocialExport(**given)
    return replace_images(social, lambda text: store_image(text, studio.engine, user).hash), formats
