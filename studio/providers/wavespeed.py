"""WaveSpeed AI: Ideogram V3 and Qwen-Image. Images are uploaded first, tasks submitted once and polled; every answer
comes in an envelope with a code of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.base64_text import decode_base64
from studio.core.errors import StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.pricing import ImageSizes
from studio.core.provider import CloudModel, HttpRequest, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common import wavespeed_fields as fields
from studio.providers.common.kept_state import make_order_key
from studio.providers.common.order_polling import Order, OrderPolling, send_order, wait_for_order
from studio.providers.common.request_shapes import encode_for_upload
from studio.providers.common.service_errors import (
    find_message,
    make_answer_error,
    make_credit_error,
    make_refusal_error,
    make_status_error,
    read_json,
)
from studio.providers.common.wavespeed_fields import QWEN_SIZES, UploadUrls

_TITLE = "WaveSpeed AI"
_API = "/api/v3"
_PRICES, _DATE = "https://wavespeed.ai/pricing", "2026-11-20"
_MAX_SEED = 2**31 - 1
_ANY_SIZE = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)
_CREDIT_WORDS = ("balance", "insufficient", "credit")
_UNSAFE_CODES, _BAD_REQUEST_CODES, _BUSY_CODES = (
    (1200,),
    (1400, 1401, 1402),
    (5000, 5001, 5002, 5003, 5004),
)  # codes inside answers


@dataclass(frozen=True, kw_only=True)
class WaveSpeedModel:
    """One model: the route of each task, and the body that an order becomes there."""

    title: str
    routes: Mapping[Task, str]
    body: Callable[[RenderRequest, UploadUrls], dict[str, Any]]
    usd: float
    sizes: Sizes
    features: frozenset[Feature]
    quality: Quality
    ignores: str


def build_wavespeed_call(order: RenderRequest, seed: int, places: UploadUrls) -> HttpRequest:
    """The call that submits the image of `seed`; `places` are the addresses of the images that the request names.
    Pure."""
    kind = _MODELS[order.model]
    body = kind.body(order, places)
    if Feature.SEED in kind.features:
        body["seed"] = seed % (_MAX_SEED + 1)
    return HttpRequest(method="POST", path=f"{_API}/{kind.routes[order.request.task]}", json=body, seconds=60)


def draw_wavespeed_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """One task per seed; the images that all of them work on are uploaded once."""
    kind = _MODELS[order.model]
    kind.body(order, dict.fromkeys(order.images, ""))  # what cannot be asked for is refused before anything is sent
    places = {name: _upload_image(image, wire) for name, image in fields.prepare_uploads(order).items()}
    drawn: list[RenderedImage] = []
    for number, seed in enumerate(order.seeds):
        order.context.report_progress(number, len(order.seeds))
        key = make_order_key(build_wavespeed_call(order, seed.seed, {name: name for name in places}))
        call = build_wavespeed_call(order, seed.seed, places)
        sent = send_order(wire, key, lambda call=call: _read_data(wire.send(call)))
        image = _wait_for_image(sent, wire)
        drawn.append(RenderedImage(image=image, seed=seed.seed, cost=kind.usd, ordered_at=sent.ordered_at))
    return drawn


def map_wavespeed_error(answer: HttpResponse) -> StudioError:
    """Translate an error response, by the code in the envelope or the status around it."""
    message = find_message(answer, "message", "data.error", "error")
    inner = _read_code(answer)
    known = _map_code_error(inner, message, answer) if inner != answer.status else None
    if known is not None:
        return known
    if 400 <= answer.status < 500 and answer.status not in (401, 429) and _is_about_credit(message):
        return make_credit_error(_TITLE)
    return make_status_error(_TITLE, answer, message, wait=30.0)


def check_wavespeed(wire: ProviderClient) -> str:
    """The latest of the tasks that were made, which costs nothing to ask."""
    latest = {"page": 1, "page_size": 1}
    _read_data(wire.send(HttpRequest(method="POST", path=f"{_API}/predictions", json=latest, paid=False, seconds=20)))
    return "The key works."


def _read_code(answer: HttpResponse) -> int:
    try:
        code = answer.json()["code"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return answer.status
    return code if isinstance(code, int) else answer.status


def _map_code_error(code: int, message: str, answer: HttpResponse) -> StudioError | None:
    """The error of a code of the service's own, None for what is none of them."""
    if code in _UNSAFE_CODES:
        return make_refusal_error(_TITLE, message, billed=False)
    if code in _BAD_REQUEST_CODES:
        return make_status_error(_TITLE, dataclasses.replace(answer, status=400), message)
    if code in _BUSY_CODES:
        return make_status_error(_TITLE, dataclasses.replace(answer, status=503), message)
    return None


