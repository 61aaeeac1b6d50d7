"""Ideogram 3, 4 and 4.5 by the vendor's second dialect: images from text, remixes, edits with black masks, tools."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.errors import PaymentNeeded, StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.pricing import ImageSizes
from studio.core.provider import CloudModel, HttpRequest, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common import ideogram_fields as fields
from studio.providers.common.ideogram_fields import MAX_SEED, Fields, Files
from studio.providers.common.kept_state import make_order_key
from studio.providers.common.order_polling import Order, OrderPolling, load_result, send_order, wait_for_order
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

_TITLE = "Ideogram"
_PRICES, _DATE = "https://ideogram.ai/features/api-pricing", "2026-11-16"
_ANY_SIZE = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)
_FREE_SIZES = Sizes(liked=((1024, 1024),), multiple=16, smallest=512, largest=2560, max_pixels=2048 * 2048)


@dataclass(frozen=True)
class IdeogramRoute:
    """One route below /v2/image/: what to send for an order, US dollars an image, and the fields that are fixed."""

    path: str
    usd: float
    prepare: Callable[[RenderRequest], tuple[Fields, Files]]
    fixed: Mapping[str, str]
    seeded: bool = True


@dataclass(frozen=True, kw_only=True)
class IdeogramModel:
    """One model of the list: its route for each task."""

    title: str
    routes: Mapping[Task, IdeogramRoute]
    features: frozenset[Feature] = frozenset()
    sizes: Sizes = _ANY_SIZE
    quality: Quality = Quality.STANDARD
    ignores: str = ""


def build_ideogram_call(order: RenderRequest, seed: int) -> HttpRequest:
    """The call that draws the image of `seed`. Text alone goes as JSON, images as multipart. Pure."""
    route = _MODELS[order.model].routes[order.request.task]
    form, files = route.prepare(order)
    if route.seeded:
        form = {**form, "seed": str(seed % (MAX_SEED + 1)), "num_images": "1"}
    form = {**form, **route.fixed}
    if files:
        return HttpRequest(method="POST", path=f"/v2/image/{route.path}", form=form, files=tuple(files), seconds=300)
    numbers = {name: int(form[name]) for name in ("seed", "num_images") if name in form}
    return HttpRequest(method="POST", path=f"/v2/image/{route.path}", json={**form, **numbers}, seconds=300)


def draw_ideogram_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """One call per seed, so that each image has a seed of its own."""
    route = _MODELS[order.model].routes[order.request.task]
    drawn: list[RenderedImage] = []
    for number, seed in enumerate(order.seeds):
        order.context.report_progress(number, len(order.seeds))
        call = build_ideogram_call(order, seed.seed)
        sent = send_order(wire, make_order_key(call), lambda call=call: read_json(_TITLE, wire.send(call)))
        if "data" in sent.task:
            one = load_result(wire, sent, lambda sent=sent, seed=seed: _load_image(sent.task, wire, seed.seed))
        else:
            one = _wait_for_task(sent, wire, seed.seed)
        cost = route.usd if one.cost is None else one.cost
        drawn.append(dataclasses.replace(one, cost=cost, ordered_at=sent.ordered_at))
    return drawn


def map_ideogram_error(answer: HttpResponse) -> StudioError:
    """Translate an error response; what it rejects is not billed."""
    message = find_message(answer, "error", "detail", "title", "message")
    reason = find_field(answer, "reject_reason")
    if answer.status == 422:
        return make_refusal_error(_TITLE, message, billed=False)
    if answer.status == 402 and reason not in ("", "insufficient_funds"):
        return PaymentNeeded(
            f"Your plan at {_TITLE} does not cover this ({reason.replace('_', ' ')[:80]}).",
            hint="Change the plan on the provider's page, or pick another model.",
        )
    return make_credit_error(_TITLE) if answer.status == 402 else make_status_error(_TITLE, answer, message, wait=10.0)


def check_ideogram(wire: ProviderClient) -> str:
    """Asks for an image that nobody has ordered: a key that works learns that there is none, and nothing is billed."""
    look = HttpRequest(method="GET", path="/v2/generations/none", paid=False, seconds=20)
    wire.send(look, understood=(200, 400, 404))
    return "The key works."


def _load_image(answer: Mapping[str, Any], wire: ProviderClient, seed: int) -> RenderedImage:
    """The image that an answer names; `seed` is its own where the answer tells none."""
    entry = _find_image_entry(answer)
    micros, told = answer.get("usage_cost_usd_micros"), entry.get("seed", answer.get("seed"))
    return RenderedImage(
        image=wire.download(str(entry["url"])),
        seed=read_seed(told, seed),
        cost=micros / 1e6 if isinstance(micros, int | float) else None,
    )


def _wait_for_task(order: Order, wire: ProviderClient, seed: int) -> RenderedImage:
    """The image of a task that is worked on after the first answer."""
    name = str(order.task.get("generation_id") or "")
    if not name:
        raise make_answer_error(_TITLE, "no image")
    look = HttpRequest(method="GET", path=f"/v2/generations/{name}", paid=False, seconds=30)
    polling = OrderPolling(
        title=_TITLE,
        name=name,
        order=order,
        look=look,
        read=lambda found: read_json(_TITLE, found),
    )
    return wait_for_order(wire, polling, lambda found: _judge_state(found, wire, seed))


def _judge_state(found: Mapping[str, Any], wire: ProviderClient, seed: int) -> RenderedImage | None:
    match found.get("status"):
        case "completed":
            return _load_image(found, wire, seed)
        case "failed":
            raise _make_task_error(str(found.get("failure_reason") or ""))
        case _:
            return None


def _make_task_error(reason: str) -> StudioError:
    if any(word in reason.lower() for word in ("safety", "moderat", "copyright")):
        return make_refusal_error(_TITLE, reason, billed=False)
    return make_answer_error(_TITLE, f"a failed task {reason}".strip())


def _find_image_entry(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    data = answer.get("data")
    entry = data[0] if isinstance(data, list) and data else None
    if not isinstance(entry, dict):
        raise make_answer_error(_TITLE, "no image")
    if entry.get("is_image_safe") is False:
        raise make_refusal_error(_TITLE, "its safety check withheld the image", billed=True)
    if not entry.get("url"):
        raise make_answer_error(_TITLE, "no image")
    return entry


_SEED, _NEGATIVE, _STRENGTH = Feature.SEED, Feature.NEGATIVE_PROMPT, Feature.STRENGTH
_ASPECT_NOTE = "The exact size, unless it is one of the vendor's own: the nearest aspect ratio is drawn. "
_OUTPAINT_NOTE = "Outpainting takes the nearest shape and places the image itself."
_REFERENCE = Feature.REFERENCE


def _make_v3_model(title: str, speed: str, usd: float, quality: Quality) -> IdeogramModel:
    fixed = {"rendering_speed": speed}
    routes = {
        Task.TXT2IMG: IdeogramRoute("generate/ideogram-3", usd, fields.build_generate3_form, fixed),
        Task.IMG2IMG: IdeogramRoute("remix/ideogram-3", usd, fields.build_remix3_form, fixed),
        Task.INPAINT: IdeogramRoute("inpaint/ideogram-3", usd, fields.build_inpaint3_form, fixed),
        Task.OUTPAINT: IdeogramRoute("reframe/ideogram-3", usd, fields.build_reframe3_form, fixed),
        Task.REPLACE_BACKGROUND: IdeogramRoute(
            "replace-background/ideogram-3", usd, fields.build_background3_form, fixed
        ),
    }
    return IdeogramModel(
        title=title,
        routes=routes,
        features=frozenset({_SEED, _NEGATIVE, _STRENGTH, _REFERENCE}),
        quality=quality,
        ignores=f"{_ASPECT_NOTE}{_OUTPAINT_NOTE} The negative prompt counts only where it draws from text or remixes.",
    )


def _make_v4_model(title: str, speed: str, usd: float, quality: Quality) -> IdeogramModel:
    fixed = {"rendering_speed": speed}
    routes = {
        Task.TXT2IMG: IdeogramRoute("generate/ideogram-4", usd, fields.build_generate4_form, fixed),
        Task.IMG2IMG: IdeogramRoute("remix/ideogram-4", usd, fields.build_remix4_form, fixed),
    }
    ignores = (
        "The exact size: the nearest of a few shapes is drawn at about four megapixels. It has no negative prompt."
    )
    return IdeogramModel(
        title=title, routes=routes, features=frozenset({_SEED, _STRENGTH}), quality=quality, ignores=ignores
    )


def _make_v45_model(title: str, level: str, prices: tuple[float, float], quality: Quality) -> IdeogramModel:
    fixed = {"quality": level}
    edit = IdeogramRoute("precise-edit/ideogram-4-5", prices[1], fields.build_edit45_form, fixed, seeded=False)
    routes = {
        Task.TXT2IMG: IdeogramRoute("generate/ideogram-4-5", prices[0], fields.build_generate45_form, fixed),
        Task.EDIT: edit,
        Task.INPAINT: edit,
    }
    return IdeogramModel(
        title=title,
        routes=routes,
        features=frozenset({_SEED, _REFERENCE}),
        sizes=_FREE_SIZES,
        quality=quality,
        ignores="It has no negative prompt; edits pass over the seed, drawing from text passes over references.",
    )


def _make_tool_model(title: str, task: Task, route: IdeogramRoute) -> IdeogramModel:
    return IdeogramModel(title=title, routes={task: route})


_MODELS: dict[str, IdeogramModel] = {
    "ideogram-4-5-high": _make_v45_model("Ideogram 4.5, high", "high", (0.10, 0.22), Quality.BEST),
    "ideogram-4-5": _make_v45_model("Ideogram 4.5", "medium", (0.06, 0.06), Quality.HIGH),
    "ideogram-4-5-low": _make_v45_model("Ideogram 4.5, low", "low", (0.03, 0.03), Quality.DRAFT),
    "ideogram-4-quality": _make_v4_model("Ideogram 4, quality", "quality", 0.10, Quality.BEST),
    "ideogram-4": _make_v4_model("Ideogram 4", "default", 0.06, Quality.HIGH),
    "ideogram-4-turbo": _make_v4_model("Ideogram 4 turbo", "turbo", 0.03, Quality.DRAFT),
    "ideogram-3-quality": _make_v3_model("Ideogram 3, quality", "quality", 0.09, Quality.HIGH),
    "ideogram-3": _make_v3_model("Ideogram 3", "default", 0.06, Quality.STANDARD),
    "ideogram-3-turbo": _make_v3_model("Ideogram 3 turbo", "turbo", 0.03, Quality.DRAFT),
    "remove-background": _make_tool_model(
        "Ideogram remove background",
        Task.REMOVE_BACKGROUND,
        IdeogramRoute("remove-background/ideogram-1", 0.01, fields.build_cutout_form, {}, seeded=False),
    ),
    "remove-object": _make_tool_model(
        "Ideogram remove object",
        Task.ERASE,
        IdeogramRoute("remove-object/ideogram-1", 0.03, fields.build_object_removal_form, {}, seeded=False),
    ),
}


def _list_cloud_models() -> Sequence[CloudModel]:
    return [_build_cloud_model(name, kind) for name, kind in _MODELS.items()]


def _build_cloud_model(name: str, kind: IdeogramModel) -> CloudModel:
    model = Model(
        id=f"ideogram/{name}",
        title=kind.title,
        family="ideogram",
        lane="ideogram",
        tasks=frozenset(kind.routes),
        features=kind.features,
        sizes=kind.sizes,
        max_count=10,
        max_batch=1,
        paid=True,
        quality=kind.quality,
        ignores=kind.ignores,
    )

    def price(request: GenerationRequest, sizes: ImageSizes) -> float | None:
        route = kind.routes.get(request.task)
        return None if route is None else route.usd * request.count

    return CloudModel(name=name, model=model, price=price, source=_PRICES, date=_DATE)


PROVIDER = ProviderSpec(
    id="ideogram",
    title=_TITLE,
    keys=("IDEOGRAM_API_KEY",),
    site="ideogram.ai/manage-api",
    base_url="https://api.ideogram.ai",
    base_env="IDEOGRAM_BASE_URL",
    hosts=("ideogram.ai", ".ideogram.ai"),
    models=_list_cloud_models,
    draw=draw_ideogram_images,
    check=check_ideogram,
    header=lambda key: {"Api-Key": key},
    fault=map_ideogram_error,
)
