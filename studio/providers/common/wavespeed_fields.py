"""Requests of WaveSpeed's models: pure functions from an order, and the addresses of its images, to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.model import Sizes
from studio.core.provider import RenderRequest
from studio.providers.common.request_shapes import find_nearest_aspect, fit_input_image, make_white_mask

UploadUrls = Mapping[str, str]  # where each image, by content hash, was uploaded to

QWEN_SIZES = Sizes(liked=((1024, 1024),), multiple=1, smallest=256, largest=1536, max_pixels=1536 * 1536)
_MAX_INPUT_PIXELS = 16_000_000  # px of an image that is sent
_MAX_REFERENCES = 3
_MAX_PROMPT_LENGTH = 800  # characters that Qwen-Image 2.0 takes
_ASPECTS = ("1:1", "16:9", "9:16", "4:3", "3:4")


def prepare_uploads(order: RenderRequest) -> dict[str, Image.Image]:
    """The images of an order as they are uploaded: masks white where it changes, all within what is taken."""
    request = order.request
    names = filter(None, (request.source, request.mask, *(one.image for one in request.references)))
    found = {name: order.images[name] for name in names}
    if request.mask:
        found[request.mask] = make_white_mask(found[request.mask], invert=request.inpaint.invert)
    return {name: fit_input_image(image, most_pixels=_MAX_INPUT_PIXELS) for name, image in found.items()}


def _require_prompt(order: RenderRequest, *, most: int = 10_000) -> dict[str, Any]:
    prompt = order.request.prompt
    if not prompt.strip():
        raise InvalidRequest("WaveSpeed AI needs a prompt for this.", hint="Describe the image.")
    if len(prompt) > most:
        raise InvalidRequest(f"The prompt is longer than the {most} characters of this model.", hint="Shorten it.")
    return {"prompt": prompt}


def _build_size_field(order: RenderRequest) -> dict[str, Any]:
    width, height = QWEN_SIZES.fit_size(order.request.width, order.request.height, order.request.aspect)
    return {"size": f"{width}*{height}"}


def build_ideogram_body(order: RenderRequest, places: UploadUrls) -> dict[str, Any]:
    request = order.request
    body = {
        **_require_prompt(order),
        "enable_base64_output": True,
        "aspect_ratio": find_nearest_aspect(request, _ASPECTS),
    }
    if request.source:
        body["image"] = places[request.source]
    if request.mask:
        body["mask_image"] = places[request.mask]
    references = [places[one.image] for one in request.references[:_MAX_REFERENCES]]
    return {**body, "reference_images": references} if references else body


def build_qwen_body(order: RenderRequest, places: UploadUrls) -> dict[str, Any]:
    body = {**_require_prompt(order), **_build_size_field(order), "output_format": "png"}
    return {**body, "image": places[order.request.source]} if order.request.source else body


def build_qwen2_body(order: RenderRequest, places: UploadUrls) -> dict[str, Any]:
    request = order.request
    words = _require_prompt(order, most=_MAX_PROMPT_LENGTH)
    if not request.source:
        return {**words, **_build_size_field(order)}
    return {
        **words,
        "images": [places[name] for name in (request.source, *(one.image for one in request.references))],
    }
