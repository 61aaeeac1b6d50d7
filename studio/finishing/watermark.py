"""A mark over a picture: a picture or words, at a corner or tiled; and one that nobody sees and a function reads back.

The hidden one is the DWT-DCT-SVD method of the package invisible-watermark (MIT). It survives JPEG of quality 85 (its faster DWT-DCT does not survive any), and
does not survive cropping, rotation or strong scaling.
"""

from __future__ import annotations

from PIL import Image, ImageDraw

from studio.core.errors import InvalidRequest
from studio.core.finish import Anchor, Watermark
from studio.finishing.fonts import Fonts

HIDDEN_BYTES = 16  # of the hidden text in UTF-8; more would not survive a JPEG
HIDDEN_SIDE = 256  # px that the hidden text needs at least
_MARK = b"\xea\x5e"  # begins every hidden text, so that noise is not taken for one
_TILE_GAP = 0.6  # of a mark's size, between tiles
_METHOD = "dwtDctSvd"


def mark(image: Image.Image, wish: Watermark, picture: Image.Image | None, fonts: Fonts) -> Image.Image:
    """`image` with the mark that `wish` describes; `picture` is its logo, when it names one.

    Raises:
        InvalidRequest: it is empty, or the picture is too small for a hidden text.
    """
    if picture is None and not wish.text.strip() and not wish.hidden:
        raise InvalidRequest("The watermark is empty.", hint="Choose a picture for it, or write a text.")
    out = image
    if picture is not None or wish.text.strip():
        stamp = _scaled(picture, image, wish) if picture is not None else _lettered(wish, image, fonts)
        out = _laid(image, _faint(stamp, wish.opacity), wish)
    return hide(out, wish.hidden) if wish.hidden else out


def hide(image: Image.Image, text: str) -> Image.Image:
    """`image` with `text`, at most HIDDEN_BYTES long in UTF-8, where nobody sees it.

    Raises:
        InvalidRequest: the text is too long, or the picture too small.
    """
    import numpy as np
    from imwatermark import WatermarkEncoder

    data = text.encode()
    if len(data) > HIDDEN_BYTES:
        raise InvalidRequest(f"The hidden text is longer than {HIDDEN_BYTES} bytes.", hint="Shorten it.")
    if min(image.size) < HIDDEN_SIDE:
        raise InvalidRequest(
            f"A picture of {image.width}×{image.height} is too small for a hidden text.",
            hint=f"Use at least {HIDDEN_SIDE} px a side.",
        )
    encoder = WatermarkEncoder()
    encoder.set_watermark("bytes", _MARK + data.ljust(HIDDEN_BYTES, b"\0"))  # pyright: ignore[reportArgumentType]
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    hidden = Image.fromarray(np.ascontiguousarray(encoder.encode(pixels, _METHOD)[..., ::-1]))
    if image.mode == "RGBA":
        hidden.putalpha(image.getchannel("A"))
    return hidden


def read_hidden(image: Image.Image) -> str | None:
    """The text that `hide` put into the picture, None when there is none that can be read any more."""
    import numpy as np
    from imwatermark import WatermarkDecoder

    if min(image.size) < HIDDEN_SIDE:
        return None
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    found = WatermarkDecoder("bytes", 8 * (len(_MARK) + HIDDEN_BYTES)).decode(pixels, _METHOD)
    if not isinstance(found, bytes) or not found.startswith(_MARK):
        return None
    try:
        text = found[len(_MARK) :].rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _scaled(picture: Image.Image, image: Image.Image, wish: Watermark) -> Image.Image:
    """The logo, `size` of the picture's shorter side wide."""
    width = max(1, round(wish.size * min(image.size)))
    height = max(1, round(picture.height * width / picture.width))
    return picture.convert("RGBA").resize((width, height), Image.Resampling.LANCZOS)


def _lettered(wish: Watermark, image: Image.Image, fonts: Fonts) -> Image.Image:
    """The text in white with a dark rim, which is seen on any ground."""
    wanted = max(1, round(wish.size * min(image.size)))
    size = 64
    font = fonts.get("", size)
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), wish.text, font, stroke_width=2)
    stamp = Image.new("RGBA", (max(1, round(right - left)), max(1, round(bottom - top))))
    ImageDraw.Draw(stamp).text((-left, -top), wish.text, "white", font, stroke_width=2, stroke_fill="black")
    return stamp.resize((wanted, max(1, round(stamp.height * wanted / stamp.width))), Image.Resampling.LANCZOS)


def _faint(stamp: Image.Image, opacity: float) -> Image.Image:
    stamp.putalpha(stamp.getchannel("A").point([round(value * opacity) for value in range(256)]))
    return stamp


def _laid(image: Image.Image, stamp: Image.Image, wish: Watermark) -> Image.Image:
    layer = Image.new("RGBA", image.size)
    for place in _tiles(image, stamp) if wish.tiled else [_corner(image, stamp, wish)]:
        layer.paste(stamp, place)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert(image.mode)


def _tiles(image: Image.Image, stamp: Image.Image) -> list[tuple[int, int]]:
    across, down = round(stamp.width * (1 + _TILE_GAP)), round(stamp.height + stamp.width * _TILE_GAP)
    rows = range(0, image.height, max(1, down))
    return [
        (x + (row % 2) * across // 2, y)
        for row, y in enumerate(rows)
        for x in range(-across // 2, image.width, max(1, across))
    ]


def _corner(image: Image.Image, stamp: Image.Image, wish: Watermark) -> tuple[int, int]:
    margin = round(wish.margin * min(image.size))
    anchor: Anchor = wish.anchor
    room = (image.width - stamp.width, image.height - stamp.height)
    across = margin if "left" in anchor else room[0] - margin if "right" in anchor else room[0] // 2
    down = margin if "top" in anchor else room[1] - margin if "bottom" in anchor else room[1] // 2
    return across, down
