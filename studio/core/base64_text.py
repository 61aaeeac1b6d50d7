"""Base64 as services and callers really send it."""

from __future__ import annotations

import binascii
import re

_DATA_PREFIX = re.compile(r"\s*data:[^,]{0,200},", re.IGNORECASE)
_WHITESPACE = re.compile(r"\s+")
_URLSAFE = str.maketrans("-_", "+/")


def decode_base64(text: str) -> bytes:
    """The bytes that `text` stands for: with or without "data:…;base64," before it, line breaks, the URL-safe alphabet
    and padding.

    Raises:
        ValueError: it is no base64 even so, or empty.
    """
    found = _DATA_PREFIX.match(text)
    data = text[found.end() :] if found else text
    if _WHITESPACE.search(data):
        data = _WHITESPACE.sub("", data)
    data = data.translate(_URLSAFE).rstrip("=") if "-" in data or "_" in data else data.rstrip("=")
    if not data:
        raise ValueError("no base64")
    try:  # many times as fast on megabytes as base64.b64decode with validate
        return binascii.a2b_base64(data + "=" * (-len(data) % 4), strict_mode=True)
    except ValueError as error:
        raise ValueError("no base64") from error
