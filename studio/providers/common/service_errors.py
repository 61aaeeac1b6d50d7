"""Translate errors of services, where the services agree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from studio.core.errors import (
    MAY_BE_BILLED,
    ContentRefused,
    InvalidRequest,
    NotConfigured,
    PaymentNeeded,
    ProviderError,
    RateLimited,
    StudioError,
    Unreachable,
)
from studio.core.provider import HttpResponse
from studio.core.secrets_filter import redact
from studio.providers.common.http_wire import NOT_RETRIED, parse_seconds, read_retry_after

_MAX_DETAIL_LENGTH = 300  # characters of a service's own words that are passed on
_MAX_NESTED = 4  # lists and objects inside each other that are looked into for words
_LOADING_WAIT = 10.0  # seconds, where a server that loads its model does not say how long
_WORD_FIELDS = ("message", "msg", "error", "detail", "details", "errors", "title", "reason")


def make_status_error(title: str, answer: HttpResponse, message: str, *, wait: float | None = None) -> StudioError:
    """The error of an HTTP status. `message` is what the service says itself; `wait` are seconds to wait on a 429 that
    does not say how long."""
    detail = f": {quote_words(message)}" if message else ""
    match answer.status:
        case 401:
            return make_key_error(title)
        case 402:
            return make_credit_error(title)
        case 403:
            return NotConfigured(
                f"{title} denied access with this key{detail}.",
                hint="Check the key's permissions on the provider's page.",
            )
        case 404:
            return InvalidRequest(
                f"{title} did not find the model or image{detail}.",
                hint="Choose another model; this one may have been retired.",
            )
        case 429:
            after = read_retry_after(answer)
            return RateLimited(
                f"{title} received too many requests{detail}.",
                retry_after=wait if after is None else after,
                hint="Try again in a minute.",
            )
        case 400 | 409 | 413 | 415 | 422:
            return InvalidRequest(
                f"{title} rejected the request{detail}.", hint="Change the named field and try again."
            )
        case 301 | 302 | 303 | 307 | 308:
            return _make_moved_error(title, answer)
        case status if status >= 500:
            return _make_trouble_error(title, answer, message)
        case status:
            return ProviderError(
                f"{title} answered in an unexpected way (HTTP {status}){detail}.",
                hint="Try again, or pick another model.",
            )


def _make_moved_error(title: str, answer: HttpResponse) -> StudioError:
    """The address leads elsewhere; the key does not follow."""
    place = quote_words(answer.headers.get("Location", ""))
    to = f" It says: {place}" if place else ""
    return ProviderError(
        f"{title} is at another address now (HTTP {answer.status}).{to}", hint="Correct the address in Configurations."
    )


def _make_trouble_error(title: str, answer: HttpResponse, message: str) -> StudioError:
    """An error on the service's side. What cost nothing is tried again where another try may do better."""
    detail = f": {quote_words(message)}" if message else ""
    if answer.paid:
        return Unreachable(
            f"{title} has trouble (HTTP {answer.status}){detail}.",
            hint="Try again later. The image may have been billed.",
            details={MAY_BE_BILLED: True},
        )
    retry_after = read_retry_after(answer)
    if answer.status == 503 and (retry_after is not None or "loading" in message.lower()):
        return make_loading_error(title, answer, message)
    details = {NOT_RETRIED: True} if answer.status == 500 else {}
    return Unreachable(
        f"{title} has trouble (HTTP {answer.status}){detail}.",
        hint="Look at the server, or try again later.",
        details=details,
    )


def make_loading_error(title: str, answer: HttpResponse, message: str = "") -> StudioError:
    """The server is making the model ready; nothing was billed."""
    after = read_retry_after(answer)
    if after is None:
        after = parse_seconds(find_field(answer, "estimated_time"))
    return RateLimited(
        f"{title} is not ready yet{f': {quote_words(message)}' if message else ''}.",
        retry_after=max(1.0, _LOADING_WAIT if after is None else after),
        hint="Try again in a minute.",
    )


def quote_words(message: str) -> str:
    """A service's own words as they may be shown: on one line, of bounded length, without anything like a key."""
    return " ".join(redact(message).split())[:_MAX_DETAIL_LENGTH].rstrip(" .")


