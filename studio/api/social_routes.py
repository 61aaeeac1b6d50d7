"""The routes of platform formats: what there is, with its limits and zones, and pictures made into it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from studio.api import schemas
from studio.api.edit_routes import TAKEN
from studio.api.multipart_forms import FormsToo
from studio.api.platform_responses import (
    FormatList,
    PlatformList,
    PlatformSpecs,
    format_body,
    frame_body,
    platform_body,
)
from studio.api.schemas import Picture, SocialBody
from studio.api.social_packs import optimized, parts
from studio.api.submit_request import Submitter, caller
from studio.core.errors import NotFound
from studio.core.social_formats import Platform, PlatformData
from studio.core.social_view import frame_svg, zones_svg
from studio.engine.studio import Studio

SVG = {
    "Cache-Control": "private, max-age=300",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}
_DRAWING: dict[int | str, dict[str, object]] = {200: {"content": {"image/svg+xml": {}}}}


class OptimizeBody(SocialBody):
    """One picture or several, and the formats to make of each."""

    image: Picture | None = None
    images: list[Picture] = Field(default=[], max_length=500)


def add(routes: APIRouter, studio: Studio, submitter: Submitter) -> None:
    """Put the routes among `routes`."""
    forms = APIRouter(route_class=FormsToo)

    @forms.post("/social/optimize", status_code=202, response_model=schemas.Queued, responses=TAKEN)
    async def optimize(request: Request, body: OptimizeBody, wait: bool = False) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Make platform formats of pictures. Answers as /create does; `zip` of the job is where all files lie as one zip."""
        pictures = [*([body.image] if body.image else []), *body.images]
        return await submitter.answer(request, lambda user: optimized(studio, body, pictures, user), wait=wait)

    routes.include_router(forms)
    _add_data(routes, studio)
    _add_drawings(routes, studio)


def _add_data(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/social/platforms")
    def platforms(request: Request) -> PlatformList:  # pyright: ignore[reportUnusedFunction]
        """Every platform, the day of its figures, and what of the user's own file could not be read."""
        caller(request)
        data = parts(studio).platforms
        return PlatformList(
            asOf=data.as_of, problems=list(data.problems), platforms=[platform_body(each) for each in data.platforms()]
        )

    @routes.get("/social/platforms/{platform}/formats")
    def formats(request: Request, platform: str) -> FormatList:  # pyright: ignore[reportUnusedFunction]
        """The formats of a platform: size, file types, byte limit, safe margins, and where each figure comes from."""
        caller(request)
        data = parts(studio).platforms
        found = [format_body(each) for each in data.formats(platform)]
        return FormatList(platform=platform, asOf=data.as_of, formats=found)

    @routes.get("/platform-specs/{platform}")
    def specs(request: Request, platform: str) -> PlatformSpecs:  # pyright: ignore[reportUnusedFunction]
        """Everything that is known of a platform: its formats with all zones, and the screens that show them."""
        caller(request)
        data = parts(studio).platforms
        found = data.formats(platform)
        about = platform_body(_platform(data, platform))
        return PlatformSpecs(
            **about.model_dump(), asOf=data.as_of, specs=[format_body(each, data.zones(each.id)) for each in found],
            frames={each.id: frame_body(frame) for each in found if (frame := data.frame(each.id)) is not None},
        )  # fmt: skip


def _add_drawings(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/social/formats/{format_id}/zones.svg", response_class=Response, responses=_DRAWING)
    def zones(request: Request, format_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The zones of a format as a drawing that is laid over its preview."""
        caller(request)
        data = parts(studio).platforms
        drawing = zones_svg(data.format(format_id), data.zones(format_id))
        return Response(drawing, media_type="image/svg+xml", headers=SVG)

    @routes.get("/social/formats/{format_id}/frame.svg", response_class=Response, responses=_DRAWING)
    def frame(request: Request, format_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """The screen around a format, with an empty place for the picture."""
        caller(request)
        data = parts(studio).platforms
        found = data.frame(format_id)
        if found is None:
            raise NotFound("There is no sketch of a screen for this format.", hint="Its zones are at zones.svg.")
        return Response(frame_svg(data.format(format_id), found), media_type="image/svg+xml", headers=SVG)


def _platform(data: PlatformData, platform: str) -> Platform:
    """One that has formats, which `formats` has looked up."""
    return next(each for each in data.platforms() if each.id == platform)
