"""Attacks on every route of the APIs that other programs speak: no login, another site, another user's things,
addresses and pickles in the place of images, bodies that are too large or too deep."""

from __future__ import annotations

import base64
import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from access import Endpoint, list_endpoints
from dialect_studio import encode, make_png, serve_dialects
from serving import RunningStudio, wait_until
from test_dialect_comfyui import GRAPH, change

from studio.api.dialects.dialect_paths import Dialect, find_dialect
from studio.engine.api_tokens import TokenScope

IDS = {"job_id": "a" * 32, "prompt_id": "x", "node": "KSampler", "folder": "loras", "model_id": "fake", "model": "fake"}
MCP_HEADERS = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
PNG = make_png()


def list_dialect_endpoints(served: RunningStudio) -> list[Endpoint]:
    found = [one for one in list_endpoints(served.app) if not one.gradio and find_dialect(one.path) is not None]
    assert {find_dialect(one.path) for one in found} == set(Dialect)
    return [one for one in found if one.method != "WEBSOCKET"]


def get_address(endpoint: Endpoint) -> str:
    return endpoint.address({name: IDS.get(name, "x") for name in endpoint.parameters})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("shared"), users=True) as found:
        yield found


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("local")) as found:
        yield found


def test_no_route_answers_without_a_login(shared: RunningStudio) -> None:
    stranger = shared.open_client()
    endpoints = list_dialect_endpoints(shared)
    assert len(endpoints) > 100
    for endpoint in endpoints:
        for header in ({}, {"Authorization": "Bearer none"}, {"Authorization": "Basic YW5uOndyb25n"}):
            answer = stranger.request(endpoint.method, get_address(endpoint), headers=header)
            assert answer.status_code in (401, 429), (endpoint.name, answer.status_code)  # 429: too many wrong tries
    assert not shared.backend.seen


def test_no_other_site_reaches_a_route(local: RunningStudio) -> None:
    client = local.open_client(headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})
    for endpoint in list_dialect_endpoints(local):
        answer = client.request(endpoint.method, get_address(endpoint))
        assert answer.status_code == 403, endpoint.name


BODY_TYPES = ("application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded")


@pytest.mark.parametrize("depth", [40, 50_000])
def test_deep_json_is_refused_on_every_route_before_it_is_parsed(local: RunningStudio, depth: int) -> None:
    client = local.open_client()
    deep = ("[" * depth + "]" * depth).encode()
    body = b'{"prompt": "a \\" [[[ red apple", "x": ' + deep + b"}"
    for endpoint in list_endpoints(local.app):
        if endpoint.gradio or endpoint.method in ("GET", "WEBSOCKET") or endpoint.path in ("/login", "/logout"):
            continue
        for kind in BODY_TYPES if find_dialect(endpoint.path) else BODY_TYPES[:1]:
            answer = client.request(
                endpoint.method, get_address(endpoint), content=body, headers={"Content-Type": kind, **MCP_HEADERS}
            )
            assert (answer.status_code, "nested too deep" in answer.text) == (400, True), (endpoint.name, answer.text)
    marked = "\ufeff" + body.decode()
    for disguised in (b" \n" + body, marked.encode(), marked.encode("utf-16-le"), marked.encode("utf-32-be")):
        headers = {"Content-Type": BODY_TYPES[2]}
        assert client.post("/sdapi/v1/txt2img", content=disguised, headers=headers).status_code == 400
    form = {"prompt": "x", "request": '{"then": ' + deep.decode() + "}"}
    answer = client.post("/api/image-studio/create", files={"ignored": ("a", b"")}, data=form)
    assert (answer.status_code, "nested too deep" in answer.text) == (400, True)


def test_brackets_within_texts_are_no_depth(local: RunningStudio) -> None:
    body = {"prompt": "x", "comments": {"a": '[[["' * 50 + "{" * 50}, "width": 64, "height": 64, "steps": 1}
    assert local.open_client().post("/sdapi/v1/txt2img", json=body).status_code == 200


