"""Offered weights fetched over real HTTP from servers of our own: a hub, and one that redirects as GitHub's releases
do."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import InvalidRequest, NotConfigured
from studio.core.ports import DownloadState
from studio.core.weights import DownloadableWeights
from studio.pipelines.catalog import downloadable_weights, url_downloads
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.catalog.url_downloads import is_allowed
from tests.hub_server import HubServer

DATA = os.urandom(900_000)
REPO = {
    "config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "model.safetensors": DATA,
    "model.fp16.safetensors": b"half",
    "pytorch_model.bin": b"pickle",
    "onnx/model.safetensors": b"other",
    "table.pth": DATA,
    "README.md": b"",
}


class ReleaseServer:
    """Answers /release/… with a redirect to /data/…. `gate` holds back the second half until it is set; `break_after`
    cuts the first answers there, `breaks` of them; without `resumes` it always sends everything. `elsewhere` is where
    it redirects to instead."""

    def __init__(self) -> None:
        self.gate: threading.Event | None = None
        self.data, self.breaks, self.break_after, self.resumes, self.status = DATA, 0, 0, True, 200
        self.elsewhere = ""
        self.ranges: list[str] = []

    def __enter__(self) -> ReleaseServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                pass

            def do_GET(self) -> None:
                outer.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.gate is not None:
            self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/release/"):
            handler.send_response(302)
            handler.send_header("Location", self.elsewhere or handler.path.replace("/release/", "/data/"))
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        asked = handler.headers.get("range", "")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.resumes else 0
        status = (
            self.status if self.status != 200 else 416 if start >= len(self.data) and start else 206 if start else 200
        )
        body = self.data[start:] if status in (200, 206) else b""
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        if status in (206, 416):
            handler.send_header(
                "Content-Range",
                (
                    f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
                    if status == 206
                    else f"bytes */{len(self.data)}"
                ),
            )
        handler.end_headers()
        self._send(handler, body)

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.breaks and body:
            self.breaks -= 1
            handler.wfile.write(body[: self.break_after])
            handler.close_connection = True
            return
        half = len(body) // 2 if self.gate is not None else 0
        try:
            handler.wfile.write(body[:half])
            handler.wfile.flush()
            if self.gate is not None and half:
                self.gate.wait(20)
            handler.wfile.write(body[half:])
        except OSError:  # the client left
            handler.close_connection = True


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(url_downloads, "_PIECE", 16_384)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def server() -> Iterator[ReleaseServer]:
    with ReleaseServer() as running:
        yield running


class Trial:
    """A hub with one offer of `source`, below `models`."""

    def __init__(
        self,
        models: Path,
        address: str,
        source: str,
        *,
        sha256: str = "",
        size: int = len(DATA),
        filename: str = "face.pth",
    ) -> None:
        self.offer = DownloadableWeights(
            id=f"restorers/{filename}",
            title="Face",
            folder="restorers",
            filename=filename,
            source=source,
            bytes=size,
            sha256=sha256,
            licence="any",
        )
        self.models, self.finished, self.offline = models, 0, False
        self.file = models / "restorers" / filename
        self.hub = Hub(
            models,
            lambda: self.offline,
            self._count,
            endpoint=address,
            list_downloadable_weights=lambda: () if self.file.exists() else (self.offer,),
            allowed=lambda url: url.startswith(address),
        )

    def _count(self) -> None:
        self.finished += 1

    def wait(self, until: Callable[[DownloadState], bool] | None = None) -> DownloadState:
        return self.hub.wait(self.offer.id, lambda state: state.finished or (until is not None and until(state)), 30)

    def run(self) -> DownloadState:
        self.hub.fetch(self.offer.id)
        state = self.wait()
        assert state.finished
        return state


def trial(models: Path, server: ReleaseServer, **changes: Any) -> Trial:
    return Trial(models, server.address, f"{server.address}/release/face.pth", **changes)


RIGHT = hashlib.sha256(DATA).hexdigest()


def test_an_address_is_fetched_checked_and_put_in_its_place(tmp_path: Path, server: ReleaseServer) -> None:
    one = trial(tmp_path, server, sha256=RIGHT)
    assert [offer.id for offer in one.hub.list_downloadable_weights()] == [one.offer.id]
    state = one.run()
    assert (state.error, state.done, state.total) == ("", len(DATA), len(DATA))
    assert one.file.read_bytes() == DATA
    assert one.finished == 1
    assert one.hub.list_downloadable_weights() == ()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [one.file], "nothing is left behind"
    with pytest.raises(InvalidRequest, match="No downloadable weights"):
        one.hub.fetch(one.offer.id)


def test_cancelled_and_gone_on_with(tmp_path: Path, server: ReleaseServer) -> None:
    server.gate = threading.Event()
    one = trial(tmp_path, server, sha256=RIGHT)
    one.hub.fetch(one.offer.id)
    assert not one.wait(lambda state: state.done >= 300_000).finished
    assert not one.file.exists()
    one.hub.cancel(one.offer.id)
    server.gate.set()
    state = one.wait()
    assert "Stopped" in state.error
    assert one.run().error == ""
    assert one.file.read_bytes() == DATA
    assert server.ranges[0] == ""
    assert int(server.ranges[1].removeprefix("bytes=").rstrip("-")) >= 300_000


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_connection_is_told_and_gone_on_with(tmp_path: Path, server: ReleaseServer, resumes: bool) -> None:
    server.breaks, server.break_after, server.resumes = 1, 400_000, resumes
    one = trial(tmp_path, server, sha256=RIGHT)
    assert "resumes where it stopped" in one.run().error
    state = one.run()
    assert (state.error, state.done) == ("", len(DATA))
    assert one.file.read_bytes() == DATA


def test_a_file_that_came_whole_before_is_not_fetched_again(tmp_path: Path, server: ReleaseServer) -> None:
    one = trial(tmp_path, server, sha256=RIGHT)
    part = tmp_path / "hub" / ".partial" / "offers" / one.offer.id / "face.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    assert one.run().error == ""
    assert one.file.read_bytes() == DATA


def test_another_file_under_the_name_is_refused(tmp_path: Path, server: ReleaseServer) -> None:
    wrong_hash = trial(tmp_path, server, sha256=hashlib.sha256(b"another").hexdigest())
    assert "damaged" in wrong_hash.run().error
    wrong_size = trial(tmp_path, server, size=len(DATA) * 2)
    assert "not downloaded" in wrong_size.run().error
    assert trial(tmp_path, server, size=len(DATA) + 9, sha256=RIGHT).run().error != "", "with a hash the size is exact"
    assert not wrong_hash.file.exists()
    assert trial(tmp_path, server, size=round(len(DATA) * 1.03)).run().error == "", "without a hash it is about right"


def test_no_other_host_is_asked(tmp_path: Path, server: ReleaseServer) -> None:
    one = trial(tmp_path, server)
    server.elsewhere = "http://127.0.0.1:1/elsewhere"
    assert "not allowed from 127.0.0.1" in one.run().error
    assert server.ranges == []
    for bad in (
        "http://github.com/a",
        "https://github.com.evil.example/a",
        "https://example.org/a",
        "https://github.com:8443/a",
        "file:///etc/passwd",
    ):
        assert not is_allowed(bad)
    for good in (
        *(
            offer.source
            for offer in (*downloadable_weights.DOWNLOADABLE_UPSCALERS, *downloadable_weights.DOWNLOADABLE_RESTORERS)
        ),
        "https://cas-bridge.xethub.hf.co/x",
    ):
        assert is_allowed(good)


def test_servers_and_disks_that_fail_are_said_so(tmp_path: Path, server: ReleaseServer) -> None:
    server.status = 404
    assert "no longer available" in trial(tmp_path, server).run().error
    server.status = 503
    assert "503" in trial(tmp_path, server).run().error
    nobody = Trial(tmp_path, "http://127.0.0.1:1", "http://127.0.0.1:1/face.pth")
    assert "cannot be reached" in nobody.run().error
    huge = trial(tmp_path, server, size=10**15)
    with pytest.raises(Exception, match="GB free"):
        huge.hub.fetch(huge.offer.id)
    off = trial(tmp_path, server)
    off.offline = True
    with pytest.raises(NotConfigured):
        off.hub.fetch(off.offer.id)


def test_a_file_of_a_repo_and_a_whole_repo(tmp_path: Path) -> None:
    with HubServer({"org/model": REPO}) as hub:
        one = Trial(tmp_path, hub.endpoint, "org/model:table.pth", sha256=RIGHT)
        assert one.run().error == ""
        assert one.file.read_bytes() == DATA
        folder = Trial(tmp_path, hub.endpoint, "org/model", filename="model")
        assert folder.run().error == ""
        assert {path.name for path in folder.file.iterdir()} == {
            "config.json",
            "preprocessor_config.json",
            "model.safetensors",
        }
        assert "no none.pth" in Trial(tmp_path, hub.endpoint, "org/model:none.pth", filename="n").run().error
        wrong = Trial(
            tmp_path, hub.endpoint, "org/model:table.pth", sha256=hashlib.sha256(b"x").hexdigest(), filename="w"
        )
        assert "damaged" in wrong.run().error
        assert not wrong.file.exists()


def test_offers_name_what_is_not_here(tmp_path: Path) -> None:
    everything = downloadable_weights.list_missing_weights(tmp_path)
    assert len({offer.id for offer in everything}) == len(everything)
    assert all(offer.bytes > 1_000_000 and offer.licence for offer in everything)
    first = everything[0]
    (tmp_path / first.folder).mkdir()
    (tmp_path / first.folder / first.filename).touch()
    assert downloadable_weights.list_missing_weights(tmp_path) == everything[1:]
