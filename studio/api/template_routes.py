"""The routes of templates: ours and the caller's own, listed, searched, recommended, saved, taken along."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from studio.api.image_bodies import decode_file
from studio.api.multipart_forms import MultipartRoute
from studio.api.rights import needs
from studio.api.schemas import Name, StrictModel, Text
from studio.api.social_packs import require_social_parts
from studio.api.submit_request import get_caller
from studio.core.errors import InvalidRequest
from studio.core.rights import Right
from studio.core.social_formats import PlatformData
from studio.core.social_templates import (
    PURPOSES,
    QUALITIES,
    SPACES,
    Template,
    TemplateLibrary,
    fill_prompt,
    find_fields,
    from_recipe,
    make_template_id,
)
from studio.engine.studio import Studio

FilterQuery = Annotated[str | None, Query(max_length=100)]
MAX_TEMPLATES = 200


class TemplateBody(BaseModel):
    """`frame` is a prompt with `fields` in braces, `style` words that follow it; `prompt` is both with empty fields.
    `space` is where the image stays quiet for text. `models` and `provider` are advice."""

    id: str
    name: str
    platform: str
    format: str
    width: int | None
    height: int | None
    purpose: str
    uses: list[str]
    frame: str
    fields: list[str]
    style: list[str]
    prompt: str
    negative: str
    space: str
    models: list[str]
    provider: str
    quality: str
    palette: list[str]
    own: bool


class TemplateList(BaseModel):
    templates: list[TemplateBody]
    purposes: list[str] = list(PURPOSES)


class NewTemplate(StrictModel):
    """A template of the caller's own; one of the same name is replaced. With `image`, the id of a result, prompt,
    negative prompt and model come from its recipe."""

    name: Name = Field(min_length=1)
    format: Name
    purpose: Name = Field(default="social", description=", ".join(PURPOSES))
    image: Name = ""
    frame: Text = "{subject}"
    uses: list[Name] = Field(default=[], max_length=20)
    style: list[Name] = Field(default=[], max_length=64)
    negative: Text = ""
    space: Name = Field(default="none", description=", ".join(SPACES))
    models: list[Name] = Field(default=[], max_length=20)
    provider: Name = ""
    quality: Name = Field(default="standard", description=", ".join(QUALITIES))
    palette: list[Name] = Field(default=[], max_length=12)

    def to_template(self) -> Template:
        """Without the recipe."""
        return Template(
            id=make_template_id(self.name),
            name=self.name.strip(),
            format=self.format,
            purpose=self.purpose,
            uses=tuple(self.uses),
            frame=self.frame,
            style=tuple(self.style),
            negative=self.negative,
            space=self.space,
            models=tuple(self.models),
            provider=self.provider,
            quality=self.quality,
            palette=tuple(self.palette),
            own=True,
        )


class ImportBody(StrictModel):
    """A file that export wrote, in base64, or sent as the form's file."""

    file: str = Field(min_length=1, max_length=4_000_000)


def add_template_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes among `routes`."""
    _add_list_routes(routes, studio)
    _add_read_routes(routes, studio)
    _add_write_routes(routes, studio)


def _add_list_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/templates")
    def list_templates(
        request: Request,
        platform: FilterQuery = None,
        purpose: FilterQuery = None,
        quality: FilterQuery = None,
        own: bool | None = None,
    ) -> TemplateList:
        """All templates, the caller's own first, or those of a platform (or format), purpose and quality."""
        found = _get_library(studio, request).templates(
            platform=_check_platform(_get_platforms(studio, request), platform), purpose=purpose
        )
        return _build_template_list(
            _get_platforms(studio, request),
            [each for each in found if _is_match(each, None, None, quality) and own in (None, each.own)],
        )

    @routes.get("/templates/search")
    def search_templates(
        request: Request,
        q: Annotated[str, Query(max_length=500)] = "",
        platform: FilterQuery = None,
        purpose: FilterQuery = None,
        quality: FilterQuery = None,
        limit: Annotated[int, Query(ge=1, le=MAX_TEMPLATES)] = 20,
    ) -> TemplateList:
        """Templates that fit all words, the best first; typing errors are forgiven."""
        place = _check_platform(_get_platforms(studio, request), platform)
        found = _get_library(studio, request).search(q, 10_000)
        return _build_template_list(
            _get_platforms(studio, request),
            [each for each in found if _is_match(each, place, purpose, quality)][:limit],
        )

    @routes.get("/templates/recommend")
    def recommend_templates(
        request: Request,
        platform: Annotated[str, Query(max_length=100)],
        purpose: Annotated[str, Query(max_length=200)] = "social",
        limit: Annotated[int, Query(ge=1, le=50)] = 5,
    ) -> TemplateList:
        """The templates that suit a platform (or format) and a purpose in plain words best."""
        place = _check_platform(_get_platforms(studio, request), platform) or platform
        return _build_template_list(
            _get_platforms(studio, request), _get_library(studio, request).recommend(place, purpose, limit)
        )