def make_key_error(title: str) -> StudioError:
    """The key is wrong."""
    return NotConfigured(f"{title} rejected the key.", hint="Enter another one in Configurations.")


def make_credit_error(title: str) -> StudioError:
    """The account is empty."""
    return PaymentNeeded(
        f"No credit left at {title}.", hint="Buy credit on the provider's page, or choose another model."
    )


def make_refusal_error(title: str, message: str, *, billed: bool) -> StudioError:
    """The service will not make, or not hand out, this image."""
    paid = "The image was billed anyway." if billed else "It was not billed."
    return ContentRefused(
        f"{title} refused to make this image{f': {quote_words(message)}' if message else ''}.",
        hint=f"Change the prompt or the image. {paid}",
        details={MAY_BE_BILLED: True} if billed else {},
    )


def make_answer_error(title: str, what: str = "something unexpected") -> StudioError:
    """An answer that is not one; the call may have been billed."""
    return ProviderError(
        f"{title} answered with {quote_words(what)}.",
        hint="Try again, or pick another model.",
        details={MAY_BE_BILLED: True},
    )


def read_json(title: str, answer: HttpResponse) -> dict[str, Any]:
    """The answer's JSON object.

    Raises:
        ProviderError: it is none.
    """
    try:
        found = answer.json()
    except ValueError as error:
        raise make_answer_error(title, _append_words("something that is not JSON", answer)) from error
    if not isinstance(found, dict):
        raise make_answer_error(title, _append_words("something unexpected", answer))
    return found


def _append_words(what: str, answer: HttpResponse) -> str:
    message = find_message(answer)
    return f"{what}: {message}" if message else what


def read_seed(value: Any, requested: int) -> int:
    """The seed that the service says it drew from, else the one that it was asked for."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return requested
    try:
        return int(value)
    except (ValueError, OverflowError):
        return requested


def find_message(answer: HttpResponse, *places: str) -> str:
    """The service's own message: the text at the first of `places` ("error.message") in the answer's JSON that has
    one, else the words that stand where services put them, or a plain text."""
    try:
        body = answer.json()
    except ValueError:
        return _read_plain_text(answer)
    return next((words for place in places if (words := _join_words(_get_field(body, place)))), "") or find_words(body)


def find_field(answer: HttpResponse, place: str) -> str:
    """The text or number that stands at `place` in the answer's JSON, "" when there is none."""
    try:
        return _join_words(_get_field(answer.json(), place))
    except ValueError:
        return ""


def _get_field(body: Any, place: str) -> Any:
    for step in place.split("."):
        body = body.get(step) if isinstance(body, Mapping) else None
    return body


def find_words(body: Any) -> str:
    """The words in an error's JSON, wherever services put them; "" when there are none."""
    if isinstance(body, str):
        return body
    if not isinstance(body, Mapping):
        return ""
    return next((words for name in _WORD_FIELDS if (words := _join_words(body.get(name)))), "")


def _join_words(found: Any, nested: int = 0) -> str:
    """A text, a number, pydantic's list of errors with their places, or an object with words, as one text."""
    if isinstance(found, str):
        return found
    if isinstance(found, int | float) and not isinstance(found, bool):
        return str(found)
    if nested == _MAX_NESTED:
        return ""
    if isinstance(found, list):
        return "; ".join(filter(None, (_join_words(item, nested + 1) for item in found)))
    if isinstance(found, Mapping):
        words = next((text for name in _WORD_FIELDS if (text := _join_words(found.get(name), nested + 1))), "")
        place = found.get("loc")
        where = ".".join(map(str, place)) if isinstance(place, list) else ""
        return f"{where}: {words}" if where and words else words
    return ""


def _read_plain_text(answer: HttpResponse) -> str:
    """A short text that is no page: the words of a server that answers without JSON."""
    text = answer.body[: 4 * _MAX_DETAIL_LENGTH].decode("utf-8", "replace").strip()
    if not text or text.startswith(("<", "{", "[")) or "\x00" in text or "\ufffd" in text:
        return ""
    return re.sub(r"\s+", " ", text)
