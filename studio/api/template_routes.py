"""The routes of templates: ours and the caller's own, listed, searched, recommended, saved, taken along."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from studio.api.image_bodies import decoded
from studio.api.multipart_forms import FormsToo
from studio.api.schemas import Name, Strict, Text
from studio.api.social_packs import parts
from studio.api.submit_request import caller
from studio.core.errors import InvalidRequest
from studio.core.social_templates import (
    PURPOSES,
    QUALITIES,
    SPACES,
    Template,
    TemplateLibrary,
    fields_of,
    from_recipe,
    named,
    prompt_of,
)
from studio.engine.studio import Studio

Choice = Annotated[str | None, Query(max_length=100)]
MOST = 200


class TemplateBody(BaseModel):
    """`frame` is a prompt with `fields` in braces, `style` words that follow it; `prompt` is both with empty fields. `space` is where
    the picture stays quiet for text. `models` and `provider` are advice."""

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


class NewTemplate(Strict):
    """A template of the caller's own; one of the same name is replaced. With `image`, the id of a result, prompt, negative prompt
    and model come from its recipe."""

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
            id=named(self.name), name=self.name.strip(), format=self.format, purpose=self.purpose, uses=tuple(self.uses), frame=self.frame,
            style=tuple(self.style), negative=self.negative, space=self.space, models=tuple(self.models), provider=self.provider,
            quality=self.quality, palette=tuple(self.palette), own=True,
        )  # fmt: skip


class ImportBody(Strict):
    """A file that export wrote, in base64, or sent as the form's file."""

    file: str = Field(min_length=1, max_length=4_000_000)


def add(routes: APIRouter, studio: Studio) -> None:
    """Put the routes among `routes`."""
    _add_reading(routes, studio)
    _add_own(routes, studio)


def _add_reading(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/templates")
    def listed(  # pyright: ignore[reportUnusedFunction]
        request: Request, platform: Choice = None, purpose: Choice = None, quality: Choice = None, own: bool | None = None
    ) -> TemplateList:  # fmt: skip
        """All templates, the caller's own first, or those of a platform (or format), purpose and quality."""
        found = _library(studio, request).templates(platform=_platform(studio, platform), purpose=purpose)
        return _list(studio, [each for each in found if _fits(each, None, None, quality) and own in (None, each.own)])

    @routes.get("/templates/search")
    def search(  # pyright: ignore[reportUnusedFunction]
        request: Request, q: Annotated[str, Query(max_length=500)] = "", platform: Choice = None, purpose: Choice = None,
        quality: Choice = None, limit: Annotated[int, Query(ge=1, le=MOST)] = 20,
    ) -> TemplateList:  # fmt: skip
        """Templates that fit all words, the best first; typing errors are forgiven."""
        place = _platform(studio, platform)
        found = _library(studio, request).search(q, 10_000)
        return _list(studio, [each for each in found if _fits(each, place, purpose, quality)][:limit])

    @routes.get("/templates/recommend")
    def recommend(  # pyright: ignore[reportUnusedFunction]
        request: Request, platform: Annotated[str, Query(max_length=100)], purpose: Annotated[str, Query(max_length=200)] = "social",
        limit: Annotated[int, Query(ge=1, le=50)] = 5,
    ) -> TemplateList:  # fmt: skip
        """The templates that suit a platform (or format) and a purpose in plain words best."""
        place = _platform(studio, platform) or platform
        return _list(studio, _library(studio, request).recommend(place, purpose, limit))

    @routes.get("/templates/export", response_class=PlainTextResponse)
    def export(request: Request, id: Annotated[list[str], Query(max_length=MOST)]) -> PlainTextResponse:  # noqa: A002  # pyright: ignore[reportUnusedFunction]
        """The templates of these ids as a file that import takes."""
        text = _library(studio, request).export(id)
        kept = {"Content-Disposition": 'attachment; filename="templates.toml"', "Cache-Control": "no-store"}
        return PlainTextResponse(text, media_type="application/toml", headers=kept)

    @routes.get("/templates/{template_id}")
    def one(request: Request, template_id: str) -> TemplateBody:  # pyright: ignore[reportUnusedFunction]
        """One template."""
        return _body(studio, _library(studio, request).template(template_id))


def _add_own(routes: APIRouter, studio: Studio) -> None:
    forms = APIRouter(route_class=FormsToo)

    @routes.post("/templates", status_code=201)
    def save(request: Request, body: NewTemplate) -> TemplateBody:  # pyright: ignore[reportUnusedFunction]
        """Keep a template of one's own."""
        user = caller(request)
        parts(studio).platforms.format(body.format)
        made = body.to_template()
        if body.image:
            told = from_recipe(studio.engine.asset(body.image, user).drawn, body.name, body.format, body.purpose)
            made = dataclasses.replace(made, frame=told.frame, negative=told.negative, models=told.models)
        return _body(studio, _library(studio, request).save(made))

    @forms.post("/templates/import", status_code=201)
    def take(request: Request, body: ImportBody) -> TemplateList:  # pyright: ignore[reportUnusedFunction]
        """Take in the templates of a file, all or none."""
        library = _library(studio, request)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "templates.toml"
            file.write_bytes(decoded(body.file))
            return _list(studio, library.import_file(file))

    @routes.delete("/templates/{template_id}", status_code=204)
    def remove(request: Request, template_id: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Delete one of one's own."""
        _library(studio, request).remove(template_id)
        return Response(status_code=204)

    routes.include_router(forms)


def _library(studio: Studio, request: Request) -> TemplateLibrary:
    return parts(studio).templates.of(caller(request).name)


def _platform(studio: Studio, platform: str | None) -> str | None:
    """The platform or format, which must be there; raises NotFound, naming near ones."""
    if platform:
        data = parts(studio).platforms
        if "." in platform:
            data.format(platform)
        else:
            data.formats(platform)
    return platform or None


def _fits(each: Template, platform: str | None, purpose: str | None, quality: str | None) -> bool:
    if quality is not None and quality not in QUALITIES:
        raise InvalidRequest(f"There is no quality {quality[:40]!r}.", hint="There are: " + ", ".join(QUALITIES) + ".")
    return (
        platform in (None, each.platform, each.format)
        and purpose in (None, each.purpose, *each.uses)
        and quality in (None, each.quality)
    )


def _list(studio: Studio, templates: Iterable[Template]) -> TemplateList:
    return TemplateList(templates=[_body(studio, each) for each in templates])


def _body(studio: Studio, template: Template) -> TemplateBody:
    formats = {each.id: (each.width, each.height) for each in parts(studio).platforms.formats()}
    width, height = formats.get(template.format, (None, None))
    return TemplateBody(
        **dataclasses.asdict(template), platform=template.platform, width=width, height=height, fields=list(fields_of(template.frame)),
        prompt=prompt_of(template, {}),
    )  # fmt: skip
