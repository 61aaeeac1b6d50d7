"""A model hub of our own: what huggingface_hub asks of the real one, with faults on order."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class HubServer:
    """`repos` maps a repo to its files. `gate` holds back all but the first half of each big file until it is set;
    `break_after` cuts a connection after that many bytes, `breaks` times. `spoilt` promises other contents than it
    sends. `status` answers everything about a repo with that status."""

    repos: Mapping[str, Mapping[str, bytes]]
    status: dict[str, int] = field(default_factory=dict)
    claimed: dict[str, int] = field(default_factory=dict)
    gate: threading.Event | None = None
    break_after: int = 0
    breaks: int = 0
    spoilt: bool = False
    ranges: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> HubServer:
        hub = self

        class Handler(_Handler):
            server_hub = hub

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
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True  # or each body waits 40 ms for the acknowledgement of its head
    protocol_version = "HTTP/1.1"
    server_hub: HubServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        hub, path = self.server_hub, unquote(self.path.split("?")[0])
        hub.requests.append(f"{self.command} {path}")
        hub.tokens.add(self.headers.get("authorization", ""))
        parts = path.removeprefix("/api/models").strip("/").split("/")
        repo = "/".join(parts[:2])
        status = hub.status.get(repo) or (200 if repo in hub.repos else 404)
        if status != 200:
            self.send_refusal(status)
        elif path.startswith("/api/models/"):
            self.send(json.dumps(self.info(repo)).encode(), {"Content-Type": "application/json"}, body=body)
        else:
            self.file(hub.repos[repo]["/".join(parts[4:])], body=body)

    def send_refusal(self, status: int) -> None:
        code = {401: "RepoNotFound", 404: "RepoNotFound", 403: "GatedRepo"}.get(status, "")
        self.send(b"{}", {"X-Error-Code": code}, status=status, body=True)

    def info(self, repo: str) -> dict[str, Any]:
        files = self.server_hub.repos[repo]
        return {
            "id": repo,
            "sha": REVISION,
            "siblings": [
                {"rfilename": name, "size": self.server_hub.claimed.get(name, len(data)), **self.build_lfs(name, data)}
                for name, data in files.items()
            ],
        }

    def build_lfs(self, name: str, data: bytes) -> dict[str, Any]:
        if not name.endswith(".safetensors"):
            return {}
        promised = b"other" if self.server_hub.spoilt else data
        return {"lfs": {"sha256": hashlib.sha256(promised).hexdigest(), "size": len(data), "pointerSize": 134}}

    def file(self, data: bytes, *, body: bool) -> None:
        hub, start, status = self.server_hub, 0, 200
        headers = {"X-Repo-Commit": REVISION, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        asked = self.headers.get("range")
        if asked and body:
            hub.ranges.append(asked)
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send(data[start:], headers, status=status, body=body, faults=True)

    def send(
        self, data: bytes, headers: Mapping[str, str], *, status: int = 200, body: bool, faults: bool = False
    ) -> None:
        hub = self.server_hub
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        if faults and hub.breaks and len(data) > hub.break_after:
            hub.breaks -= 1
            self.wfile.write(data[: hub.break_after])
            self.wfile.flush()
            self.close_connection = True
            return
        half = len(data) // 2 if faults and hub.gate is not None and len(data) > 100_000 else 0
        if half and hub.gate is not None:
            self.wfile.write(data[:half])
            self.wfile.flush()
            hub.gate.wait(20)
        try:
            self.wfile.write(data[half:])
        except OSError:  # the client left
            self.close_connection = True
