"""Hugging Face Inference Providers. Its client picks the provider and words the call; sending it and fetching the image
is ours, because the client follows any redirect and any address, waits without an end and does not hear cancel."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.base64_text import decode_base64
from studio.core.errors import InvalidRequest, NotConfigured, StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.pricing import ImageSizes
from studio.core.provider import CloudModel, HttpRequest, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common.http_wire import make_unreachable_error, split_url
from studio.providers.common.kept_state import make_order_key
from studio.providers.common.order_polling import Order, OrderPolling, find_kept_order, load_result, wait_for_order
from studio.providers.common.request_shapes import encode_for_upload, fit_input_image
from studio.providers.common.service_errors import (
    find_message,
    make_answer_error,
    make_key_error,
    make_loading_error,
    make_refusal_error,
    make_status_error,
    read_json,
)

_TITLE = "Hugging Face"
_ROUTER = "https://router.huggingface.co"
_PRICES, _DATE = "https://huggingface.co/docs/inference-providers/pricing", "2026-11-20"
_MAX_SEED = 2**31 - 1
_MAX_INPUT_PIXELS = 4_000_000  # px of an image that is sent
_SIZES = Sizes(liked=((1024, 1024),), multiple=16, smallest=256, largest=2048, max_pixels=4_194_304)
_SAFETY_WORDS = ("nsfw", "safety", "moderat", "content policy")


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """One model of the hub. `usd` are US dollars a megapixel, where known."""

    repo: str
    title: str
    task: Task = Task.TXT2IMG
    features: frozenset[Feature] = frozenset({Feature.SEED, Feature.STEPS, Feature.GUIDANCE})
    usd: float | None = None
    quality: Quality = Quality.STANDARD
    ignores: str = "It has no negative prompt."


@dataclass(frozen=True)
class ProviderCall:
    """A call as the vendor's client words it for one provider; `prefix` stands before the paths that the provider
    names."""

    call: HttpRequest
    prefix: str


def build_provider_call(order: RenderRequest, seed: int, base_url: str, key: str) -> ProviderCall:
    """The call that draws the image of `seed`. Asks the hub who serves the model when `base_url` is the vendor's own;
    any other is taken as a server of the plain kind ("hf-inference"), which serves /models/NAME.

    Raises:
        ValueError: nobody serves the model for this task.
    """
    from huggingface_hub.inference._providers import get_provider_helper

    kind, routed = _MODELS[order.model], base_url == _ROUTER
    model = kind.repo if routed else f"{base_url}/models/{kind.repo}"
    helper = get_provider_helper(
        "auto", task="image-to-image" if kind.task is Task.EDIT else "text-to-image", model=model
    )
    inputs, parameters = _build_inputs(order, kind, seed)
    found = helper.prepare_request(
        inputs=inputs, parameters=parameters, headers={}, model=model, api_key=key, extra_payload=None
    )
    kept = {name: value for name, value in found.headers.items() if name.lower() in ("prefer", "user-agent")}
    body = found.json if found.json is not None else json.loads(found.data or b"{}")
    call = HttpRequest(method="POST", path=found.url, headers={**kept, "Accept": "image/png"}, json=body, seconds=300)
    return ProviderCall(call, f"/{helper.provider}" if routed else "")


def draw_huggingface_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """One call per seed."""
    if not order.request.prompt.strip():
        raise InvalidRequest(f"{_TITLE} needs a prompt.", hint="Describe the image.")
    if wire.base_url == _ROUTER and not wire.key.startswith("hf_"):
        raise make_key_error(_TITLE)  # the client would take it for a key of another service
    drawn: list[RenderedImage] = []
    for number, seed in enumerate(order.seeds):
        order.context.report_progress(number, len(order.seeds))
        ready = _resolve_call(order, seed.seed, wire)
        kept = find_kept_order(wire, make_order_key(ready.call))
        image = _load_ordered(kept, ready, wire) if kept else _read_image(wire.send(ready.call), ready, wire)
        drawn.append(RenderedImage(image=image, seed=seed.seed, ordered_at=kept and kept.ordered_at))
    return drawn


def map_huggingface_error(answer: HttpResponse) -> StudioError:
    """Translate an error of the service, or of the provider behind it."""
    message = find_message(answer, "error", "error.message", "message", "detail")
    if answer.status in (400, 403, 422) and any(word in message.lower() for word in _SAFETY_WORDS):
        return make_refusal_error(_TITLE, message, billed=False)
    if answer.status == 503 and "loading" in message.lower():
        return make_loading_error(_TITLE, answer)
    return make_status_error(_TITLE, answer, message, wait=10.0)


def check_huggingface(wire: ProviderClient) -> str:
    """The account of the key, a free call."""
    hub = "https://huggingface.co" if wire.base_url == _ROUTER else ""
    answer = wire.send(HttpRequest(method="GET", path=f"{hub}/api/whoami-v2", paid=False, seconds=20))
    name = read_json(_TITLE, answer).get("name")
    return f"The key works. It is {name}'s." if isinstance(name, str) else "The key works."


def _build_inputs(order: RenderRequest, kind: HubModel, seed: int) -> tuple[Any, dict[str, Any]]:
    """The request of the client's two methods for images: (inputs, parameters)."""
    from huggingface_hub.inference._common import MimeBytes

    request = order.request
    steered = {"num_inference_steps": request.steps, "guidance_scale": request.guidance}
    if kind.task is Task.EDIT:
        assert request.source is not None
        data, media = encode_for_upload(fit_input_image(order.images[request.source], most_pixels=_MAX_INPUT_PIXELS))
        return MimeBytes(data, mime_type=media), {"prompt": request.prompt, **steered}
    width, height = _SIZES.fit_size(request.width, request.height, request.aspect)
    negative = request.negative_prompt.strip() or None
    return request.prompt, {
        "negative_prompt": negative,
        "width": width,
        "height": height,
        "seed": seed % (_MAX_SEED + 1),
        **steered,
    }


