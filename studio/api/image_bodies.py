"""Images in bodies: by the id that an earlier answer gave, or as base64 of a file."""

from __future__ import annotations

import re

from studio.core.base64_text import decode_base64
from studio.core.errors import BadImage, InvalidRequest, NotFound
from studio.core.image_fields import replace_images
from studio.core.request import GenerationRequest
from studio.core.user import User
from studio.engine.engine import Engine
from studio.engine.storage.inputs import KeptImage
from studio.library.media import MEDIA_TYPES

_HASH = re.compile(r"[0-9a-f]{64}")
_ASSET = re.compile(r"[0-9a-f]{1,64}-\d{1,6}")


def store_request_images(request: GenerationRequest, engine: Engine, user: User) -> GenerationRequest:
    """`request` with every image let in and named by its content hash.

    Raises:
        InvalidRequest, BadImage, NotFound: the message says what is wrong with which image.
    """
    return replace_images(request, lambda text: store_image(text, engine, user).hash)


def store_image(text: str, engine: Engine, user: User) -> KeptImage:
    """The image that `text` is: the id of a kept image, the id of one of the user's results, or base64 of a file, with
    or without "data:…;base64," before it. Raises as `kept_in`."""
    if _HASH.fullmatch(text):
        return engine.get_input(text, user)
    if _ASSET.fullmatch(text):
        return engine.keep_asset(text, user)
    return engine.keep_image(decode_file(text), user)


def read_image_file(text: str, engine: Engine, user: User) -> bytes:
    """The file that `text` is, as it is: that of one of the user's results, of a kept image, or base64. Raises as
    `store_image`."""
    if _HASH.fullmatch(text):
        return engine.get_kept_file(text, user).read_bytes()
    if _ASSET.fullmatch(text):
        return read_asset_file(engine, text, user)
    return decode_file(text)


def read_asset_file(engine: Engine, asset_id: str, user: User) -> bytes:
    """The file of one of the user's results.

    Raises:
        NotFound: there is no such result or file. BadImage: it is audio or video.
    """
    path = engine.asset(asset_id, user).path
    if path.suffix in MEDIA_TYPES:
        raise BadImage("Audio and video are not looked at.", hint="Choose an image.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound("The image's file is gone.", hint="It may have been moved or deleted.") from error


def decode_file(text: str) -> bytes:
    """The bytes of a file in base64, in any of the forms that it is sent in.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        return decode_base64(text)
    except ValueError as error:
        raise InvalidRequest(
            "An image is neither a valid id nor base64 data.",
            hint="Send the id from POST /inputs, or the file in base64.",
        ) from error
