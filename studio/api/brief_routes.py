"""The route from a brief to prompts: classification at once, then prompts by a language model or by rules."""

# pyright: reportUnusedFunction=false

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from studio.api.event_streams import iterate_in_thread, stream_events, wants_events
from studio.api.prompt_routes import find_prompt_model
from studio.api.schemas import Name, StrictModel, Text
from studio.api.submit_request import get_caller
from studio.core.errors import InvalidRequest, LlmTimeout, NotConfigured
from studio.core.feature import Feature
from studio.core.fields import MAX_SEED
from studio.core.model import Model
from studio.core.prompts import Brief, Classification, Corrections, ParsedPrompt, PromptIdeas
from studio.core.user import User
from studio.engine.brief_config import build_config, find_format
from studio.engine.jobs.passes import make_random_seed
from studio.engine.prompt_room import BriefRequest, TextPiece
from studio.engine.studio import Studio
from studio.prompting.answer import MAX_PROMPTS
from studio.prompting.dialects import find_dialect


class CorrectionsBody(StrictModel):
    """What you say in place of what was understood; what is left out stays as understood."""

    territories: list[Name] | None = Field(default=None, max_length=20, description="Names or ISO codes.")
    audience: Name | None = None
    era: Name | None = None
    occasion: Name | None = None
    setting: Name | None = None
    people: bool | None = None


class BriefBody(StrictModel):
    """What images are wanted. At least one of `text`, `category` and `filters`."""

    text: Text = ""
    category: Name = ""
    filters: dict[Name, Name] = Field(default={}, max_length=20)
    persona: Name = Field(default="", description="Name of one of the caller's personas.")
    corrections: CorrectionsBody = CorrectionsBody()
    count: int = Field(default=4, ge=1, le=MAX_PROMPTS)
    model: Name = Field(default="", description="Model to write for. Empty: the default model.")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="Of the rules; left out: a random one.")


class NamedPrompt(BaseModel):
    name: str
    prompt: str
    negativePrompt: str  # noqa: N815 - names on the wire are camelCase


class CautionBody(BaseModel):
    """`weight` is note, think or ask (the community); a caution never blocks. `reference` names
    what stands at the address `source`."""

    weight: str
    text: str
    because: str
    reference: str
    source: str


class ClassificationBody(BaseModel):
    """What was understood; what the brief does not say is empty. No caution means that nothing is known."""

    regions: list[str]
    territories: list[str]
    languages: list[str]
    audience: str
    era: str
    occasion: str
    setting: str
    people: bool
    cautions: list[CautionBody]
    questions: list[str]
    because: dict[str, str]


class BriefAnswer(BaseModel):
    """The prompts, a generation config to start from (fields of POST /create: the model's own defaults, at the size for
    the platform that the brief names), and what was understood. `source` is rules, or the language model's name."""

    prompts: list[NamedPrompt]
    config: dict[str, Any]
    classification: ClassificationBody
    source: str
    notes: list[str]


def add_brief_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the route among `routes`."""

    @routes.post("/analyze-context", response_model=BriefAnswer)
    async def analyze_context(request: Request, body: BriefBody) -> Any:
        """Prompts for a brief. With Accept: text/event-stream the events classification (at once), delta, prompts and
        done. A time-out is 504 LLM_TIMEOUT, or the event error, with what the rules have in its details."""
        user = get_caller(request)
        if not (body.text.strip() or body.category.strip() or body.filters):
            raise InvalidRequest("The brief is empty.", hint="Give text, category or filters.")
        room = studio.prompts
        if room is None:
            raise NotConfigured("Briefs are not available here.", hint="Start the studio as a whole.")
        model = find_prompt_model(studio, body.model, user)
        wanted = dataclasses.replace(_build_request(studio, body, model, user), by_rules=not room.may_ask(user))
        target = find_format(wanted.brief, studio.social.platforms.of(user.name)) if studio.social else None
        config = build_config(model, wanted.seed, target)

        def start(is_gone: Callable[[], bool]) -> Iterator[tuple[str, Any]]:
            try:
                for event in room.find_prompts(wanted, user, is_gone):
                    yield from _describe_event(event, config)
            except LlmTimeout as error:
                error.details.update({**_describe_details(error), "config": config})
                raise

        if wants_events(request):
            return stream_events(request, start)
        found = {name: data async for name, data in iterate_in_thread(request, start) if name}
        return found["done"] if "done" in found else Response(status_code=499)


def _build_request(studio: Studio, body: BriefBody, model: Model, user: User) -> BriefRequest:
    said = body.corrections.model_dump()
    places = said.pop("territories")
    brief = Brief(
        text=body.text,
        category=body.category,
        filters=tuple(body.filters.items()),
        count=body.count,
        corrections=Corrections(territories=None if places is None else tuple(places), **said),
    )
    return BriefRequest(
        brief=brief,
        dialect=find_dialect(model),
        look=model.look,
        negative=Feature.NEGATIVE_PROMPT in model.features,
        lists=studio.engine.wildcards.of(user.name).open(),
        seed=make_random_seed() if body.seed is None else body.seed,
        persona=studio.engine.personas.of(user.name).get(body.persona) if body.persona else None,
    )


def _describe_event(
    event: Classification | TextPiece | PromptIdeas, config: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    if isinstance(event, Classification):
        yield "classification", build_classification_body(event).model_dump()
    elif isinstance(event, TextPiece):
        yield ("delta" if event.text else "", {"text": event.text})
    else:
        answer = BriefAnswer(
            prompts=_build_prompts(event.prompts),
            config=config,
            classification=build_classification_body(event.classification),
            source=event.source,
            notes=list(event.notes),
        ).model_dump()
        yield "prompts", {"prompts": answer["prompts"]}
        yield "done", answer


def _describe_details(error: LlmTimeout) -> dict[str, Any]:
    """The details of a time-out as JSON: what was understood, and the rules' prompts."""
    details: dict[str, Any] = {}
    known, prompts = error.details.get("classification"), error.details.get("prompts")
    if isinstance(known, Classification):
        details["classification"] = build_classification_body(known).model_dump()
    if isinstance(prompts, tuple):
        details["prompts"] = [each.model_dump() for each in _build_prompts(cast("tuple[ParsedPrompt, ...]", prompts))]
    return details


def build_classification_body(known: Classification) -> ClassificationBody:
    """What was understood, as JSON has it."""
    return ClassificationBody(
        regions=list(known.regions),
        territories=list(known.territories),
        languages=list(known.languages),
        audience=known.audience,
        era=known.era,
        occasion=known.occasion,
        setting=known.setting,
        people=known.people,
        cautions=[CautionBody(**dataclasses.asdict(each)) for each in known.cautions],
        questions=list(known.questions),
        because=dict(known.because),
    )


def _build_prompts(prompts: tuple[ParsedPrompt, ...]) -> list[NamedPrompt]:
    return [NamedPrompt(name=each.name, prompt=each.prompt, negativePrompt=each.negative_prompt) for each in prompts]
