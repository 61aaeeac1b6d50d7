"""What studios say to each other as JSON: orders, events, images, errors. Nothing that runs code when it is read."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from PIL import Image

from studio.core.base64_text import decode_base64
from studio.core.codec import decode_json, encode_json
from studio.core.errors import InvalidRequest, ProviderError, RateLimited, StudioError
from studio.core.image_fields import list_image_hashes
from studio.core.image_gate import ImageLimits, open_image
from studio.core.model import Model
from studio.core.ports import ImageSeed
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage

PROTOCOL = 2  # grows when an older studio would misunderstand
RENDER_PATH, STATE_PATH = "/api/image-studio/cluster/render", "/api/image-studio/cluster/state"
MAX_SEEDS = 64  # images of one pass, as many as a request draws together
MAX_ORDER_IMAGES = 4  # the largest images that those of one order may have the pixels of
MAX_LINE = 256 * 1024 * 1024  # bytes of one event: an image of the largest size
MEDIA_TYPE = "application/x-ndjson"
_PNG_LEVEL = 1  # fast: it is read again at once


@dataclass(frozen=True, kw_only=True)
class Order:
    """One pass that another studio is asked for. `images` are those that the request names, by content hash."""

    request: GenerationRequest
    seeds: tuple[ImageSeed, ...]
    images: Mapping[str, Image.Image]
    previews: bool = False
    preview_interval: float = 0.5
    preview_side: int = 384

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "protocol": PROTOCOL,
            "request": self.request.to_json(),
            "seeds": [[one.seed, one.variation, one.batch_index] for one in self.seeds],
            "images": {name: _encode(encode_png(image)) for name, image in self.images.items()},
            "previews": self.previews,
            "preview_interval": self.preview_interval,
            "preview_side": self.preview_side,
        }

    @classmethod
    def from_json(cls, data: Any, limits: ImageLimits) -> Self:
        """Read an order; every image passes the gate.

        Raises:
            InvalidRequest: it is not one, or one of another version.
        """
        try:
            if data["protocol"] != PROTOCOL:
                raise InvalidRequest("The other studio is of another version.", hint="Bring both to the same version.")
            request = GenerationRequest.from_json(data["request"])
            if not 1 <= len(data["seeds"]) <= MAX_SEEDS:
                raise ValueError("no seeds, or too many")
            return cls(
                request=request,
                seeds=tuple(
                    ImageSeed(
                        seed=_read_seed(seed),
                        variation=None if other is None else _read_seed(other),
                        batch_index=_read_seed(place),
                    )
                    for seed, other, place in data["seeds"]
                ),
                images=_read_images(data["images"], request, limits),
                previews=bool(data["previews"]),
                preview_interval=min(max(float(data["preview_interval"]), 0.1), 60.0),
                preview_side=min(max(int(data["preview_side"]), 64), 1024),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidRequest("This is not an order of a studio.", hint="Use the studio's own version.") from error


def encode_order(order: Order) -> bytes:
    """The order as it travels."""
    return json.dumps(order.to_json(), separators=(",", ":")).encode()


def read_order(body: bytes, limits: ImageLimits) -> Order:
    """The order that is in `body` as JSON.

    Raises:
        InvalidRequest: there is none, or one of another version.
    """
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The order is no JSON.", hint="Use the studio's own version.") from error
    return Order.from_json(data, limits)


@dataclass(frozen=True, kw_only=True)
class ReplicaState:
    """What a replica tells of itself: its models, which of them are in memory, how many passes run and may run."""

    models: tuple[Model, ...] = ()
    residents: tuple[str, ...] = ()
    running: int = 0
    slots: int = 1

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"protocol": PROTOCOL, **encode_json(self)}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises InvalidRequest: it is none, or one of another version."""
        if not isinstance(data, dict) or data.pop("protocol", None) != PROTOCOL:
            raise InvalidRequest("The other studio is of another version.", hint="Bring both to the same version.")
        return decode_json(cls, data, "state")


