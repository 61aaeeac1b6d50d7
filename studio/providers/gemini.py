"""Google Gemini's image models through its own client: pictures from text, edits in words with references. A refusal comes as an
answer that looks well, and the bill by the tokens that the answer counts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.errors import InvalidRequest, ProviderError, StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.provider import Answer, Call, CloudModel, Order, ProviderSpec, Wire
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.task import Task
from studio.providers.common.http_wire import MAY_BE_BILLED, silent
from studio.providers.common.openai_images import never_connected
from studio.providers.common.request_shapes import MIB, encoded, fitted, nearest_aspect
from studio.providers.common.service_errors import bad_key, by_status, no_money, odd, refused, words_in

if TYPE_CHECKING:
    from google import genai
    from google.genai.types import GenerateContentResponse

_TITLE = "Google Gemini"
_PRICES, _DATE = "https://ai.google.dev/gemini-api/docs/pricing", "2026-11-20"
_VERSION = "v1"
_SECONDS = 300.0
_UPLOAD = 14 * MIB  # all pictures of a call; 20 MB of base64 is the limit
_MOST_PIXELS = 16_000_000
_TEN = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_FOURTEEN = (*_TEN, "1:4", "4:1", "1:8", "8:1")
_ANY = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)
_LIMITS = {"1K": 2**21, "2K": 2**23, "4K": math.inf}  # px up to which each step is the nearest
_INSTRUCTION = {
    Task.REPLACE_BACKGROUND: "Keep the subject exactly as it is and replace the background: ",
    Task.STYLE_TRANSFER: "Redraw the first picture in the style of the second one. ",
}
_UNSAFE = ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "MODEL_ARMOR", "JAILBREAK")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One model: US dollars a picture by resolution step, and per token of words in, pictures out and words out."""

    title: str
    usd: Mapping[str, float]
    tokens: tuple[float, float, float]
    quality: Quality
    aspects: tuple[str, ...] = _TEN
    ends: str = ""


def prepare(order: Order) -> dict[str, Any]:
    """The arguments of the client's method. Pure."""
    request, kind = order.request, _KINDS[order.model]
    prompt = (_INSTRUCTION.get(request.task, "") + request.prompt).strip()
    if not prompt:
        raise InvalidRequest("Google Gemini needs a prompt.", hint="Say what the picture is to show.")
    references = (one.picture for one in request.references)
    names = [name for name in (request.source, request.background, request.lighting, *references) if name]
    parts: list[dict[str, Any]] = [{"inline_data": _inline(order.pictures[name], len(names))} for name in names]
    shape: dict[str, str] = {}
    if request.source is None or request.width or request.aspect:
        shape["aspect_ratio"] = nearest_aspect(request, kind.aspects)
    if len(kind.usd) > 1:
        shape["image_size"] = _step(kind, request)
    return {
        "model": order.model,
        "contents": [{"role": "user", "parts": [*parts, {"text": prompt}]}],
        "config": {"response_modalities": ["TEXT", "IMAGE"], **({"image_config": shape} if shape else {})},
    }


def draw(order: Order, wire: Wire) -> list[Rendered]:
    """One call per picture; the service gives no more at once."""
    arguments = prepare(order)
    drawn: list[Rendered] = []
    for number, seed in enumerate(order.seeds):
        order.context.progress(number, len(order.seeds))

        def call(client: genai.Client) -> GenerateContentResponse:
            return client.models.generate_content(**arguments)

        answer = wire.retried(lambda call=call: _run(wire, call))
        image = wire.picture(_picture_in(answer))
        drawn.append(Rendered(image=image, seed=seed.seed, cost=_billed(_KINDS[order.model], answer)))
    return drawn


def fault(answer: Answer) -> StudioError:
    """What an error of the service means."""
    told, details = words_in(answer, "error.message", "message"), _details(answer)
    if answer.status == 400 and ("API_KEY_INVALID" in details or "api key not valid" in told.lower()):
        return bad_key(_TITLE)
    if answer.status == 429 and "limit: 0" in told:
        return no_money(_TITLE)  # no picture model is in the free tier
    return by_status(_TITLE, answer, told, wait=_delay(details))


def check(wire: Wire) -> str:
    """The list of models, which costs nothing to ask."""
    look = Call(method="GET", path=f"/{_VERSION}/models", query={"pageSize": "1"}, paid=False, seconds=20)
    wire.send(look)
    return "The key works."


def _run(wire: Wire, call: Callable[[genai.Client], GenerateContentResponse]) -> GenerateContentResponse:
    import httpx2
    from google import genai
    from google.genai import errors, types

    def work() -> GenerateContentResponse:
        with httpx2.Client(follow_redirects=False) as http:  # the key stays with this server
            options = types.HttpOptions(
                base_url=wire.base_url, api_version=_VERSION, timeout=int(_SECONDS * 1000), httpx_client=http
            )
            return call(genai.Client(api_key=wire.key, vertexai=False, http_options=options))

    try:
        return wire.run(work, seconds=_SECONDS + 5)
    except errors.APIError as error:
        raise fault(_answer_of(error)) from None  # its request holds the key
    except httpx2.TimeoutException as error:
        raise silent(_TITLE, paid=not never_connected(error)) from None
    except httpx2.HTTPError as error:
        raise silent(_TITLE, paid=not never_connected(error)) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise odd(_TITLE, f"something unexpected ({type(error).__name__})") from None


def _answer_of(error: Any) -> Answer:
    return Answer(
        status=int(error.code or 0), headers=getattr(error.response, "headers", {}), body=json.dumps(error.details).encode()
    )  # fmt: skip


