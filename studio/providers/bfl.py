"""Black Forest Labs: FLUX 3, FLUX.2 and FLUX.1 with their editing tools. Every task is submitted once and polled."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from studio.core.errors import InvalidRequest, StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.provider import Answer, Call, CloudModel, Order, ProviderSpec, Wire
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.task import Task
from studio.providers.common.http_wire import polled
from studio.providers.common.request_shapes import encoded, fitted, nearest_aspect, white_changes
from studio.providers.common.service_errors import by_status, json_of, no_money, odd, refused, words_in

_TITLE = "Black Forest Labs"
_ASPECTS3 = ("1:1", "21:9", "2:1", "16:9", "3:2", "7:5", "4:3", "5:4", "4:5", "3:4", "5:7", "2:3", "9:16", "1:2")
_ULTRA = ("16:9", "21:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21")
_KONTEXT = ("1:1", "7:3", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "3:7")
_PRICES, _DATE = "https://bfl.ai/pricing", "2026-11-20"
_PATIENCE = 600.0  # seconds for one task
_MOST_INPUT = 16_000_000  # px of a picture that is sent
_FREE = Sizes(liked=((1024, 1024),), multiple=16, smallest=64, largest=4096, max_pixels=4_000_000)
_PRO11 = Sizes(liked=((1024, 1024),), multiple=32, smallest=256, largest=1440, max_pixels=1440 * 1440)
_ANY = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One route: the body that an order becomes, the models' limits, and US dollars of (the first, each further) megapixel."""

    title: str
    body: Callable[[Order], dict[str, Any]]
    tasks: frozenset[Task]
    features: frozenset[Feature]
    sizes: Sizes
    price: tuple[float, float]
    quality: Quality = Quality.STANDARD


def prepare(order: Order, seed: int) -> Call:
    """The call that submits the picture of `seed`. Pure."""
    kind = _KINDS[order.model]
    body = kind.body(order)
    if Feature.SEED in kind.features:
        body["seed"] = seed
    return Call(method="POST", path=f"/v1/{order.model}", json=body, seconds=60)


def draw(order: Order, wire: Wire) -> list[Rendered]:
    """One task per seed, each submitted once and polled at the address that the service gives."""
    drawn: list[Rendered] = []
    for number, seed in enumerate(order.seeds):
        order.context.progress(number, len(order.seeds))
        task = json_of(_TITLE, wire.send(prepare(order, seed.seed)))
        result = _finished(task, wire)
        cost = task.get("cost")
        drawn.append(
            Rendered(
                image=wire.download(str(result.get("sample", ""))), seed=int(result.get("seed") or seed.seed),
                cost=float(cost) / 100 if isinstance(cost, int | float) else None,
            )
        )  # fmt: skip
    return drawn


def fault(answer: Answer) -> StudioError:
    """What an error of the service means; a task that failed may come as one."""
    told = words_in(answer, "detail", "message", "details")
    status = words_in(answer, "status")
    if status in _ENDS:
        return _ended(status, told)
    if answer.status == 403:
        return by_status(_TITLE, Answer(status=401, headers={}, body=b""), told)
    return by_status(_TITLE, answer, told, wait=10.0)


def check(wire: Wire) -> str:
    """The credits that are left, which costs nothing to ask."""
    answer = wire.send(Call(method="GET", path="/v1/credits", paid=False, seconds=20))
    left = json_of(_TITLE, answer).get("credits")
    return f"The key works. {left:g} credits are left." if isinstance(left, int | float) else "The key works."


_ENDS = ("Request Moderated", "Content Moderated", "Error", "Task not found")


def _finished(task: Mapping[str, Any], wire: Wire) -> Mapping[str, Any]:
    name = str(task.get("id", ""))
    if not name:
        raise odd(_TITLE, "no task")
    address = str(task.get("polling_url") or f"/v1/get_result?id={name}")
    look = Call(method="GET", path=address, paid=False, seconds=30)
    for count in polled(wire, seconds=_PATIENCE, first=0.5, longest=3.0):
        answer = wire.send(look, understood=(200, 404))
        found = json_of(_TITLE, answer)
        status = str(found.get("status", "Task not found" if answer.status == 404 else ""))
        if status == "Ready":
            result = found.get("result")
            if not isinstance(result, dict) or not result.get("sample"):
                raise odd(_TITLE, "no picture")
            return result
        if status in _ENDS and not (status == "Task not found" and count < 4):
            raise _ended(status, json.dumps(found.get("details") or ""))
    raise AssertionError("polled ends by raising")


