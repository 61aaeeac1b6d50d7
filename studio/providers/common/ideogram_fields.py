"""Requests of Ideogram's routes: pure functions from an order to form fields and files. A mask is black where
the image changes, but white where an object is removed."""

from __future__ import annotations

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.provider import RenderRequest
from studio.providers.common.request_shapes import (
    MIB,
    encode_for_upload,
    find_nearest_aspect,
    fit_input_image,
    make_black_mask,
    make_white_mask,
)

Fields = dict[str, str]
Files = list[tuple[str, tuple[str, bytes, str]]]

MAX_SEED = 2**31 - 1
_MAX_UPLOAD_BYTES = 10 * MIB - 4096
_MAX_PIXELS = 16_000_000
_MAX_REFERENCES = 4
ASPECTS = (
    "1:1",
    "1:3",
    "3:1",
    "1:2",
    "2:1",
    "9:16",
    "16:9",
    "10:16",
    "16:10",
    "2:3",
    "3:2",
    "3:4",
    "4:3",
    "4:5",
    "5:4",
)
# Height for width: the vendor's 69 sizes of Ideogram 3.
_HEIGHTS3 = {
    512: (1536,),
    576: (1408, 1472, 1536),
    640: (1344, 1408, 1472, 1536),
    704: (1152, 1216, 1280, 1344, 1408, 1472),
    736: (1312,),
    768: (1088, 1216, 1280, 1344),
    800: (1280,),
    832: (960, 1024, 1088, 1152, 1216, 1248),
    864: (1152,),
    896: (960, 1024, 1088, 1120, 1152),
    960: (832, 896, 1024, 1088),
    1024: (832, 896, 960, 1024),
    1088: (768, 832, 896, 960),
    1120: (896,),
    1152: (704, 832, 864, 896),
    1216: (704, 768, 832),
    1248: (832,),
    1280: (704, 768, 800),
    1312: (736,),
    1344: (640, 704, 768),
    1408: (576, 640, 704),
    1472: (576, 640, 704),
    1536: (512, 576, 640),
}
SIZES3 = tuple((width, height) for width, heights in _HEIGHTS3.items() for height in heights)
_SIZES4 = ("2048:2048", "1440:2560", "2560:1440", "1664:2496", "2496:1664")


def build_generate3_form(order: RenderRequest) -> tuple[Fields, Files]:
    return {
        **_build_prompt_fields(order),
        **_build_negative_field(order),
        **_build_shape3_field(order),
    }, _encode_styles(order)


def build_remix3_form(order: RenderRequest) -> tuple[Fields, Files]:
    fields = {
        **_build_prompt_fields(order),
        **_build_negative_field(order),
        **_build_shape3_field(order),
        **_build_weight_field(order),
    }
    return fields, [_encode_source(order), *_encode_styles(order)]


def build_inpaint3_form(order: RenderRequest) -> tuple[Fields, Files]:
    return _build_prompt_fields(order), [_encode_source(order), _encode_mask(order), *_encode_styles(order)]


def build_reframe3_form(order: RenderRequest) -> tuple[Fields, Files]:
    """The vendor places the image itself; only the shape of the whole can be chosen."""
    return {"resolution": _choose_reframe_size(order)}, [_encode_source(order), *_encode_styles(order)]


def build_background3_form(order: RenderRequest) -> tuple[Fields, Files]:
    return _build_prompt_fields(order), [_encode_source(order), *_encode_styles(order)]


def build_generate4_form(order: RenderRequest) -> tuple[Fields, Files]:
    return {**_build_prompt_fields(order), **_build_shape4_field(order)}, []


def build_remix4_form(order: RenderRequest) -> tuple[Fields, Files]:
    return {**_build_prompt_fields(order), **_build_shape4_field(order), **_build_weight_field(order)}, [
        _encode_source(order)
    ]


def build_generate45_form(order: RenderRequest) -> tuple[Fields, Files]:
    request = order.request
    size = f"{request.width}x{request.height}" if request.width and request.height else "auto"
    return {**_build_prompt_fields(order), "size": size}, []