def encode_png(image: Image.Image) -> bytes:
    """A PNG, made fast."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()


def encode_jpeg(image: Image.Image) -> str:
    """A small preview."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=80)
    return _encode(file.getvalue())


def encode_event(name: str, **fields: Any) -> bytes:
    """One line of the stream."""
    return json.dumps({"event": name, **fields}, separators=(",", ":")).encode() + b"\n"


def encode_image(rendered: RenderedImage) -> bytes:
    """One finished image as a line of the stream."""
    return encode_event(
        "image",
        png=_encode(encode_png(rendered.image)),
        seed=rendered.seed,
        variation_seed=rendered.variation_seed,
        batch_index=rendered.batch_index,
        notes=list(rendered.notes),
    )


def decode_image(fields: Mapping[str, Any], limits: ImageLimits) -> RenderedImage:
    """A finished image; its file passes the gate.

    Raises:
        ProviderError: it is none.
    """
    try:
        variation = fields["variation_seed"]
        return RenderedImage(
            image=open_image(decode_base64(fields["png"]), limits=limits, patient=True),
            seed=_read_seed(fields["seed"]),
            variation_seed=None if variation is None else _read_seed(variation),
            batch_index=_read_seed(fields["batch_index"]),
            notes=tuple(str(note) for note in fields["notes"]),
        )
    except (KeyError, TypeError, ValueError, InvalidRequest) as error:
        raise ProviderError("Another machine of the cluster sent what is no image.", hint="See its log.") from error


def encode_error(error: StudioError) -> bytes:
    """The end of a stream that failed."""
    details = json.loads(json.dumps(error.details, default=str))
    return encode_event("error", code=error.code, message=error.message, hint=error.hint, details=details)


def decode_error(fields: Mapping[str, Any]) -> StudioError:
    """The error of that code, as it was raised over there."""
    code = str(fields.get("code", ""))
    kind = next((kind for kind in _list_kinds(StudioError) if kind.code == code), ProviderError)
    error = kind.__new__(kind)
    details = fields.get("details")
    StudioError.__init__(
        error,
        str(fields.get("message", "")) or "Another machine of the cluster failed.",
        hint=str(fields.get("hint", "")),
        details=details if isinstance(details, dict) else None,
    )
    if isinstance(error, RateLimited):
        wait = error.details.get("retry_after")
        error.retry_after = float(wait) if isinstance(wait, int | float) else None
    return error


def _list_kinds(kind: type[StudioError]) -> Iterator[type[StudioError]]:
    """`kind` and those below, each before its own; some of other packages share a code with theirs."""
    yield kind
    for below in kind.__subclasses__():
        yield from _list_kinds(below)


def split_lines(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a stream that comes in `pieces`.

    Raises:
        ProviderError: a line that is no event, or longer than any may be.
    """
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            line = b"".join((*held, end))
            held, size = [], 0
            if line:
                yield _parse_line(line)
        held.append(rest)
        size += len(rest)
        if size > MAX_LINE:
            raise ProviderError("Another machine of the cluster sent too much.", hint="See its log.")


def _parse_line(line: bytes) -> dict[str, Any]:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProviderError("Another machine of the cluster is not understood.", hint="See its log.") from error
    if not isinstance(found, dict):
        raise ProviderError("Another machine of the cluster is not understood.", hint="See its log.")
    return found


def _read_images(data: Any, request: GenerationRequest, limits: ImageLimits) -> dict[str, Image.Image]:
    """The images that `request` names; raises ValueError for others, and for more pixels than any order needs."""
    named = frozenset(list_image_hashes(request.replace(batch=(), then=())))
    found: dict[str, Image.Image] = {}
    pixels = 0
    for name, text in data.items():
        if name not in named:
            raise ValueError("an image that the request does not name")
        found[name] = open_image(decode_base64(text), limits=limits)
        pixels += found[name].width * found[name].height
        if pixels > MAX_ORDER_IMAGES * limits.max_pixels:
            raise ValueError("too many pixels")
    return found


def _read_seed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise ValueError("no seed")
    return value


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
