"""What each of Stability AI's routes is sent: pure functions from an order to form fields and files."""

from __future__ import annotations

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.provider import Order
from studio.core.task import Task
from studio.providers.common.request_shapes import MIB, encoded, fitted, nearest_aspect, white_changes

Fields = dict[str, str]
Files = list[tuple[str, tuple[str, bytes, str]]]

_ASPECTS = ("1:1", "16:9", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
_UPLOAD = 9 * MIB  # the whole request must stay below 10 MiB
_MOST_PIXELS, _FAST_PIXELS = 9_437_184, 1_048_576


def _words(order: Order, *, required: bool = True) -> Fields:
    prompt = order.request.prompt.strip()
    if required and not prompt:
        raise InvalidRequest("Stability AI needs a prompt for this.", hint="Say what the picture is to show.")
    fields = {"prompt": prompt} if prompt else {}
    return fields | ({"negative_prompt": order.request.negative_prompt} if order.request.negative_prompt else {})


def _file(name: str, image: Image.Image, *, pixels: int = _MOST_PIXELS) -> tuple[str, tuple[str, bytes, str]]:
    data, kind = encoded(fitted(image, most_pixels=pixels), most_bytes=_UPLOAD)
    return name, (f"{name}.{kind.rpartition('/')[2]}", data, kind)


def _source(order: Order) -> Image.Image:
    assert order.request.source is not None
    return order.pictures[order.request.source]


def generate(order: Order) -> tuple[Fields, Files]:
    request = order.request
    fields = _words(order)
    if order.model.startswith("sd3.5"):
        fields |= {"model": order.model, "mode": "image-to-image" if request.source else "text-to-image"}
        if request.guidance is not None:
            fields["cfg_scale"] = f"{min(10.0, max(1.0, request.guidance)):g}"
    if request.source is None:
        return {**fields, "aspect_ratio": nearest_aspect(request, _ASPECTS)}, []
    strength = 0.75 if request.strength is None else request.strength
    return {**fields, "strength": f"{strength:g}"}, [_file("image", _source(order))]


def masked(order: Order) -> tuple[Fields, Files]:
    request = order.request
    files = [_file("image", _source(order))]
    if request.mask:
        files.append(_file("mask", white_changes(order.pictures[request.mask], invert=request.inpaint.invert)))
    grow = {"grow_mask": str(min(20, request.inpaint.mask_blur))}
    return {**grow, **_words(order, required=request.task is Task.INPAINT)}, files


def outpaint(order: Order) -> tuple[Fields, Files]:
    wish, source = order.request.outpaint, _source(order)
    sides = {} if wish is None else {"left": wish.left, "right": wish.right, "up": wish.top, "down": wish.bottom}
    if not any(sides.values()):
        raise InvalidRequest("It is not said how far the picture is to go on.", hint="Give px for at least one side.")
    return {**{name: str(min(2000, px)) for name, px in sides.items()}, **_words(order, required=False)}, [
        _file("image", source)
    ]


def replace(order: Order) -> tuple[Fields, Files]:
    field = "search_prompt" if order.request.task is Task.SEARCH_REPLACE else "select_prompt"
    return {**_words(order), field: order.request.search}, [_file("image", _source(order))]


def relight(order: Order) -> tuple[Fields, Files]:
    request = order.request
    files = [_file("subject_image", _source(order))]
    fields = {"background_prompt": request.prompt} if request.prompt.strip() and not request.background else {}
    if request.background:
        files.append(_file("background_reference", order.pictures[request.background]))
    if request.lighting:
        files.append(_file("light_reference", order.pictures[request.lighting]))
    if not fields and not request.background:
        raise InvalidRequest(
            "It is not said what the new background is.", hint="Describe it, or choose a picture of it."
        )
    return fields | ({"negative_prompt": request.negative_prompt} if request.negative_prompt else {}), files


def control(order: Order) -> tuple[Fields, Files]:
    strength = 0.7 if order.request.strength is None else order.request.strength
    return {**_words(order), "control_strength": f"{strength:g}"}, [_file("image", _source(order))]


def style(order: Order) -> tuple[Fields, Files]:
    reference = order.request.references[0]
    files = [_file("init_image", _source(order)), _file("style_image", order.pictures[reference.picture])]
    return {**_words(order, required=False), "style_strength": f"{min(1.0, reference.weight):g}"}, files


def upscale(order: Order) -> tuple[Fields, Files]:
    wish = order.request.upscale
    pixels = _MOST_PIXELS if order.model == "conservative" else _FAST_PIXELS
    files = [_file("image", _source(order), pixels=pixels)]
    if order.model == "fast":
        return {}, files
    fields = {"prompt": order.request.prompt.strip() or "a sharp, detailed picture", **({"negative_prompt": order.request.negative_prompt} if order.request.negative_prompt else {})}  # fmt: skip
    if wish is not None and wish.creativity is not None:
        low, high = (0.2, 0.5) if order.model == "conservative" else (0.1, 0.5)
        fields["creativity"] = f"{low + (high - low) * wish.creativity:g}"
    return fields, files


def plain(order: Order) -> tuple[Fields, Files]:
    return {}, [_file("image", _source(order))]
