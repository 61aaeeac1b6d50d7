"""Base64 in the forms that it comes in."""

from __future__ import annotations

import base64

import pytest

from studio.core.base64_text import decode_base64
from studio.core.errors import InvalidRequest

RAW = bytes(range(256)) * 3 + b"\xfb\xff\xfe\x00"
PLAIN = base64.b64encode(RAW).decode()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        base64.encodebytes(RAW).decode(),
        PLAIN.rstrip("="),
        base64.urlsafe_b64encode(RAW).decode(),
        base64.urlsafe_b64encode(RAW).decode().rstrip("="),
        f"data:image/png;base64,{PLAIN}",
        f"  DATA:;base64,{PLAIN}\n",
        f"data:image/png;name=a.png;base64,\n{base64.encodebytes(RAW).decode()}",
    ],
)
def test_every_form_gives_the_same_bytes(text: str) -> None:
    assert decode_base64(text) == RAW


@pytest.mark.parametrize("text", ["", "  ", "=", "%%%", "QUJD!", "QUJDR", "data:image/png;base64,", "日本", "a=b="])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decode_base64(text)


def test_our_own_api_takes_line_breaks_and_says_what_it_wants_instead_of_nonsense() -> None:
    from studio.api.image_bodies import decode_file

    assert decode_file(base64.encodebytes(RAW).decode()) == RAW
    with pytest.raises(InvalidRequest):
        decode_file("%%%")
