"""What the tests of all cloud services share: a service pointed at a server on loopback, and the faults that each must
survive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image
from vendor_server import Reply, VendorServer, make_png, make_png_bomb

from studio.core.errors import JobCancelled, NotConfigured, StudioError
from studio.core.ports import ImageSeed
from studio.core.provider import ProviderSpec
from studio.core.request import GenerationRequest
from studio.core.result import RenderedImage
from studio.core.settings import Settings
from studio.providers.common.service_backend import Service

SENTINEL = "sk-sentinel-0123456789abcdefghij"


class FakeKeys:
    """The keys of a studio that has just the sentinel, or none."""

    def __init__(self, value: str = SENTINEL) -> None:
        self._value = value

    def is_set(self, *names: str) -> bool:
        return bool(self._value)

    def get(self, name: str) -> str:
        if not self._value:
            raise NotConfigured(f"{name} is not set.", hint="Set it.")
        return self._value


class FakeContext:
    """A JobContext that records; `cancel_after` looks it says that the user stopped the job. Waiting takes no time."""

    def __init__(self, *images: Image.Image, cancel_after: int | None = None) -> None:
        self.settings = Settings()
        self.images = {f"p{number}": image for number, image in enumerate(images)}
        self.slept: list[float] = []
        self.steps: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self._left = cancel_after

    def stop(self) -> None:
        """The user stops the job."""
        self._left = 0

    def report_loading(self, what: str) -> None: ...

    def report_progress(self, step: int, steps: int, preview: Any = None) -> None:
        self.steps.append((step, steps))
        self.raise_if_cancelled()

    def add_notice(self, text: str) -> None:
        self.notes.append(text)

    def raise_if_cancelled(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise JobCancelled("Stopped")

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.raise_if_cancelled()

    def load_image(self, content_hash: str) -> Image.Image:
        return self.images[content_hash].copy()

    def get_api_key(self, name: str) -> str:
        raise AssertionError("a service takes its key from the keys")

    def phase(self, name: str) -> Any:
        import contextlib

        return contextlib.nullcontext()

    def record_peak_memory(self, bytes_used: int) -> None: ...


def make_service(spec: ProviderSpec, server: VendorServer, *, key: str = SENTINEL, path: str = "") -> Service:
    """The service, pointed at the server."""
    return Service(spec, FakeKeys(key), lambda: server.url + path)


def render_images(
    found: Service, context: FakeContext | None = None, *, seeds: int = 1, **fields: Any
) -> list[RenderedImage]:
    """Render one request there."""
    request = GenerationRequest(**{"prompt": "a red fox", **fields})
    return found.render(request, [ImageSeed(seed=7 + k) for k in range(seeds)], context or FakeContext())


def expect_error(found: Service, context: FakeContext | None = None, **fields: Any) -> StudioError:
    """The error that a render ends with; it must tell the user what to do, and never the key."""
    with pytest.raises(StudioError) as caught:
        render_images(found, context, **fields)
    error = caught.value
    assert error.hint or isinstance(error, JobCancelled)
    seen: BaseException | None = error
    while seen is not None:
        assert SENTINEL not in f"{seen!r} {seen} {getattr(seen, 'details', '')} {getattr(seen, 'hint', '')}"
        seen = seen.__cause__ or seen.__context__
    return error


# What any service may answer in any moment: (name, reply). Each must end in a StudioError that says what to do.
ODD_REPLIES: Mapping[str, Reply] = {
    "html": Reply(body=b"<html>maintenance</html>", headers={"Content-Type": "text/html"}),
    "empty": Reply(body=b""),
    "no json": Reply(body=b"{not json"),
    "json null": Reply(body=None),
    "json list": Reply(body=[]),
    "json text": Reply(body="done"),
    "short": Reply(body=b'{"image": "', short=True),
    "hang up": Reply(drop=True),
    "500": Reply(status=500, body={"error": "x"}),
    "503 html": Reply(status=503, body=b"<html>busy</html>"),
    "418": Reply(status=418, body=b""),
    "redirect": Reply(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"}),
}
INVALID_IMAGES = {"text": b"this is no image", "half": make_png()[:60], "bomb": make_png_bomb(), "svg": b"<svg/>"}