def _is_about_credit(message: str) -> bool:
    return any(word in message.lower() for word in _CREDIT_WORDS)


def _read_data(answer: HttpResponse) -> dict[str, Any]:
    """The content of the envelope.

    Raises:
        StudioError: its code says that the call failed, whatever the status around it.
    """
    envelope = read_json(_TITLE, answer)
    code, message = envelope.get("code", 200), str(envelope.get("message") or "")
    if code != 200:
        known = _map_code_error(code, message, answer) if isinstance(code, int) else None
        if known is not None:
            raise known
        if _is_about_credit(message):
            raise make_credit_error(_TITLE)
        if isinstance(code, int) and 400 <= code < 600:
            raise make_status_error(_TITLE, dataclasses.replace(answer, status=code), message, wait=30.0)
        raise make_answer_error(_TITLE, f"code {code!r} {message}".strip())
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise make_answer_error(_TITLE)
    return data


def _wait_for_image(order: Order, wire: ProviderClient) -> Image.Image:
    name = str(order.task.get("id") or "")
    if not name:
        raise make_answer_error(_TITLE, "no task")
    look = HttpRequest(method="GET", path=f"{_API}/predictions/{name}/result", paid=False, seconds=60)
    polling = OrderPolling(title=_TITLE, name=name, order=order, look=look, read=_read_data, longest=3.0)
    return wait_for_order(wire, polling, lambda found: _load_result(found, wire))


def _load_result(found: Mapping[str, Any], wire: ProviderClient) -> Image.Image | None:
    """The image of an order that is ready, None while it is at work."""
    done = _judge_state(found)
    return None if done is None else _load_image(_find_output(done), wire)


