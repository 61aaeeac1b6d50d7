"""The routes of prompts: drawing from dynamic prompts, and the caller's wildcards."""

# pyright: reportUnusedFunction=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from studio.api.event_streams import iterate_in_thread, stream_events, wants_events
from studio.api.rights import needs
from studio.api.schemas import Name, StrictModel, Text
from studio.api.submit_request import get_caller
from studio.core.errors import NotConfigured
from studio.core.feature import Feature
from studio.core.fields import MAX_SEED
from studio.core.model import Model
from studio.core.model_ids import AUTO_PREFIX
from studio.core.request import GenerationRequest
from studio.core.request_choices import PromptOrder
from studio.core.rights import Right
from studio.core.task import Task
from studio.core.user import User
from studio.engine.jobs.passes import make_random_seed
from studio.engine.prompt_room import RewrittenPrompt
from studio.engine.studio import Studio
from studio.prompting.dialects import advise_model, find_dialect
from studio.prompting.dynamic import count_combinations, expand_templates, list_combinations
from studio.prompting.enhance import join_additions, propose_additions
from studio.prompting.random_prompts import SUBJECTS, draw_random_prompt
from studio.prompting.wildcards import MAX_FILE_BYTES, WordList

MAX_PROMPTS = 1000  # of one answer
MAX_RANDOM_PROMPTS = 100


class ExpandBody(StrictModel):
    """A dynamic prompt. Prompt k is drawn from `seed` + k, as in a job."""

    template: Text
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="Left out: a random one.")
    count: int = Field(default=1, ge=1, le=MAX_PROMPTS)
    order: Annotated[PromptOrder, Field(strict=False)] = Field(
        default=PromptOrder.RANDOM, description="combinations: the first `count` of all, in their order."
    )


class ExpandedPrompts(BaseModel):
    """The drawn prompts, and how many different draws there are (10^18 stands for more)."""

    prompts: list[str]
    combinations: int
    seed: int


class WildcardName(BaseModel):
    """A wildcard; `own` tells that it is the caller's."""

    name: str
    own: bool


class WildcardList(BaseModel):
    wildcards: list[WildcardName]


class WildcardBody(WildcardName):
    """A wildcard with its text, a value a line."""

    text: str
    values: int


class NewWildcard(StrictModel):
    """The values of a wildcard, one a line; lines that begin with # are comments."""

    text: str = Field(max_length=MAX_FILE_BYTES)


class RandomBody(StrictModel):
    """What a random prompt should be about and for; prompt k is drawn from `seed` + k."""

    subject: Name = Field(default="", description=", ".join(SUBJECTS) + "; left out: any.")
    model: Name = Field(default="", description="Model to write for. Empty: the default model.")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="Left out: a random one.")
    count: int = Field(default=1, ge=1, le=MAX_RANDOM_PROMPTS)


class RandomPromptBody(BaseModel):
    """One random prompt."""

    subject: str
    prompt: str
    negativePrompt: str  # noqa: N815 - names on the wire are camelCase
    seed: int


class RandomPrompts(BaseModel):
    prompts: list[RandomPromptBody]


class EnhanceBody(StrictModel):
    """A prompt to add to; `without` names what is not wanted (light, medium, composition, mood, colour)."""

    prompt: Text
    model: Name = Field(default="", description="Model to write for. Empty: the default model.")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="Left out: a random one.")
    without: list[Name] = Field(default=[], max_length=20)
    rewrite: bool = Field(
        default=False,
        description="Let the chat server of the settings rewrite the prompt. With Accept: text/event-stream as events"
        " delta, done and error.",
    )


class AdditionBody(BaseModel):
    """A proposed phrase and what it is about."""

    slot: str
    text: str


class EnhancedPrompt(BaseModel):
    """The prompt with all additions, each of which can be left out. `advice` says where prompt and model do not fit,
    `switchTo` names a model that does; of a rewrite `advice` says what to check."""

    prompt: str
    additions: list[AdditionBody]
    seed: int
    advice: str
    switchTo: str  # noqa: N815


