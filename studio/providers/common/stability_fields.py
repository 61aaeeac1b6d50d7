"""Requests of Stability AI's routes: pure functions from an order to form fields and files."""

from __future__ import annotations

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.provider import RenderRequest
from studio.core.task import Task
from studio.providers.common.request_shapes import (
    MIB,
    encode_for_upload,
    find_nearest_aspect,
    fit_input_image,
    make_white_mask,
)

Fields = dict[str, str]
Files = list[tuple[str, tuple[str, bytes, str]]]

_ASPECTS = ("1:1", "16:9", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
_MAX_UPLOAD_BYTES = 9 * MIB  # the whole request must stay below 10 MiB
_MAX_PIXELS, _MAX_FAST_PIXELS = 9_437_184, 1_048_576


def _build_prompt_fields(order: RenderRequest, *, required: bool = True, negative: bool = True) -> Fields:
    """The words of an order; `negative` where the route takes a negative prompt."""
    prompt = order.request.prompt.strip()
    if required and not prompt:
        raise InvalidRequest("Stability AI needs a prompt for this.", hint="Describe the image.")
    fields = {"prompt": prompt} if prompt else {}
    words = order.request.negative_prompt if negative else ""
    return fields | ({"negative_prompt": words} if words else {})


def _encode_file(name: str, image: Image.Image, *, pixels: int = _MAX_PIXELS) -> tuple[str, tuple[str, bytes, str]]:
    data, kind = encode_for_upload(fit_input_image(image, most_pixels=pixels), most_bytes=_MAX_UPLOAD_BYTES)
    return name, (f"{name}.{kind.rpartition('/')[2]}", data, kind)


def _get_source(order: RenderRequest) -> Image.Image:
    assert order.request.source is not None
    return order.images[order.request.source]


def build_generate_form(order: RenderRequest) -> tuple[Fields, Files]:
    request = order.request
    fields = _build_prompt_fields(order)
    if order.model.startswith("sd3.5"):
        fields |= {"model": order.model, "mode": "image-to-image" if request.source else "text-to-image"}
        if request.guidance is not None:
            fields["cfg_scale"] = f"{min(10.0, max(1.0, request.guidance)):g}"
    if request.source is None:
        return {**fields, "aspect_ratio": find_nearest_aspect(request, _ASPECTS)}, []
    strength = 0.75 if request.strength is None else request.strength
    return {**fields, "strength": f"{strength:g}"}, [_encode_file("image", _get_source(order))]


def build_mask_form(order: RenderRequest) -> tuple[Fields, Files]:
    request = order.request
    files = [_encode_file("image", _get_source(order))]
    if request.mask:
        files.append(_encode_file("mask", make_white_mask(order.images[request.mask], invert=request.inpaint.invert)))
    grow = {"grow_mask": str(min(20, request.inpaint.mask_blur))}
    if request.task is Task.ERASE:
        return grow, files
    return {**grow, **_build_prompt_fields(order)}, files


def build_outpaint_form(order: RenderRequest) -> tuple[Fields, Files]:
    outpaint, source = order.request.outpaint, _get_source(order)
    sides = (
        {}
        if outpaint is None
        else {"left": outpaint.left, "right": outpaint.right, "up": outpaint.top, "down": outpaint.bottom}
    )
    if not any(sides.values()):
        raise InvalidRequest("No outpainting size given.", hint="Set at least one side above 0 px.")
    return {
        **{name: str(min(2000, px)) for name, px in sides.items()},
        **_build_prompt_fields(order, required=False, negative=False),
    }, [_encode_file("image", source)]


def build_search_form(order: RenderRequest) -> tuple[Fields, Files]:
    field = "search_prompt" if order.request.task is Task.SEARCH_REPLACE else "select_prompt"
    return {**_build_prompt_fields(order), field: order.request.search}, [_encode_file("image", _get_source(order))]


def build_relight_form(order: RenderRequest) -> tuple[Fields, Files]:
    request = order.request
    files = [_encode_file("subject_image", _get_source(order))]
    fields = {"background_prompt": request.prompt} if request.prompt.strip() and not request.background else {}
    if request.background:
        files.append(_encode_file("background_reference", order.images[request.background]))
    if request.lighting:
        files.append(_encode_file("light_reference", order.images[request.lighting]))
    if not fields and not request.background:
        raise InvalidRequest("No new background given.", hint="Describe it, or choose an image of it.")
    return fields | ({"negative_prompt": request.negative_prompt} if request.negative_prompt else {}), files


def build_control_form(order: RenderRequest) -> tuple[Fields, Files]:
    strength = 0.7 if order.request.strength is None else order.request.strength
    return {**_build_prompt_fields(order), "control_strength": f"{strength:g}"}, [
        _encode_file("image", _get_source(order))
    ]


def build_style_form(order: RenderRequest) -> tuple[Fields, Files]:
    reference = order.request.references[0]
    files = [
        _encode_file("init_image", _get_source(order)),
        _encode_file("style_image", order.images[reference.image]),
    ]
    return {**_build_prompt_fields(order, required=False), "style_strength": f"{min(1.0, reference.weight):g}"}, files


def build_upscale_form(order: RenderRequest) -> tuple[Fields, Files]:
    upscale = order.request.upscale
    pixels = _MAX_PIXELS if order.model == "conservative" else _MAX_FAST_PIXELS
    files = [_encode_file("image", _get_source(order), pixels=pixels)]
    if order.model == "fast":
        return {}, files
    fields = {
        "prompt": order.request.prompt.strip() or "a sharp, detailed image",
        **({"negative_prompt": order.request.negative_prompt} if order.request.negative_prompt else {}),
    }
    if upscale is not None and upscale.creativity is not None:
        low, high = (0.2, 0.5) if order.model == "conservative" else (0.1, 0.5)
        fields["creativity"] = f"{low + (high - low) * upscale.creativity:g}"
    return fields, files


def build_source_form(order: RenderRequest) -> tuple[Fields, Files]:
    return {}, [_encode_file("image", _get_source(order))]
