"""What a service's refusals mean, in the studio's words, where the services agree."""

from __future__ import annotations

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
from studio.providers.common.http_wire import read_retry_after

_MAX_DETAIL_LENGTH = 300  # characters of a service's own words that are passed on


def make_status_error(title: str, answer: HttpResponse, told: str, *, wait: float | None = None) -> StudioError:
    """The error of an HTTP status. `told` is what the service says itself; `wait` are seconds to wait on a 429 that
    does not say how long."""
    said = f": {told[:_MAX_DETAIL_LENGTH]}" if told else ""
    match answer.status:
        case 401:
            return make_key_error(title)
        case 402:
            return make_credit_error(title)
        case 403:
            return NotConfigured(
                f"{title} does not let this key do that{said}.", hint="Look at the key's rights on the provider's page."
            )
        case 404:
            return InvalidRequest(
                f"{title} does not have that{said}.", hint="Pick another model: this one may have been retired."
            )
        case 429:
            after = read_retry_after(answer)
            return RateLimited(
                f"{title} asks to wait{said}.",
                retry_after=wait if after is None else after,
                hint="Try again in a minute.",
            )
        case 400 | 409 | 413 | 415 | 422:
            return InvalidRequest(
                f"{title} does not take this request{said}.", hint="Change what it names and send it again."
            )
        case status if status >= 500:
            return Unreachable(
                f"{title} has trouble (HTTP {status}){said}.",
                hint="Try again later. It may have billed the image.",
                details={MAY_BE_BILLED: True},
            )
        case status:
            return ProviderError(
                f"{title} answered in an unexpected way (HTTP {status}).", hint="Try again, or pick another model."
            )


def make_key_error(title: str) -> StudioError:
    """The key is wrong."""
    return NotConfigured(f"{title} does not accept the key.", hint="Enter another one in Configurations.")


def make_credit_error(title: str) -> StudioError:
    """The account is empty."""
    return PaymentNeeded(
        f"There is no credit left at {title}.", hint="Buy some on the provider's page, or pick another model."
    )


def make_refusal_error(title: str, told: str, *, billed: bool) -> StudioError:
    """The service will not make, or not hand out, this image."""
    paid = "It was billed all the same." if billed else "It was not billed."
    return ContentRefused(
        f"{title} will not make this image{f': {told[:_MAX_DETAIL_LENGTH]}' if told else ''}.",
        hint=f"Change the prompt or the image. {paid}",
        details={MAY_BE_BILLED: True} if billed else {},
    )


def make_answer_error(title: str, what: str = "something unexpected") -> StudioError:
    """An answer that is not one; the call may have been billed."""
    return ProviderError(
        f"{title} answered with {what}.", hint="Try again, or pick another model.", details={MAY_BE_BILLED: True}
    )


def read_json(title: str, answer: HttpResponse) -> dict[str, Any]:
    """The answer's JSON object.

    Raises:
        ProviderError: it is none.
    """
    try:
        found = answer.json()
    except (ValueError, RecursionError) as error:
        raise make_answer_error(title, "something that is not JSON") from error
    if not isinstance(found, dict):
        raise make_answer_error(title)
    return found


def find_message(answer: HttpResponse, *places: str) -> str:
    """The first text that stands at one of `places` ("error.message") in the answer's JSON, "" when none does."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return ""
    for place in places:
        found = body
        for step in place.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, list):
            found = "; ".join(str(item.get("msg", item) if isinstance(item, dict) else item) for item in found)
        if isinstance(found, str) and found:
            return found
    return ""
