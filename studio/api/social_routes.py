"""The routes of platform formats: what there is, with its limits and zones, and images made into it."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from studio.api import schemas
from studio.api.edit_routes import JOB_RESPONSES
from studio.api.multipart_forms import MultipartRoute
from studio.api.platform_responses import (
    FormatList,
    PlatformList,
    PlatformSpecs,
    build_format_body,
    build_frame_body,
    build_platform_body,
)
from studio.api.schemas import ImageRef, SocialBody
from studio.api.social_packs import build_social_request, require_social_parts
from studio.api.submit_request import Submitter, get_caller
from studio.core.errors import NotFound
from studio.core.social_formats import Platform, PlatformData
from studio.core.social_view import draw_frame_svg, draw_zones_svg
from studio.engine.studio import Studio

SVG_HEADERS = {
    "Cache-Control": "private, max-age=300",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}
_SVG_RESPONSES: dict[int | str, dict[str, object]] = {200: {"content": {"image/svg+xml": {}}}}


class OptimizeBody(SocialBody):
    """One image or several, and the formats to make of each."""

    image: ImageRef | None = None
    images: list[ImageRef] = Field(default=[], max_length=500)


def add_social_routes(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes among `routes`."""
    forms = APIRouter(route_class=MultipartRoute)

    @forms.post("/social/optimize", status_code=202, response_model=schemas.QueuedJobBody, responses=JOB_RESPONSES)
    async def optimize_images(request: Request, body: OptimizeBody, wait: bool = False) -> Response:
        """Make platform formats of images. Answers as /create does; `zip` of the job is where all files lie as one
        zip."""
        images = [*([body.image] if body.image else []), *body.images]
        return await submitter.answer(request, lambda user: build_social_request(studio, body, images, user), wait=wait)

    routes.include_router(forms)
    _add_platform_routes(routes, studio)
    _add_drawing_routes(routes, studio)


def _add_platform_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/social/platforms")
    def list_platforms(request: Request) -> PlatformList:
        """Every platform, the day of its figures, and what of the user's own file could not be read."""
        data = require_social_parts(studio).platforms.of(get_caller(request).name)
        return PlatformList(
            asOf=data.as_of,
            problems=list(data.problems),
            platforms=[build_platform_body(each) for each in data.platforms()],
        )

    @routes.get("/social/platforms/{platform}/formats")
    def list_formats(request: Request, platform: str) -> FormatList:
        """The formats of a platform: size, file types, byte limit, safe margins, and where each figure comes from."""
        data = require_social_parts(studio).platforms.of(get_caller(request).name)
        found = [build_format_body(each) for each in data.formats(platform)]
        return FormatList(platform=platform, asOf=data.as_of, formats=found)

    @routes.get("/platform-specs/{platform}")
    def get_platform_specs(request: Request, platform: str) -> PlatformSpecs:
        """Show a platform: its formats with all zones, and the screens that show them."""
        data = require_social_parts(studio).platforms.of(get_caller(request).name)
        found = data.formats(platform)
        about = build_platform_body(_find_platform(data, platform))
        return PlatformSpecs(
            **about.model_dump(),
            asOf=data.as_of,
            specs=[build_format_body(each, data.zones(each.id)) for each in found],
            frames={each.id: build_frame_body(frame) for each in found if (frame := data.frame(each.id)) is not None},
        )


def _add_drawing_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/social/formats/{format_id}/zones.svg", response_class=Response, responses=_SVG_RESPONSES)
    def draw_zones(request: Request, format_id: str) -> Response:
        """The zones of a format as a drawing that is laid over its preview."""
        data = require_social_parts(studio).platforms.of(get_caller(request).name)
        drawing = draw_zones_svg(data.format(format_id), data.zones(format_id))
        return Response(drawing, media_type="image/svg+xml", headers=SVG_HEADERS)

    @routes.get("/social/formats/{format_id}/frame.svg", response_class=Response, responses=_SVG_RESPONSES)
    def draw_frame(request: Request, format_id: str) -> Response:
        """The screen around a format, with an empty place for the image."""
        data = require_social_parts(studio).platforms.of(get_caller(request).name)
        found = data.frame(format_id)
        if found is None:
            raise NotFound("This format has no screen preview.", hint="Its zones are available at zones.svg.")
        return Response(draw_frame_svg(data.format(format_id), found), media_type="image/svg+xml", headers=SVG_HEADERS)


def _find_platform(data: PlatformData, platform: str) -> Platform:
    """One that has formats, which `formats` has looked up."""
    return next(each for each in data.platforms() if each.id == platform)