@pytest.mark.parametrize(
    "path", ["/sdapi/v1/txt2img", "/controlnet/detect", "/v1/images/edits", "/mcp", "/prompt", "/generate"]
)
def test_bodies_that_are_too_large_are_refused(tmp_path: Path, path: str) -> None:
    with serve_dialects(tmp_path, max_upload_mb=1) as served:
        answer = served.open_client().post(
            path, content=b'{"x": "' + b"a" * 3_000_000 + b'"}', headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 413


def call_tool(name: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


def post_tool(client: httpx.Client, name: str, **arguments: Any) -> httpx.Response:
    """A tool called by hand, in a session of its own."""
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about}
    opened = client.post("/mcp", json=hello, headers=MCP_HEADERS)
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], **MCP_HEADERS}
    client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)
    return client.post("/mcp", json=call_tool(name, **arguments), headers=session)


def post_a1111(path: str, wrap: Callable[[str], dict[str, Any]]) -> Callable[[httpx.Client, str], httpx.Response]:
    return lambda client, text: client.post(path, json={"width": 64, "height": 64, "steps": 1, **wrap(text)})


def wrap_unit(name: str) -> Callable[[str], dict[str, Any]]:
    unit = {"module": "canny", "model": "None", "image": encode(PNG)}
    return lambda text: {"alwayson_scripts": {"ControlNet": {"args": [{**unit, name: text}]}}}


GOOD = encode(PNG)
# Every field that takes an image, by what it is sent to.
IMAGE_FIELDS: dict[str, Callable[[httpx.Client, str], httpx.Response]] = {
    "init_images": post_a1111("/sdapi/v1/img2img", lambda text: {"init_images": [text]}),
    "mask": post_a1111("/sdapi/v1/img2img", lambda text: {"init_images": [GOOD], "mask": text}),
    "extra-single-image": post_a1111("/sdapi/v1/extra-single-image", lambda text: {"image": text}),
    "extra-batch-images": post_a1111(
        "/sdapi/v1/extra-batch-images", lambda text: {"imageList": [{"data": text, "name": "a"}]}
    ),
    "png-info": post_a1111("/sdapi/v1/png-info", lambda text: {"image": text}),
    "interrogate": post_a1111("/sdapi/v1/interrogate", lambda text: {"image": text}),
    "unit image": post_a1111("/sdapi/v1/txt2img", wrap_unit("image")),
    "unit input_image": post_a1111("/sdapi/v1/txt2img", wrap_unit("input_image")),
    "detect": post_a1111(
        "/controlnet/detect", lambda text: {"controlnet_module": "canny", "controlnet_input_images": [text]}
    ),
    "detect masks": post_a1111(
        "/controlnet/detect",
        lambda text: {"controlnet_module": "canny", "controlnet_input_images": [GOOD], "controlnet_masks": [text]},
    ),
    "edits image": lambda client, text: client.post("/v1/images/edits", json={"prompt": "x", "image": text}),
    "edits images": lambda client, text: client.post(
        "/v1/images/edits", json={"prompt": "x", "images": [{"image_url": text}]}
    ),
    "edits url": lambda client, text: client.post("/v1/images/edits", data={"prompt": "x", "url": text}),
    "edits mask": lambda client, text: client.post(
        "/v1/images/edits", json={"prompt": "x", "image": GOOD, "mask": text}
    ),
    "variations": lambda client, text: client.post("/v1/images/variations", json={"image": text}),
    "edit_image": lambda client, text: post_tool(client, "edit_image", prompt="x", image=text),
    "edit_image mask": lambda client, text: post_tool(client, "edit_image", prompt="x", image=GOOD, mask=text),
    "upscale_image": lambda client, text: post_tool(client, "upscale_image", image=text),
    "make_social_formats": lambda client, text: post_tool(client, "make_social_formats", image=text),
    "generate": lambda client, text: client.post("/generate", json={"prompt": "x", "image": text}),
    "api/generate": lambda client, text: client.post("/api/generate", json={"prompt": "x", "inputImage": text}),
    "derivatives": lambda client, text: client.post("/derivatives", json={"imageData": text, "sizes": [{"width": 8}]}),
    "LoadImage": lambda client, text: client.post(
        "/prompt",
        json={
            "prompt": change(n8=("LoadImage", {"image": text}), n7=("SaveImage", {"images": ["8", 0]})),
        },
    ),
    "upload": lambda client, text: client.post("/upload/image", files={"image": ("a.png", text.encode(), "image/png")}),
}