def _details(answer: Answer) -> str:
    """The details of an error as text: the reason and the delay stand there under types of their own."""
    try:
        return json.dumps(answer.json()["error"]["details"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _delay(details: str) -> float | None:
    """Seconds that RetryInfo asks for ("11s")."""
    text = details.partition('"retryDelay": "')[2].partition('"')[0].removesuffix("s")
    try:
        return max(0.0, float(text))
    except ValueError:
        return None


def _picture_in(answer: GenerateContentResponse) -> bytes:
    """The picture of an answer.

    Raises:
        ContentRefused: the service will not make it. ProviderError: it answered in words, or not at all.
    """
    candidate = answer.candidates[0] if answer.candidates else None
    if candidate is None:
        feedback = answer.prompt_feedback
        if feedback is not None and feedback.block_reason:
            told = feedback.block_reason_message or _name(feedback.block_reason)
            raise refused(_TITLE, told, billed=False)
        raise odd(_TITLE, "no picture")
    parts = (candidate.content.parts if candidate.content else None) or []
    shown = [part for part in parts if not part.thought]
    for part in shown:
        if part.inline_data is not None and part.inline_data.data:
            return part.inline_data.data
    reason = _name(candidate.finish_reason)
    words = " ".join(part.text for part in shown if part.text).strip()
    if any(word in reason for word in _UNSAFE):
        usage = answer.usage_metadata
        raise refused(_TITLE, words or reason, billed=bool(usage and usage.candidates_token_count))
    if words:
        raise ProviderError(
            f"{_TITLE} answered in words: {words[:300]}", hint="Ask for a picture more plainly. The words may be billed.",
            details={MAY_BE_BILLED: True},
        )  # fmt: skip
    raise odd(_TITLE, f"no picture ({reason})" if reason else "no picture")


def _name(reason: Any) -> str:
    return str(getattr(reason, "value", reason) or "")


def _billed(kind: Kind, answer: GenerateContentResponse) -> float | None:
    """US dollars by the tokens that the service says it used."""
    usage = answer.usage_metadata
    if usage is None or not usage.candidates_token_count:
        return None
    words_in_, picture, words_out = kind.tokens
    details = usage.candidates_tokens_details or []
    drawn = sum(one.token_count or 0 for one in details if _name(one.modality) == "IMAGE")
    drawn = drawn if details else usage.candidates_token_count
    said = max(0, usage.candidates_token_count - drawn) + (usage.thoughts_token_count or 0)
    return (usage.prompt_token_count or 0) * words_in_ + drawn * picture + said * words_out


def _inline(image: Image.Image, share: int) -> dict[str, Any]:
    data, kind = encoded(fitted(image, most_pixels=_MOST_PIXELS), most_bytes=_UPLOAD // share)
    return {"data": data, "mime_type": kind}


def _step(kind: Kind, request: GenerationRequest) -> str:
    """The resolution step nearest to what is asked for."""
    width, height = _ANY.fit(request.width, request.height, request.aspect)
    return next(step for step in kind.usd if width * height <= _LIMITS[step])


_M = 1e-6
_KINDS: dict[str, Kind] = {
    "gemini-nano-banana-2.1": Kind(
        title="Gemini Nano Banana 2.1", usd={"1K": 0.0336, "2K": 0.0504, "4K": 0.0756}, tokens=(1.5 * _M, 30 * _M, 7.5 * _M),
        quality=Quality.HIGH, aspects=_FOURTEEN,
    ),
    "gemini-3-pro-image": Kind(
        title="Gemini 3 Pro Image", usd={"1K": 0.134, "2K": 0.134, "4K": 0.24}, tokens=(2 * _M, 120 * _M, 0), quality=Quality.BEST,
    ),
    "gemini-3.1-flash-lite-image": Kind(
        title="Gemini 3.1 Flash Lite Image", usd={"1K": 0.0336}, tokens=(0.25 * _M, 30 * _M, 0), quality=Quality.DRAFT,
    ),
    "gemini-2.5-flash-image": Kind(
        title="Gemini 2.5 Flash Image", usd={"1K": 0.039}, tokens=(0.3 * _M, 30 * _M, 0), quality=Quality.STANDARD,
        ends="2027-03-15",
    ),
}  # fmt: skip


def _models() -> Sequence[CloudModel]:
    return [_entry(name, kind) for name, kind in _KINDS.items()]


def _entry(name: str, kind: Kind) -> CloudModel:
    model = Model(
        id=f"gemini/{name}", title=kind.title, family="gemini", lane="gemini", features=frozenset({Feature.REFERENCE}),
        tasks=frozenset({Task.TXT2IMG, Task.EDIT, Task.REPLACE_BACKGROUND, Task.STYLE_TRANSFER}),
        sizes=_ANY, max_count=10, max_batch=1, paid=True, quality=kind.quality,
        ignores="The exact size: the nearest aspect ratio and step of resolution is drawn. Seed and negative prompt do not exist here.",
    )  # fmt: skip

    def price(request: GenerationRequest) -> float:
        return kind.usd[_step(kind, request) if len(kind.usd) > 1 else "1K"] * request.count

    return CloudModel(name=name, model=model, price=price, source=_PRICES, date=_DATE, ends=kind.ends)


PROVIDER = ProviderSpec(
    id="gemini",
    title=_TITLE,
    keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    site="aistudio.google.com/apikey",
    base_url="https://generativelanguage.googleapis.com",
    base_env="GOOGLE_GEMINI_BASE_URL",
    models=_models,
    draw=draw,
    check=check,
    header=lambda key: {"x-goog-api-key": key},
    fault=fault,
)
