"""The way to a service over HTTP: pooled connections, retries that are safe for billing, bounded waits that hear
cancel, and downloads from the service's own hosts only."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import email.utils
import ipaddress
import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from PIL import Image

from studio.core.errors import MAY_BE_BILLED, BadImage, ProviderError, RateLimited, Unreachable
from studio.core.image_gate import ImageLimits, detect_format, open_image
from studio.core.ports import JobContext
from studio.core.provenance import has_credentials
from studio.core.provider import HttpRequest, HttpResponse, ProviderSpec
from studio.core.result import RenderedImage
from studio.core.thread_handover import resolve_future
from studio.providers.common.kept_state import OpenOrders

if TYPE_CHECKING:
    import requests
    from tenacity import RetryCallState

T = TypeVar("T")

NOT_RETRIED = "not_retried"  # among an error's details: nothing is lost by another try, but it would take as long again
MAX_ANSWER_BYTES = 256 * 1024 * 1024  # bytes
_MAX_ATTEMPTS = 4
_MAX_RETRY_WAIT = 60.0  # seconds that a service may ask us to wait before the next try
_MAX_SERVER_WAIT = 7 * 86400.0  # seconds; a service that names more is not believed
_CONNECT_TIMEOUT = 10.0  # seconds
_MAX_REDIRECTS = 3
_LAST_CALL_TIMEOUT = 5.0  # seconds for what is sent after the user stopped the job
_CANCEL_CHECK_INTERVAL = 0.1  # seconds between two checks for a cancel


class HttpWire:
    """A Wire for one job. `session` is shared by all jobs of the service and thread-safe as far as requests' pools
    are."""

    def __init__(
        self, spec: ProviderSpec, base_url: str, key: str, session: requests.Session, context: JobContext
    ) -> None:
        self._spec = spec
        self._base = base_url.rstrip("/")
        self._key = key
        self._session = session
        self._context = context
        self.orders = OpenOrders()
        self.repeats = True  # False where another server may be asked: then a connection that breaks is made once more
        self._originals: list[tuple[Image.Image, bytes]] = []

    def __repr__(self) -> str:
        return f"HttpWire({self._spec.id})"

    @property
    def base_url(self) -> str:
        return self._base

    @property
    def key(self) -> str:
        return self._key

    @property
    def free(self) -> bool:
        return self._spec.free

    def sleep(self, seconds: float) -> None:
        self._context.sleep(seconds)

    def run(self, work: Callable[[], T], *, seconds: float, paid: bool = True) -> T:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        threading.Thread(
            target=resolve_future, args=(future, work), name=f"call to {self._spec.id}", daemon=True
        ).start()
        end = time.monotonic() + seconds
        while True:
            try:
                return future.result(_CANCEL_CHECK_INTERVAL)
            except concurrent.futures.TimeoutError as error:
                if future.done():
                    raise
                self._context.raise_if_cancelled()
                if time.monotonic() > end:
                    raise self._make_timeout_error(paid) from error

    def send(self, call: HttpRequest, *, understood: Sequence[int] = (200,)) -> HttpResponse:
        return self.call_with_retry(lambda: self._send_once(call, understood))

    def send_last(self, call: HttpRequest) -> HttpResponse | None:
        import requests

        try:
            with self._session.request(
                call.method,
                self._base + call.path,
                headers=self._build_headers(call),
                json=call.json,
                timeout=_LAST_CALL_TIMEOUT,
                allow_redirects=False,
            ) as response:
                return HttpResponse(
                    status=response.status_code, headers=response.headers, body=response.content, paid=False
                )
        except requests.RequestException:
            return None

    def call_with_retry(self, once: Callable[[], T]) -> T:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt

        def attempt() -> T:
            self._context.raise_if_cancelled()
            return once()

        return Retrying(
            retry=retry_if_exception(
                lambda error: _can_retry(error) and (self.repeats or isinstance(error, Unreachable))
            ),
            wait=_get_retry_delay,
            stop=stop_after_attempt(_MAX_ATTEMPTS if self.repeats else 2),
            sleep=self.sleep,
            reraise=True,
        )(attempt)

    def download(self, url: str) -> Image.Image:
        for attempt in range(3):
            try:
                return self.decode_image(self.run(lambda: self._fetch_bytes(url), seconds=120.0, paid=True))
            except Unreachable:
                if attempt == 2:
                    raise
                self.sleep(0.5)
        raise AssertionError("the last attempt returns or raises")

    def decode_image(self, data: bytes) -> Image.Image:
        try:
            image = open_image(data, limits=ImageLimits.of(self._context.settings), patient=True)
        except BadImage as error:
            raise ProviderError(
                f"{self._spec.title} returned something that is not an image: {error.message}",
                hint="Try again.",
                details=self._get_bill(),
            ) from error
        if has_credentials(data, detect_format(data)):
            self._originals.append((image, data))
        return image

    def attach_originals(self, rendered: Sequence[RenderedImage]) -> list[RenderedImage]:
        """`rendered` with the files that the service sent, where these have Content Credentials. An image that was
        worked on since it came is found by its place among them."""
        found = [next((data for image, data in self._originals if image is one.image), None) for one in rendered]
        if not any(found) and len(self._originals) == len(rendered):
            found = [data for _, data in self._originals]
        return [dataclasses.replace(one, original=data) for one, data in zip(rendered, found, strict=True)]

    def _get_bill(self) -> dict[str, bool]:
        """The details of an error that came after the service did its work."""
        return {} if self._spec.free else {MAY_BE_BILLED: True}

    def _make_timeout_error(self, paid: bool) -> Unreachable:
        """The error of a call that took too long; an order is not repeated even where it is free."""
        error = make_unreachable_error(self._spec.title, paid=paid and not self._spec.free)
        if paid:
            error.details[NOT_RETRIED] = True
        return error

    def _build_headers(self, call: HttpRequest) -> dict[str, str]:
        return {**call.headers, **(self._spec.header(self._key) if self._key else {})}

    def _send_once(self, call: HttpRequest, understood: Sequence[int]) -> HttpResponse:
        url = call.path if call.path.startswith(("http://", "https://")) else self._base + call.path
        if not self._is_own_url(url):
            raise _make_address_error(self._spec.title)
        headers = self._build_headers(call)
        files: Any = list(call.files) or ({"none": ""} if call.form is not None else None)

        def work() -> HttpResponse:
            return self._exchange(
                call,
                method=call.method,
                url=url,
                headers=headers,
                params=dict(call.query) or None,
                json=call.json,
                data=call.form,
                files=files,
                timeout=(_CONNECT_TIMEOUT, call.seconds),
                allow_redirects=False,
                stream=True,
            )

        answer = self.run(work, seconds=call.seconds + _CONNECT_TIMEOUT, paid=call.paid)
        if answer.status in understood:
            return answer
        raise self._spec.fault(answer)

    def _exchange(self, call: HttpRequest, **request: Any) -> HttpResponse:
        import requests

        paid = call.paid and not self._spec.free
        try:
            with self._session.request(**request) as response:
                body = _read_body(response, self._spec.title)
                return HttpResponse(status=response.status_code, headers=response.headers, body=body, paid=paid)
        except (requests.ConnectTimeout, requests.exceptions.SSLError) as error:
            raise make_unreachable_error(self._spec.title, paid=False) from error
        except requests.ReadTimeout as error:
            raise self._make_timeout_error(call.paid) from error
        except requests.RequestException as error:
            raise make_unreachable_error(self._spec.title, paid=paid and not _is_connection_failure(error)) from error

    def _fetch_bytes(self, url: str) -> bytes:
        """The bytes at `url`; every hop of a redirect is checked anew, and no key travels."""
        import requests

        for _ in range(_MAX_REDIRECTS + 1):
            self._check_host(url)
            try:
                with self._session.get(
                    url, timeout=(_CONNECT_TIMEOUT, 60), allow_redirects=False, stream=True
                ) as response:
                    if response.is_redirect:
                        url = _join_url(self._spec.title, url, response.headers["Location"])
                        continue
                    if response.status_code != 200:
                        raise self._make_download_error(response.status_code)
                    return _read_body(response, self._spec.title)
            except requests.RequestException as error:
                raise make_unreachable_error(self._spec.title, paid=not self._spec.free) from error
        raise _make_address_error(self._spec.title)

    def _make_download_error(self, status: int) -> ProviderError:
        kind = Unreachable if status >= 500 else ProviderError
        hint = "Try again." if self._spec.free else "The image was billed. Check your account at the service."
        return kind(
            f"The image that {self._spec.title} made could not be fetched (HTTP {status}).",
            hint=hint,
            details=self._get_bill(),
        )

    def _is_own_url(self, url: str) -> bool:
        """Whether a call, with the key, may go there: the configured base, or over https one of the service's hosts.

        Raises:
            ProviderError: it is no address.
        """
        base, parts = split_url(self._spec.title, self._base), split_url(self._spec.title, url)
        same = (parts.scheme, parts.hostname, parts.port) == (base.scheme, base.hostname, base.port)
        return same or (parts.scheme == "https" and _is_allowed_host(parts.hostname or "", self._spec.hosts))

    def _check_host(self, url: str) -> None:
        """Raises ProviderError for an address that is neither the service's nor public."""
        base, parts = split_url(self._spec.title, self._base), split_url(self._spec.title, url)
        if parts.scheme in ("http", "https") and (parts.hostname, parts.port) == (base.hostname, base.port):
            return
        if (
            parts.scheme != "https"
            or not _is_allowed_host(parts.hostname or "", self._spec.hosts)
            or _is_private_host(parts.hostname or "")
        ):
            raise _make_address_error(self._spec.title)