def is_refused(answer: httpx.Response) -> bool:
    return answer.status_code >= 400 or '"isError":true' in answer.text.replace(" ", "")


@pytest.fixture(scope="module")
def listener() -> Iterator[tuple[int, list[Any]]]:
    """A port on this machine, and who has called it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        called: list[Any] = []
        thread = threading.Thread(target=lambda: _note_calls(server, called), daemon=True)
        thread.start()
        yield server.getsockname()[1], called
        server.shutdown(socket.SHUT_RDWR)


def _note_calls(server: socket.socket, called: list[Any]) -> None:
    while True:
        try:
            connection, address = server.accept()
        except OSError:
            return
        called.append(address)
        connection.close()


@pytest.mark.parametrize("field", IMAGE_FIELDS)
def test_no_field_for_an_image_calls_an_address(
    local: RunningStudio, listener: tuple[int, list[Any]], field: str
) -> None:
    port, called = listener
    client = local.open_client()
    for host in ("127.0.0.1", "localhost", "0x7f000001", "127.1", "user@127.0.0.1"):
        answer = IMAGE_FIELDS[field](client, f"http://{host}:{port}/a.png")
        assert is_refused(answer), (host, answer.text[:300])
    for address in ("file:///etc/passwd", "/etc/passwd", "../../etc/passwd", "ftp://127.0.0.1/a.png"):
        answer = IMAGE_FIELDS[field](client, address)
        assert is_refused(answer), (address, answer.text[:300])
        assert "root:" not in answer.text
    assert not called


class Opened:
    """Unpickling one makes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


@pytest.mark.parametrize("field", IMAGE_FIELDS)
def test_no_field_for_an_image_opens_a_pickle(local: RunningStudio, tmp_path: Path, field: str) -> None:
    mark = tmp_path / "opened"
    made = pickle.dumps(Opened(mark))
    for text in (base64.b64encode(made).decode(), "data:image/png;base64," + base64.b64encode(made).decode()):
        answer = IMAGE_FIELDS[field](local.open_client(), text)
        assert is_refused(answer), answer.text[:300]
    assert not mark.exists()


def test_nobody_reaches_what_another_user_made(shared: RunningStudio) -> None:
    tokens = shared.studio.engine.tokens
    ann, bob = (
        shared.open_client(headers={"Authorization": f"Bearer {tokens.create(name, 'x', TokenScope.GENERATE)}"})
        for name in ("ann", "bob")
    )
    job = ann.post("/generate/async", json={"prompt": "hers", "width": 64, "height": 64}).json()["jobId"]
    wait_until(lambda: ann.get(f"/jobs/{job}").json()["status"] == "finished")
    image = ann.get(f"/jobs/{job}/result").json()["id"]
    kept = ann.post("/api/upload-controlnet-image", files={"file": ("a.png", make_png("blue"), "image/png")}).json()
    ann.post("/upload/image", files={"image": ("hers.png", make_png("green"), "image/png")})
    graph = ann.post("/prompt", json={"prompt": GRAPH}).json()["prompt_id"]
    wait_until(lambda: ann.get(f"/history/{graph}").json())
    file = ann.get(f"/history/{graph}").json()[graph]["outputs"]["7"]["images"][0]
    assert ann.get("/view", params=file).is_success
    for client, refused in ((ann, False), (bob, True)):
        tried = [
            client.get(f"/jobs/{job}"),
            client.get(f"/jobs/{job}/result"),
            client.post("/generate", json={"prompt": "x", "image": image, "width": 64, "height": 64}),
            client.post("/generate", json={"prompt": "x", "image": kept["filename"], "width": 64, "height": 64}),
            client.get(kept["url"]),
            client.post("/derivatives", json={"imageData": image, "sizes": [{"width": 32}]}),
            post_tool(client, "get_job", job_id=job),
            post_tool(client, "cancel_job", job_id=job),
            post_tool(client, "edit_image", prompt="x", image=image),
            client.get("/view", params=file),
            client.get("/view", params={"filename": "hers.png", "type": "input"}),
            IMAGE_FIELDS["LoadImage"](client, "hers.png"),
        ]
        assert [is_refused(answer) for answer in tried] == [refused] * len(tried), [one.text[:100] for one in tried]
    for path in ("/history", f"/history/{graph}"):
        assert bob.get(path).json() == {}
    bob.post("/history", json={"clear": True, "delete": [graph]})
    assert ann.get(f"/history/{graph}").json()
    listed = post_tool(bob, "search_library", query="hers").text
    assert image not in listed
    assert image in post_tool(ann, "search_library", query="hers").text