def _resolve_call(order: RenderRequest, seed: int, wire: ProviderClient) -> ProviderCall:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    def work() -> ProviderCall:
        return build_provider_call(order, seed, wire.base_url, wire.key)

    try:
        return wire.call_with_retry(lambda: wire.run(work, seconds=60, paid=False))
    except HfHubHTTPError as error:
        response = error.response
        answer = HttpResponse(status=response.status_code, headers=response.headers, body=response.content)
        raise map_huggingface_error(answer) from None  # its request may hold a key
    except OfflineModeIsEnabled as error:
        raise NotConfigured(
            "HF_HUB_OFFLINE is set, so Hugging Face is not contacted.", hint="Unset it and restart."
        ) from error
    except (httpx2.HTTPError, OSError):
        raise make_unreachable_error(_TITLE, paid=False) from None
    except (ValueError, StopIteration, KeyError) as error:
        raise InvalidRequest(
            f"No provider currently serves {_MODELS[order.model].repo} at {_TITLE}.", hint="Pick another model."
        ) from error


def _read_image(answer: HttpResponse, ready: ProviderCall, wire: ProviderClient) -> Image.Image:
    """The image in an answer: itself, in base64, at an address, or made by a task that has to be waited for."""
    if answer.headers.get("Content-Type", "").startswith("image/"):
        return wire.decode_image(answer.body)
    return _load_ordered(Order(make_order_key(ready.call), read_json(_TITLE, answer)), ready, wire)


def _load_ordered(order: Order, ready: ProviderCall, wire: ProviderClient) -> Image.Image:
    """The image that the answer to an order holds or names, or that the task in it makes."""
    told = order.task
    data, task = told.get("data"), told.get("response_url")
    if isinstance(data, dict) and isinstance(data.get("urls"), dict):
        look = _build_status_call(ready, _parse_path(data["urls"].get("get")), {})
        return _wait_for_task(wire, order, look, lambda state: _load_image(_find_image_text(state), wire))
    if isinstance(task, str) and told.get("request_id"):
        query, path = ({"_subdomain": "queue"} if ready.prefix else {}), _parse_path(task)
        result = _build_status_call(ready, path, query)

        def load(state: Mapping[str, Any]) -> Image.Image:
            return _load_image(_find_image_text(read_json(_TITLE, wire.send(result))), wire)

        return _wait_for_task(wire, order, _build_status_call(ready, f"{path}/status", query), load)
    return load_result(wire, order, lambda: _load_image(_find_image_text(told), wire))


def _wait_for_task(
    wire: ProviderClient, order: Order, look: HttpRequest, load: Callable[[Mapping[str, Any]], Image.Image]
) -> Image.Image:
    """What `load` makes of the task's last state; raises when the task failed."""

    def judge(found: Mapping[str, Any]) -> Image.Image | None:
        state = _judge_state(found)
        return None if state is None else load(state)

    polling = OrderPolling(
        title=_TITLE,
        name=look.path,
        order=order,
        look=look,
        read=lambda found: read_json(_TITLE, found),
        longest=3.0,
        understood=(200, 202),
    )
    return wait_for_order(wire, polling, judge)


def _judge_state(found: Mapping[str, Any]) -> dict[str, Any] | None:
    state = found["data"] if isinstance(found.get("data"), dict) else dict(found)
    match str(state.get("status", "")).lower():
        case "completed":
            return state
        case "failed" | "cancelled" | "error":
            message = str(state.get("error") or "")
            if any(word in message.lower() for word in _SAFETY_WORDS):
                raise make_refusal_error(_TITLE, message, billed=False)
            raise make_answer_error(_TITLE, f"a task that failed: {message}")
        case _:
            return None