class AdviceBody(StrictModel):
    """A prompt and the model that is to draw it."""

    prompt: Text
    model: Name = Field(default="", description="Empty: the default model.")


class ModelAdvice(BaseModel):
    """Where prompt and model do not fit, and a model that does; both empty where they fit."""

    advice: str
    switchTo: str  # noqa: N815


class PromptHelpers(BaseModel):
    """Who helps with prompts: the language model, empty where there is none; whether a call of it may cost money; and
    whether a captioner is here."""

    model: str
    paid: bool
    captioner: bool


def add_prompt_routes(routes: APIRouter, studio: Studio) -> None:
    """Put the routes among `routes`."""
    _add_expand_route(routes, studio)
    _add_idea_routes(routes, studio)
    _add_wildcard_routes(routes, studio)


def _add_expand_route(routes: APIRouter, studio: Studio) -> None:
    @routes.post("/prompts/expand")
    def expand_prompt(request: Request, body: ExpandBody) -> ExpandedPrompts:
        """The prompts that a dynamic prompt gives; nothing is generated."""
        lists = studio.engine.wildcards.of(get_caller(request).name).open()
        seed = make_random_seed() if body.seed is None else body.seed
        combinations = count_combinations(body.template, lists)
        if body.order is PromptOrder.COMBINATIONS:
            prompts = list(list_combinations(body.template, lists, body.count))
        else:
            seeds = ((seed + k) % (MAX_SEED + 1) for k in range(body.count))
            prompts = expand_templates(body.template, seeds, lists)
        return ExpandedPrompts(prompts=prompts, combinations=combinations, seed=seed)


def _add_idea_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.post("/prompts/random")
    def draw_prompts(request: Request, body: RandomBody) -> RandomPrompts:
        """Random prompts, written as the model wants to be written for."""
        user = get_caller(request)
        lists = studio.engine.wildcards.of(user.name).open()
        model = find_prompt_model(studio, body.model, user)
        seed = make_random_seed() if body.seed is None else body.seed
        seeds = [(seed + k) % (MAX_SEED + 1) for k in range(body.count)]
        negative = Feature.NEGATIVE_PROMPT in model.features
        drawn = [
            draw_random_prompt(one, find_dialect(model), lists, subject=body.subject, negative=negative)
            for one in seeds
        ]
        return RandomPrompts(
            prompts=[
                RandomPromptBody(
                    subject=each.subject, prompt=each.prompt, negativePrompt=each.negative_prompt, seed=one
                )
                for one, each in zip(seeds, drawn, strict=True)
            ]
        )

    @routes.post("/prompts/enhance", response_model=EnhancedPrompt)
    async def enhance_prompt(request: Request, body: EnhanceBody) -> Any:
        """The prompt with what it does not say yet; the caller's words stay unchanged and come first. With `rewrite`
        a language model writes it anew."""
        user = get_caller(request)
        if not body.rewrite:
            return await anyio.to_thread.run_sync(_enhance_by_rules, studio, body, user)
        return await _rewrite_prompt(request, studio, body, user)

    @routes.post("/prompts/advice")
    def advise(request: Request, body: AdviceBody) -> ModelAdvice:
        """Whether the prompt asks for photos where the model draws anime, or the other way round."""
        model = find_prompt_model(studio, body.model, get_caller(request))
        return _build_advice(studio, body.prompt, model)

    @routes.get("/prompts/helpers")
    def get_helpers(request: Request) -> PromptHelpers:
        """Which language model writes prompts, and whether a captioner describes images."""
        get_caller(request)
        room, captioner = studio.prompts, studio.captioner
        return PromptHelpers(
            model=room.model if room else "",
            paid=bool(room and room.paid),
            captioner=captioner is not None and not captioner.caption_problem,
        )