def build_edit45_form(order: RenderRequest) -> tuple[Fields, Files]:
    """An edit by instruction; the result is as large as the source."""
    request = order.request
    masks = [_encode_mask(order)] if request.mask else []
    references = request.references[: _MAX_REFERENCES - len(masks)]
    files = [_encode_file("reference_images", order.images[one.image]) for one in references]
    return _require_prompt(order), [_encode_source(order), *masks, *files]


def build_cutout_form(order: RenderRequest) -> tuple[Fields, Files]:
    return {}, [_encode_source(order)]


def build_object_removal_form(order: RenderRequest) -> tuple[Fields, Files]:
    request = order.request
    assert request.mask is not None
    mask = make_white_mask(order.images[request.mask], invert=request.inpaint.invert)
    return {}, [_encode_source(order), _encode_file("mask", mask)]


def _require_prompt(order: RenderRequest) -> Fields:
    if not order.request.prompt.strip():
        raise InvalidRequest("Ideogram needs a prompt for this.", hint="Describe the image.")
    return {"prompt": order.request.prompt}


def _build_prompt_fields(order: RenderRequest) -> Fields:
    """The prompt as it stands: the vendor would write it anew, and the recipe would not say what was drawn."""
    return {**_require_prompt(order), "magic_prompt": "off"}


def _build_negative_field(order: RenderRequest) -> Fields:
    negative = order.request.negative_prompt
    return {"negative_prompt": negative} if negative.strip() else {}


def _build_shape3_field(order: RenderRequest) -> Fields:
    """Exactly one of the two fields that the vendor has for a shape."""
    size = (order.request.width, order.request.height)
    if size in SIZES3:
        return {"resolution": f"{size[0]}x{size[1]}"}
    return {"aspect_ratio": find_nearest_aspect(order.request, ASPECTS).replace(":", "x")}


def _build_shape4_field(order: RenderRequest) -> Fields:
    return {"resolution": find_nearest_aspect(order.request, _SIZES4).replace(":", "x")}


def _build_weight_field(order: RenderRequest) -> Fields:
    """How much of the source stays, 1 to 100: the other side of the denoising strength."""
    strength = 0.5 if order.request.strength is None else order.request.strength
    return {"image_weight": str(min(100, max(1, round(100 * (1 - strength)))))}


def _choose_reframe_size(order: RenderRequest) -> str:
    outpaint = order.request.outpaint
    assert order.request.source is not None
    source = order.images[order.request.source]
    width, height, aspect = source.width, source.height, None
    if outpaint is not None:
        width, height = width + outpaint.left + outpaint.right, height + outpaint.top + outpaint.bottom
        width, height, aspect = outpaint.width or width, outpaint.height or height, outpaint.aspect
    if (width, height) == source.size and not aspect:
        raise InvalidRequest("No outpainting size given.", hint="Set at least one side above 0 px.")
    given = {"aspect": aspect, "width": None, "height": None} if aspect else {"width": width, "height": height}
    offered = [f"{wide}:{high}" for wide, high in SIZES3]
    return find_nearest_aspect(order.request.replace(**given), offered).replace(":", "x")


def _encode_source(order: RenderRequest) -> tuple[str, tuple[str, bytes, str]]:
    assert order.request.source is not None
    return _encode_file("image", order.images[order.request.source])


def _encode_mask(order: RenderRequest) -> tuple[str, tuple[str, bytes, str]]:
    """The mask in the size of the source as it is sent."""
    request = order.request
    assert request.mask is not None
    return _encode_file("mask", make_black_mask(order.images[request.mask], invert=request.inpaint.invert))


def _encode_styles(order: RenderRequest) -> Files:
    return [_encode_file("style_reference_images", order.images[one.image]) for one in order.request.references]


def _encode_file(name: str, image: Image.Image) -> tuple[str, tuple[str, bytes, str]]:
    data, kind = encode_for_upload(fit_input_image(image, most_pixels=_MAX_PIXELS), most_bytes=_MAX_UPLOAD_BYTES)
    return name, (f"{name}.{kind.rpartition('/')[2]}", data, kind)