def _ended(status: str, told: str) -> StudioError:
    if "Moderated" in status:
        return refused(_TITLE, f"{status.lower()} {told}".strip(), billed=False)
    if "credit" in told.lower():
        return no_money(_TITLE)
    return odd(_TITLE, f"“{status}” {told}".strip())


def _text(image: Image.Image) -> str:
    return base64.b64encode(encoded(fitted(image, most_pixels=_MOST_INPUT))[0]).decode()


def _source(order: Order) -> str:
    assert order.request.source is not None
    return _text(order.pictures[order.request.source])


def _prompt(order: Order, *, required: bool = True) -> dict[str, Any]:
    if required and not order.request.prompt.strip():
        raise InvalidRequest(f"{_TITLE} needs a prompt for this.", hint="Say what the picture is to show.")
    return {"prompt": order.request.prompt}


def _inputs(order: Order, first: str = "input_image") -> dict[str, Any]:
    """The source and the references as input_image, input_image_2, …"""
    request = order.request
    names = [name for name in (request.source, *(one.picture for one in request.references)) if name]
    return {first if k == 0 else f"{first}_{k + 1}": _text(order.pictures[name]) for k, name in enumerate(names)}


def _side(order: Order, sizes: Sizes) -> dict[str, Any]:
    width, height = sizes.fit(order.request.width, order.request.height, order.request.aspect)
    return {"width": width, "height": height}