def test_the_images_of_a_call_are_bounded_together(tmp_path: Path) -> None:
    image = encode(make_png(size=(1000, 1000)))
    mask = encode(make_png("white", size=(1000, 1000)))
    with serve_dialects(tmp_path, max_megapixels=1) as served:
        client = served.open_client()
        for fields in (
            {"init_images": [image] * 5},
            {"init_images": [image] * 2, "mask": mask, "width": 2000, "height": 2000, "inpaint_full_res": False},
        ):
            answer = client.post("/sdapi/v1/img2img", json={"prompt": "x", **fields})
            assert (answer.status_code, "megapixels together" in answer.text) == (400, True), answer.text
        units = {"ControlNet": {"args": [{"module": "canny", "image": image}] * 9}}
        answer = client.post("/sdapi/v1/txt2img", json={"prompt": "x", "alwayson_scripts": units})
        assert (answer.status_code, "Too many control units" in answer.text) == (400, True), answer.text
        assert not served.backend.seen


LARGE = 10**400  # a whole number in JSON that no float holds
HIRES = {"prompt": "x", "enable_hr": True, "hr_upscaler": "Latent"}
IMAGE = {"prompt": "x", "init_images": [encode(PNG)]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sdapi/v1/txt2img", HIRES | {"hr_resize_x": LARGE}),
        ("/sdapi/v1/txt2img", {"prompt": "x", "override_settings": {"token_merging_ratio": LARGE}}),
        ("/sdapi/v1/txt2img", {"prompt": "x", "alwayson_scripts": {"ControlNet": {"args": [{"weight": LARGE}]}}}),
        ("/sdapi/v1/img2img", IMAGE | {"script_name": "loopback", "script_args": [2, LARGE]}),
        ("/sdapi/v1/img2img", IMAGE | {"script_name": "sd upscale", "script_args": [None, LARGE, 0, 2]}),
        ("/v1/images/generations", {"prompt": "x", "n": LARGE}),
        ("/v1/images/generations", {"prompt": "x", "seed": LARGE}),
        ("/generate", {"prompt": "x", "steps": LARGE}),
        ("/api/image-studio/recipes/import", {"recipe": {"request": {"prompt": "x", "guidance": LARGE}}}),
    ],
)
def test_a_number_that_no_float_holds_is_refused(local: RunningStudio, path: str, body: dict[str, Any]) -> None:
    assert local.open_client().post(path, json=body).status_code in (400, 422)


def test_an_overlap_that_is_no_number_is_left_out(local: RunningStudio) -> None:
    body = json.dumps(IMAGE | {"script_name": "sd upscale", "script_args": [None, float("nan"), 0, 2]})
    answer = local.open_client().post("/sdapi/v1/img2img", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text
