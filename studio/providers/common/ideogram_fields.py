"""What each of Ideogram's routes is sent: pure functions from an order to form fields and files. A mask is black where the picture
changes, but white where an object is removed."""

from __future__ import annotations

from PIL import Image

from studio.core.errors import InvalidRequest
from studio.core.provider import Order
from studio.providers.common.request_shapes import MIB, black_changes, encoded, fitted, nearest_aspect, white_changes

Fields = dict[str, str]
Files = list[tuple[str, tuple[str, bytes, str]]]

MOST_SEED = 2**31 - 1
_UPLOAD = 10 * MIB - 4096
_MOST_PIXELS = 16_000_000
_MOST_REFERENCES = 4
ASPECTS = (
    "1:1", "1:3", "3:1", "1:2", "2:1", "9:16", "16:9", "10:16", "16:10", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4",
)  # fmt: skip
# Height for width: the vendor's 69 sizes of Ideogram 3.
_HEIGHTS3 = {
    512: (1536,), 576: (1408, 1472, 1536), 640: (1344, 1408, 1472, 1536), 704: (1152, 1216, 1280, 1344, 1408, 1472), 736: (1312,),
    768: (1088, 1216, 1280, 1344), 800: (1280,), 832: (960, 1024, 1088, 1152, 1216, 1248), 864: (1152,),
    896: (960, 1024, 1088, 1120, 1152), 960: (832, 896, 1024, 1088), 1024: (832, 896, 960, 1024), 1088: (768, 832, 896, 960),
    1120: (896,), 1152: (704, 832, 864, 896), 1216: (704, 768, 832), 1248: (832,), 1280: (704, 768, 800), 1312: (736,),
    1344: (640, 704, 768), 1408: (576, 640, 704), 1472: (576, 640, 704), 1536: (512, 576, 640),
}  # fmt: skip
SIZES3 = tuple((width, height) for width, heights in _HEIGHTS3.items() for height in heights)
_SIZES4 = ("2048:2048", "1440:2560", "2560:1440", "1664:2496", "2496:1664")


def generate3(order: Order) -> tuple[Fields, Files]:
    return {**_words(order), **_negative(order), **_shape3(order)}, _styles(order)


def remix3(order: Order) -> tuple[Fields, Files]:
    fields = {**_words(order), **_negative(order), **_shape3(order), **_weight(order)}
    return fields, [_source(order), *_styles(order)]


def inpaint3(order: Order) -> tuple[Fields, Files]:
    return _words(order), [_source(order), _mask(order), *_styles(order)]


def reframe3(order: Order) -> tuple[Fields, Files]:
    """The vendor places the picture itself; only the shape of the whole can be chosen."""
    return {"resolution": _reframed(order)}, [_source(order), *_styles(order)]


def background3(order: Order) -> tuple[Fields, Files]:
    return _words(order), [_source(order), *_styles(order)]


def generate4(order: Order) -> tuple[Fields, Files]:
    return {**_words(order), **_shape4(order)}, []


def remix4(order: Order) -> tuple[Fields, Files]:
    return {**_words(order), **_shape4(order), **_weight(order)}, [_source(order)]


def generate45(order: Order) -> tuple[Fields, Files]:
    request = order.request
    size = f"{request.width}x{request.height}" if request.width and request.height else "auto"
    return {**_words(order), "size": size}, []


def precise45(order: Order) -> tuple[Fields, Files]:
    """An edit by instruction; the result is as large as the source."""
    request = order.request
    masks = [_mask(order)] if request.mask else []
    references = request.references[: _MOST_REFERENCES - len(masks)]
    files = [_file("reference_images", order.pictures[one.picture]) for one in references]
    return _prompt(order), [_source(order), *masks, *files]


def remove_background(order: Order) -> tuple[Fields, Files]:
    return {}, [_source(order)]


def remove_object(order: Order) -> tuple[Fields, Files]:
    request = order.request
    assert request.mask is not None
    mask = white_changes(order.pictures[request.mask], invert=request.inpaint.invert)
    return {}, [_source(order), _file("mask", mask)]


def _prompt(order: Order) -> Fields:
    if not order.request.prompt.strip():
        raise InvalidRequest("Ideogram needs a prompt for this.", hint="Say what the picture is to show.")
    return {"prompt": order.request.prompt}


def _words(order: Order) -> Fields:
    """The prompt as it stands: the vendor would write it anew, and the recipe would not say what was drawn."""
    return {**_prompt(order), "magic_prompt": "off"}


def _negative(order: Order) -> Fields:
    negative = order.request.negative_prompt
    return {"negative_prompt": negative} if negative.strip() else {}


def _shape3(order: Order) -> Fields:
    """Exactly one of the two fields that the vendor has for a shape."""
    size = (order.request.width, order.request.height)
    if size in SIZES3:
        return {"resolution": f"{size[0]}x{size[1]}"}
    return {"aspect_ratio": nearest_aspect(order.request, ASPECTS).replace(":", "x")}


def _shape4(order: Order) -> Fields:
    return {"resolution": nearest_aspect(order.request, _SIZES4).replace(":", "x")}


def _weight(order: Order) -> Fields:
    """How much of the source stays, 1 to 100: the other side of the denoising strength."""
    strength = 0.5 if order.request.strength is None else order.request.strength
    return {"image_weight": str(min(100, max(1, round(100 * (1 - strength)))))}


def _reframed(order: Order) -> str:
    wish = order.request.outpaint
    assert order.request.source is not None
    source = order.pictures[order.request.source]
    width, height, aspect = source.width, source.height, None
    if wish is not None:
        width, height = width + wish.left + wish.right, height + wish.top + wish.bottom
        width, height, aspect = wish.width or width, wish.height or height, wish.aspect
    if (width, height) == source.size and not aspect:
        raise InvalidRequest("It is not said how far the picture is to go on.", hint="Give px for at least one side.")
    given = {"aspect": aspect, "width": None, "height": None} if aspect else {"width": width, "height": height}
    offered = [f"{wide}:{high}" for wide, high in SIZES3]
    return nearest_aspect(order.request.replace(**given), offered).replace(":", "x")


def _source(order: Order) -> tuple[str, tuple[str, bytes, str]]:
    assert order.request.source is not None
    return _file("image", order.pictures[order.request.source])


def _mask(order: Order) -> tuple[str, tuple[str, bytes, str]]:
    """The mask in the size of the source as it is sent."""
    request = order.request
    assert request.mask is not None
    return _file("mask", black_changes(order.pictures[request.mask], invert=request.inpaint.invert))


def _styles(order: Order) -> Files:
    return [_file("style_reference_images", order.pictures[one.picture]) for one in order.request.references]


def _file(name: str, image: Image.Image) -> tuple[str, tuple[str, bytes, str]]:
    data, kind = encoded(fitted(image, most_pixels=_MOST_PIXELS), most_bytes=_UPLOAD)
    return name, (f"{name}.{kind.rpartition('/')[2]}", data, kind)