def split_url(title: str, url: str) -> SplitResult:
    """The parts of an address that a service named; raises ProviderError for what is none (a bad port, bad IPv6)."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError as error:
        raise _make_address_error(title) from error
    return parts


def _join_url(title: str, base: str, url: str) -> str:
    try:
        return urljoin(base, url)
    except ValueError as error:
        raise _make_address_error(title) from error


def _can_retry(error: BaseException) -> bool:
    """Whether nothing can have been billed, and the wait that is asked for is not too long."""
    if not isinstance(error, RateLimited | Unreachable):
        return False
    if error.details.get(MAY_BE_BILLED) or error.details.get(NOT_RETRIED):
        return False
    return not isinstance(error, RateLimited) or (error.retry_after or 0.0) <= _MAX_RETRY_WAIT


def _can_connect_again(error: BaseException) -> bool:
    """Whether a connection broke, and nothing can have been billed."""
    return isinstance(error, Unreachable) and _can_retry(error)


def _get_retry_delay(state: RetryCallState) -> float:
    """Seconds until the next try: as the service says, else 1, 2, 4."""
    error = state.outcome.exception() if state.outcome is not None else None
    retry_after = error.retry_after if isinstance(error, RateLimited) else None
    return float(2 ** (state.attempt_number - 1)) if retry_after is None else retry_after


def make_unreachable_error(title: str, *, paid: bool) -> Unreachable:
    """The error of a service that does not answer; `paid` when it may have billed all the same."""
    billing = " The image may have been billed." if paid else ""
    return Unreachable(
        f"{title} did not respond.{billing}",
        hint="Check the network, check the service's status page, or choose another model.",
        details={MAY_BE_BILLED: True} if paid else {},
    )


def read_retry_after(answer: HttpResponse) -> float | None:
    """Seconds that the answer's Retry-After asks for, given in seconds or as a date; None when it does not say."""
    text = answer.headers.get("Retry-After", "")
    seconds = parse_seconds(text)
    if seconds is not None:
        return seconds
    try:
        return parse_seconds(email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def parse_seconds(value: Any) -> float | None:
    """A wait that a service names, in seconds, 0 to a week; None for what is not a number."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(seconds) else min(max(0.0, seconds), _MAX_SERVER_WAIT)


def _read_body(response: requests.Response, title: str) -> bytes:
    pieces, size = [], 0
    for piece in response.iter_content(256 * 1024):
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise ProviderError(
                f"{title} sent too much data for an image.", hint="Try again.", details={MAY_BE_BILLED: True}
            )
        pieces.append(piece)
    return b"".join(pieces)


def _is_connection_failure(error: BaseException | None) -> bool:
    """Whether the connection was never made, so that nothing can have been billed."""
    import requests
    from urllib3.exceptions import NameResolutionError, NewConnectionError

    while error is not None:
        if isinstance(
            error, NewConnectionError | NameResolutionError | ConnectionRefusedError | requests.ConnectTimeout
        ):
            return True
        inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
        error = getattr(error, "reason", None) or error.__cause__ or inner
        if not isinstance(error, BaseException):
            return False
    return False


def _is_allowed_host(host: str, hosts: Sequence[str]) -> bool:
    return any(host == one or (one.startswith(".") and host.endswith(one)) for one in hosts)


def _is_private_host(host: str) -> bool:
    """Whether a name leads into this machine or its network."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, 443)}
    except (OSError, UnicodeError):
        return False  # then nothing can be fetched from there either
    return any(not ipaddress.ip_address(str(address).split("%")[0]).is_global for address in found)


def _make_address_error(title: str) -> ProviderError:
    return ProviderError(
        f"{title} gave an image address on another server.",
        hint="The image was not downloaded. Report this to the service.",
        details={MAY_BE_BILLED: True},
    )
