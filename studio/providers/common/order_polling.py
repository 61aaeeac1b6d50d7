"""Waiting for an order that a service has taken: looked after until it is done, and never called free once it was
taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from studio.core.errors import (
    MAY_BE_BILLED,
    ImageSkipped,
    InvalidRequest,
    JobCancelled,
    ProviderError,
    RateLimited,
    StudioError,
    Unreachable,
)
from studio.core.provider import HttpRequest, HttpResponse, ProviderClient

T = TypeVar("T")

_MAX_FAILED_LOOKS = 5  # looks one after the other that may fail: the order goes on meanwhile
_GONE_HINT = "It may have billed the image. Look at the service's own page before you ask for it anew."
_KEPT_HINT = (
    "It may have billed the image. Ask for the same image with the same seed again: the order is taken up, and not paid"
    " twice."
)
_MAX_WAIT = 60.0  # seconds that a service may ask us to wait before the next look


@dataclass(frozen=True, kw_only=True)
class OrderPolling:
    """How to look at the order called `order`, which the service took with the answer `task`; `key` identifies what was
    ordered. `look` is the call, `read` takes its answer apart and raises where it is none. Pauses grow from `first` to
    `longest` seconds; after `seconds` it is given up."""

    title: str
    order: str
    key: str
    task: Mapping[str, Any]
    look: HttpRequest
    read: Callable[[HttpResponse], Mapping[str, Any]]
    seconds: float = 600.0
    first: float = 1.0
    longest: float = 10.0
    understood: tuple[int, ...] = (200,)


def wait_for_order(wire: ProviderClient, polling: OrderPolling, judge: Callable[[Mapping[str, Any]], T | None]) -> T:
    """Look at the order until `judge` makes a result of its state; None means that it is being worked on. Looks that
    fail are repeated. An order whose end stays unknown is kept, so that the same one is taken up again.

    Raises:
        StudioError: what `judge` raises for a failed order; else, marked as possibly billed, that its end is not known.
    """
    with wire.orders.follow(polling.key, polling.task) as unknown:
        unknown.append(True)  # until something is known: the process may be stopped, or the job be cancelled
        for found in _iter_states(wire, polling, unknown):
            try:
                result = judge(found)
            except StudioError as error:
                if not isinstance(error, Unreachable):  # else the image is there, and could not be fetched
                    unknown.clear()
                raise
            if result is not None:
                unknown.clear()
                return result
    raise AssertionError("looking ends by raising")


def _iter_states(wire: ProviderClient, polling: OrderPolling, unknown: list[bool]) -> Iterator[Mapping[str, Any]]:
    """The state found by each successful poll. Of an order that the service does not know nothing is kept: `unknown` is
    cleared."""
    failed = 0
    for _ in _iter_looks(wire, polling):
        try:
            found = polling.read(wire.send(polling.look, understood=polling.understood))
        except (JobCancelled, ImageSkipped):
            raise
        except StudioError as error:
            failed += 1
            if failed == _MAX_FAILED_LOOKS:
                if isinstance(error, InvalidRequest):
                    unknown.clear()
                raise _make_lost_order_error(polling, error) from error
            if isinstance(error, RateLimited) and error.retry_after:
                wire.sleep(min(error.retry_after, _MAX_WAIT))
            continue
        failed = 0
        yield found


def _iter_looks(wire: ProviderClient, polling: OrderPolling) -> Iterator[int]:
    end, pause, look = time.monotonic() + polling.seconds, polling.first, 0
    while time.monotonic() < end:
        yield look
        wire.sleep(pause)
        pause, look = min(polling.longest, pause * 1.5), look + 1
    raise Unreachable(
        f"{polling.title} did not finish the image in time. The image may have been billed.",
        hint=_KEPT_HINT,
        details={MAY_BE_BILLED: True, "order": polling.order[:200]},
    )


def _make_lost_order_error(polling: OrderPolling, error: StudioError) -> StudioError:
    """The order was taken, and how it ends cannot be asked."""
    kind = Unreachable if isinstance(error, Unreachable) else ProviderError
    return kind(
        f"{polling.title} took the order, but does not say what became of it: {error.message}",
        hint=_GONE_HINT if isinstance(error, InvalidRequest) else _KEPT_HINT,
        details={MAY_BE_BILLED: True, "order": polling.order[:200]},
    )
