"""Black Forest Labs: FLUX 3, FLUX.2 and FLUX.1 with their editing tools. Every task is submitted once and polled."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.errors import InvalidRequest, StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.pricing import ImageSizes
from studio.core.provider import CloudModel, HttpRequest, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common.kept_state import make_order_key
from studio.providers.common.order_polling import Order, OrderPolling, send_order, wait_for_order
from studio.providers.common.request_shapes import (
    encode_for_upload,
    find_nearest_aspect,
    fit_input_image,
    make_white_mask,
)
from studio.providers.common.service_errors import (
    find_field,
    find_message,
    make_answer_error,
    make_credit_error,
    make_refusal_error,
    make_status_error,
    read_json,
    read_seed,
)

_TITLE = "Black Forest Labs"
_ASPECTS3 = ("1:1", "21:9", "2:1", "16:9", "3:2", "7:5", "4:3", "5:4", "4:5", "3:4", "5:7", "2:3", "9:16", "1:2")
_ASPECTS_ULTRA = ("16:9", "21:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21")
_ASPECTS_KONTEXT = ("1:1", "7:3", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "3:7")
_PRICES, _DATE = "https://bfl.ai/pricing", "2026-11-20"
_MAX_INPUT_PIXELS = 16_000_000  # px of an image that is sent
_FREE_SIZES = Sizes(liked=((1024, 1024),), multiple=16, smallest=64, largest=4096, max_pixels=4_000_000)
_PRO11_SIZES = Sizes(liked=((1024, 1024),), multiple=32, smallest=256, largest=1440, max_pixels=1440 * 1440)
_ANY_SIZE = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)


@dataclass(frozen=True, kw_only=True)
class BflModel:
    """One route: the body that an order becomes, the models' limits, and US dollars of (the first, each further)
    megapixel."""

    title: str
    body: Callable[[RenderRequest], dict[str, Any]]
    tasks: frozenset[Task]
    features: frozenset[Feature]
    sizes: Sizes
    price: tuple[float, float]
    quality: Quality = Quality.STANDARD


def build_bfl_call(order: RenderRequest, seed: int) -> HttpRequest:
    """The call that submits the image of `seed`. Pure."""
    kind = _MODELS[order.model]
    body = kind.body(order)
    if Feature.SEED in kind.features:
        body["seed"] = seed % 2**32  # what the service takes beyond that is not documented
    return HttpRequest(method="POST", path=f"/v1/{order.model}", json=body, seconds=60)


def draw_bfl_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """One task per seed, each submitted once and polled at the address that the service gives."""
    drawn: list[RenderedImage] = []
    for number, seed in enumerate(order.seeds):
        order.context.report_progress(number, len(order.seeds))
        call = build_bfl_call(order, seed.seed)
        sent = send_order(wire, make_order_key(call), lambda call=call: read_json(_TITLE, wire.send(call)))
        result, image = _wait_for_task(sent, wire)
        cost = sent.task.get("cost")
        drawn.append(
            RenderedImage(
                image=image,
                seed=read_seed(result.get("seed"), seed.seed),
                cost=float(cost) / 100 if isinstance(cost, int | float) else None,
                ordered_at=sent.ordered_at,
            )
        )
    return drawn


def map_bfl_error(answer: HttpResponse) -> StudioError:
    """Translate an error response; a task that failed may come as one."""
    message = find_message(answer, "detail", "message", "details")
    status = find_field(answer, "status")
    if status in _FAILED_STATUSES:
        return _make_task_error(status, message)
    if answer.status == 403:
        return make_status_error(_TITLE, dataclasses.replace(answer, status=401), message)
    return make_status_error(_TITLE, answer, message, wait=10.0)


def check_bfl(wire: ProviderClient) -> str:
    """The credits that are left, which costs nothing to ask."""
    answer = wire.send(HttpRequest(method="GET", path="/v1/credits", paid=False, seconds=20))
    left = read_json(_TITLE, answer).get("credits")
    return f"The key works. {left:g} credits left." if isinstance(left, int | float) else "The key works."


_NOT_FOUND = "Task not found"
_FAILED_STATUSES = ("Request Moderated", "Content Moderated", "Error")


def _wait_for_task(order: Order, wire: ProviderClient) -> tuple[Mapping[str, Any], Image.Image]:
    task = order.task
    name = str(task.get("id", ""))
    if not name:
        raise make_answer_error(_TITLE, "no task")
    address = str(task.get("polling_url") or f"/v1/get_result?id={name}")
    look = HttpRequest(method="GET", path=address, paid=False, seconds=30)
    polling = OrderPolling(title=_TITLE, name=name, order=order, look=look, read=_read_state, first=0.5, longest=3.0)
    return wait_for_order(wire, polling, lambda found: _load_result(found, wire))


def _load_result(found: Mapping[str, Any], wire: ProviderClient) -> tuple[Mapping[str, Any], Image.Image] | None:
    """The result of an order that is ready, and its image; None while it is at work."""
    result = _judge_state(found)
    return None if result is None else (result, wire.download(str(result["sample"])))


def _read_state(answer: HttpResponse) -> dict[str, Any]:
    """The task's state; one that the service does not find yet, or no more, is none."""
    found = read_json(_TITLE, answer)
    if found.get("status") == _NOT_FOUND:
        raise InvalidRequest(f"{_TITLE} does not know the order.", hint="Ask for the image anew.")
    return found


