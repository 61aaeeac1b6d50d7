"""OpenAI's image models through its own client: images from text, edits with references and masks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

from studio.core.model import Feature, Model, Quality, Sizes
from studio.core.provider import CloudModel, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common import openai_images as images
from studio.providers.common.service_errors import find_message, make_status_error

_TITLE = "OpenAI"
_PRICES, _DATE = "https://platform.openai.com/docs/pricing", "2026-11-20"
_PER_TOKEN = {"text": 5e-6, "image": 8e-6, "out": 30e-6}  # US dollars, of the 2 to 2.6 families
_QUALITY_FACTORS = {  # the factor of each quality in the vendor's own calculator
    "gpt-image-2": {Quality.DRAFT: 16, Quality.STANDARD: 48, Quality.HIGH: 96, Quality.BEST: 96},
    "gpt-image-2.5": {Quality.DRAFT: 16, Quality.STANDARD: 24, Quality.HIGH: 48, Quality.BEST: 96},
}
_SIZES = Sizes(
    liked=((1024, 1024), (1536, 1024), (1024, 1536)),
    multiple=16,
    smallest=480,
    largest=3840,
    max_pixels=8_294_400,
    min_pixels=655_360,
    max_ratio=3.0,
)
_MODELS = {
    "gpt-image-2.6-sunburst": ("GPT Image 2.6 sunburst", Quality.BEST),
    "gpt-image-2.6-flare": ("GPT Image 2.6 flare", Quality.HIGH),
    "gpt-image-2.5-sunburst": ("GPT Image 2.5 sunburst", Quality.HIGH),
    "gpt-image-2.5-flare": ("GPT Image 2.5 flare", Quality.STANDARD),
    "gpt-image-2": ("GPT Image 2", Quality.STANDARD),
}
_QUALITY_NAMES = {Quality.DRAFT: "low", Quality.STANDARD: "medium", Quality.HIGH: "high", Quality.BEST: "max"}
_TASKS = frozenset({Task.TXT2IMG, Task.EDIT, Task.INPAINT, Task.ERASE, Task.REPLACE_BACKGROUND, Task.STYLE_TRANSFER})


def draw_openai_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """All images of a pass in one call, drawn at a size that the service allows."""
    request = order.request
    size = _SIZES.fit_size(request.width, request.height, request.aspect)
    source = order.images[request.source] if request.source else None
    follows = source is not None and (bool(request.mask) or size == _SIZES.find_nearest_size(*source.size))
    if source is None or not follows:
        return images.draw_until_complete(order, lambda left: _draw_once(left, wire, size))
    scaled = {
        name: image.resize(size, Image.Resampling.LANCZOS)
        for name, image in order.images.items()
        if name in (request.source, request.mask) and image.size != size
    }
    fitted = dataclasses.replace(order, images={**order.images, **scaled})
    drawn = images.draw_until_complete(fitted, lambda left: _draw_once(left, wire, size))
    return [dataclasses.replace(one, image=_resize_back(one.image, source.size)) for one in drawn]


def _resize_back(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The drawn image in the size of its source, which the service may not draw."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _draw_once(order: RenderRequest, wire: ProviderClient, size: tuple[int, int]) -> list[RenderedImage]:
    extra = {"quality": _get_quality_name(order.model), "output_format": "png"}
    answer = images.request_images(_TITLE, order, wire, extra, size)
    bill = _compute_cost(answer)
    found = [wire.decode_image(data) for data in images.decode_image_data(_TITLE, answer)]
    return [RenderedImage(image=image, cost=None if bill is None else bill / len(found)) for image in found]


def map_openai_error(answer: HttpResponse) -> Exception:
    """Translate an error response."""
    return make_status_error(_TITLE, answer, find_message(answer, "error.message"))


def check_openai(wire: ProviderClient) -> str:
    """The list of models, which costs nothing to ask; models of ours that are about to be shut down are named."""
    ending = [f"{name} will be retired on {day}" for name, day in list_end_dates(wire).items()]
    return f"The key works.{' ' + '; '.join(ending) + '.' if ending else ''}"


def list_end_dates(wire: ProviderClient) -> dict[str, str]:
    """The day on which each of our models is shut down, where the list of models names one."""
    return {name: day for name, day in images.list_server_models(_TITLE, wire).items() if name in _MODELS and day}


def _get_quality_name(model: str) -> str:
    word = _QUALITY_NAMES[_MODELS[model][1]]
    return "high" if word == "max" and model == "gpt-image-2" else word


def _compute_cost(answer: Any) -> float | None:
    """US dollars by the tokens that the service says it used."""
    usage = answer.get("usage") if isinstance(answer, dict) else None
    if not isinstance(usage, dict):
        return None
    given = usage.get("input_tokens_details") or {}
    try:
        return (
            _PER_TOKEN["text"] * given.get("text_tokens", 0)
            + _PER_TOKEN["image"] * given.get("image_tokens", 0)
            + _PER_TOKEN["out"] * usage["output_tokens"]
        )
    except (KeyError, TypeError, AttributeError):
        return None


def _list_cloud_models() -> Sequence[CloudModel]:
    return [_build_cloud_model(name, title, quality) for name, (title, quality) in _MODELS.items()]


def _build_cloud_model(name: str, title: str, quality: Quality) -> CloudModel:
    model = Model(
        id=f"openai/{name}",
        title=title,
        family="gpt-image",
        lane="openai",
        tasks=_TASKS,
        features=frozenset({Feature.REFERENCE}),
        sizes=_SIZES,
        max_count=10,
        max_batch=10,
        paid=True,
        quality=quality,
        ignores="The mask is only a guide. Seed and negative prompt are not supported.",
    )
    return CloudModel(
        name=name,
        model=model,
        price=lambda request, sizes: _estimate_price(name, quality, request),
        source=_PRICES,
        date=_DATE,
    )


def _estimate_price(name: str, quality: Quality, request: GenerationRequest) -> float:
    """Output tokens by the vendor's calculator, rebuilt; what goes in is small beside it and left out."""
    width, height = _SIZES.fit_size(request.width, request.height, request.aspect)
    factor = _QUALITY_FACTORS["gpt-image-2" if name == "gpt-image-2" else "gpt-image-2.5"][quality]
    tokens = math.ceil(
        factor * round(factor * min(width, height) / max(width, height)) * (2_000_000 + width * height) / 4_000_000
    )
    return tokens * _PER_TOKEN["out"] * request.count


PROVIDER = ProviderSpec(
    id="openai",
    title=_TITLE,
    keys=("OPENAI_API_KEY",),
    site="platform.openai.com/api-keys",
    base_url="https://api.openai.com/v1",
    base_env="OPENAI_BASE_URL",
    hosts=("api.openai.com",),
    models=_list_cloud_models,
    draw=draw_openai_images,
    check=check_openai,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=map_openai_error,
    endings=list_end_dates,
)
