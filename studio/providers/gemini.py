"""Google Gemini's image models through its own client: images from text, edits in words with references. A refusal
comes as an answer that looks well, and the bill by the tokens that the answer counts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from studio.core.errors import MAY_BE_BILLED, InvalidRequest, ProviderError, StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.pricing import ImageSizes
from studio.core.provider import CloudModel, HttpRequest, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common.http_wire import make_unreachable_error, parse_seconds
from studio.providers.common.openai_images import is_connect_error
from studio.providers.common.request_shapes import MIB, encode_for_upload, find_nearest_aspect, fit_input_image
from studio.providers.common.service_errors import (
    find_message,
    make_answer_error,
    make_credit_error,
    make_key_error,
    make_refusal_error,
    make_status_error,
    quote_words,
)

if TYPE_CHECKING:
    from google import genai
    from google.genai.types import GenerateContentResponse

_TITLE = "Google Gemini"
_PRICES, _DATE = "https://ai.google.dev/gemini-api/docs/pricing", "2026-11-20"
_VERSION = "v1"
_CALL_TIMEOUT = 300.0
_MAX_UPLOAD_BYTES = 14 * MIB  # all images of a call; 20 MB of base64 is the limit
_MAX_PIXELS = 16_000_000
_BASIC_ASPECTS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_WIDE_ASPECTS = (*_BASIC_ASPECTS, "1:4", "4:1", "1:8", "8:1")
_ANY_SIZE = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)
_STEP_PIXELS = {"1K": 2**21, "2K": 2**23, "4K": math.inf}  # px up to which each step is the nearest
_TASK_INSTRUCTIONS = {
    Task.REPLACE_BACKGROUND: "Keep the subject exactly as it is and replace the background: ",
    Task.STYLE_TRANSFER: "Redraw the first image in the style of the second one. ",
}
_SAFETY_REASONS = ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "MODEL_ARMOR", "JAILBREAK")


@dataclass(frozen=True, kw_only=True)
class GeminiModel:
    """One model: US dollars an image by resolution step, and per token of words in, images out and words out."""

    title: str
    usd: Mapping[str, float]
    tokens: tuple[float, float, float]
    quality: Quality
    aspects: tuple[str, ...] = _BASIC_ASPECTS
    ends: str = ""


def build_gemini_arguments(order: RenderRequest) -> dict[str, Any]:
    """The arguments of the client's method. Pure."""
    request, kind = order.request, _MODELS[order.model]
    prompt = (_TASK_INSTRUCTIONS.get(request.task, "") + request.prompt).strip()
    if not prompt:
        raise InvalidRequest("Google Gemini needs a prompt.", hint="Describe the image.")
    references = (one.image for one in request.references)
    names = [name for name in (request.source, request.background, request.lighting, *references) if name]
    parts: list[dict[str, Any]] = [{"inline_data": _encode_inline(order.images[name], len(names))} for name in names]
    shape: dict[str, str] = {}
    if request.source is None or request.width or request.aspect:
        shape["aspect_ratio"] = find_nearest_aspect(request, kind.aspects)
    if len(kind.usd) > 1:
        shape["image_size"] = _choose_resolution(kind, request)
    return {
        "model": order.model,
        "contents": [{"role": "user", "parts": [*parts, {"text": prompt}]}],
        "config": {"response_modalities": ["TEXT", "IMAGE"], **({"image_config": shape} if shape else {})},
    }


def draw_gemini_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """One call per image; the service gives no more at once."""
    arguments = build_gemini_arguments(order)
    drawn: list[RenderedImage] = []
    for number, seed in enumerate(order.seeds):
        order.context.report_progress(number, len(order.seeds))

        def call(client: genai.Client) -> GenerateContentResponse:
            return client.models.generate_content(**arguments)

        answer = wire.call_with_retry(lambda call=call: _run_genai(wire, call))
        image = wire.decode_image(_extract_image(answer))
        drawn.append(RenderedImage(image=image, seed=seed.seed, cost=_compute_cost(_MODELS[order.model], answer)))
    return drawn