def _build_status_call(ready: ProviderCall, path: str, query: Mapping[str, str]) -> HttpRequest:
    return HttpRequest(method="GET", path=ready.prefix + path, query=query, paid=False, seconds=60)


def _parse_path(address: Any) -> str:
    """The path of an address that a provider names; the key goes to the vendor's own host only."""
    path = split_url(_TITLE, str(address or "")).path
    if not path.startswith("/"):
        raise make_answer_error(_TITLE, "no task")
    return path


def _find_image_text(result: Mapping[str, Any]) -> str:
    """The address, or the base64 text, of the first image in any of the providers' shapes."""
    for name in ("images", "data", "outputs", "output"):
        found = result.get(name)
        first = found[0] if isinstance(found, list) and found else found
        if isinstance(first, dict):
            first = first.get("b64_json") or first.get("url")
        if isinstance(first, str) and first:
            return first
    raise make_answer_error(_TITLE, "no image")


def _load_image(place: str, wire: ProviderClient) -> Image.Image:
    if "://" in place[:10]:
        return wire.download(place)
    try:
        return wire.decode_image(decode_base64(place))
    except ValueError as error:
        raise make_answer_error(_TITLE, "no image") from error


_WITH_NEGATIVE = frozenset({Feature.SEED, Feature.STEPS, Feature.GUIDANCE, Feature.NEGATIVE_PROMPT})
_MODELS: dict[str, HubModel] = {
    "FLUX.2-dev": HubModel(
        repo="black-forest-labs/FLUX.2-dev", title="FLUX.2 dev (Hugging Face)", quality=Quality.HIGH
    ),
    "FLUX.1-dev": HubModel(repo="black-forest-labs/FLUX.1-dev", title="FLUX.1 dev (Hugging Face)", usd=0.025),
    "FLUX.1-schnell": HubModel(
        repo="black-forest-labs/FLUX.1-schnell", title="FLUX.1 schnell (Hugging Face)", usd=0.003, quality=Quality.DRAFT
    ),
    "FLUX.1-Kontext-dev": HubModel(
        repo="black-forest-labs/FLUX.1-Kontext-dev",
        title="FLUX.1 Kontext dev (Hugging Face)",
        task=Task.EDIT,
        features=frozenset({Feature.STEPS, Feature.GUIDANCE}),
        ignores="The size follows the source. Seeds are not supported.",
    ),
    "Qwen-Image": HubModel(
        repo="Qwen/Qwen-Image",
        title="Qwen-Image (Hugging Face)",
        features=_WITH_NEGATIVE,
        quality=Quality.HIGH,
        ignores="",
    ),
    "stable-diffusion-3.5-large": HubModel(
        repo="stabilityai/stable-diffusion-3.5-large",
        title="Stable Diffusion 3.5 large (Hugging Face)",
        features=_WITH_NEGATIVE,
        ignores="",
    ),
}


def _list_cloud_models() -> Sequence[CloudModel]:
    return [_build_cloud_model(name, kind) for name, kind in _MODELS.items()]


def _build_cloud_model(name: str, kind: HubModel) -> CloudModel:
    passed = "Seed, steps and CFG scale depend on the provider that serves the model."
    model = Model(
        id=f"huggingface/{name}",
        title=kind.title,
        family="huggingface",
        lane="huggingface",
        tasks=frozenset({kind.task}),
        features=kind.features,
        sizes=_SIZES,
        max_count=10,
        max_batch=1,
        paid=True,
        quality=kind.quality,
        ignores=f"{kind.ignores} {passed}".strip(),
    )

    def price(request: GenerationRequest, sizes: ImageSizes) -> float | None:
        width, height = _SIZES.fit_size(request.width, request.height, request.aspect)
        return None if kind.usd is None else kind.usd * (width * height / 2**20) * request.count

    return CloudModel(name=name, model=model, price=price, source=_PRICES, date=_DATE)


PROVIDER = ProviderSpec(
    id="huggingface",
    title=_TITLE,
    keys=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    site="huggingface.co/settings/tokens",
    base_url=_ROUTER,
    base_env="HF_INFERENCE_BASE_URL",
    # After its own: where the providers behind it put their images.
    hosts=(
        "huggingface.co",
        "router.huggingface.co",
        "fal.media",
        ".fal.media",
        "replicate.delivery",
        ".replicate.delivery",
        "d1q70pf5vjeyhc.cloudfront.net",
    ),
    models=_list_cloud_models,
    draw=draw_huggingface_images,
    check=check_huggingface,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=map_huggingface_error,
)
