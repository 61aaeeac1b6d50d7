"""Ideogram 3, 4 and 4.5 by the vendor's second dialect: pictures from text, remixes, edits with black masks, tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.errors import PaymentNeeded, StudioError
from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.provider import Answer, Call, CloudModel, Order, ProviderSpec, Wire
from studio.core.request import GenerationRequest
from studio.core.result import Rendered
from studio.core.task import Task
from studio.providers.common import ideogram_fields as fields
from studio.providers.common.http_wire import polled
from studio.providers.common.ideogram_fields import MOST_SEED, Fields, Files
from studio.providers.common.service_errors import by_status, json_of, no_money, odd, refused, words_in

_TITLE = "Ideogram"
_PRICES, _DATE = "https://ideogram.ai/features/api-pricing", "2026-11-16"
_PATIENCE = 600.0  # seconds for one task
_ANY = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)
_FREE = Sizes(liked=((1024, 1024),), multiple=16, smallest=512, largest=2560, max_pixels=2048 * 2048)


@dataclass(frozen=True)
class Route:
    """One route below /v2/image/: what to send for an order, US dollars a picture, and the fields that are fixed."""

    path: str
    usd: float
    prepare: Callable[[Order], tuple[Fields, Files]]
    fixed: Mapping[str, str]
    seeded: bool = True


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One model of the list: its route for each task."""

    title: str
    routes: Mapping[Task, Route]
    features: frozenset[Feature] = frozenset()
    sizes: Sizes = _ANY
    quality: Quality = Quality.STANDARD
    ignores: str = ""


def prepare(order: Order, seed: int) -> Call:
    """The call that draws the picture of `seed`. Text alone goes as JSON, pictures as multipart. Pure."""
    route = _KINDS[order.model].routes[order.request.task]
    form, files = route.prepare(order)
    if route.seeded:
        form = {**form, "seed": str(seed % (MOST_SEED + 1)), "num_images": "1"}
    form = {**form, **route.fixed}
    if files:
        return Call(method="POST", path=f"/v2/image/{route.path}", form=form, files=tuple(files), seconds=300)
    numbers = {name: int(form[name]) for name in ("seed", "num_images") if name in form}
    return Call(method="POST", path=f"/v2/image/{route.path}", json={**form, **numbers}, seconds=300)


def draw(order: Order, wire: Wire) -> list[Rendered]:
    """One call per seed, so that each picture has a seed of its own."""
    route = _KINDS[order.model].routes[order.request.task]
    drawn: list[Rendered] = []
    for number, seed in enumerate(order.seeds):
        order.context.progress(number, len(order.seeds))
        answer = json_of(_TITLE, wire.send(prepare(order, seed.seed)))
        if "data" not in answer:
            answer = _finished(answer, wire)
        entry = _picture_in(answer)
        micros, given = answer.get("usage_cost_usd_micros"), entry.get("seed")
        drawn.append(
            Rendered(
                image=wire.download(str(entry["url"])),
                seed=given if isinstance(given, int) and not isinstance(given, bool) else seed.seed,
                cost=micros / 1e6 if isinstance(micros, int | float) else route.usd,
            )
        )
    return drawn


def fault(answer: Answer) -> StudioError:
    """What an error of the service means; what it rejects is not billed."""
    told = words_in(answer, "error", "detail", "title", "message")
    reason = words_in(answer, "reject_reason")
    if answer.status == 422:
        return refused(_TITLE, told, billed=False)
    if answer.status == 402 and reason not in ("", "insufficient_funds"):
        return PaymentNeeded(
            f"Your plan at {_TITLE} does not cover this ({reason.replace('_', ' ')[:80]}).",
            hint="Change the plan on the provider's page, or pick another model.",
        )
    return no_money(_TITLE) if answer.status == 402 else by_status(_TITLE, answer, told, wait=10.0)


def check(wire: Wire) -> str:
    """Asks for a picture that nobody has ordered: a key that works learns that there is none, and nothing is billed."""
    look = Call(method="GET", path="/v2/generations/none", paid=False, seconds=20)
    wire.send(look, understood=(200, 400, 404))
    return "The key works."


def _finished(answer: Mapping[str, Any], wire: Wire) -> dict[str, Any]:
    """The end of a task that is worked on after the first answer."""
    name = str(answer.get("generation_id") or "")
    if not name:
        raise odd(_TITLE, "no picture")
    look = Call(method="GET", path=f"/v2/generations/{name}", paid=False, seconds=30)
    for _ in polled(wire, seconds=_PATIENCE):
        found = json_of(_TITLE, wire.send(look))
        match found.get("status"):
            case "completed":
                return found
            case "failed":
                raise _failed(str(found.get("failure_reason") or ""))
            case _:
                continue
    raise AssertionError("polled ends by raising")


def _failed(reason: str) -> StudioError:
    if any(word in reason.lower() for word in ("safety", "moderat", "copyright")):
        return refused(_TITLE, reason, billed=False)
    return odd(_TITLE, f"a failed task {reason[:200]}".strip())


