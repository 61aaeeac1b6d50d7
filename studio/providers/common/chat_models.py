"""Asking a chat server which models it has, which costs nothing."""

from __future__ import annotations

import json
import time
from typing import Any, cast

from studio.core.errors import ProviderError, Unreachable
from studio.providers.common.chat_errors import CHECK_HINT, make_status_error

_CONNECT_SECONDS = 5.0
_SECONDS = 15.0
_MAX_BYTES = 2 * 1024 * 1024
_MAX_MODELS = 500
_MAX_NAME_CHARS = 120


def list_chat_models(base_url: str, key: str) -> tuple[str, ...]:
    """The names of the models of the server at `base_url`, () where it does not list them.

    Raises:
        NotConfigured: the key is wrong. RateLimited, Unreachable, ProviderError.
    """
    import requests
    import urllib3

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with requests.get(
            base_url.strip().rstrip("/") + "/models",
            headers=headers,
            stream=True,
            timeout=(_CONNECT_SECONDS, _SECONDS),
            allow_redirects=False,
        ) as response:
            body = _read_body(response)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        reason = type(error).__name__
        raise Unreachable(f"The chat server cannot be reached ({reason}).", hint=CHECK_HINT) from error
    if response.status_code == 404:  # some servers have the chat alone
        return ()
    if response.status_code != 200:
        raise make_status_error(response.status_code, body.decode("utf-8", "replace")[:2000], key)
    return _read_names(body)


def _read_body(response: Any) -> bytes:
    """The whole answer, as far as it comes in time and is no larger than a list of models."""
    end, body = time.monotonic() + _SECONDS, b""
    while chunk := response.raw.read1(65536, decode_content=True):
        body += chunk
        if len(body) > _MAX_BYTES or time.monotonic() > end:
            raise ProviderError("The chat server's list of models does not end.", hint=CHECK_HINT)
    return body


def _read_names(body: bytes) -> tuple[str, ...]:
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProviderError("The server answers, but not as a chat server does.", hint=CHECK_HINT) from error
    listed: Any = cast("dict[str, Any]", answer).get("data") if isinstance(answer, dict) else None
    entries = cast("list[Any]", listed) if isinstance(listed, list) else []
    names = [cast("dict[str, Any]", entry).get("id") for entry in entries if isinstance(entry, dict)]
    known = [name for name in names if isinstance(name, str) and name.isprintable()]
    return tuple(name[:_MAX_NAME_CHARS] for name in known[:_MAX_MODELS])
