"""Request parts that several services share: encoded images, masks of either polarity, the nearest of a few
aspects."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageOps

from studio.core.annotate import flatten_on_white, read_mask
from studio.core.request import GenerationRequest, parse_aspect

MIB = 1024 * 1024


def encode_for_upload(image: Image.Image, *, most_bytes: int = 20 * MIB) -> tuple[bytes, str]:
    """(the image as a file, its media type): PNG, or JPEG of falling quality where PNG is too large for the service."""
    out = io.BytesIO()
    _whiten_clear_pixels(image).save(out, "PNG", compress_level=3)
    if out.tell() <= most_bytes:
        return out.getvalue(), "image/png"
    for quality in (95, 90, 80, 70, 50):
        out = io.BytesIO()
        flatten_on_white(image).save(out, "JPEG", quality=quality)
        if out.tell() <= most_bytes:
            break
    return out.getvalue(), "image/jpeg"


def _whiten_clear_pixels(image: Image.Image) -> Image.Image:
    """`image` with white where it is wholly clear: a service that drops the alpha shows nothing that was hidden."""
    if image.mode != "RGBA":
        return image
    alpha = image.getchannel("A")
    shown = alpha.point([0] + [255] * 255)
    whole = Image.composite(image.convert("RGB"), Image.new("RGB", image.size, "white"), shown)
    whole.putalpha(alpha)
    return whole


def make_white_mask(mask: Image.Image, *, invert: bool) -> Image.Image:
    """A mask of mode L, white where the image is to change; `invert` as the request says."""
    grey = read_mask(mask)
    return ImageOps.invert(grey) if invert else grey


def make_black_mask(mask: Image.Image, *, invert: bool) -> Image.Image:
    """A black and white mask, black where the image is to change."""
    return ImageOps.invert(make_white_mask(mask, invert=invert)).point([0] * 128 + [255] * 128)


def encode_clear_mask(mask: Image.Image, *, invert: bool, most_bytes: int) -> bytes:
    """A PNG with alpha 0 where the image is to change, over one flat colour: what a mask says lies in its alpha alone,
    and flat colour makes it small. One that is too large even so loses its half tones, never its alpha."""
    kept = ImageOps.invert(make_white_mask(mask, invert=invert))
    data = _encode_alpha(kept)
    return data if len(data) <= most_bytes else _encode_alpha(kept.point([0] * 128 + [255] * 128))


def _encode_alpha(alpha: Image.Image) -> bytes:
    flat, out = Image.new("RGBA", alpha.size, "white"), io.BytesIO()
    flat.putalpha(alpha)
    flat.save(out, "PNG", compress_level=6)
    return out.getvalue()


def find_nearest_aspect(request: GenerationRequest, offered: Sequence[str]) -> str:
    """The one of `offered` ("16:9", …) that comes nearest to what the request asks for; the first when it asks for
    nothing."""
    if request.width and request.height:
        wanted = request.width / request.height
    elif request.aspect:
        wanted = parse_aspect(request.aspect)
    else:
        return offered[0]
    return min(offered, key=lambda aspect: abs(math.log(parse_aspect(aspect) / wanted)))


def fit_input_image(
    image: Image.Image, *, most_pixels: int, least_side: int = 64, most_side: int = 16_384
) -> Image.Image:
    """`image` scaled down to what a service takes, as it is when it fits; too small ones are scaled up to
    `least_side`."""
    scale = min(1.0, math.sqrt(most_pixels / (image.width * image.height)), most_side / max(image.size))
    scale = max(scale, least_side / min(image.size))
    if scale == 1.0:
        return image
    return image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))), Image.Resampling.LANCZOS)