def _flux3(order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {
        **_prompt(order),
        "aspect_ratio": nearest_aspect(order.request, _ASPECTS3),
        "resolution": "1k",
    }
    images = list(_inputs(order).values())
    return {**body, "images": images} if images else body


def _flux2(order: Order) -> dict[str, Any]:
    body = {**_prompt(order), "output_format": "png", **_inputs(order)}
    request = order.request
    if request.source is None or request.width or request.aspect:
        body |= _side(order, _FREE)
    if order.model == "flux-2-flex":
        body |= {} if request.guidance is None else {"guidance": min(10.0, max(1.5, request.guidance))}
        body |= {} if request.steps is None else {"steps": min(50, request.steps)}
    return body


def _flux11(order: Order) -> dict[str, Any]:
    body = {**_prompt(order), "output_format": "png", **_side(order, _PRO11)}
    if order.model == "flux-dev":
        body |= {} if order.request.guidance is None else {"guidance": min(5.0, max(1.5, order.request.guidance))}
        body |= {} if order.request.steps is None else {"steps": min(50, order.request.steps)}
    return body


def _ultra(order: Order) -> dict[str, Any]:
    return {**_prompt(order), "output_format": "png", "aspect_ratio": nearest_aspect(order.request, _ULTRA)}


def _kontext(order: Order) -> dict[str, Any]:
    body = {**_prompt(order), "output_format": "png", **_inputs(order)}
    wants_shape = order.request.aspect or order.request.source is None
    return {**body, "aspect_ratio": nearest_aspect(order.request, _KONTEXT)} if wants_shape else body


def _fill(order: Order) -> dict[str, Any]:
    request = order.request
    body = {**_prompt(order, required=False), "image": _source(order), "output_format": "png"}
    if request.mask:
        body["mask"] = _text(white_changes(order.pictures[request.mask], invert=request.inpaint.invert))
    body |= {} if request.guidance is None else {"guidance": min(100.0, max(1.5, request.guidance))}
    return body | ({} if request.steps is None else {"steps": min(50, max(15, request.steps))})


def _expand(order: Order) -> dict[str, Any]:
    wish = order.request.outpaint
    sides = {side: min(2048, getattr(wish, side)) for side in ("top", "bottom", "left", "right")} if wish else {}
    if not any(sides.values()):
        raise InvalidRequest("It is not said how far the picture is to go on.", hint="Give px for at least one side.")
    return {**_prompt(order, required=False), "image": _source(order), "output_format": "png", **sides}


def _erase(order: Order) -> dict[str, Any]:
    body: dict[str, Any] = {"image": _source(order), "output_format": "png"}
    assert order.request.mask is not None
    mask = white_changes(order.pictures[order.request.mask], invert=order.request.inpaint.invert)
    return {**body, "mask": _text(mask), "dilate_pixels": min(25, order.request.inpaint.mask_blur)}


def _kind(
    title: str, body: Callable[[Order], dict[str, Any]], tasks: str, price: tuple[float, float], sizes: Sizes,
    *features: Feature, quality: Quality = Quality.STANDARD,
) -> Kind:  # fmt: skip
    return Kind(
        title=title, body=body, tasks=frozenset(map(Task, tasks.split())), features=frozenset(features), sizes=sizes,
        price=price, quality=quality,
    )  # fmt: skip


_S, _G, _N, _R = Feature.SEED, Feature.GUIDANCE, Feature.STEPS, Feature.REFERENCE
_KINDS: dict[str, Kind] = {
    "flux-3-image": _kind("FLUX 3", _flux3, "txt2img edit", (0.048, 0), _ANY, _R, quality=Quality.BEST),
    "flux-2-max": _kind("FLUX.2 max", _flux2, "txt2img edit", (0.07, 0.03), _FREE, _S, _R, quality=Quality.BEST),
    "flux-2-pro": _kind("FLUX.2 pro", _flux2, "txt2img edit", (0.03, 0.015), _FREE, _S, _R, quality=Quality.HIGH),
    "flux-2-flex": _kind(
        "FLUX.2 flex", _flux2, "txt2img edit", (0.05, 0.05), _FREE, _S, _G, _N, _R, quality=Quality.HIGH
    ),
    "flux-2-klein-9b": _kind("FLUX.2 klein 9B", _flux2, "txt2img edit", (0.015, 0.002), _FREE, _S, _R),
    "flux-2-klein-4b": _kind(
        "FLUX.2 klein 4B", _flux2, "txt2img edit", (0.014, 0.001), _FREE, _S, _R, quality=Quality.DRAFT
    ),
    "flux-pro-1.1-ultra": _kind("FLUX.1.1 pro ultra", _ultra, "txt2img", (0.06, 0), _ANY, _S, quality=Quality.HIGH),
    "flux-pro-1.1": _kind("FLUX.1.1 pro", _flux11, "txt2img", (0.04, 0), _PRO11, _S),
    "flux-dev": _kind("FLUX.1 dev", _flux11, "txt2img", (0.025, 0), _PRO11, _S, _G, _N),
    "flux-kontext-max": _kind(
        "FLUX.1 Kontext max", _kontext, "txt2img edit", (0.08, 0), _ANY, _S, _R, quality=Quality.HIGH
    ),
    "flux-kontext-pro": _kind("FLUX.1 Kontext pro", _kontext, "txt2img edit", (0.04, 0), _ANY, _S, _R),
    "flux-pro-1.0-fill": _kind("FLUX.1 Fill", _fill, "inpaint", (0.05, 0), _ANY, _S, _G, _N),
    "flux-pro-1.0-expand": _kind("FLUX.1 Expand", _expand, "outpaint", (0.05, 0), _ANY, _S),
    "flux-tools/erase-v1": _kind("FLUX Erase", _erase, "erase", (0.03, 0.004), _ANY, _S),
}


def _models() -> Sequence[CloudModel]:
    return [_entry(name, kind) for name, kind in _KINDS.items()]


def _entry(name: str, kind: Kind) -> CloudModel:
    model = Model(
        id=f"bfl/{name}", title=kind.title, family="flux", lane="bfl", tasks=kind.tasks, features=kind.features, sizes=kind.sizes,
        max_count=10, max_batch=1, paid=True, quality=kind.quality,
        ignores="The exact size: the nearest aspect ratio is drawn." if kind.sizes is _ANY and Task.TXT2IMG in kind.tasks else "",
    )  # fmt: skip

    def price(request: GenerationRequest) -> float:
        first, more = kind.price
        width, height = kind.sizes.fit(request.width, request.height, request.aspect)
        megapixels = math.ceil(width * height / 2**20) if more else 1
        inputs = bool(request.source) + len(request.references) if more else 0
        return (first + more * (megapixels - 1 + inputs)) * request.count

    return CloudModel(name=name, model=model, price=price, source=_PRICES, date=_DATE)


PROVIDER = ProviderSpec(
    id="bfl",
    title=_TITLE,
    keys=("BFL_API_KEY",),
    site="dashboard.bfl.ai",
    base_url="https://api.bfl.ai",
    base_env="BFL_BASE_URL",
    hosts=("api.bfl.ai", ".bfl.ai"),
    models=_models,
    draw=draw,
    check=check,
    header=lambda key: {"x-key": key},
    fault=fault,
)
