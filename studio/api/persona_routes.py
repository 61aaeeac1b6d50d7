"""The routes of personas: whom images are for and how they should look, kept under a name."""

# pyright: reportUnusedFunction=false

from __future__ import annotations

import dataclasses

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from studio.api.prompt_routes import AdditionBody, find_prompt_model
from studio.api.rights import needs
from studio.api.schemas import Name, StrictModel, Text
from studio.api.submit_request import get_caller
from studio.core.feature import Feature
from studio.core.prompts import ParsedPrompt, Persona
from studio.core.rights import Right
from studio.engine.personas import MAX_FIELD_CHARS
from studio.engine.studio import Studio
from studio.prompting.dialects import find_dialect
from studio.prompting.personas import apply_persona, list_persona_additions


class PersonaFields(StrictModel):
    """`audience` and `tone` are sent to a language model; `look` and `palette` stand behind prompts, `avoid` in
    negative prompts."""

    audience: Name = Field(default="", max_length=MAX_FIELD_CHARS)
    tone: Name = Field(default="", max_length=MAX_FIELD_CHARS)
    look: Name = Field(default="", max_length=MAX_FIELD_CHARS)
    palette: Name = Field(default="", max_length=MAX_FIELD_CHARS)
    avoid: Name = Field(default="", max_length=MAX_FIELD_CHARS)


class PersonaBody(BaseModel):
    name: str
    audience: str
    tone: str
    look: str
    palette: str
    avoid: str


class PersonaList(BaseModel):
    personas: list[PersonaBody]


class StyledBody(StrictModel):
    """The texts to put into a persona's style."""

    prompt: Text
    negativePrompt: Text = ""  # noqa: N815 - names on the wire are camelCase
    model: Name = Field(default="", description="Model to write for. Empty: the default model.")


class StyledPrompt(BaseModel):
    """The texts in the persona's style, and the phrases that were added to the prompt, each of which can be left
    out."""

    prompt: str
    negativePrompt: str  # noqa: N815
    additions: list[AdditionBody]


def add_persona_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes among `routes`."""
    personas = studio.engine.personas

    @routes.get("/personas")
    def list_personas(request: Request) -> PersonaList:
        """The caller's personas."""
        return PersonaList(personas=[_build_body(each) for each in personas.of(get_caller(request).name).all()])

    @routes.get("/personas/{name}")
    def get_persona(request: Request, name: Name) -> PersonaBody:
        """One persona."""
        return _build_body(personas.of(get_caller(request).name).get(name))

    @routes.put("/personas/{name}", dependencies=[needs(Right.ORGANIZE)])
    def save_persona(request: Request, name: Name, body: PersonaFields) -> PersonaBody:
        """Keep a persona, in the place of what had its name."""
        kept = personas.of(get_caller(request).name).save(Persona(name=name, **body.model_dump()))
        return _build_body(kept)

    @routes.delete("/personas/{name}", status_code=204, dependencies=[needs(Right.ORGANIZE)])
    def delete_persona(request: Request, name: Name) -> Response:
        """Delete a persona."""
        personas.of(get_caller(request).name).delete(name)
        return Response(status_code=204)

    @routes.post("/personas/{name}/apply")
    def apply_to_prompt(request: Request, name: Name, body: StyledBody) -> StyledPrompt:
        """A prompt with the persona's look and palette behind it; your words stay unchanged and come first."""
        user = get_caller(request)
        persona = personas.of(user.name).get(name)
        model = find_prompt_model(studio, body.model, user)
        plain = ParsedPrompt(name="", prompt=body.prompt, negative_prompt=body.negativePrompt)
        negative = Feature.NEGATIVE_PROMPT in model.features
        styled = apply_persona(plain, persona, find_dialect(model), negative=negative)
        return StyledPrompt(
            prompt=styled.prompt,
            negativePrompt=styled.negative_prompt if negative else body.negativePrompt,
            additions=[AdditionBody(slot=each.slot, text=each.text) for each in list_persona_additions(persona)],
        )


def _build_body(persona: Persona) -> PersonaBody:
    return PersonaBody(**dataclasses.asdict(persona))
