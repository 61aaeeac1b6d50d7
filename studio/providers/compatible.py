"""Any server of one's own that speaks OpenAI's images dialect: its address, and a key where it wants one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from studio.core.base64_text import decode_base64
from studio.core.errors import InvalidRequest, ProviderError, RateLimited, Unreachable
from studio.core.model import Feature, Model, Sizes
from studio.core.provider import CloudModel, HttpRequest, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common import openai_images as images
from studio.providers.common.http_wire import split_url
from studio.providers.common.service_errors import find_message, make_answer_error, make_status_error

_TITLE = "Your own server"
_DEFAULT = "default"  # stands for the model of the settings, or the server's own choice
_MAX_NAMES = 200  # models of a server that are listed
_SIZES = Sizes(liked=((1024, 1024), (512, 512)), multiple=8, smallest=64, largest=4096, max_pixels=4096 * 4096)
_REFUSAL_WORDS = ("unknown parameter", "unrecognized", "extra inputs", "extra fields", "extra_forbidden")
_TEXT_FIELDS = ("b64_json", "b64", "base64", "image")


def draw_compatible_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """The images of a pass, asked for at once and again while the server gives fewer."""
    model = order.context.settings.compatible_model if order.model == _DEFAULT else order.model
    named = dataclasses.replace(order, model=model)
    try:
        return images.draw_until_complete(named, lambda left: _draw_once(left, wire))
    except (InvalidRequest, ProviderError) as error:
        if not wire.base_url.endswith("/v1") and not isinstance(error, Unreachable | RateLimited):
            error.hint = f"Its address in Configurations has no /v1 at the end. {error.hint}"
        raise


def map_compatible_error(answer: HttpResponse) -> Exception:
    """Translate an error response."""
    return make_status_error(_TITLE, answer, find_message(answer, "error.message", "error", "detail"))


def check_compatible(wire: ProviderClient) -> str:
    """The list of its models."""
    return f"The server responds. Its models: {', '.join(list_model_names(wire)[:20]) or 'none named'}."


def list_model_names(wire: ProviderClient) -> list[str]:
    """The server's own names of its models."""
    return list(images.list_server_models(_TITLE, wire))[:_MAX_NAMES]


def _draw_once(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """The images of one answer, at least one: as base64, or at an address of the server."""
    request = order.request
    wanted = request.width or request.height or request.aspect
    size = _SIZES.fit_size(request.width, request.height, request.aspect) if wanted else None
    answer = _request_with_extras(order, wire, size)
    entries = images.list_image_entries(answer)[: len(order.seeds)]
    return [RenderedImage(image=_load_entry(entry, wire)) for entry in entries]


def _request_with_extras(order: RenderRequest, wire: ProviderClient, size: tuple[int, int] | None) -> dict[str, Any]:
    """The answer to the order with the fields that local servers add to the API; without them where the server refuses
    them, which is told."""
    extras = build_extras(order)
    try:
        return images.request_images(_TITLE, order, wire, {"extra_body": extras}, size)
    except InvalidRequest as error:
        text = f"{error.message} {error.hint}".lower()
        if not any(name in text for name in (*extras, *_REFUSAL_WORDS)):
            raise
    order.context.add_notice("The server does not accept a seed, a negative prompt or steps; they were left out.")
    return images.request_images(_TITLE, order, wire, {}, size)


def build_extras(order: RenderRequest) -> dict[str, Any]:
    """Seed, negative prompt, steps and guidance under the names that Easel, vLLM-Omni and SGLang read. Of several
    images the first has the seed."""
    request = order.request
    found: dict[str, Any] = {"seed": order.seeds[0].seed}
    if request.negative_prompt.strip():
        found["negative_prompt"] = request.negative_prompt
    if request.steps is not None:
        found["num_inference_steps"] = request.steps
    if request.guidance is not None:
        found["guidance_scale"] = request.guidance
    return found


def _load_entry(entry: Any, wire: ProviderClient) -> Image.Image:
    """The image of one entry: a text, or an object that holds it under one of the names that servers use."""
    place = entry
    if isinstance(entry, Mapping):
        place = next(
            (text for name in (*_TEXT_FIELDS, "url") if isinstance(text := entry.get(name), str) and text), None
        )
        image_url = entry.get("image_url")
        place = image_url.get("url") if place is None and isinstance(image_url, Mapping) else place
    if not isinstance(place, str) or not place.strip():
        raise make_answer_error(_TITLE, "no image")
    named_url = isinstance(entry, Mapping) and place in (entry.get("url"), (entry.get("image_url") or {}).get("url"))
    if place.startswith(("http://", "https://")) or (named_url and not place.startswith("data:")):
        return _fetch_image(place, wire)
    try:
        return wire.decode_image(decode_base64(place))
    except ValueError as error:
        raise make_answer_error(_TITLE, "what is no image") from error


def _fetch_image(place: str, wire: ProviderClient) -> Image.Image:
    """The image at an address that the server named. Only its path counts: the server may know itself by another name
    or port than the studio does, and nobody else is asked."""
    parts, base = split_url(_TITLE, place), split_url(_TITLE, wire.base_url)
    above = base.path.removesuffix("/v1")  # where the server lies behind a proxy, which it may not know of
    path = parts.path.removeprefix("./")
    starts = ("", above) if path.startswith("/") else (f"{base.path}/", f"{above}/")
    paths = list(dict.fromkeys(start + path for start in starts))
    query = f"?{parts.query}" if parts.query else ""
    for number, one in enumerate(paths, 1):
        call = HttpRequest(method="GET", path=f"{base.scheme}://{base.netloc}{one}{query}", paid=False, seconds=120)
        try:
            return wire.decode_image(wire.send(call).body)
        except InvalidRequest:
            if number == len(paths):
                raise make_answer_error(_TITLE, f"an address that has no image: {one}") from None
    raise AssertionError("the last attempt returns or raises")


def _list_cloud_models() -> Sequence[CloudModel]:
    return [_build_cloud_model(_DEFAULT, _TITLE)]


def build_server_model(name: str) -> CloudModel:
    """One of the server's own models."""
    return _build_cloud_model(name, f"{name} (your own server)")


def _build_cloud_model(name: str, title: str) -> CloudModel:
    model = Model(
        id=f"compatible/{name}",
        title=title,
        family="compatible",
        lane="compatible",
        tasks=frozenset({Task.TXT2IMG, Task.EDIT, Task.INPAINT}),
        features=frozenset({Feature.REFERENCE, Feature.SEED, Feature.NEGATIVE_PROMPT, Feature.STEPS, Feature.GUIDANCE}),
        sizes=_SIZES,
        max_count=10,
        max_batch=10,
        ignores="Seed, negative prompt, steps and CFG scale, if the server does not know them.",
    )
    return CloudModel(name=name, model=model, price=lambda request, sizes: 0.0)


PROVIDER = ProviderSpec(
    id="compatible",
    title=_TITLE,
    keys=("COMPATIBLE_API_KEY",),
    key_optional=True,
    free=True,
    site="the server's own manual",
    base_url="",
    base_env="COMPATIBLE_BASE_URL",
    models=_list_cloud_models,
    draw=draw_compatible_images,
    check=check_compatible,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=map_compatible_error,
    list_names=list_model_names,
    build_model=build_server_model,
)
