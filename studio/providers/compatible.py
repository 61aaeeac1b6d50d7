"""Any server of one's own that speaks OpenAI's images dialect: its address, and a key where it wants one."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.model import Feature, Model, Sizes
from studio.core.provider import CloudModel, HttpResponse, ProviderClient, ProviderSpec, RenderRequest
from studio.core.result import RenderedImage
from studio.core.task import Task
from studio.providers.common import openai_images as images
from studio.providers.common.service_errors import find_message, make_answer_error, make_status_error

_TITLE = "Your own server"
_SIZES = Sizes(liked=((1024, 1024), (512, 512)), multiple=8, smallest=64, largest=4096, max_pixels=4096 * 4096)


def draw_compatible_images(order: RenderRequest, wire: ProviderClient) -> list[RenderedImage]:
    """All images of a pass in one call; they come as base64, or at an address of the server itself."""
    answer = images.request_images(_TITLE, order, wire, {})
    entries = answer.get("data") or []
    sources = [
        (
            wire.download(str(entry["url"]))
            if isinstance(entry, dict) and entry.get("url") and not entry.get("b64_json")
            else wire.decode_image(images.decode_image_data(_TITLE, {"data": [entry]}, 1)[0])
        )
        for entry in entries[: len(order.seeds)]
    ]
    if len(sources) < len(order.seeds):
        raise make_answer_error(_TITLE, f"{len(sources)} of {len(order.seeds)} images")
    return [RenderedImage(image=image, seed=seed.seed) for image, seed in zip(sources, order.seeds, strict=True)]


def map_compatible_error(answer: HttpResponse) -> Exception:
    """What an error of the server means."""
    return make_status_error(_TITLE, answer, find_message(answer, "error.message", "error", "detail"))


def check_compatible(wire: ProviderClient) -> str:
    """The list of its models."""
    return (
        "The server answers. Its models:"
        f" {', '.join(list(images.list_server_models(_TITLE, wire))[:20]) or 'none named'}."
    )


def _list_cloud_models() -> Sequence[CloudModel]:
    model = Model(
        id="compatible/default",
        title="Your own server",
        family="compatible",
        lane="compatible",
        tasks=frozenset({Task.TXT2IMG, Task.EDIT, Task.INPAINT}),
        features=frozenset({Feature.REFERENCE}),
        sizes=_SIZES,
        max_count=10,
        max_batch=10,
        ignores="What the images dialect has no field for: seed, negative prompt, steps.",
    )
    return [CloudModel(name="default", model=model, price=lambda request: 0.0)]


PROVIDER = ProviderSpec(
    id="compatible",
    title=_TITLE,
    keys=("COMPATIBLE_API_KEY",),
    key_optional=True,
    site="the server's own manual",
    base_url="",
    base_env="COMPATIBLE_BASE_URL",
    models=_list_cloud_models,
    draw=draw_compatible_images,
    check=check_compatible,
    header=lambda key: {"Authorization": f"Bearer {key}"},
    fault=map_compatible_error,
)
