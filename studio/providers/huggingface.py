"""Hugging Face Inference Providers. Its client picks the provider and words the call; sending it and fetching the picture is ours,
because the client follows any redirect and any address, waits without an end and does not hear cancel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from studio.core.errors import InvalidRequest, NotConfigured, RateLimited, StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.provider import Answer, Call, CloudModel, Order, ProviderSpec, Wire
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.task import Task
from studio.providers.common.http_wire import polled, silent
from studio.providers.common.request_shapes import encoded, fitted, from_base64
from studio.providers.common.service_errors import bad_key, by_status, json_of, odd, refused, words_in

_TITLE = "Hugging Face"
_ROUTER = "https://router.huggingface.co"
_PRICES, _DATE = "https://huggingface.co/docs/inference-providers/pricing", "2026-11-20"
_PATIENCE = 600.0  # seconds for one task
_MOST_SEED = 2**31 - 1
_MOST_INPUT = 4_000_000  # px of a picture that is sent
_SIZES = Sizes(liked=((1024, 1024),), multiple=16, smallest=256, largest=2048, max_pixels=4_194_304)
_UNSAFE = ("nsfw", "safety", "moderat", "content policy")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One model of the hub. `usd` are US dollars a megapixel where somebody has told them."""

    repo: str
    title: str
    task: Task = Task.TXT2IMG
    features: frozenset[Feature] = frozenset({Feature.SEED, Feature.STEPS, Feature.GUIDANCE})
    usd: float | None = None
    quality: Quality = Quality.STANDARD
    ignores: str = "It has no negative prompt."


@dataclass(frozen=True)
class Worded:
    """A call as the vendor's client words it for one provider; `prefix` stands before the paths that the provider names."""

    call: Call
    prefix: str


def worded(order: Order, seed: int, base_url: str, key: str) -> Worded:
    """The call that draws the picture of `seed`. Asks the hub who serves the model when `base_url` is the vendor's own; any other
    is taken as a server of the plain kind ("hf-inference"), which serves /models/NAME.

    Raises:
        ValueError: nobody serves the model for this task.
    """
    from huggingface_hub.inference._providers import get_provider_helper

    kind, routed = _KINDS[order.model], base_url == _ROUTER
    model = kind.repo if routed else f"{base_url}/models/{kind.repo}"
    helper = get_provider_helper(
        "auto", task="image-to-image" if kind.task is Task.EDIT else "text-to-image", model=model
    )
    inputs, parameters = _asked(order, kind, seed)
    found = helper.prepare_request(
        inputs=inputs, parameters=parameters, headers={}, model=model, api_key=key, extra_payload=None
    )
    kept = {name: value for name, value in found.headers.items() if name.lower() in ("prefer", "user-agent")}
    body = found.json if found.json is not None else json.loads(found.data or b"{}")
    call = Call(method="POST", path=found.url, headers={**kept, "Accept": "image/png"}, json=body, seconds=300)
    return Worded(call, f"/{helper.provider}" if routed else "")


def draw(order: Order, wire: Wire) -> list[Rendered]:
    """One call per seed."""
    if not order.request.prompt.strip():
        raise InvalidRequest(f"{_TITLE} needs a prompt.", hint="Say what the picture is to show.")
    if wire.base_url == _ROUTER and not wire.key.startswith("hf_"):
        raise bad_key(_TITLE)  # the client would take it for a key of another service
    drawn: list[Rendered] = []
    for number, seed in enumerate(order.seeds):
        order.context.progress(number, len(order.seeds))
        ready = _looked_up(order, seed.seed, wire)
        answer = wire.send(ready.call)
        drawn.append(Rendered(image=_picture(answer, ready, wire), seed=seed.seed))
    return drawn


def fault(answer: Answer) -> StudioError:
    """What an error of the service, or of the provider behind it, means."""
    told = words_in(answer, "error", "error.message", "message", "detail")
    if answer.status in (400, 403, 422) and any(word in told.lower() for word in _UNSAFE):
        return refused(_TITLE, told, billed=False)
    if answer.status == 503 and "loading" in told.lower():
        return RateLimited(
            f"{_TITLE} is still loading the model.", retry_after=_loading(answer), hint="Try again in a minute."
        )
    return by_status(_TITLE, answer, told, wait=10.0)