def _judge_state(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    status, result = str(found.get("status", "")), found.get("result")
    if status == "Ready":
        if not isinstance(result, dict) or not result.get("sample"):
            raise make_answer_error(_TITLE, "no image")
        return result
    if status in _FAILED_STATUSES:
        raise _make_task_error(status, json.dumps(found.get("details") or ""))
    return None


def _make_task_error(status: str, message: str) -> StudioError:
    if "Moderated" in status:
        return make_refusal_error(_TITLE, f"{status.lower()} {message}".strip(), billed=False)
    if "credit" in message.lower():
        return make_credit_error(_TITLE)
    return make_answer_error(_TITLE, f"“{status}” {message}".strip())


def _encode_base64(image: Image.Image) -> str:
    return base64.b64encode(encode_for_upload(fit_input_image(image, most_pixels=_MAX_INPUT_PIXELS))[0]).decode()


def _encode_source(order: RenderRequest) -> str:
    assert order.request.source is not None
    return _encode_base64(order.images[order.request.source])


def _build_prompt_field(order: RenderRequest, *, required: bool = True) -> dict[str, Any]:
    if required and not order.request.prompt.strip():
        raise InvalidRequest(f"{_TITLE} needs a prompt for this.", hint="Describe the image.")
    return {"prompt": order.request.prompt}


def _encode_inputs(order: RenderRequest, first: str = "input_image") -> dict[str, Any]:
    """The source and the references as input_image, input_image_2, …"""
    request = order.request
    names = [name for name in (request.source, *(one.image for one in request.references)) if name]
    return {first if k == 0 else f"{first}_{k + 1}": _encode_base64(order.images[name]) for k, name in enumerate(names)}


def _build_size_fields(order: RenderRequest, sizes: Sizes) -> dict[str, Any]:
    width, height = sizes.fit_size(order.request.width, order.request.height, order.request.aspect)
    return {"width": width, "height": height}


def _build_flux3_body(order: RenderRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        **_build_prompt_field(order),
        "aspect_ratio": find_nearest_aspect(order.request, _ASPECTS3),
        "resolution": "1k",
    }
    images = list(_encode_inputs(order).values())
    return {**body, "images": images} if images else body


def _build_flux2_body(order: RenderRequest) -> dict[str, Any]:
    body = {**_build_prompt_field(order), "output_format": "png", **_encode_inputs(order)}
    request = order.request
    if request.source is None or request.width or request.aspect:
        body |= _build_size_fields(order, _FREE_SIZES)
    if order.model == "flux-2-flex":
        body |= {} if request.guidance is None else {"guidance": min(10.0, max(1.5, request.guidance))}
        body |= {} if request.steps is None else {"steps": min(50, request.steps)}
    return body


def _build_flux11_body(order: RenderRequest) -> dict[str, Any]:
    body = {**_build_prompt_field(order), "output_format": "png", **_build_size_fields(order, _PRO11_SIZES)}
    if order.model == "flux-dev":
        body |= {} if order.request.guidance is None else {"guidance": min(5.0, max(1.5, order.request.guidance))}
        body |= {} if order.request.steps is None else {"steps": min(50, order.request.steps)}
    return body


def _build_ultra_body(order: RenderRequest) -> dict[str, Any]:
    return {
        **_build_prompt_field(order),
        "output_format": "png",
        "aspect_ratio": find_nearest_aspect(order.request, _ASPECTS_ULTRA),
    }


def _build_kontext_body(order: RenderRequest) -> dict[str, Any]:
    body = {**_build_prompt_field(order), "output_format": "png", **_encode_inputs(order)}
    wants_shape = order.request.aspect or order.request.source is None
    return {**body, "aspect_ratio": find_nearest_aspect(order.request, _ASPECTS_KONTEXT)} if wants_shape else body


def _build_fill_body(order: RenderRequest) -> dict[str, Any]:
    request = order.request
    body = {**_build_prompt_field(order, required=False), "image": _encode_source(order), "output_format": "png"}
    if request.mask:
        body["mask"] = _encode_base64(make_white_mask(order.images[request.mask], invert=request.inpaint.invert))
    body |= {} if request.guidance is None else {"guidance": min(100.0, max(1.5, request.guidance))}
    return body | ({} if request.steps is None else {"steps": min(50, max(15, request.steps))})


def _build_expand_body(order: RenderRequest) -> dict[str, Any]:
    outpaint = order.request.outpaint
    sides = (
        {side: min(2048, getattr(outpaint, side)) for side in ("top", "bottom", "left", "right")} if outpaint else {}
    )
    if not any(sides.values()):
        raise InvalidRequest("No outpainting size given.", hint="Set at least one side above 0 px.")
    return {
        **_build_prompt_field(order, required=False),
        "image": _encode_source(order),
        "output_format": "png",
        **sides,
    }


def _build_erase_body(order: RenderRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"image": _encode_source(order), "output_format": "png"}
    assert order.request.mask is not None
    mask = make_white_mask(order.images[order.request.mask], invert=order.request.inpaint.invert)
    return {**body, "mask": _encode_base64(mask), "dilate_pixels": min(25, order.request.inpaint.mask_blur)}


def _make_bfl_model(
    title: str,
    body: Callable[[RenderRequest], dict[str, Any]],
    tasks: str,
    price: tuple[float, float],
    sizes: Sizes,
    *features: Feature,
    quality: Quality = Quality.STANDARD,
) -> BflModel:
    return BflModel(
        title=title,
        body=body,
        tasks=frozenset(map(Task, tasks.split())),
        features=frozenset(features),
        sizes=sizes,
        price=price,
        quality=quality,
    )


_S, _G, _N, _R = Feature.SEED, Feature.GUIDANCE, Feature.STEPS, Feature.REFERENCE
_MODELS: dict[str, BflModel] = {
    "flux-3-image": _make_bfl_model(
        "FLUX 3", _build_flux3_body, "txt2img edit", (0.048, 0), _ANY_SIZE, _R, quality=Quality.BEST
    ),
    "flux-2-max": _make_bfl_model(
        "FLUX.2 max", _build_flux2_body, "txt2img edit", (0.07, 0.03), _FREE_SIZES, _S, _R, quality=Quality.BEST
    ),
    "flux-2-pro": _make_bfl_model(
        "FLUX.2 pro", _build_flux2_body, "txt2img edit", (0.03, 0.015), _FREE_SIZES, _S, _R, quality=Quality.HIGH
    ),
    "flux-2-flex": _make_bfl_model(
        "FLUX.2 flex",
        _build_flux2_body,
        "txt2img edit",
        (0.05, 0.05),
        _FREE_SIZES,
        _S,
        _G,
        _N,
        _R,
        quality=Quality.HIGH,
    ),
    "flux-2-klein-9b": _make_bfl_model(
        "FLUX.2 klein 9B", _build_flux2_body, "txt2img edit", (0.015, 0.002), _FREE_SIZES, _S, _R
    ),
    "flux-2-klein-4b": _make_bfl_model(
        "FLUX.2 klein 4B", _build_flux2_body, "txt2img edit", (0.014, 0.001), _FREE_SIZES, _S, _R, quality=Quality.DRAFT
    ),
    "flux-pro-1.1-ultra": _make_bfl_model(
        "FLUX.1.1 pro ultra", _build_ultra_body, "txt2img", (0.06, 0), _ANY_SIZE, _S, quality=Quality.HIGH
    ),
    "flux-pro-1.1": _make_bfl_model("FLUX.1.1 pro", _build_flux11_body, "txt2img", (0.04, 0), _PRO11_SIZES, _S),
    "flux-dev": _make_bfl_model("FLUX.1 dev", _build_flux11_body, "txt2img", (0.025, 0), _PRO11_SIZES, _S, _G, _N),
    "flux-kontext-max": _make_bfl_model(
        "FLUX.1 Kontext max", _build_kontext_body, "txt2img edit", (0.08, 0), _ANY_SIZE, _S, _R, quality=Quality.HIGH
    ),
    "flux-kontext-pro": _make_bfl_model(
        "FLUX.1 Kontext pro", _build_kontext_body, "txt2img edit", (0.04, 0), _ANY_SIZE, _S, _R
    ),
    "flux-pro-1.0-fill": _make_bfl_model("FLUX.1 Fill", _build_fill_body, "inpaint", (0.05, 0), _ANY_SIZE, _S, _G, _N),
    "flux-pro-1.0-expand": _make_bfl_model("FLUX.1 Expand", _build_expand_body, "outpaint", (0.05, 0), _ANY_SIZE, _S),
    "flux-tools/erase-v1": _make_bfl_model("FLUX Erase", _build_erase_body, "erase", (0.03, 0.004), _ANY_SIZE, _S),
}


def _list_cloud_models() -> Sequence[CloudModel]:
    return [_build_cloud_model(name, kind) for name, kind in _MODELS.items()]


def _build_cloud_model(name: str, kind: BflModel) -> CloudModel:
    model = Model(
        id=f"bfl/{name}",
        title=kind.title,
        family="flux",
        lane="bfl",
        tasks=kind.tasks,
        features=kind.features,
        sizes=kind.sizes,
        max_count=10,
        max_batch=1,
        paid=True,
        quality=kind.quality,
        ignores="The exact size; the nearest supported aspect ratio is used."
        if kind.sizes is _ANY_SIZE and Task.TXT2IMG in kind.tasks
        else "",
    )

    def price(request: GenerationRequest, sizes: ImageSizes) -> float:
        return _estimate_price(kind, request, sizes) * request.count

    return CloudModel(name=name, model=model, price=price, source=_PRICES, date=_DATE)


def _estimate_price(kind: BflModel, request: GenerationRequest, sizes: ImageSizes) -> float:
    """US dollars of one image by the megapixels that come out, and of each image that goes in as it is sent."""
    first, more = kind.price
    if not more:
        return first
    source = sizes.get(request.source or "")
    if request.task is Task.ERASE:
        return first + more * (_count_megapixels(*(source or kind.sizes.liked[0])) - 1)
    follows = source is not None and not (request.width or request.aspect)
    drawn = source if follows and source else kind.sizes.fit_size(request.width, request.height, request.aspect)
    inputs = [name for name in (request.source, *(one.image for one in request.references)) if name]
    sent = sum(_count_megapixels(*sizes.get(name, (1024, 1024))) for name in inputs)
    return first + more * (_count_megapixels(*drawn) - 1 + sent)


def _count_megapixels(width: int, height: int) -> int:
    """Whole megapixels, as they are billed, of an image that is sent or made."""
    return math.ceil(min(width * height, _MAX_INPUT_PIXELS) / 2**20)


PROVIDER = ProviderSpec(
    id="bfl",
    title=_TITLE,
    keys=("BFL_API_KEY",),
    site="dashboard.bfl.ai",
    base_url="https://api.bfl.ai",
    base_env="BFL_BASE_URL",
    hosts=("api.bfl.ai", ".bfl.ai"),
    models=_list_cloud_models,
    draw=draw_bfl_images,
    check=check_bfl,
    header=lambda key: {"x-key": key},
    fault=map_bfl_error,
)