def map_gemini_error(answer: HttpResponse) -> StudioError:
    """Translate an error response."""
    message, details = find_message(answer, "error.message", "message"), _read_error_details(answer)
    if answer.status == 400 and ("API_KEY_INVALID" in details or "api key not valid" in message.lower()):
        return make_key_error(_TITLE)
    if answer.status == 429 and "limit: 0" in message:
        return make_credit_error(_TITLE)  # no image model is in the free tier
    return make_status_error(_TITLE, answer, message, wait=_parse_retry_delay(details))


def check_gemini(wire: ProviderClient) -> str:
    """The list of models, which costs nothing to ask."""
    look = HttpRequest(method="GET", path=f"/{_VERSION}/models", query={"pageSize": "1"}, paid=False, seconds=20)
    wire.send(look)
    return "The key works."


def _run_genai(
    wire: ProviderClient, call: Callable[[genai.Client], GenerateContentResponse]
) -> GenerateContentResponse:
    import httpx2
    from google import genai
    from google.genai import errors, types

    def work() -> GenerateContentResponse:
        with httpx2.Client(follow_redirects=False) as http:  # the key stays with this server
            options = types.HttpOptions(
                base_url=wire.base_url, api_version=_VERSION, timeout=int(_CALL_TIMEOUT * 1000), httpx_client=http
            )
            return call(genai.Client(api_key=wire.key, vertexai=False, http_options=options))

    try:
        return wire.run(work, seconds=_CALL_TIMEOUT + 5)
    except errors.APIError as error:
        raise map_gemini_error(_build_answer(error)) from None  # its request holds the key
    except httpx2.TimeoutException as error:
        raise make_unreachable_error(_TITLE, paid=not is_connect_error(error)) from None
    except httpx2.HTTPError as error:
        raise make_unreachable_error(_TITLE, paid=not is_connect_error(error)) from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise make_answer_error(_TITLE, f"something unexpected ({type(error).__name__})") from None


def _build_answer(error: Any) -> HttpResponse:
    return HttpResponse(
        status=int(error.code or 0),
        headers=getattr(error.response, "headers", {}),
        body=json.dumps(error.details).encode(),
    )


