"""Stability AI: Ultra, Core and SD3.5, its editing, control and upscale routes. One picture per call, multipart always."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.provider import Answer, Call, CloudModel, Order, ProviderSpec, Wire
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.task import Task
from studio.providers.common import stability_fields as fields
from studio.providers.common.http_wire import polled
from studio.providers.common.request_shapes import from_base64
from studio.providers.common.service_errors import by_status, json_of, odd, refused, words_in
from studio.providers.common.stability_fields import Fields, Files

_TITLE = "Stability AI"
_ROUTES = "/v2beta/stable-image/"
_PRICES = "https://platform.stability.ai/pricing"
_DATE = "2026-11-20"
_MOST_SEED = 4294967294
_ASYNC_WAIT = 10.0  # seconds at least between two looks
_SIZES = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)


@dataclass(frozen=True)
class Route:
    """One route: what to send for an order, `cents` a picture, and whether it has to be polled."""

    path: str
    cents: float
    prepare: Callable[[Order], tuple[Fields, Files]]
    polled: bool = False


def prepare(order: Order, seed: int) -> Call:
    """The call that draws the picture of `seed`. Pure."""
    route = _route(order)
    form, files = route.prepare(order)
    common = {"seed": str(min(seed, _MOST_SEED)), "output_format": "png"}
    if order.request.task is Task.REMOVE_BACKGROUND or route.path == "upscale/fast":
        del common["seed"]
    return Call(
        method="POST", path=_ROUTES + route.path, headers={"Accept": "application/json"}, form={**common, **form},
        files=tuple(files),
    )  # fmt: skip


def draw(order: Order, wire: Wire) -> list[Rendered]:
    """One call per seed."""
    cents = _route(order).cents
    drawn: list[Rendered] = []
    for number, seed in enumerate(order.seeds, 1):
        order.context.progress(number - 1, len(order.seeds))
        answer = wire.send(prepare(order, seed.seed))
        told = _read(_finished(answer, wire) if _route(order).polled else answer)
        image = wire.picture(_decoded(told))
        drawn.append(Rendered(image=image, seed=int(told.get("seed") or seed.seed), cost=cents / 100))
    return drawn


def fault(answer: Answer) -> Exception:
    """What an error of the service means."""
    told = words_in(answer, "errors", "message")
    if answer.status == 403:
        return refused(_TITLE, told, billed=False)
    return by_status(_TITLE, answer, told, wait=60.0)


def check(wire: Wire) -> str:
    """The balance, which costs nothing to ask."""
    answer = wire.send(Call(method="GET", path="/v1/user/balance", paid=False, seconds=20))
    try:
        return f"The key works. {float(answer.json()['credits']):.1f} credits are left."
    except (ValueError, KeyError, TypeError):
        return "The key works."


def _read(answer: Answer) -> dict[str, Any]:
    told = json_of(_TITLE, answer)
    if told.get("finish_reason") == "CONTENT_FILTERED":
        raise refused(_TITLE, "the picture that it made was blurred", billed=True)
    return told


def _decoded(told: Mapping[str, Any]) -> bytes:
    try:
        return from_base64(told["image"])
    except (KeyError, ValueError, TypeError) as error:
        raise odd(_TITLE, "no picture") from error


def _finished(answer: Answer, wire: Wire) -> Answer:
    """The result of a task that is worked on after the first answer."""
    name = str(_read(answer).get("id", ""))
    look = Call(
        method="GET", path=f"/v2beta/results/{name}", headers={"Accept": "application/json"}, paid=False, seconds=60
    )
    for _ in polled(wire, seconds=600.0, first=_ASYNC_WAIT):
        found = wire.send(look, understood=(200, 202))
        if found.status == 200:
            return found
    raise AssertionError("polled ends by raising")


_EDITS: dict[Task, Route] = {
    Task.INPAINT: Route("edit/inpaint", 5, fields.masked),
    Task.ERASE: Route("edit/erase", 5, fields.masked),
    Task.OUTPAINT: Route("edit/outpaint", 4, fields.outpaint),
    Task.SEARCH_REPLACE: Route("edit/search-and-replace", 5, fields.replace),
    Task.SEARCH_RECOLOR: Route("edit/search-and-recolor", 5, fields.replace),
    Task.REMOVE_BACKGROUND: Route("edit/remove-background", 5, fields.plain),
    Task.REPLACE_BACKGROUND: Route("edit/replace-background-and-relight", 8, fields.relight, polled=True),
    Task.SKETCH: Route("control/sketch", 5, fields.control),
    Task.STRUCTURE: Route("control/structure", 5, fields.control),
    Task.STYLE_TRANSFER: Route("control/style-transfer", 8, fields.style),
}
_DRAWS: dict[str, Route] = {
    "ultra": Route("generate/ultra", 8, fields.generate),
    "core": Route("generate/core", 3, fields.generate),
    "sd3.5-large": Route("generate/sd3", 6.5, fields.generate),
    "sd3.5-large-turbo": Route("generate/sd3", 4, fields.generate),
    "sd3.5-medium": Route("generate/sd3", 3.5, fields.generate),
    "sd3.5-flash": Route("generate/sd3", 2.5, fields.generate),
}
_UPSCALES: dict[str, Route] = {
    "fast": Route("upscale/fast", 2, fields.upscale),
    "conservative": Route("upscale/conservative", 40, fields.upscale),
    "creative": Route("upscale/creative", 60, fields.upscale, polled=True),
}
_QUALITY = {"core": Quality.STANDARD, "ultra": Quality.BEST, "sd3.5-large": Quality.HIGH, "sd3.5-flash": Quality.DRAFT}


def _route(order: Order) -> Route:
    if order.model == "edit":
        return _EDITS[order.request.task]
    return (_DRAWS | _UPSCALES)[order.model]


def _models() -> Sequence[CloudModel]:
    words = frozenset({Feature.NEGATIVE_PROMPT, Feature.SEED})
    drawing = [
        _entry(
            name, f"Stability {name.title() if name in ('ultra', 'core') else name.upper().replace('SD3.5', 'SD3.5', 1)}",
            {Task.TXT2IMG} | ({Task.IMG2IMG} if name != "core" else set()),
            words | ({Feature.STRENGTH} if name != "core" else set()) | ({Feature.GUIDANCE} if name.startswith("sd3.5") else set()),
        )
        for name in _DRAWS
    ]  # fmt: skip
    upscaling = [_entry(name, f"Stability upscale, {name}", {Task.UPSCALE}, words) for name in _UPSCALES]
    return [*drawing, _entry("edit", "Stability edit and control", set(_EDITS), words | {Feature.STRENGTH}), *upscaling]


def _entry(name: str, title: str, tasks: set[Task], features: frozenset[Feature] | set[Feature]) -> CloudModel:
    model = Model(
        id=f"stability/{name}", title=title, family="stability", lane="stability", tasks=frozenset(tasks), features=frozenset(features),
        sizes=_SIZES, max_count=10, max_batch=1, paid=True, quality=_QUALITY.get(name, Quality.STANDARD),
        ignores="The exact size: the nearest of nine aspect ratios is drawn." if Task.TXT2IMG in tasks else "",
    )  # fmt: skip
    return CloudModel(name=name, model=model, price=lambda request: _price(name, request), source=_PRICES, date=_DATE)


def _price(name: str, request: GenerationRequest) -> float:
    route = _EDITS[request.task] if name == "edit" else (_DRAWS | _UPSCALES)[name]
    return route.cents / 100 * request.count


PROVIDER = ProviderSpec(
    id="stability",
    title=_TITLE,
    keys=("STABILITY_API_KEY", "STABILITY_KEY"),
    site="platform.stability.ai/account/keys",
    base_url="https://api.stability.ai",
    base_env="STABILITY_BASE_URL",
    hosts=("api.stability.ai",),
    models=_models,
    draw=draw,
    check=check,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=fault,
)
