"""Requests that go on to platform formats: every format looked up before there is a job."""

from __future__ import annotations

from studio.api.image_bodies import keep
from studio.api.schemas import SocialBody
from studio.core.errors import InvalidRequest, NotConfigured
from studio.core.image_fields import with_pictures
from studio.core.request import GenerationRequest
from studio.core.social import Extend, Social
from studio.core.social_formats import Format
from studio.core.social_pack import SOCIAL_MODEL, drawn_size, enlarging, followed, formats_of, result_size
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.source_checks import sources_of
from studio.engine.models.model_choice import AUTO
from studio.engine.studio import SocialParts, Studio


def parts(studio: Studio) -> SocialParts:
    """The platform data and templates; raises NotConfigured for a studio that has none."""
    if studio.social is None:
        raise NotConfigured("This studio has no platform formats.", hint="Start it with app.py.")
    return studio.social


def packed(studio: Studio, wanted: GenerationRequest, body: SocialBody | None, user: User) -> GenerationRequest:
    """`wanted`, followed by the formats that `body` asks for. What is drawn from text alone, for one format and without
    a size, gets the size that the model likes best for that format.

    Raises:
        NotFound: an unknown format or platform. InvalidRequest: formats that cannot be made.
    """
    if body is None:
        return wanted
    social, formats = _social(studio, body, user)
    model = studio.engine.model("" if wanted.model.startswith(AUTO) else wanted.model, wanted.task)
    if len(formats) == 1 and wanted.task is Task.TXT2IMG and not (wanted.width or wanted.height or wanted.aspect):
        width, height = drawn_size(formats[0], model.sizes)
        wanted = wanted.replace(width=width, height=height)
    first = next(iter(sources_of(wanted)), None)
    kept = studio.engine.kept(first, user) if first else None
    size = result_size(wanted, model, (kept.width, kept.height) if kept else None)
    return followed(wanted, social, formats, size, studio.engine.models(Task.UPSCALE))


def optimized(studio: Studio, body: SocialBody, pictures: list[str], user: User) -> GenerationRequest:
    """The formats of pictures that are there; raises as `packed`, and what letting a picture in raises."""
    social, formats = _social(studio, body, user)
    kept = [keep(text, studio.engine, user) for text in pictures]
    if not kept:
        raise InvalidRequest("There is no picture.", hint="Send one as “image”, or several as “images”.")
    smallest = min(((one.width, one.height) for one in kept), key=lambda size: size[0] * size[1])
    enlarge = enlarging(formats, smallest, studio.engine.models(Task.UPSCALE)) if social.upscale else None
    cut = GenerationRequest(task=Task.SOCIAL, model=SOCIAL_MODEL, social=social)
    wanted = enlarge.replace(then=(cut,)) if enlarge else cut
    if len(kept) == 1:
        return wanted.replace(source=kept[0].hash)
    return wanted.replace(batch=tuple(one.hash for one in kept))


def _social(studio: Studio, body: SocialBody, user: User) -> tuple[Social, tuple[Format, ...]]:
    formats = formats_of(parts(studio).platforms, body.formats, body.platforms)
    if body.extend is Extend.OUTPAINT:
        raise InvalidRequest(
            "Formats are cut out of a picture; nothing is painted around it here.",
            hint="Outpaint first with POST /edit, or fill with blur, colour or mirror.",
        )
    social = Social(
        formats=tuple(each.id for each in formats), crops=tuple(body.crops), focus=body.focus, same=body.same, extend=body.extend,
        colour=body.colour, text=tuple(body.text), watermark=body.watermark, keep=body.keep, file_type=body.file_type, zones=body.zones, upscale=body.upscale,
        sheet=body.sheet, original=body.original,
    )  # fmt: skip
    return with_pictures(social, lambda text: keep(text, studio.engine, user).hash), formats
