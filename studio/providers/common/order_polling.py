"""Waiting for an order that a service has taken: looked after until it is done, and never called free once it was
taken."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from studio.core.errors import (
    MAY_BE_BILLED,
    ORDERED_AT,
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


@dataclass(frozen=True)
class Order:
    """What a service has taken: `key` tells what was ordered, `task` is its answer. `ordered_at` is when it took the
    order (seconds since the epoch), where an earlier call sent it."""

    key: str
    task: Mapping[str, Any]
    ordered_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class OrderPolling:
    """How to look at `order`, which the service calls `name`. `look` is the call, `read` takes its answer apart and
    raises where it is none. Pauses grow from `first` to `longest` seconds; after `seconds` it is given up."""

    title: str
    name: str
    order: Order
    look: HttpRequest
    read: Callable[[HttpResponse], Mapping[str, Any]]
    seconds: float = 600.0
    first: float = 1.0
    longest: float = 10.0
    understood: tuple[int, ...] = (200,)


def find_kept_order(wire: ProviderClient, key: str) -> Order | None:
    """The order that an earlier call sent and whose result was never fetched."""
    kept = wire.orders.get(key)
    return None if kept is None else Order(key, kept.task, kept.taken)


def send_order(wire: ProviderClient, key: str, send: Callable[[], Mapping[str, Any]]) -> Order:
    """The order, taken up again where its end is not known, else sent."""
    return find_kept_order(wire, key) or Order(key, send())


def load_result(wire: ProviderClient, order: Order, load: Callable[[], T]) -> T:
    """What `load` makes of an order whose result is ready. The order is kept where the result could not be fetched, so
    that the same one is taken up again."""
    with _keep_order(wire, order):
        return load()


@contextlib.contextmanager
def _keep_order(wire: ProviderClient, order: Order) -> Generator[list[bool]]:
    """Keep the order while the block works on it, and after that where its end stays unknown: the user stopped the
    job, the result could not be fetched, or the process ended. A block that empties the list it is given says that
    nothing is worth keeping."""
    with wire.orders.follow(order.key, order.task) as unknown:
        unknown.append(True)
        try:
            yield unknown
        except StudioError as error:
            if order.ordered_at is not None:
                error.details[ORDERED_AT] = order.ordered_at
            if not isinstance(error, JobCancelled | ImageSkipped | Unreachable) and not error.details.get("order"):
                unknown.clear()
            elif isinstance(error, Unreachable) and unknown:
                error.hint, error.details[MAY_BE_BILLED] = _KEPT_HINT, True
            raise
        unknown.clear()


def wait_for_order(wire: ProviderClient, polling: OrderPolling, judge: Callable[[Mapping[str, Any]], T | None]) -> T:
    """Look at the order until `judge` makes a result of its state; None means that it is being worked on. Looks that
    fail are repeated. An order whose end stays unknown, or whose result `judge` could not fetch, is kept, so that the
    same one is taken up again.

    Raises:
        StudioError: what `judge` raises for a failed order; else, marked as possibly billed, that its end is not known.
    """
    with _keep_order(wire, polling.order) as unknown:
        for found in _iter_states(wire, polling, unknown):
            result = judge(found)
            if result is not None:
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
        details={MAY_BE_BILLED: True, "order": polling.name[:200]},
    )


def _make_lost_order_error(polling: OrderPolling, error: StudioError) -> StudioError:
    """The order was taken, and how it ends cannot be asked."""
    kind = Unreachable if isinstance(error, Unreachable) else ProviderError
    return kind(
        f"{polling.title} took the order, but does not say what became of it: {error.message}",
        hint=_GONE_HINT if isinstance(error, InvalidRequest) else _KEPT_HINT,
        details={MAY_BE_BILLED: True, "order": polling.name[:200]},
    )
