"""What all checks share: a connection, images to send, and the list of checks."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

SIDE = 128  # px of the images that are made
STEPS = 2
DEADLINE = 300.0  # seconds for one image
PROMPT = "a red apple"


class Unexpected(Exception):
    """An answer that is not as it should be; its text says what is wrong."""


@dataclass
class Session:
    """A connection to the studio, and what earlier checks found out."""

    http: httpx.Client
    url: str
    headers: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


Check = Callable[[Session], None]
CHECKS: dict[str, list[tuple[str, Check]]] = {}


def check(group: str, name: str) -> Callable[[Check], Check]:
    """Register a function as the check `name` of an API."""

    def register(function: Check) -> Check:
        CHECKS.setdefault(group, []).append((name, function))
        return function

    return register


def expect(condition: object, what: str) -> None:
    """Raises Unexpected with `what`, unless `condition` holds."""
    if not condition:
        raise Unexpected(what)


def expect_equal(found: object, wanted: object, what: str) -> None:
    """Raises Unexpected, unless `what` is as it is wanted."""
    expect(found == wanted, f"{what} is {str(found)[:120]}, not {str(wanted)[:120]}")


def expect_keys(found: Any, wanted: str | Collection[str], what: str) -> None:
    """Raises Unexpected, unless the object `found` has all keys of `wanted`, names with spaces between."""
    names = set(wanted.split()) if isinstance(wanted, str) else set(wanted)
    missing = names - set(found if isinstance(found, dict) else ())
    expect(not missing, f"{what} lacks {', '.join(sorted(missing))}")


def expect_status(answer: httpx.Response, *wanted: int) -> None:
    """Raises Unexpected, unless the answer has one of the statuses."""
    told = f"{answer.request.url.path} answers {answer.status_code}, not {' or '.join(map(str, wanted))}"
    expect(answer.status_code in wanted, f"{told}: {answer.text[:120]}")


def read_json(answer: httpx.Response) -> Any:
    """The body of an answer that succeeded."""
    expect(answer.is_success, f"{answer.request.url.path} answers {answer.status_code}: {answer.text[:120]}")
    return answer.json()


def make_png(colour: str = "red", mode: str = "RGB", side: int = SIDE) -> bytes:
    """A small image."""
    return write_png(Image.new(mode, (side, side), colour))


def make_mask() -> bytes:
    """A mask, white in its middle."""
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (SIDE // 4, SIDE // 4, 3 * SIDE // 4, 3 * SIDE // 4))
    return write_png(mask)


def make_transparent_mask() -> bytes:
    """An image that is transparent in its middle."""
    image = Image.new("RGBA", (SIDE, SIDE), "red")
    image.paste((0, 0, 0, 0), (SIDE // 4, SIDE // 4, 3 * SIDE // 4, 3 * SIDE // 4))
    return write_png(image)


def write_png(image: Image.Image) -> bytes:
    """The file of an image."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def encode(data: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(data).decode()


def load(data: bytes) -> Image.Image:
    """The image in a file."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def decode_image(text: str) -> Image.Image:
    """The image in base64 text without a prefix."""
    return load(base64.b64decode(text, validate=True))