def _build_advice(studio: Studio, prompt: str, model: Model) -> ModelAdvice:
    found = advise_model(prompt, model, studio.engine.models(Task.TXT2IMG))
    return ModelAdvice(advice=found.text if found else "", switchTo=found.model if found else "")


def _enhance_by_rules(studio: Studio, body: EnhanceBody, user: User) -> EnhancedPrompt:
    lists = studio.engine.wildcards.of(user.name).open()
    model = find_prompt_model(studio, body.model, user)
    seed = make_random_seed() if body.seed is None else body.seed
    additions = propose_additions(body.prompt, seed, lists, look=model.look, without=body.without)
    return EnhancedPrompt(
        prompt=join_additions(body.prompt, additions, find_dialect(model)),
        additions=[AdditionBody(slot=each.slot, text=each.text) for each in additions],
        seed=seed,
        **_build_advice(studio, body.prompt, model).model_dump(),
    )


async def _rewrite_prompt(request: Request, studio: Studio, body: EnhanceBody, user: User) -> Any:
    """The answer as server-sent events, or the EnhancedPrompt once it is whole."""
    room = studio.prompts
    if room is None:
        raise NotConfigured("There is no chat server.", hint="Enter chat_url in Configurations.")
    room.check_spending(user)
    dialect = find_dialect(find_prompt_model(studio, body.model, user))

    def start(is_gone: Callable[[], bool]) -> Iterator[tuple[str, Any]]:
        for event in room.rewrite(body.prompt, dialect, user, is_gone):
            if isinstance(event, RewrittenPrompt):
                yield "done", {"prompt": event.prompt, "notes": list(event.notes)}
            else:
                yield ("delta" if event.text else "", {"text": event.text})

    if wants_events(request):
        return stream_events(request, start)
    done = [data async for name, data in iterate_in_thread(request, start) if name == "done"]
    if not done:  # the caller hung up
        return Response(status_code=499)
    return EnhancedPrompt(
        prompt=done[0]["prompt"], additions=[], seed=0, advice=" ".join(done[0]["notes"]), switchTo=""
    )


def _add_wildcard_routes(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/wildcards")
    def list_wildcards(request: Request) -> WildcardList:
        """The names of all wildcards that the caller can use."""
        names = studio.engine.wildcards.of(get_caller(request).name).names()
        return WildcardList(wildcards=[WildcardName(name=name, own=own) for name, own in names.items()])

    @routes.get("/wildcards/{name:path}")
    def get_wildcard(request: Request, name: Name) -> WildcardBody:
        """One wildcard."""
        wildcards = studio.engine.wildcards.of(get_caller(request).name)
        text, own = wildcards.read_text(name)
        (found,) = wildcards.find(name)
        return _build_wildcard_body(found, text, own=own)

    @routes.put("/wildcards/{name:path}", dependencies=[needs(Right.ORGANIZE)])
    def save_wildcard(request: Request, name: Name, body: NewWildcard) -> WildcardBody:
        """Keep a wildcard of the caller's own; it replaces one of that name."""
        saved = studio.engine.wildcards.of(get_caller(request).name).save(name, body.text)
        return _build_wildcard_body(saved, body.text, own=True)

    @routes.delete("/wildcards/{name:path}", status_code=204, dependencies=[needs(Right.ORGANIZE)])
    def delete_wildcard(request: Request, name: Name) -> Response:
        """Delete a wildcard of the caller's own."""
        studio.engine.wildcards.of(get_caller(request).name).delete(name)
        return Response(status_code=204)


def find_prompt_model(studio: Studio, model_id: str, user: User) -> Model:
    """The model to write for; of an automatic choice the one that would draw now."""
    if model_id.startswith(AUTO_PREFIX):
        model_id = studio.engine.resolve_request(GenerationRequest(model=model_id), user).model
    return studio.engine.model(model_id)


def _build_wildcard_body(found: WordList, text: str, *, own: bool) -> WildcardBody:
    return WildcardBody(name=found.name, own=own, text=text, values=len(found.values))