def _picture_in(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    data = answer.get("data")
    entry = data[0] if isinstance(data, list) and data else None
    if not isinstance(entry, dict):
        raise odd(_TITLE, "no picture")
    if entry.get("is_image_safe") is False:
        raise refused(_TITLE, "its safety check withheld the picture", billed=True)
    if not entry.get("url"):
        raise odd(_TITLE, "no picture")
    return entry


_SEED, _WORDS, _STRENGTH = Feature.SEED, Feature.NEGATIVE_PROMPT, Feature.STRENGTH
_ASPECT = "The exact size, unless it is one of the vendor's own: the nearest aspect ratio is drawn. "
_PLACE = "Outpainting takes the nearest shape and places the picture itself."
_REFERENCE = Feature.REFERENCE


def _third(title: str, speed: str, usd: float, quality: Quality) -> Kind:
    told = {"rendering_speed": speed}
    routes = {
        Task.TXT2IMG: Route("generate/ideogram-3", usd, fields.generate3, told),
        Task.IMG2IMG: Route("remix/ideogram-3", usd, fields.remix3, told),
        Task.INPAINT: Route("inpaint/ideogram-3", usd, fields.inpaint3, told),
        Task.OUTPAINT: Route("reframe/ideogram-3", usd, fields.reframe3, told),
        Task.REPLACE_BACKGROUND: Route("replace-background/ideogram-3", usd, fields.background3, told),
    }
    return Kind(
        title=title, routes=routes, features=frozenset({_SEED, _WORDS, _STRENGTH, _REFERENCE}), quality=quality,
        ignores=f"{_ASPECT}{_PLACE} The negative prompt counts only where it draws from text or remixes.",
    )  # fmt: skip


def _fourth(title: str, speed: str, usd: float, quality: Quality) -> Kind:
    told = {"rendering_speed": speed}
    routes = {
        Task.TXT2IMG: Route("generate/ideogram-4", usd, fields.generate4, told),
        Task.IMG2IMG: Route("remix/ideogram-4", usd, fields.remix4, told),
    }
    ignores = (
        "The exact size: the nearest of a few shapes is drawn at about four megapixels. It has no negative prompt."
    )
    return Kind(title=title, routes=routes, features=frozenset({_SEED, _STRENGTH}), quality=quality, ignores=ignores)


def _latest(title: str, level: str, prices: tuple[float, float], quality: Quality) -> Kind:
    told = {"quality": level}
    edit = Route("precise-edit/ideogram-4-5", prices[1], fields.precise45, told, seeded=False)
    routes = {
        Task.TXT2IMG: Route("generate/ideogram-4-5", prices[0], fields.generate45, told),
        Task.EDIT: edit,
        Task.INPAINT: edit,
    }
    return Kind(
        title=title, routes=routes, features=frozenset({_SEED, _REFERENCE}), sizes=_FREE, quality=quality,
        ignores="It has no negative prompt; edits pass over the seed, drawing from text passes over references.",
    )  # fmt: skip


def _tool(title: str, task: Task, route: Route) -> Kind:
    return Kind(title=title, routes={task: route})


_KINDS: dict[str, Kind] = {
    "ideogram-4-5-high": _latest("Ideogram 4.5, high", "high", (0.10, 0.22), Quality.BEST),
    "ideogram-4-5": _latest("Ideogram 4.5", "medium", (0.06, 0.06), Quality.HIGH),
    "ideogram-4-5-low": _latest("Ideogram 4.5, low", "low", (0.03, 0.03), Quality.DRAFT),
    "ideogram-4-quality": _fourth("Ideogram 4, quality", "quality", 0.10, Quality.BEST),
    "ideogram-4": _fourth("Ideogram 4", "default", 0.06, Quality.HIGH),
    "ideogram-4-turbo": _fourth("Ideogram 4 turbo", "turbo", 0.03, Quality.DRAFT),
    "ideogram-3-quality": _third("Ideogram 3, quality", "quality", 0.09, Quality.HIGH),
    "ideogram-3": _third("Ideogram 3", "default", 0.06, Quality.STANDARD),
    "ideogram-3-turbo": _third("Ideogram 3 turbo", "turbo", 0.03, Quality.DRAFT),
    "remove-background": _tool(
        "Ideogram remove background", Task.REMOVE_BACKGROUND,
        Route("remove-background/ideogram-1", 0.01, fields.remove_background, {}, seeded=False),
    ),
    "remove-object": _tool(
        "Ideogram remove object", Task.ERASE,
        Route("remove-object/ideogram-1", 0.03, fields.remove_object, {}, seeded=False),
    ),
}  # fmt: skip


def _models() -> Sequence[CloudModel]:
    return [_entry(name, kind) for name, kind in _KINDS.items()]


def _entry(name: str, kind: Kind) -> CloudModel:
    model = Model(
        id=f"ideogram/{name}", title=kind.title, family="ideogram", lane="ideogram", tasks=frozenset(kind.routes),
        features=kind.features, sizes=kind.sizes, max_count=10, max_batch=1, paid=True, quality=kind.quality,
        ignores=kind.ignores,
    )  # fmt: skip

    def price(request: GenerationRequest) -> float | None:
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
    models=_models,
    draw=draw,
    check=check,
    header=lambda key: {"Api-Key": key},
    fault=fault,
)
