"""Text in the lowest bits of an image's opacity, where NovelAI and some extensions of AUTOMATIC1111 write what a text
chunk would lose: column by column, a mark of 15 characters, the length in bits as 32 bits, and the text, plain or
gzipped.
"""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

from studio.engine.metadata.embed import MAX_TEXT

_PLAIN, _PACKED = b"stealth_pnginfo", b"stealth_pngcomp"
_HEAD = len(_PLAIN) + 4  # bytes
_GZIP = 16 + zlib.MAX_WBITS


def read_stealth(image: Image.Image) -> str:
    """The text, "" when there is none; at most MAX_TEXT characters are unpacked."""
    if image.mode != "RGBA" or image.width * image.height < 8 * _HEAD:
        return ""
    head = _read_bytes(image, 0, _HEAD)
    if not head.startswith((_PLAIN, _PACKED)):
        return ""
    length = int.from_bytes(head[-4:], "big") // 8
    if not 0 < length <= MAX_TEXT or 8 * (_HEAD + length) > image.width * image.height:
        return ""
    data = _read_bytes(image, _HEAD, length)
    if head.startswith(_PACKED):
        try:
            data = zlib.decompressobj(_GZIP).decompress(data, MAX_TEXT)
        except zlib.error:
            return ""
    return data.decode(errors="replace")


def _read_bytes(image: Image.Image, start: int, count: int) -> bytes:
    """`count` bytes from the lowest bits, column by column, only those columns being looked at."""
    first, last = 8 * start // image.height, -(-8 * (start + count) // image.height)
    opacity = np.asarray(image.getchannel("A").crop((first, 0, last, image.height)))
    skip = 8 * start - first * image.height
    return np.packbits(opacity.T.reshape(-1)[skip : skip + 8 * count] & 1).tobytes()