def _read_error_details(answer: HttpResponse) -> str:
    """The details of an error as text: the reason and the delay stand there under types of their own."""
    try:
        return json.dumps(answer.json()["error"]["details"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _parse_retry_delay(details: str) -> float | None:
    """Seconds that RetryInfo asks for ("11s")."""
    return parse_seconds(details.partition('"retryDelay": "')[2].partition('"')[0].removesuffix("s"))


def _extract_image(answer: GenerateContentResponse) -> bytes:
    """The image of an answer.

    Raises:
        ContentRefused: the service will not make it. ProviderError: it answered in words, or not at all.
    """
    candidate = answer.candidates[0] if answer.candidates else None
    if candidate is None:
        feedback = answer.prompt_feedback
        if feedback is not None and feedback.block_reason:
            message = feedback.block_reason_message or _get_enum_name(feedback.block_reason)
            raise make_refusal_error(_TITLE, message, billed=False)
        raise make_answer_error(_TITLE, "no image")
    parts = (candidate.content.parts if candidate.content else None) or []
    shown = [part for part in parts if not part.thought]
    for part in shown:
        if part.inline_data is not None and part.inline_data.data:
            return part.inline_data.data
    reason = _get_enum_name(candidate.finish_reason)
    words = " ".join(part.text for part in shown if part.text).strip()
    if any(word in reason for word in _SAFETY_REASONS):
        usage = answer.usage_metadata
        raise make_refusal_error(_TITLE, words or reason, billed=bool(usage and usage.candidates_token_count))
    if words:
        raise ProviderError(
            f"{_TITLE} answered in words: {quote_words(words)}",
            hint="Ask for an image more clearly. The reply may be billed.",
            details={MAY_BE_BILLED: True},
        )
    raise make_answer_error(_TITLE, f"no image ({reason})" if reason else "no image")


def _get_enum_name(reason: Any) -> str:
    return str(getattr(reason, "value", reason) or "")


def _compute_cost(kind: GeminiModel, answer: GenerateContentResponse) -> float | None:
    """US dollars by the tokens that the service says it used."""
    usage = answer.usage_metadata
    if usage is None or not usage.candidates_token_count:
        return None
    words_in_, image, words_out = kind.tokens
    details = usage.candidates_tokens_details or []
    drawn = sum(one.token_count or 0 for one in details if _get_enum_name(one.modality) == "IMAGE")
    drawn = drawn if details else usage.candidates_token_count
    said = max(0, usage.candidates_token_count - drawn) + (usage.thoughts_token_count or 0)
    return (usage.prompt_token_count or 0) * words_in_ + drawn * image + said * words_out


def _encode_inline(image: Image.Image, share: int) -> dict[str, Any]:
    data, kind = encode_for_upload(
        fit_input_image(image, most_pixels=_MAX_PIXELS), most_bytes=_MAX_UPLOAD_BYTES // share
    )
    return {"data": data, "mime_type": kind}


def _choose_resolution(kind: GeminiModel, request: GenerationRequest) -> str:
    """The resolution step nearest to what is asked for."""
    width, height = _ANY_SIZE.fit_size(request.width, request.height, request.aspect)
    return next(step for step in kind.usd if width * height <= _STEP_PIXELS[step])


_PER_MILLION = 1e-6
_MODELS: dict[str, GeminiModel] = {
    "gemini-nano-banana-2.1": GeminiModel(
        title="Gemini Nano Banana 2.1",
        usd={"1K": 0.0336, "2K": 0.0504, "4K": 0.0756},
        tokens=(1.5 * _PER_MILLION, 30 * _PER_MILLION, 7.5 * _PER_MILLION),
        quality=Quality.HIGH,
        aspects=_WIDE_ASPECTS,
    ),
    "gemini-3-pro-image": GeminiModel(
        title="Gemini 3 Pro Image",
        usd={"1K": 0.134, "2K": 0.134, "4K": 0.24},
        tokens=(2 * _PER_MILLION, 120 * _PER_MILLION, 0),
        quality=Quality.BEST,
    ),
    "gemini-3.1-flash-lite-image": GeminiModel(
        title="Gemini 3.1 Flash Lite Image",
        usd={"1K": 0.0336},
        tokens=(0.25 * _PER_MILLION, 30 * _PER_MILLION, 0),
        quality=Quality.DRAFT,
    ),
    "gemini-2.5-flash-image": GeminiModel(
        title="Gemini 2.5 Flash Image",
        usd={"1K": 0.039},
        tokens=(0.3 * _PER_MILLION, 30 * _PER_MILLION, 0),
        quality=Quality.STANDARD,
        ends="2027-03-15",
    ),
}


def _list_cloud_models() -> Sequence[CloudModel]:
    return [_build_cloud_model(name, kind) for name, kind in _MODELS.items()]


def _build_cloud_model(name: str, kind: GeminiModel) -> CloudModel:
    model = Model(
        id=f"gemini/{name}",
        title=kind.title,
        family="gemini",
        lane="gemini",
        features=frozenset({Feature.REFERENCE}),
        tasks=frozenset({Task.TXT2IMG, Task.EDIT, Task.REPLACE_BACKGROUND, Task.STYLE_TRANSFER}),
        sizes=_ANY_SIZE,
        max_count=10,
        max_batch=1,
        paid=True,
        quality=kind.quality,
        ignores=(
            "The exact size: the nearest aspect ratio and step of resolution is drawn. Seed and negative prompt do not"
            " exist here."
        ),
    )

    def price(request: GenerationRequest, sizes: ImageSizes) -> float:
        return kind.usd[_choose_resolution(kind, request) if len(kind.usd) > 1 else "1K"] * request.count

    return CloudModel(name=name, model=model, price=price, source=_PRICES, date=_DATE, ends=kind.ends)


PROVIDER = ProviderSpec(
    id="gemini",
    title=_TITLE,
    keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    site="aistudio.google.com/apikey",
    base_url="https://generativelanguage.googleapis.com",
    base_env="GOOGLE_GEMINI_BASE_URL",
    models=_list_cloud_models,
    draw=draw_gemini_images,
    check=check_gemini,
    header=lambda key: {"x-goog-api-key": key},
    fault=map_gemini_error,
)
