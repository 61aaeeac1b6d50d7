"""Images in and out as AUTOMATIC1111 has them: base64 with or without a prefix, or an address."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from studio.api.dialects.automatic1111.errors import InvalidEncodedImage
from studio.api.outbound import fetch_image
from studio.core.annotate import flatten_on_white, read_mask
from studio.core.base64_text import decode_base64
from studio.core.errors import BadImage, InvalidRequest, Unreachable
from studio.core.image_gate import ImageLimits, open_image
from studio.core.settings import Settings

MAX_TOGETHER = 4  # of the largest images: the pixels that those of one call may have


def read_image_bytes(text: str, settings: Settings) -> bytes:
    """The file that `text` is.

    Raises:
        InvalidEncodedImage: it is none, or its address may not be asked.
    """
    if text.startswith(("http://", "https://")):
        try:
            return fetch_image(text, settings)
        except BadImage as error:
            raise InvalidEncodedImage("Invalid image url", hint=error.hint, details=_DETAILS) from error
        except (InvalidRequest, Unreachable) as error:
            raise InvalidEncodedImage("Requests not allowed", hint=error.message, details=_DETAILS) from error
    try:
        return decode_base64(text)
    except ValueError as error:
        raise _make_encoding_error() from error


_DETAILS = {"kind": "HTTPException"}


def _make_encoding_error() -> InvalidEncodedImage:
    return InvalidEncodedImage(
        "Invalid encoded image", details={"kind": "HTTPException", "detail": "Invalid encoded image"}
    )


def read_image(text: str, settings: Settings) -> Image.Image:
    """The image that `text` is; raises InvalidEncodedImage as `read_image_bytes` and `open_file`."""
    return open_file(read_image_bytes(text, settings), settings)


def open_file(data: bytes, settings: Settings) -> Image.Image:
    """The image in the file `data`; raises InvalidEncodedImage where the gate refuses it."""
    try:
        return open_image(data, limits=ImageLimits.of(settings))
    except BadImage as error:
        raise _make_encoding_error() from error


def open_files(files: Sequence[bytes], settings: Settings) -> list[Image.Image]:
    """The images in `files`; raises as `open_file` and `check_pixels`."""
    found: list[Image.Image] = []
    pixels = 0
    for data in files:
        found.append(open_file(data, settings))
        pixels += found[-1].width * found[-1].height
        check_pixels(pixels, settings)
    return found


def check_pixels(pixels: int, settings: Settings) -> None:
    """Raises InvalidRequest for more `pixels` than the images of one call may have together."""
    limit = MAX_TOGETHER * ImageLimits.of(settings).max_pixels
    if pixels > limit:
        raise InvalidRequest(
            f"The images of this request have more than {limit / 1e6:g} megapixels together.",
            hint="Send fewer or smaller ones at once.",
        )


def resize_image(image: Image.Image, size: tuple[int, int], mode: int) -> Image.Image:
    """`image` in `size` px by AUTOMATIC1111's resize mode: 0 and 3 stretch it, 1 crops it, 2 fills the rest."""
    if image.size == size:
        return image
    if mode == 1:
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if mode == 2:
        inside = ImageOps.contain(image, size, Image.Resampling.LANCZOS)
        filled = image.resize(size, Image.Resampling.BILINEAR)
        filled.paste(inside, ((size[0] - inside.width) // 2, (size[1] - inside.height) // 2))
        return filled
    return image.resize(size, Image.Resampling.LANCZOS)


def prepare_mask(mask: Image.Image, size: tuple[int, int], mode: int) -> Image.Image:
    """A mask of `size` px, mode L, white where something is to change."""
    return resize_image(read_mask(mask), size, mode)


def encode_png(image: Image.Image, infotext: str = "") -> str:
    """A PNG in base64, with the infotext where there is one."""
    about = PngInfo()
    if infotext:
        about.add_text("parameters", infotext)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=about, compress_level=1)
    return base64.b64encode(out.getvalue()).decode()


def compose_plain_grid(files: Sequence[bytes], columns: int = 0) -> Image.Image:
    """The images side by side in rows of `columns`, without labels; with 0 as AUTOMATIC1111's own grid has them."""
    images = [flatten_on_white(Image.open(io.BytesIO(data))) for data in files]
    columns = columns or math.ceil(len(images) / min(len(images), max(1, round(math.sqrt(len(images))))))
    rows = math.ceil(len(images) / columns)
    width, height = images[0].size
    sheet = Image.new("RGB", (columns * width, rows * height), "black")
    for number, image in enumerate(images):
        sheet.paste(image, (number % columns * width, number // columns * height))
    return sheet
