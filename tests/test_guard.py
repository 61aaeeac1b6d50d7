"""What must not come in, against a real server with a real Gradio page: Gradio's own open doors shut, its safe ones
kept safe."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
import httpx
import pytest
from fakes import DEADLINE
from fastapi import FastAPI
from PIL import Image
from serving import RunningStudio, serve_studio, wait_until

from studio.core.errors import NotConfigured
from studio.core.settings import Settings
from studio.engine.studio import Studio
from studio.serving.hosts import Hosts, TrustedProxies, split_names


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_studio(
        tmp_path_factory.mktemp("open"),
        max_upload_mb=1,
        allowed_hosts="studio.example, *.lan",
        allowed_origins="https://friend.example",
    ) as found:
        yield found


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path_factory.mktemp("closed"), users=True) as found:
        yield found


def raw(served: RunningStudio, request: bytes) -> bytes:
    """Send bytes as they are, read the answer until the server closes or pauses."""
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), DEADLINE) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer and (chunk := connection.recv(65536)):
            answer += chunk
        return answer


def fn_call(
    client: httpx.Client, index: int, data: list[object], session: str = "s-one", **options: object
) -> httpx.Response:
    body = {"data": data, "fn_index": index, "session_hash": session, "trigger_id": None, "event_data": None}
    return client.post("/gradio_api/queue/join", json=body, **options)  # type: ignore[arg-type]


def outcome(client: httpx.Client, session: str) -> dict[str, object]:
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            message = json.loads(line[6:]) if line.startswith("data: ") else {}
            if message.get("msg") in ("process_completed", "unexpected_error"):
                return message
    raise AssertionError("no outcome")


def dependencies(client: httpx.Client) -> list[dict[str, object]]:
    return client.get("/config").json()["dependencies"]


# G1 to G6, G9, G11: what Gradio lets through


@pytest.mark.parametrize(
    "host",
    ["attacker.example", "127.0.0.1.attacker.example", "localhost@attacker.example", "", "169.254.169.254", "a b"],
)
def test_a_foreign_host_is_refused(served: RunningStudio, host: str) -> None:
    assert served.open_client().get("/", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:7860", "127.0.0.1:1", "[::1]:7860", "studio.example", "studio.example.", "my.lan:80"],
)
def test_an_own_host_is_answered(served: RunningStudio, host: str) -> None:
    assert served.open_client().get("/", headers={"Host": host}).status_code == 200


def test_two_host_headers_are_refused(served: RunningStudio) -> None:
    assert raw(served, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n").split()[1] == b"400"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "file://", "http://localhost:3000", "http://127.0.0.1.evil.example"]
)
@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join", "/api/image-studio/create", "/login"])
def test_a_foreign_origin_may_not_write(served: RunningStudio, origin: str, path: str) -> None:
    answer = served.open_client().post(path, headers={"Origin": origin}, files={"files": b"x"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_write_that_the_browser_calls_foreign_is_refused_without_an_origin(served: RunningStudio, site: str) -> None:
    client = served.open_client()
    assert client.post("/gradio_api/upload", headers={"Sec-Fetch-Site": site}, files={"files": b"x"}).status_code == 403
    assert client.get("/gradio_api/queue/data?session_hash=x", headers={"Sec-Fetch-Site": site}).status_code == 403


def test_our_own_page_and_curl_may_write(served: RunningStudio) -> None:
    client = served.open_client()
    own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/gradio_api/upload", files={"files": ("a.txt", b"x")}, headers=own).status_code == 200
    assert client.post("/gradio_api/upload", files={"files": ("a.txt", b"x")}).status_code == 200


def test_only_a_named_origin_may_call_the_api_and_none_the_page(served: RunningStudio) -> None:
    client, friend = served.open_client(), {"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}
    answer = client.get("/api/image-studio/models", headers=friend)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://friend.example")
    assert "access-control-allow-credentials" not in answer.headers
    assert client.post("/api/image-studio/create", json={"prompt": "x"}, headers=friend).status_code == 202
    assert client.post("/gradio_api/upload", files={"files": b"x"}, headers=friend).status_code == 403


def test_a_preflight_lets_in_the_named_origin_only(served: RunningStudio) -> None:
    client, asked = served.open_client(), {"Access-Control-Request-Method": "POST"}
    good = client.options("/api/image-studio/create", headers={"Origin": "https://friend.example", **asked})
    bad = client.options("/api/image-studio/create", headers={"Origin": "https://evil.example", **asked})
    assert good.headers["access-control-allow-origin"] == "https://friend.example"
    assert "access-control-allow-origin" not in bad.headers


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/theme.css"])
def test_no_origin_is_mirrored_not_even_for_an_own_name(served: RunningStudio, path: str) -> None:
    answer = served.open_client().get(path, headers={"Host": "studio.example", "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-credentials" not in answer.headers


def test_a_large_upload_is_refused_by_its_length(served: RunningStudio) -> None:
    assert served.open_client().post("/gradio_api/upload", files={"files": b"x" * 3_000_000}).status_code == 413


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/queue/join", "/api/image-studio/create"])
def test_a_large_upload_without_a_length_is_cut_off(served: RunningStudio, path: str) -> None:
    def endless() -> Iterator[bytes]:
        yield b"--b\r\nContent-Disposition: form-data; name=files; filename=x\r\n\r\n"
        for _ in range(64):
            yield b"x" * 65_536

    kind = "multipart/form-data; boundary=b" if "upload" in path else "application/json"
    try:
        answer = served.open_client().post(path, content=endless(), headers={"Content-Type": kind})
    except httpx.WriteError:  # cut off before the answer could be read
        return
    assert answer.status_code == 413


@pytest.mark.parametrize("length", [b"-1", b"abc", b"1e9", b"99999999999999999999"])
def test_a_senseless_length_is_refused(served: RunningStudio, length: bytes) -> None:
    answer = raw(
        served, b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"
    )
    assert answer.split()[1] in (b"400", b"413")


@pytest.mark.parametrize("boundary", ["", "a" * 100_000, "a" * 71, "x\x00y"])
def test_a_form_without_a_usable_boundary_is_refused(served: RunningStudio, boundary: str) -> None:
    answer = raw(
        served,
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Type:"
        b" multipart/form-data; boundary=" + boundary.encode() + b"\r\n\r\nxx",
    )
    assert answer.split()[1] in (b"400", b"431")


@pytest.mark.parametrize(
    "path", ["/", "/config", "/nothing", "/api/nothing", "/login", "/monitoring", "/api/docs", "/favicon.ico"]
)
def test_every_answer_carries_the_security_headers(served: RunningStudio, path: str) -> None:
    for host in ("localhost", "attacker.example"):
        headers = served.open_client().get(path, headers={"Host": host}).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert {"referrer-policy", "permissions-policy", "cross-origin-resource-policy"} <= set(headers)
        assert "server" not in headers


def test_a_proxys_headers_are_ignored_without_a_proxy(served: RunningStudio) -> None:
    lies = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Gradio-Server": "http://evil.example",
        "Forwarded": "host=evil.example",
        "X-Original-URL": "/config",
    }
    for path in ("/", "/config", "/gradio_api/info"):
        answer = served.open_client().get(path, headers=lies).text
        assert "evil.example" not in answer
        assert "https://127.0.0.1" not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring",
        "/monitoring/summary",
        "/monitoring/x",
        "/gradio_api/dev/reload",
        "/gradio_api/vibe-code",
        "/gradio_api/token",
        "/gradio_api/runs",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/profiling/summary",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/file=https:/evil.example/x",
        "/gradio_api/file%3Dhttp%3A//evil.example/",
    ],
)
def test_doors_that_the_studio_does_not_use_are_shut(served: RunningStudio, path: str) -> None:
    assert served.open_client().get(path).status_code == 404


def test_websockets_are_refused(served: RunningStudio) -> None:
    answer = raw(
        served,
        b"GET /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert b" 101 " not in answer.split(b"\r\n")[0]


def test_thousands_of_ranges_are_refused(served: RunningStudio) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(2000))
    assert served.open_client().get("/theme.css", headers={"Range": ranges}).status_code == 416


# Regression: what Gradio keeps shut itself


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=%2e%2e%2fetc%2fpasswd",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "/gradio_api/file=file:///etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/static/../../etc/passwd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/svelte/../../../etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/custom_component/x/client/component/..%2f..%2fetc%2fpasswd",
        "/gradio_api/file=/etc/passwd%00.png",
        "/gradio_api/file=C:\\windows\\win.ini",
        "/gradio_api/file=\\\\host\\share",
        "/gradio_api/stream/a/b/1/..%2f..%2fetc%2fpasswd",
        "/api/image-studio/images/..%2f..%2fetc%2fpasswd",
        "/api/image-studio/images//etc/passwd",
    ],
)
def test_no_path_leads_to_a_file_outside(served: RunningStudio, path: str) -> None:
    parts = urlsplit(served.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=DEADLINE)
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert b"root:" not in content
    assert answer.status >= 400


def test_an_upload_may_not_name_a_file_of_the_server_nor_an_address(served: RunningStudio) -> None:
    canary = socket.create_server(("127.0.0.1", 0))
    canary.settimeout(0.01)
    index = next(d["id"] for d in dependencies(served.open_client()) if d["api_name"] == "picture")
    for n, path in enumerate(["/etc/passwd", f"http://127.0.0.1:{canary.getsockname()[1]}/x.png", "../../etc/passwd"]):
        client, session = served.open_client(), f"files-{n}"
        for value in (
            {"path": path, "meta": {"_type": "gradio.FileData"}},
            {"path": "x", "url": path, "meta": {"_type": "gradio.FileData"}},
        ):
            fn_call(client, index, [value], session)  # type: ignore[arg-type]
            message = outcome(client, session)
            assert not message.get("success")
            assert "root:" not in json.dumps(message)
    with pytest.raises(TimeoutError):
        canary.accept()
    canary.close()


@pytest.mark.parametrize("name", ["../../x.txt", "x" * 400, ".htaccess", "a\\..\\b.txt", "/etc/passwd"])
def test_upload_names_stay_inside_a_folder_of_their_own(served: RunningStudio, name: str) -> None:
    answer = served.open_client().post("/gradio_api/upload", files={"files": (name, b"x")})
    if answer.status_code == 200:
        path = Path(answer.json()[0])
        assert len(path.parent.name) == 64
        assert path.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["x.html", "x.svg", "x.js"])
def test_uploaded_pages_are_never_shown_as_pages(served: RunningStudio, name: str) -> None:
    path = (
        served.open_client().post("/gradio_api/upload", files={"files": (name, b"<script>alert(1)</script>")}).json()[0]
    )
    answer = served.open_client().get(f"/gradio_api/file={path}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_values_outside_a_components_range_are_refused(served: RunningStudio) -> None:
    index = next(d["id"] for d in dependencies(served.open_client()) if d["api_name"] == "limits")
    for n, data in enumerate([[99, "a"], [5, "zzz"]]):
        client = served.open_client()
        fn_call(client, index, data, f"limits-{n}")  # type: ignore[arg-type]
        assert not outcome(client, f"limits-{n}").get("success")


def test_an_exceptions_text_does_not_get_out(served: RunningStudio) -> None:
    client = served.open_client()
    index = next(d["id"] for d in dependencies(client) if d["api_name"] == "broken")
    fn_call(client, index, [], "broken")  # type: ignore[arg-type]
    message = outcome(client, "broken")
    assert not message.get("success")
    assert "CANARY" not in json.dumps(message)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"data": 1}', b"\xff\xfe", b"[" * 50_000, b'{"fn_index": 1e400}']
)
@pytest.mark.parametrize(
    "path", ["/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/cancel", "/api/image-studio/create"]
)
def test_malformed_bodies_are_the_callers_mistake(served: RunningStudio, path: str, body: bytes) -> None:
    answer = served.open_client().post(path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500


# G7, G8, G10 and the rest of the login's perimeter


def test_without_a_login_no_function_runs_by_its_index(closed: RunningStudio) -> None:
    anonymous, ann = closed.open_client(), closed.open_client("ann")
    listed = dependencies(ann)
    assert len(listed) >= 7
    for dependency in listed:
        index = dependency["id"]
        assert fn_call(anonymous, index, ["x"]).status_code == 401  # type: ignore[arg-type]
        for path in ("run", "api", "call"):
            name = dependency.get("api_name") or "predict"
            answer = anonymous.post(f"/gradio_api/{path}/{name}", json={"data": ["x"], "fn_index": index})
            assert answer.status_code == 401
            assert "RAN" not in answer.text


ROUTES = [
    "/",
    "/config",
    "/config/",
    "/theme.css",
    "/robots.txt",
    "/manifest.json",
    "/static/img/logo.svg",
    "/assets/x.js",
    "/gradio_api/info",
    "/gradio_api/user",
    "/gradio_api/app_id",
    "/gradio_api/login_check",
    "/gradio_api/startup-events",
    "/gradio_api/heartbeat/x",
    "/gradio_api/queue/data?session_hash=x",
    "/gradio_api/queue/status",
    "/gradio_api/upload_progress?upload_id=x",
    "/gradio_api/file=x",
    "/gradio_api/openapi.json",
    "/gradio_api/deep_link?session_hash=x",
    "/api/docs",
    "/api/openapi.json",
    "/api/nothing",
    "/api/image-studio/jobs",
    "/api/image-studio/jobs/x",
    "/api/image-studio/jobs/x/result",
    "/api/image-studio/jobs/x/events",
    "/api/image-studio/images/x",
    "/api/image-studio/models",
    "/docs",
    "/redoc",
    "/openapi.json",
    "//",
    "/login/",
    "/login/x",
    "/LOGIN",
    "/api/image-studio/health/",
    "/api/image-studio/health/../jobs",
    "/favicon.ico/x",
    "/logout/",
]


@pytest.mark.parametrize("path", ROUTES)
def test_without_a_login_every_route_asks_for_one(closed: RunningStudio, path: str) -> None:
    anonymous = closed.open_client()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        assert anonymous.request(method, path, headers={"Accept": "application/json"}).status_code in (401, 404, 405)
    assert anonymous.get(path, headers={"Accept": "application/json"}).status_code in (401, 404)


def test_health_tells_strangers_only_that_it_is_well(closed: RunningStudio) -> None:
    assert closed.open_client().get("/api/image-studio/health").json() == {"status": "ok"}


def test_the_page_knows_who_calls(closed: RunningStudio) -> None:
    client = closed.open_client("bob")
    index = next(d["id"] for d in dependencies(client) if d["api_name"] == "who")
    fn_call(client, index, [], "who-bob")  # type: ignore[arg-type]
    assert outcome(client, "who-bob")["output"]["data"] == ["user:bob"]  # type: ignore[index]


def test_a_session_belongs_to_who_used_it_first(closed: RunningStudio) -> None:
    ann, bob = closed.open_client("ann"), closed.open_client("bob")
    event = fn_call(ann, 0, ["x"], "anns-session").json()["event_id"]
    assert fn_call(bob, 0, ["x"], "anns-session").status_code == 403
    assert bob.get("/gradio_api/queue/data", params={"session_hash": "anns-session"}).status_code == 403
    assert bob.get("/gradio_api/queue/data", params={"session_hash": event}).status_code == 403
    assert bob.get("/gradio_api/heartbeat/anns-session").status_code == 403
    assert bob.get(f"/gradio_api/call/public/{event}").status_code == 403
    for session in ("anns-session", "bobs-session"):
        cancel = {"session_hash": session, "event_id": event, "fn_index": 0}
        assert bob.post("/gradio_api/cancel", json=cancel).status_code == 403
        assert bob.post("/gradio_api/reset", json={"event_id": event}).status_code == 403
    assert outcome(ann, "anns-session")["success"] is True
    assert (
        ann.post(
            "/gradio_api/cancel", json={"session_hash": "anns-session", "event_id": event, "fn_index": 0}
        ).status_code
        == 200
    )


def test_a_component_call_as_a_form_needs_the_own_session_too(closed: RunningStudio) -> None:
    ann, bob = closed.open_client("ann"), closed.open_client("bob")
    fn_call(ann, 0, ["x"], "anns-form")
    outcome(ann, "anns-form")
    fields = {
        "session_hash": (None, "anns-form"),
        "component_id": (None, "1"),
        "fn_name": (None, "x"),
        "data": (None, "{}"),
    }
    assert bob.post("/gradio_api/component_server", files=fields).status_code == 403
    twice = [*fields.items(), ("session_hash", (None, "bobs-form"))]
    assert bob.post("/gradio_api/component_server", files=twice).status_code == 400
    assert (
        bob.post("/gradio_api/component_server", data={name: value for name, (_, value) in fields.items()}).status_code
        == 400
    )


def test_one_users_jobs_and_images_are_not_anothers(closed: RunningStudio) -> None:
    ann, bob = closed.open_client("ann"), closed.open_client("bob")
    job = ann.post("/api/image-studio/create?wait=true", json={"prompt": "ann's"}).json()
    image, theirs = job["images"][0]["id"], "/api/image-studio/jobs/" + job["jobId"]
    for path in (theirs, theirs + "/result", theirs + "/events", f"/api/image-studio/images/{image}"):
        assert ann.get(path).status_code == 200
        assert bob.get(path).status_code == 404
        assert closed.open_client("root").get(path).status_code == 404
    assert bob.delete(theirs).status_code == 404
    assert all(found["jobId"] != job["jobId"] for found in bob.get("/api/image-studio/jobs").json()["jobs"])


def test_files_of_the_studio_are_not_given_out_by_path(tmp_path: Path) -> None:
    with serve_studio(tmp_path, page=generous_page) as served:
        client = served.open_client()
        client.post("/api/image-studio/create?wait=true", json={"prompt": "x"})
        images = list((tmp_path / "outputs").rglob("*.png"))
        assert images
        (tmp_path / "way-in").symlink_to(tmp_path / "outputs")
        for file in (
            *images,
            tmp_path / "outputs" / "library.db",
            tmp_path / "logs" / "studio.log",
            tmp_path / "way-in" / "library.db",
        ):
            for shape in (
                f"/gradio_api/file={file}",
                f"/gradio_api/file/{file}",
                f"/gradio_api/file={tmp_path}/x/../outputs/{file.name}",
            ):
                assert client.get(shape).status_code == 404
        (thumbnail,) = (tmp_path / "outputs" / ".thumbs").rglob("*.jpg")
        assert client.get(f"/gradio_api/file={thumbnail}").status_code == 200


def generous_page(app: FastAPI, studio: Studio) -> FastAPI:
    with gr.Blocks() as blocks:
        gr.Textbox()
    return gr.mount_gradio_app(
        app, blocks, path="/", auth_dependency=lambda request: request.scope["user"].name, allowed_paths=["/"]
    )


# The rest


def test_the_names_that_a_server_answers_to() -> None:
    hosts = Hosts(Settings(host="0.0.0.0", allowed_hosts="A.Example,[fd00::1]"))
    assert "a.example" in hosts
    assert "[fd00::1]:7860" in hosts
    assert "0.0.0.0" not in hosts
    assert "abc.gradio.live" not in hosts
    hosts.add_share("abc.gradio.live")
    assert "abc.gradio.live" in hosts
    assert hosts.is_share("abc.gradio.live")
    assert not hosts.is_share("localhost")
    assert split_names(" a, ,b ") == ("a", "b")


def test_behind_a_proxy_prefix_and_forwarded_names_are_understood(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True, root_path="/easel", allowed_hosts="pictures.example") as served:
        seen = {
            "X-Forwarded-Host": "pictures.example",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "203.0.113.9",
            "Host": "backend",
        }
        client = served.open_client()
        assert client.get("/login", headers=seen).status_code == 200
        assert client.get("/easel/login", headers=seen).status_code == 200
        assert client.get("/login", headers={**seen, "X-Forwarded-Host": "evil.example"}).status_code == 400
        for path in ("/easel/monitoring", "/easel/gradio_api/runs"):
            assert client.get(path, headers=seen).status_code == 404
        assert client.get("/easel/api/image-studio/jobs", headers=seen).status_code == 401
        answer = client.get("/easel/", headers={**seen, "Accept": "text/html"})
        assert answer.headers["location"] == "/easel/login?next=/"
        body = {"username": "ann", "password": "ann's own password"}
        cookie = client.post("/easel/login", data=body, headers={**seen, "Origin": "https://pictures.example"}).headers[
            "set-cookie"
        ]
        assert "Secure" in cookie
        assert "Path=/easel" in cookie


def log_in_from(client: httpx.Client, address: str, password: str = "wrong") -> httpx.Response:
    seen = {"X-Forwarded-Proto": "https", "X-Forwarded-For": address, "Host": "pictures.example"}
    return client.post("/login", data={"username": "ann", "password": password}, headers=seen)


def test_a_proxy_at_the_root_of_a_domain_is_believed_when_it_is_named(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True, trusted_proxies="127.0.0.0/8", allowed_hosts="pictures.example") as served:
        client = served.open_client()
        guesses = [log_in_from(client, "6.6.6.6, 198.51.100.7, 127.0.0.9").status_code for _ in range(6)]
        assert guesses == [401] * 5 + [429], "of several entries the last counts that is no proxy of ours"
        answer = log_in_from(client, "203.0.113.9", "ann's own password")
        assert answer.status_code == 303, "a stranger's guesses lock nobody else out"
        assert "Secure" in answer.headers["set-cookie"]
        assert "Path=/;" in answer.headers["set-cookie"]


def test_who_is_not_among_the_proxies_is_not_believed_even_below_a_path(tmp_path: Path) -> None:
    names = {"trusted_proxies": "10.0.0.0/8", "allowed_hosts": "pictures.example", "root_path": "/easel"}
    with serve_studio(tmp_path, users=True, **names) as served:
        client = served.open_client()
        assert [log_in_from(client, f"203.0.113.{n}").status_code for n in range(6)] == [401] * 5 + [429]
        answer = log_in_from(client, "198.51.100.1", "ann's own password")
        assert answer.status_code == 429


def test_trusted_proxies_are_addresses_and_networks() -> None:
    proxies = TrustedProxies(Settings(trusted_proxies="127.0.0.1, fd00::/8"))
    assert all(map(proxies.trusts, ("127.0.0.1", "::ffff:127.0.0.1", "fd00::5")))
    assert not any(map(proxies.trusts, ("127.0.0.2", "", "unknown", "testclient")))
    assert proxies.find_client("1.2.3.4, 127.0.0.1") == "1.2.3.4"
    assert proxies.find_client("127.0.0.1") == ""
    assert not TrustedProxies(Settings()).trusts("127.0.0.1")
    assert TrustedProxies(Settings(root_path="/easel")).trusts("192.0.2.1")
    with pytest.raises(NotConfigured, match="proxy"):
        TrustedProxies(Settings(trusted_proxies="nginx"))


def test_every_method_of_the_api_may_be_asked_for_by_a_named_origin(served: RunningStudio) -> None:
    client = served.open_client()
    schema = client.get("/api/openapi.json").json()
    methods = {method.upper() for path in schema["paths"].values() for method in path}
    assert {"GET", "POST", "PUT", "DELETE"} <= methods
    for method in methods:
        asked = {"Origin": "https://friend.example", "Access-Control-Request-Method": method}
        assert client.options("/api/image-studio/chains/x", headers=asked).status_code == 200, method


def test_the_description_of_the_api_names_the_path_that_it_is_served_below(
    served: RunningStudio, tmp_path: Path
) -> None:
    assert "servers" not in served.open_client().get("/api/openapi.json").json()
    with serve_studio(tmp_path, root_path="/easel") as below:
        assert below.open_client().get("/easel/api/openapi.json").json()["servers"] == [{"url": "/easel"}]


def test_each_request_leaves_a_line_without_its_query(tmp_path: Path) -> None:
    with serve_studio(tmp_path, users=True) as served:
        served.open_client("ann").get("/config?session_hash=SECRET-QUERY")
        lines = tmp_path / "logs" / "access.log"
        wait_until(lambda: "GET /config" in lines.read_text())
        text = lines.read_text()
    assert "127.0.0.1 ann GET /config 200" in text
    assert "SECRET-QUERY" not in text
    assert "own password" not in text


def test_a_real_image_passes_through_the_page(served: RunningStudio) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    client = served.open_client()
    path = client.post("/gradio_api/upload", files={"files": ("a.png", buffer.getvalue())}).json()[0]
    index = next(d["id"] for d in dependencies(client) if d["api_name"] == "picture")
    fn_call(client, index, [{"path": path, "meta": {"_type": "gradio.FileData"}}], "picture")  # type: ignore[arg-type]
    assert outcome(client, "picture")["success"] is True
