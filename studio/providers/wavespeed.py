"""WaveSpeed AI: Ideogram V3 and Qwen-Image. Pictures are uploaded first, tasks submitted once and polled; every answer comes in
an envelope with a code of its own."""

from __future__ import annotations

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
from studio.providers.common import wavespeed_fields as fields
from studio.providers.common.http_wire import polled
from studio.providers.common.request_shapes import encoded, from_base64
from studio.providers.common.service_errors import by_status, json_of, no_money, odd, refused, words_in
from studio.providers.common.wavespeed_fields import QWEN, Places

_TITLE = "WaveSpeed AI"
_API = "/api/v3"
_PRICES, _DATE = "https://wavespeed.ai/pricing", "2026-11-20"
_PATIENCE = 600.0  # seconds for one task
_MOST_SEED = 2**31 - 1
_ANY = Sizes(liked=((1024, 1024),), multiple=1, smallest=16, largest=16_384, max_pixels=64_000_000)
_MONEY = ("balance", "insufficient", "credit")
_UNSAFE, _BAD, _BUSY = (1200,), (1400, 1401, 1402), (5000, 5001, 5002, 5003, 5004)  # codes inside answers


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One model: the route of each task, and the body that an order becomes there."""

    title: str
    routes: Mapping[Task, str]
    body: Callable[[Order, Places], dict[str, Any]]
    usd: float
    sizes: Sizes
    features: frozenset[Feature]
    quality: Quality
    ignores: str


def prepare(order: Order, seed: int, places: Places) -> Call:
    """The call that submits the picture of `seed`; `places` are the addresses of the pictures that the request names. Pure."""
    kind = _KINDS[order.model]
    body = kind.body(order, places)
    if Feature.SEED in kind.features:
        body["seed"] = seed % (_MOST_SEED + 1)
    return Call(method="POST", path=f"{_API}/{kind.routes[order.request.task]}", json=body, seconds=60)


def draw(order: Order, wire: Wire) -> list[Rendered]:
    """One task per seed; the pictures that all of them work on are uploaded once."""
    kind = _KINDS[order.model]
    kind.body(order, dict.fromkeys(order.pictures, ""))  # what cannot be asked for is refused before anything is sent
    places = {name: _uploaded(image, wire) for name, image in fields.sendable(order).items()}
    drawn: list[Rendered] = []
    for number, seed in enumerate(order.seeds):
        order.context.progress(number, len(order.seeds))
        task = _data(wire.send(prepare(order, seed.seed, places)))
        output = _output(_finished(task, wire))
        drawn.append(Rendered(image=_picture(output, wire), seed=seed.seed, cost=kind.usd))
    return drawn


def fault(answer: Answer) -> StudioError:
    """What an error of the service means, by the code in the envelope or the status around it."""
    told = words_in(answer, "message", "data.error", "error")
    inner = _code(answer)
    known = _by_code(inner, told) if inner != answer.status else None
    if known is not None:
        return known
    if 400 <= answer.status < 500 and answer.status not in (401, 429) and _about_money(told):
        return no_money(_TITLE)
    return by_status(_TITLE, answer, told, wait=30.0)


def check(wire: Wire) -> str:
    """The latest of the tasks that were made, which costs nothing to ask."""
    latest = {"page": 1, "page_size": 1}
    _data(wire.send(Call(method="POST", path=f"{_API}/predictions", json=latest, paid=False, seconds=20)))
    return "The key works."


def _code(answer: Answer) -> int:
    try:
        code = answer.json()["code"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return answer.status
    return code if isinstance(code, int) else answer.status


def _by_code(code: int, told: str) -> StudioError | None:
    """The error of a code of the service's own, None for what is none of them."""
    if code in _UNSAFE:
        return refused(_TITLE, told, billed=False)
    if code in _BAD:
        return InvalidRequest(f"{_TITLE} does not take this request: {told[:300]}", hint="Change it and send it again.")
    if code in _BUSY:
        return by_status(_TITLE, Answer(status=503, headers={}, body=b""), told)
    return None


def _about_money(told: str) -> bool:
    return any(word in told.lower() for word in _MONEY)


def _data(answer: Answer) -> dict[str, Any]:
    """What the envelope holds.

    Raises:
        StudioError: its code says that the call failed, whatever the status around it.
    """
    envelope = json_of(_TITLE, answer)
    code, told = envelope.get("code", 200), str(envelope.get("message") or "")
    if code != 200:
        known = _by_code(code, told) if isinstance(code, int) else None
        if known is not None:
            raise known
        if _about_money(told):
            raise no_money(_TITLE)
        if isinstance(code, int) and 400 <= code < 600:
            raise by_status(_TITLE, Answer(status=code, headers=answer.headers, body=answer.body), told, wait=30.0)
        raise odd(_TITLE, f"code {code!r} {told[:200]}".strip())
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise odd(_TITLE)
    return data