def check(wire: Wire) -> str:
    """Whose key it is, which costs nothing to ask."""
    hub = "https://huggingface.co" if wire.base_url == _ROUTER else ""
    answer = wire.send(Call(method="GET", path=f"{hub}/api/whoami-v2", paid=False, seconds=20))
    name = json_of(_TITLE, answer).get("name")
    return f"The key works. It is {name}'s." if isinstance(name, str) else "The key works."


def _asked(order: Order, kind: Kind, seed: int) -> tuple[Any, dict[str, Any]]:
    """What the client's two methods for pictures hand on: (inputs, parameters)."""
    from huggingface_hub.inference._common import MimeBytes

    request = order.request
    steered = {"num_inference_steps": request.steps, "guidance_scale": request.guidance}
    if kind.task is Task.EDIT:
        assert request.source is not None
        data, media = encoded(fitted(order.pictures[request.source], most_pixels=_MOST_INPUT))
        return MimeBytes(data, mime_type=media), {"prompt": request.prompt, **steered}
    width, height = _SIZES.fit(request.width, request.height, request.aspect)
    negative = request.negative_prompt.strip() or None
    return request.prompt, {
        "negative_prompt": negative, "width": width, "height": height, "seed": seed % (_MOST_SEED + 1), **steered,
    }  # fmt: skip


def _looked_up(order: Order, seed: int, wire: Wire) -> Worded:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    def work() -> Worded:
        return worded(order, seed, wire.base_url, wire.key)

    try:
        return wire.retried(lambda: wire.run(work, seconds=60, paid=False))
    except HfHubHTTPError as error:
        response = error.response
        answer = Answer(status=response.status_code, headers=response.headers, body=response.content)
        raise fault(answer) from None  # its request may hold a key
    except OfflineModeIsEnabled as error:
        raise NotConfigured("HF_HUB_OFFLINE is set: the hub is not contacted.", hint="Unset it and restart.") from error
    except (httpx2.HTTPError, OSError):
        raise silent(_TITLE, paid=False) from None
    except (ValueError, StopIteration, KeyError) as error:
        raise InvalidRequest(
            f"No provider serves {_KINDS[order.model].repo} at {_TITLE} now.", hint="Pick another model."
        ) from error


def _picture(answer: Answer, ready: Worded, wire: Wire) -> Image.Image:
    """The picture in an answer: itself, in base64, at an address, or made by a task that has to be waited for."""
    if answer.headers.get("Content-Type", "").startswith("image/"):
        return wire.picture(answer.body)
    told = json_of(_TITLE, answer)
    data, task = told.get("data"), told.get("response_url")
    if isinstance(data, dict) and isinstance(data.get("urls"), dict):
        told = _waited(wire, ready, _path(data["urls"].get("get")), {})
    elif isinstance(task, str) and told.get("request_id"):
        query = {"_subdomain": "queue"} if ready.prefix else {}
        _waited(wire, ready, f"{_path(task)}/status", query)
        told = json_of(_TITLE, wire.send(_look(ready, _path(task), query)))
    return _in_place(_place_in(told), wire)


