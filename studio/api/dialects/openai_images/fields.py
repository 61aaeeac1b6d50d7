"""The fields of OpenAI's image requests, from JSON or a form, where numbers and booleans are text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import anyio.to_thread
from fastapi import Request
from starlette.datastructures import UploadFile

from studio.api.outbound import fetch_image
from studio.core.base64_text import decode_base64
from studio.core.errors import BadImage, InvalidRequest
from studio.core.settings import Settings

MAX_IMAGES = 16  # images of one edit
MAX_COUNT = 10
MAX_PARTIALS = 3
_MAX_PART = 64 * 1024 * 1024  # bytes of one field of a form; the guard bounds the whole
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_SUFFIX = re.compile(r"\[\d*\]$")


@dataclass
class ImageFields:
    """What a request says: values by name, and files by name in their order."""

    values: dict[str, Any]
    files: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])

    def get_text(self, *names: str, default: str = "") -> str:
        """The first of `names` that is there, as text.

        Raises:
            InvalidRequest: it is none.
        """
        value = self._find(names)
        if value is None:
            return default
        if not isinstance(value, str):
            raise make_field_error(names[0], "is not text")
        return value

    def get_number(self, *names: str) -> float | None:
        """The first of `names` that is there, as a number; None when it is left out.

        Raises:
            InvalidRequest: it is none.
        """
        value = self._find(names)
        if value in (None, ""):
            return None
        try:
            if isinstance(value, bool):
                raise ValueError(value)
            return float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise make_field_error(names[0], "is not a number") from error

    def get_whole(self, *names: str) -> int | None:
        """As `get_number`, for whole numbers."""
        value = self.get_number(*names)
        if value is not None and not value.is_integer():
            raise make_field_error(names[0], "is not a whole number")
        return None if value is None else int(value)

    def get_flag(self, name: str) -> bool:
        """Whether `name` is true, as a boolean or as text."""
        value = self.values.get(name)
        return value.strip().lower() in ("true", "1") if isinstance(value, str) else bool(value)

    def get_choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """One of `choices`.

        Raises:
            InvalidRequest: it is none of them.
        """
        value = self.get_text(name) or default
        if value not in choices:
            raise make_field_error(name, "is not one of " + ", ".join(choices))
        return value

    def get_size(self) -> tuple[int, int] | None:
        """(width, height) in px; None for "auto".

        Raises:
            InvalidRequest: it is no size.
        """
        text = self.get_text("size").strip().lower()
        if text in ("", "auto"):
            return None
        found = _SIZE.fullmatch(text)
        if found is None or not int(found[1]) or not int(found[2]):
            raise make_field_error("size", 'is no size such as "1024x1024"')
        return int(found[1]), int(found[2])

    def _find(self, names: tuple[str, ...]) -> Any:
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)


def make_field_error(name: str, what: str) -> InvalidRequest:
    """A field that cannot be what it is."""
    return InvalidRequest(f"Invalid value: '{name}' {what}.", hint="", details={"field": name})


async def read_fields(request: Request, settings: Settings) -> ImageFields:
    """The fields of a JSON body or a multipart form.

    Raises:
        InvalidRequest: the body is neither, or an image in it is none.
    """
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith(("multipart/form-data", "application/x-www-form-urlencoded")):
        found = ImageFields({})
        async with request.form(max_files=MAX_IMAGES * 2, max_fields=200, max_part_size=_MAX_PART) as form:
            for name, value in form.multi_items():
                plain = _SUFFIX.sub("", name)
                if isinstance(value, UploadFile):
                    found.files.setdefault(plain, []).append(await value.read())
                else:
                    found.values[plain] = value
        return await anyio.to_thread.run_sync(_take_encoded_images, found, settings)
    try:
        data: Any = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("We could not parse the JSON body of your request.", hint="Send a JSON object.") from error
    if not isinstance(data, dict):
        raise InvalidRequest("The body is not a JSON object.", hint="Send a JSON object.")
    fields = ImageFields(cast("dict[str, Any]", data))
    return await anyio.to_thread.run_sync(_take_encoded_images, fields, settings)


def _take_encoded_images(found: ImageFields, settings: Settings) -> ImageFields:
    """Move images that came as text, base64 or a listed host's address, to the files."""
    for name, plain in (("image", "image"), ("images", "image"), ("mask", "mask"), ("url", "image")):
        value = found.values.pop(name, None)
        if value in (None, ""):
            continue
        listed = cast("list[Any]", value) if isinstance(value, list) else [value]
        found.files.setdefault(plain, []).extend(_read_encoded(entry, name, settings) for entry in listed)
    if len(found.files.get("image", [])) > MAX_IMAGES:
        raise make_field_error("image", f"has more than {MAX_IMAGES} images")
    return found


def _read_encoded(entry: Any, name: str, settings: Settings) -> bytes:
    if isinstance(entry, Mapping):
        named = cast("Mapping[str, Any]", entry)
        told = named.get("image_url") or named.get("b64_json") or named.get("url")
        entry = cast("Mapping[str, Any]", told).get("url") if isinstance(told, Mapping) else told
    if not isinstance(entry, str):
        raise make_field_error(name, "is no image")
    if entry.startswith(("http://", "https://")):
        return fetch_image(entry, settings)
    try:
        return decode_base64(entry)
    except ValueError as error:
        raise BadImage("Invalid image file or mode.", hint="", details={"field": name}) from error