def _add_read_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/templates/export", response_class=PlainTextResponse)
    def export_templates(
        request: Request,
        id: Annotated[list[str], Query(max_length=MAX_TEMPLATES)],  # noqa: A002 - the query parameter's name
    ) -> PlainTextResponse:
        """The templates of these ids as a file that import takes."""
        text = _get_library(studio, request).export(id)
        kept = {"Content-Disposition": 'attachment; filename="templates.toml"', "Cache-Control": "no-store"}
        return PlainTextResponse(text, media_type="application/toml", headers=kept)

    @routes.get("/templates/{template_id}")
    def get_template(request: Request, template_id: str) -> TemplateBody:
        """One template."""
        return _build_template_body(
            _get_platforms(studio, request), _get_library(studio, request).get_template(template_id)
        )


def _add_write_routes(routes: APIRouter, studio: Studio) -> None:
    forms = APIRouter(route_class=MultipartRoute)

    @routes.post("/templates", status_code=201, dependencies=[needs(Right.ORGANIZE)])
    def save_template(request: Request, body: NewTemplate) -> TemplateBody:
        """Keep a template of one's own."""
        user = get_caller(request)
        _get_platforms(studio, request).format(body.format)
        made = body.to_template()
        if body.image:
            source = from_recipe(studio.engine.asset(body.image, user).drawn, body.name, body.format, body.purpose)
            made = dataclasses.replace(made, frame=source.frame, negative=source.negative, models=source.models)
        return _build_template_body(_get_platforms(studio, request), _get_library(studio, request).save(made))

    @forms.post("/templates/import", status_code=201, dependencies=[needs(Right.ORGANIZE)])
    def import_templates(request: Request, body: ImportBody) -> TemplateList:
        """Take in the templates of a file, all or none."""
        library = _get_library(studio, request)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "templates.toml"
            file.write_bytes(decode_file(body.file))
            return _build_template_list(_get_platforms(studio, request), library.import_file(file))

    @routes.delete("/templates/{template_id}", status_code=204, dependencies=[needs(Right.ORGANIZE)])
    def delete_template(request: Request, template_id: str) -> Response:
        """Delete one of one's own."""
        _get_library(studio, request).remove(template_id)
        return Response(status_code=204)

    routes.include_router(forms)


def _get_library(studio: Studio, request: Request) -> TemplateLibrary:
    return require_social_parts(studio).templates.of(get_caller(request).name)


def _get_platforms(studio: Studio, request: Request) -> PlatformData:
    return require_social_parts(studio).platforms.of(get_caller(request).name)


def _check_platform(data: PlatformData, platform: str | None) -> str | None:
    """The platform or format, which must be there; raises NotFound, naming near ones."""
    if platform:
        if "." in platform:
            data.format(platform)
        else:
            data.formats(platform)
    return platform or None


def _is_match(each: Template, platform: str | None, purpose: str | None, quality: str | None) -> bool:
    if quality is not None and quality not in QUALITIES:
        raise InvalidRequest(f"There is no quality {quality[:40]!r}.", hint="There are: " + ", ".join(QUALITIES) + ".")
    return (
        platform in (None, each.platform, each.format)
        and purpose in (None, each.purpose, *each.uses)
        and quality in (None, each.quality)
    )


def _build_template_list(data: PlatformData, templates: Iterable[Template]) -> TemplateList:
    return TemplateList(templates=[_build_template_body(data, each) for each in templates])


def _build_template_body(data: PlatformData, template: Template) -> TemplateBody:
    formats = {each.id: (each.width, each.height) for each in data.formats()}
    width, height = formats.get(template.format, (None, None))
    return TemplateBody(
        **dataclasses.asdict(template),
        platform=template.platform,
        width=width,
        height=height,
        fields=list(find_fields(template.frame)),
        prompt=fill_prompt(template, {}),
    )