def _waited(wire: Wire, ready: Worded, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The task's last state, or what it gave; raises when it failed."""
    for _ in polled(wire, seconds=_PATIENCE, longest=3.0):
        found = json_of(_TITLE, wire.send(_look(ready, path, query), understood=(200, 202)))
        state = found["data"] if isinstance(found.get("data"), dict) else found
        match str(state.get("status", "")).lower():
            case "completed":
                return state
            case "failed" | "cancelled" | "error":
                told = str(state.get("error") or "")
                unsafe = any(word in told.lower() for word in _UNSAFE)
                raise (
                    refused(_TITLE, told, billed=False) if unsafe else odd(_TITLE, f"a task that failed: {told[:200]}")
                )
            case _:
                continue
    raise AssertionError("polled ends by raising")


def _look(ready: Worded, path: str, query: Mapping[str, str]) -> Call:
    return Call(method="GET", path=ready.prefix + path, query=query, paid=False, seconds=60)


def _path(address: Any) -> str:
    """The path of an address that a provider names; the key goes to the vendor's own host only."""
    path = urlsplit(str(address or "")).path
    if not path.startswith("/"):
        raise odd(_TITLE, "no task")
    return path


def _place_in(told: Mapping[str, Any]) -> str:
    """The address, or the base64 text, of the first picture in any of the providers' shapes."""
    for name in ("images", "data", "outputs", "output"):
        found = told.get(name)
        first = found[0] if isinstance(found, list) and found else found
        if isinstance(first, dict):
            first = first.get("b64_json") or first.get("url")
        if isinstance(first, str) and first:
            return first
    raise odd(_TITLE, "no picture")


def _in_place(place: str, wire: Wire) -> Image.Image:
    if "://" in place[:10]:
        return wire.download(place)
    try:
        return wire.picture(from_base64(place.rpartition("base64,")[2]))
    except ValueError as error:
        raise odd(_TITLE, "no picture") from error


def _loading(answer: Answer) -> float:
    try:
        return max(1.0, float(answer.json()["estimated_time"]))
    except (ValueError, KeyError, TypeError):
        return 10.0


_NEGATIVE = frozenset({Feature.SEED, Feature.STEPS, Feature.GUIDANCE, Feature.NEGATIVE_PROMPT})
_KINDS: dict[str, Kind] = {
    "FLUX.2-dev": Kind(repo="black-forest-labs/FLUX.2-dev", title="FLUX.2 dev (Hugging Face)", quality=Quality.HIGH),
    "FLUX.1-dev": Kind(repo="black-forest-labs/FLUX.1-dev", title="FLUX.1 dev (Hugging Face)", usd=0.025),
    "FLUX.1-schnell": Kind(
        repo="black-forest-labs/FLUX.1-schnell", title="FLUX.1 schnell (Hugging Face)", usd=0.003, quality=Quality.DRAFT
    ),
    "FLUX.1-Kontext-dev": Kind(
        repo="black-forest-labs/FLUX.1-Kontext-dev", title="FLUX.1 Kontext dev (Hugging Face)", task=Task.EDIT,
        features=frozenset({Feature.STEPS, Feature.GUIDANCE}), ignores="The size follows the source. It has no seed here.",
    ),
    "Qwen-Image": Kind(
        repo="Qwen/Qwen-Image", title="Qwen-Image (Hugging Face)", features=_NEGATIVE, quality=Quality.HIGH, ignores="",
    ),
    "stable-diffusion-3.5-large": Kind(
        repo="stabilityai/stable-diffusion-3.5-large", title="Stable Diffusion 3.5 large (Hugging Face)", features=_NEGATIVE, ignores="",
    ),
}  # fmt: skip


def _models() -> Sequence[CloudModel]:
    return [_entry(name, kind) for name, kind in _KINDS.items()]


def _entry(name: str, kind: Kind) -> CloudModel:
    passed = "Whether seed, steps and guidance count is up to the provider that serves it."
    model = Model(
        id=f"huggingface/{name}", title=kind.title, family="huggingface", lane="huggingface", tasks=frozenset({kind.task}),
        features=kind.features, sizes=_SIZES, max_count=10, max_batch=1, paid=True, quality=kind.quality,
        ignores=f"{kind.ignores} {passed}".strip(),
    )  # fmt: skip

    def price(request: GenerationRequest) -> float | None:
        width, height = _SIZES.fit(request.width, request.height, request.aspect)
        return None if kind.usd is None else kind.usd * (width * height / 2**20) * request.count

    return CloudModel(name=name, model=model, price=price, source=_PRICES, date=_DATE)


PROVIDER = ProviderSpec(
    id="huggingface",
    title=_TITLE,
    keys=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    site="huggingface.co/settings/tokens",
    base_url=_ROUTER,
    base_env="HF_INFERENCE_BASE_URL",
    # After its own: where the providers behind it put their pictures.
    hosts=(
        "huggingface.co",
        "router.huggingface.co",
        "fal.media",
        ".fal.media",
        "replicate.delivery",
        ".replicate.delivery",
        "d1q70pf5vjeyhc.cloudfront.net",
    ),
    models=_models,
    draw=draw,
    check=check,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=fault,
)