def _judge_state(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    match found.get("status"):
        case "completed":
            return found
        case "failed" | "cancelled" | "timeout" | "deleted" as status:
            raise _make_task_error(str(status), str(found.get("error") or ""))
        case _:
            return None


def _make_task_error(status: str, message: str) -> StudioError:
    if any(word in message.lower() for word in ("moderat", "nsfw", "safety", "sensitive", "1200")):
        return make_refusal_error(_TITLE, message, billed=False)
    return (
        make_credit_error(_TITLE)
        if _is_about_credit(message)
        else make_answer_error(_TITLE, f"a task that {status}: {message}".strip(": "))
    )


def _find_output(found: Mapping[str, Any]) -> str:
    flags, outputs = found.get("has_nsfw_contents"), found.get("outputs")
    if isinstance(flags, list) and any(flag is True for flag in flags):
        raise make_refusal_error(_TITLE, "it calls the image that it made unsafe", billed=True)
    if not (isinstance(outputs, list) and outputs and isinstance(outputs[0], str)):
        raise make_answer_error(_TITLE, "no image")
    return outputs[0]


def _load_image(output: str, wire: ProviderClient) -> Image.Image:
    """An output is an address, or the image itself in base64."""
    if "://" in output[:10]:
        return wire.download(output)
    try:
        return wire.decode_image(decode_base64(output))
    except ValueError as error:
        raise make_answer_error(_TITLE, "no image") from error


def _upload_image(image: Image.Image, wire: ProviderClient) -> str:
    """The address of an image on the service's own store, where it is kept for some days."""
    data, kind = encode_for_upload(image)
    file = ("file", (f"image.{kind.rpartition('/')[2]}", data, kind))
    path = f"{_API}/media/upload/binary"
    answer = wire.send(HttpRequest(method="POST", path=path, form={}, files=(file,), paid=False, seconds=120))
    address = _read_data(answer).get("download_url")
    if not isinstance(address, str) or not address:
        raise make_answer_error(_TITLE, "no address for the image")
    return address


def _make_ideogram_model(speed: str, usd: float, quality: Quality) -> WaveSpeedModel:
    route = f"ideogram-ai/ideogram-v3-{speed}"
    return WaveSpeedModel(
        title=f"Ideogram V3 {speed} (WaveSpeed)",
        routes={Task.TXT2IMG: route, Task.INPAINT: route},
        body=fields.build_ideogram_body,
        usd=usd,
        sizes=_ANY_SIZE,
        features=frozenset({Feature.REFERENCE}),
        quality=quality,
        ignores="The exact size: the nearest of five aspect ratios is drawn. It has no seed and no negative prompt.",
    )


_NO_NEGATIVE = "It has no negative prompt."
_MODELS: dict[str, WaveSpeedModel] = {
    "ideogram-v3-quality": _make_ideogram_model("quality", 0.09, Quality.HIGH),
    "ideogram-v3-balanced": _make_ideogram_model("balanced", 0.06, Quality.STANDARD),
    "ideogram-v3-turbo": _make_ideogram_model("turbo", 0.03, Quality.DRAFT),
    "qwen-image-2.0": WaveSpeedModel(
        title="Qwen-Image 2.0 (WaveSpeed)",
        body=fields.build_qwen2_body,
        usd=0.03,
        sizes=QWEN_SIZES,
        quality=Quality.HIGH,
        routes={
            Task.TXT2IMG: "wavespeed-ai/qwen-image-2.0/text-to-image",
            Task.EDIT: "wavespeed-ai/qwen-image-2.0/edit",
        },
        features=frozenset({Feature.SEED, Feature.REFERENCE}),
        ignores=f"{_NO_NEGATIVE} References count only in edits, and an edit chooses its size itself.",
    ),
    "qwen-image-2512": WaveSpeedModel(
        title="Qwen-Image 2512 (WaveSpeed)",
        body=fields.build_qwen_body,
        usd=0.02,
        sizes=QWEN_SIZES,
        quality=Quality.STANDARD,
        routes={Task.TXT2IMG: "wavespeed-ai/qwen-image/text-to-image-2512"},
        features=frozenset({Feature.SEED}),
        ignores=_NO_NEGATIVE,
    ),
    "qwen-image": WaveSpeedModel(
        title="Qwen-Image (WaveSpeed)",
        body=fields.build_qwen_body,
        usd=0.02,
        sizes=QWEN_SIZES,
        quality=Quality.STANDARD,
        routes={Task.TXT2IMG: "wavespeed-ai/qwen-image/text-to-image", Task.EDIT: "wavespeed-ai/qwen-image/edit"},
        features=frozenset({Feature.SEED}),
        ignores=_NO_NEGATIVE,
    ),
}


def _list_cloud_models() -> Sequence[CloudModel]:
    return [_build_cloud_model(name, kind) for name, kind in _MODELS.items()]


def _build_cloud_model(name: str, kind: WaveSpeedModel) -> CloudModel:
    model = Model(
        id=f"wavespeed/{name}",
        title=kind.title,
        family="qwen-image" if name.startswith("qwen") else "ideogram",
        lane="wavespeed",
        tasks=frozenset(kind.routes),
        features=kind.features,
        sizes=kind.sizes,
        max_count=10,
        max_batch=1,
        paid=True,
        quality=kind.quality,
        ignores=kind.ignores,
    )

    def price(request: GenerationRequest, sizes: ImageSizes) -> float:
        return kind.usd * request.count

    return CloudModel(name=name, model=model, price=price, source=_PRICES, date=_DATE)


PROVIDER = ProviderSpec(
    id="wavespeed",
    title=_TITLE,
    keys=("WAVESPEED_API_KEY",),
    site="wavespeed.ai/accesskey",
    base_url="https://api.wavespeed.ai",
    base_env="WAVESPEED_BASE_URL",
    # Results lie on the vendor's name at a public store; the whole of that store is not the vendor's.
    hosts=("api.wavespeed.ai", ".wavespeed.ai", "d1q70pf5vjeyhc.cloudfront.net", "d2p7pge43lyniu.cloudfront.net"),
    models=_list_cloud_models,
    draw=draw_wavespeed_images,
    check=check_wavespeed,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=map_wavespeed_error,
)
