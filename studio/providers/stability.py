"""Stability AI: Ultra, Core and SD3.5, its editing, control and upscale routes. One image per call, multipart
always."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.base64_text import decode_base64
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.provider import CloudModel, HttpRequest, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common import stability_fields as fields
from studio.providers.common.kept_state import make_order_key
from studio.providers.common.order_polling import OrderPolling, send_order, wait_for_order
from studio.providers.common.service_errors import (
    find_message,
    make_answer_error,
    make_refusal_error,
    make_status_error,
    read_json,
    read_seed,
)
from studio.providers.common.stability_fields import Fields, Files

_TITLE = "Stability AI"
_API_PATH = "/v2beta/stable-image/"
_PRICES = "https://platform.stability.ai/pricing"
_DATE = "2026-11-20"
_MAX_SEED = 4294967294
_MIN_POLL_INTERVAL = 10.0  # seconds at least between two looks
_SIZES = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)


@dataclass(frozen=True)
class StabilityRoute:
    """One route: what to send for an order, `cents` an image, and whether it has to be polled."""

    path: str
    cents: float
    prepare: Callable[[RenderRequest], tuple[Fields, Files]]
    polled: bool = False


def build_stability_call(order: RenderRequest, seed: int) -> HttpRequest:
    """The call that draws the image of `seed`. Pure."""
    route = _find_route(order)
    form, files = route.prepare(order)
    common = {"seed": str(min(seed, _MAX_SEED)), "output_format": "png"}
    if order.request.task is Task.REMOVE_BACKGROUND or route.path == "upscale/fast":
        del common["seed"]
    return HttpRequest(
        method="POST",
        path=_API_PATH + route.path,
        headers={"Accept": "application/json"},
        form={**common, **form},
        files=tuple(files),
    )


def draw_stability_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """One call per seed."""
    cents = _find_route(order).cents
    drawn: list[RenderedImage] = []
    for number, seed in enumerate(order.seeds, 1):
        order.context.report_progress(number - 1, len(order.seeds))
        call = build_stability_call(order, seed.seed)
        if _find_route(order).polled:
            one = _draw_polled(call, wire, seed.seed)
        else:
            one = _decode_answer(_read_answer(wire.send(call)), wire, seed.seed)
        drawn.append(dataclasses.replace(one, cost=cents / 100))
    return drawn


def map_stability_error(answer: HttpResponse) -> Exception:
    """Translate an error response."""
    message = find_message(answer, "errors", "message")
    if answer.status == 403:
        return make_refusal_error(_TITLE, message, billed=False)
    return make_status_error(_TITLE, answer, message, wait=60.0)


def check_stability(wire: ProviderClient) -> str:
    """The balance, which costs nothing to ask."""
    answer = wire.send(HttpRequest(method="GET", path="/v1/user/balance", paid=False, seconds=20))
    try:
        return f"The key works. {float(answer.json()['credits']):.1f} credits left."
    except (ValueError, KeyError, TypeError):
        return "The key works."


def _read_answer(answer: HttpResponse) -> dict[str, Any]:
    return _check_answer(read_json(_TITLE, answer))


def _is_filtered(told: Mapping[str, Any]) -> bool:
    return told.get("finish_reason") == "CONTENT_FILTERED"


def _check_answer(result: dict[str, Any]) -> dict[str, Any]:
    if _is_filtered(result):
        raise make_refusal_error(_TITLE, "the image that it made was blurred", billed=True)
    return result


def _decode_answer(told: Mapping[str, Any], wire: ProviderClient, seed: int) -> RenderedImage:
    """The image in an answer; `seed` is its own where the answer names none."""
    try:
        data = decode_base64(told["image"])
    except (KeyError, ValueError, TypeError) as error:
        raise make_answer_error(_TITLE, "no image") from error
    return RenderedImage(image=wire.decode_image(data), seed=read_seed(told.get("seed"), seed))


def _draw_polled(call: HttpRequest, wire: ProviderClient, seed: int) -> RenderedImage:
    """The result of a task that is worked on after the first answer."""
    sent = send_order(wire, make_order_key(call), lambda: _read_answer(wire.send(call)))
    name = str(sent.task.get("id", ""))
    if not name:
        raise make_answer_error(_TITLE, "no task")
    look = HttpRequest(
        method="GET", path=f"/v2beta/results/{name}", headers={"Accept": "application/json"}, paid=False, seconds=60
    )
    polling = OrderPolling(
        title=_TITLE,
        name=name,
        order=sent,
        look=look,
        read=lambda found: _read_state(found, wire, seed),
        first=_MIN_POLL_INTERVAL,
        understood=(200, 202),
    )
    image: RenderedImage = wait_for_order(wire, polling, _judge_state)
    return dataclasses.replace(image, ordered_at=sent.ordered_at)


def _read_state(answer: HttpResponse, wire: ProviderClient, seed: int) -> dict[str, Any]:
    """What a look finds: nothing yet, a refusal, or under `decoded` the image. One that cannot be decoded is asked for
    again, as the answer may have been damaged on its way."""
    if answer.status == 202:
        return {}
    told = read_json(_TITLE, answer)
    return told if _is_filtered(told) else {"decoded": _decode_answer(told, wire, seed)}


def _judge_state(found: Mapping[str, Any]) -> RenderedImage | None:
    _check_answer(dict(found))
    return found.get("decoded")


_EDIT_ROUTES: dict[Task, StabilityRoute] = {
    Task.INPAINT: StabilityRoute("edit/inpaint", 5, fields.build_mask_form),
    Task.ERASE: StabilityRoute("edit/erase", 5, fields.build_mask_form),
    Task.OUTPAINT: StabilityRoute("edit/outpaint", 4, fields.build_outpaint_form),
    Task.SEARCH_REPLACE: StabilityRoute("edit/search-and-replace", 5, fields.build_search_form),
    Task.SEARCH_RECOLOR: StabilityRoute("edit/search-and-recolor", 5, fields.build_search_form),
    Task.REMOVE_BACKGROUND: StabilityRoute("edit/remove-background", 5, fields.build_source_form),
    Task.REPLACE_BACKGROUND: StabilityRoute(
        "edit/replace-background-and-relight", 8, fields.build_relight_form, polled=True
    ),
    Task.SKETCH: StabilityRoute("control/sketch", 5, fields.build_control_form),
    Task.STRUCTURE: StabilityRoute("control/structure", 5, fields.build_control_form),
    Task.STYLE_TRANSFER: StabilityRoute("control/style-transfer", 8, fields.build_style_form),
}
_GENERATE_ROUTES: dict[str, StabilityRoute] = {
    "ultra": StabilityRoute("generate/ultra", 8, fields.build_generate_form),
    "core": StabilityRoute("generate/core", 3, fields.build_generate_form),
    "sd3.5-large": StabilityRoute("generate/sd3", 6.5, fields.build_generate_form),
    "sd3.5-large-turbo": StabilityRoute("generate/sd3", 4, fields.build_generate_form),
    "sd3.5-medium": StabilityRoute("generate/sd3", 3.5, fields.build_generate_form),
    "sd3.5-flash": StabilityRoute("generate/sd3", 2.5, fields.build_generate_form),
}
_UPSCALE_ROUTES: dict[str, StabilityRoute] = {
    "fast": StabilityRoute("upscale/fast", 2, fields.build_upscale_form),
    "conservative": StabilityRoute("upscale/conservative", 40, fields.build_upscale_form),
    "creative": StabilityRoute("upscale/creative", 60, fields.build_upscale_form, polled=True),
}
_QUALITY = {"core": Quality.STANDARD, "ultra": Quality.BEST, "sd3.5-large": Quality.HIGH, "sd3.5-flash": Quality.DRAFT}


def _find_route(order: RenderRequest) -> StabilityRoute:
    if order.model == "edit":
        return _EDIT_ROUTES[order.request.task]
    return (_GENERATE_ROUTES | _UPSCALE_ROUTES)[order.model]


def _list_cloud_models() -> Sequence[CloudModel]:
    words = frozenset({Feature.NEGATIVE_PROMPT, Feature.SEED})
    drawing = [
        _build_cloud_model(
            name,
            f"Stability {name.title() if name in ('ultra', 'core') else name.upper().replace('SD3.5', 'SD3.5', 1)}",
            {Task.TXT2IMG} | ({Task.IMG2IMG} if name != "core" else set()),
            words
            | ({Feature.STRENGTH} if name != "core" else set())
            | ({Feature.GUIDANCE} if name.startswith("sd3.5") else set()),
        )
        for name in _GENERATE_ROUTES
    ]
    upscaling = [
        _build_cloud_model(name, f"Stability upscale, {name}", {Task.UPSCALE}, words) for name in _UPSCALE_ROUTES
    ]
    return [
        *drawing,
        _build_cloud_model("edit", "Stability edit and control", set(_EDIT_ROUTES), words | {Feature.STRENGTH}),
        *upscaling,
    ]


def _build_cloud_model(
    name: str, title: str, tasks: set[Task], features: frozenset[Feature] | set[Feature]
) -> CloudModel:
    model = Model(
        id=f"stability/{name}",
        title=title,
        family="stability",
        lane="stability",
        tasks=frozenset(tasks),
        features=frozenset(features),
        sizes=_SIZES,
        max_count=10,
        max_batch=1,
        paid=True,
        quality=_QUALITY.get(name, Quality.STANDARD),
        ignores=_describe_ignored(tasks),
    )
    return CloudModel(
        name=name, model=model, price=lambda request, sizes: _estimate_price(name, request), source=_PRICES, date=_DATE
    )


def _describe_ignored(tasks: set[Task]) -> str:
    if Task.TXT2IMG in tasks:
        return "The exact size; the nearest of nine aspect ratios is used."
    return "The negative prompt, where it erases, outpaints or removes the background." if Task.ERASE in tasks else ""


def _estimate_price(name: str, request: GenerationRequest) -> float:
    route = _EDIT_ROUTES[request.task] if name == "edit" else (_GENERATE_ROUTES | _UPSCALE_ROUTES)[name]
    return route.cents / 100 * request.count


PROVIDER = ProviderSpec(
    id="stability",
    title=_TITLE,
    keys=("STABILITY_API_KEY", "STABILITY_KEY"),
    site="platform.stability.ai/account/keys",
    base_url="https://api.stability.ai",
    base_env="STABILITY_BASE_URL",
    hosts=("api.stability.ai",),
    models=_list_cloud_models,
    draw=draw_stability_images,
    check=check_stability,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=map_stability_error,
)