def _finished(task: Mapping[str, Any], wire: Wire) -> Mapping[str, Any]:
    name = str(task.get("id") or "")
    if not name:
        raise odd(_TITLE, "no task")
    look = Call(method="GET", path=f"{_API}/predictions/{name}/result", paid=False, seconds=60)
    for _ in polled(wire, seconds=_PATIENCE, longest=3.0):
        found = _data(wire.send(look))
        match found.get("status"):
            case "completed":
                return found
            case "failed" | "cancelled" | "timeout" | "deleted" as status:
                raise _failed(str(status), str(found.get("error") or ""))
            case _:
                continue
    raise AssertionError("polled ends by raising")


def _failed(status: str, told: str) -> StudioError:
    if any(word in told.lower() for word in ("moderat", "nsfw", "safety", "sensitive", "1200")):
        return refused(_TITLE, told, billed=False)
    return no_money(_TITLE) if _about_money(told) else odd(_TITLE, f"a task that {status}: {told[:200]}".strip(": "))


def _output(found: Mapping[str, Any]) -> str:
    flags, outputs = found.get("has_nsfw_contents"), found.get("outputs")
    if isinstance(flags, list) and any(flag is True for flag in flags):
        raise refused(_TITLE, "it calls the picture that it made unsafe", billed=True)
    if not (isinstance(outputs, list) and outputs and isinstance(outputs[0], str)):
        raise odd(_TITLE, "no picture")
    return outputs[0]


def _picture(output: str, wire: Wire) -> Image.Image:
    """An output is an address, or the picture itself in base64."""
    if "://" in output[:10]:
        return wire.download(output)
    try:
        return wire.picture(from_base64(output.rpartition("base64,")[2]))
    except ValueError as error:
        raise odd(_TITLE, "no picture") from error


def _uploaded(image: Image.Image, wire: Wire) -> str:
    """The address of a picture on the service's own store, where it is kept for some days."""
    data, kind = encoded(image)
    file = ("file", (f"picture.{kind.rpartition('/')[2]}", data, kind))
    path = f"{_API}/media/upload/binary"
    answer = wire.send(Call(method="POST", path=path, form={}, files=(file,), paid=False, seconds=120))
    address = _data(answer).get("download_url")
    if not isinstance(address, str) or not address:
        raise odd(_TITLE, "no address for the picture")
    return address


def _third(speed: str, usd: float, quality: Quality) -> Kind:
    route = f"ideogram-ai/ideogram-v3-{speed}"
    return Kind(
        title=f"Ideogram V3 {speed} (WaveSpeed)", routes={Task.TXT2IMG: route, Task.INPAINT: route}, body=fields.ideogram, usd=usd,
        sizes=_ANY, features=frozenset({Feature.REFERENCE}), quality=quality,
        ignores="The exact size: the nearest of five aspect ratios is drawn. It has no seed and no negative prompt.",
    )  # fmt: skip


_NO_WORDS = "It has no negative prompt."
_KINDS: dict[str, Kind] = {
    "ideogram-v3-quality": _third("quality", 0.09, Quality.HIGH),
    "ideogram-v3-balanced": _third("balanced", 0.06, Quality.STANDARD),
    "ideogram-v3-turbo": _third("turbo", 0.03, Quality.DRAFT),
    "qwen-image-2.0": Kind(
        title="Qwen-Image 2.0 (WaveSpeed)", body=fields.qwen2, usd=0.03, sizes=QWEN, quality=Quality.HIGH,
        routes={Task.TXT2IMG: "wavespeed-ai/qwen-image-2.0/text-to-image", Task.EDIT: "wavespeed-ai/qwen-image-2.0/edit"},
        features=frozenset({Feature.SEED, Feature.REFERENCE}),
        ignores=f"{_NO_WORDS} References count only in edits, and an edit chooses its size itself.",
    ),
    "qwen-image-2512": Kind(
        title="Qwen-Image 2512 (WaveSpeed)", body=fields.qwen, usd=0.02, sizes=QWEN, quality=Quality.STANDARD,
        routes={Task.TXT2IMG: "wavespeed-ai/qwen-image/text-to-image-2512"}, features=frozenset({Feature.SEED}), ignores=_NO_WORDS,
    ),
    "qwen-image": Kind(
        title="Qwen-Image (WaveSpeed)", body=fields.qwen, usd=0.02, sizes=QWEN, quality=Quality.STANDARD,
        routes={Task.TXT2IMG: "wavespeed-ai/qwen-image/text-to-image", Task.EDIT: "wavespeed-ai/qwen-image/edit"},
        features=frozenset({Feature.SEED}), ignores=_NO_WORDS,
    ),
}  # fmt: skip


def _models() -> Sequence[CloudModel]:
    return [_entry(name, kind) for name, kind in _KINDS.items()]


def _entry(name: str, kind: Kind) -> CloudModel:
    model = Model(
        id=f"wavespeed/{name}", title=kind.title, family="qwen-image" if name.startswith("qwen") else "ideogram", lane="wavespeed",
        tasks=frozenset(kind.routes), features=kind.features, sizes=kind.sizes, max_count=10, max_batch=1, paid=True,
        quality=kind.quality, ignores=kind.ignores,
    )  # fmt: skip

    def price(request: GenerationRequest) -> float:
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
    models=_models,
    draw=draw,
    check=check,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=fault,
)
