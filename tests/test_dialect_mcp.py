"""Tools for assistants: the official MCP client against a served studio."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from dialect_studio import DRAWING, encode, make_backend, make_png, serve_dialects
from fakes import FakeBackend, draw_fake_image
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image
from serving import RunningStudio, wait_until

from studio.api.dialects.mcp import endpoint
from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.api_tokens import TokenScope

TOOLS = {
    "cancel_job",
    "edit_image",
    "estimate_cost",
    "generate_image",
    "get_job",
    "list_models",
    "make_social_formats",
    "search_library",
    "search_templates",
    "upscale_image",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("mcp")) as found:
        yield found


@asynccontextmanager
async def connect(served: RunningStudio, token: str = "") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(served.url + "/mcp", http_client=http)
        async with Client(transport) as client:
            yield client


def call(served: RunningStudio, tool: str, token: str = "", **arguments: Any) -> Any:
    """The result of one tool call."""

    async def work() -> Any:
        async with connect(served, token) as client:
            return await client.call_tool(tool, arguments)

    return anyio.run(work)


def test_ten_tools_have_typed_arguments(served: RunningStudio) -> None:
    async def work() -> Any:
        async with connect(served) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in anyio.run(work)}
    assert set(tools) == TOOLS
    schema = tools["generate_image"].input_schema
    assert schema["required"] == ["prompt"]
    steps = schema["properties"]["steps"]["anyOf"][0]
    assert (steps["minimum"], steps["maximum"]) == (1, 1000)
    assert all(tool.description and tool.annotations is not None for tool in tools.values())


def test_a_tool_that_draws_takes_its_arguments_by_name(served: RunningStudio) -> None:
    async def work() -> Any:
        async with connect(served) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool.input_schema for tool in anyio.run(work)}
    drawing = {
        "negative_prompt": "",
        "model": "",
        "count": 1,
        "seed": None,
        "steps": None,
        "guidance_scale": None,
        "sampler": None,
        "schedule": None,
        "confirm_spend": False,
    }
    for name, required, more in (
        ("generate_image", {"prompt"}, {"width": None, "height": None, "aspect_ratio": None}),
        ("edit_image", {"prompt", "image"}, {"mask": None, "strength": None}),
    ):
        properties = tools[name]["properties"]
        assert set(tools[name]["required"]) == required
        assert {key: each["default"] for key, each in properties.items() if "default" in each} == drawing | more
        assert set(properties) == required | set(drawing) | set(more)
        assert all(each["description"] for each in properties.values())


def test_an_image_comes_small_with_a_link_and_its_seed(served: RunningStudio) -> None:
    result = call(served, "generate_image", prompt="a red apple", seed=5, width=64, height=64)
    assert not result.is_error
    kinds = [block.type for block in result.content]
    assert kinds == ["text", "image", "resource_link"]
    with Image.open(io.BytesIO(base64.b64decode(result.content[1].data))) as small:
        assert (small.format, small.size) == ("JPEG", (64, 64))
    full = served.open_client().get(result.content[2].uri).content
    with Image.open(io.BytesIO(full)) as image:
        assert image.tobytes() == draw_fake_image(5, 64, 64).tobytes()
    (facts,) = result.structured_content["images"]
    assert facts["seed"] == 5


def test_progress_grows_with_the_steps(served: RunningStudio) -> None:
    told: list[float] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async def work() -> None:
        async with connect(served) as client:
            await client.call_tool("generate_image", {"prompt": "a red apple", "count": 4}, progress_callback=listen)

    anyio.run(work)
    assert told == sorted(set(told))
    assert told


def test_an_image_is_edited_by_its_id_and_by_its_bytes(served: RunningStudio) -> None:
    made = call(served, "generate_image", prompt="a red apple").structured_content["images"][0]["id"]
    for image in (made, encode(make_png()), "data:image/png;base64," + encode(make_png())):
        assert not call(served, "edit_image", image=image, prompt="a pear").is_error
    masked = call(served, "edit_image", image=encode(make_png()), mask=encode(make_png("white")), prompt="a pear")
    assert not masked.is_error
    assert served.backend.seen[-1][0].task is Task.INPAINT
    enlarged = call(served, "upscale_image", image=made, scale=3)
    assert not enlarged.is_error
    assert served.backend.seen[-1][0].upscale.scale == 3


def test_an_error_reaches_the_assistant_with_its_hint(served: RunningStudio) -> None:
    result = call(served, "generate_image", prompt="a red apple", model="none such")
    assert result.is_error
    assert result.structured_content["code"] == "UNKNOWN_MODEL"
    assert "none such" in result.content[0].text
    refused = call(served, "edit_image", image=encode(b"cposix\nsystem\n(S'id'\ntR."), prompt="x")
    assert refused.structured_content["code"] == "BAD_IMAGE"


def test_a_paid_model_needs_consent(served: RunningStudio) -> None:
    before = len(served.backend.seen)
    refused = call(served, "generate_image", prompt="a red apple", model="cloud/paid")
    assert refused.is_error
    assert "confirm_spend" in refused.content[0].text
    assert len(served.backend.seen) == before
    assert not call(served, "generate_image", prompt="a red apple", model="cloud/paid", confirm_spend=True).is_error


def test_lists_and_searches_tell_what_there_is(served: RunningStudio) -> None:
    models = call(served, "list_models").structured_content["models"]
    assert {one["id"]: one["paid"] for one in models} == {"fake": False, "other": False, "cloud/paid": True}
    call(served, "generate_image", prompt="a violet unicorn")
    found = call(served, "search_library", query="unicorn violet").structured_content["images"]
    assert [one["prompt"] for one in found] == ["a violet unicorn"]
    assert call(served, "estimate_cost", prompt="x").structured_content["amount"] == 0
    assert call(served, "search_templates", query="sale").structured_content["code"] == "NOT_CONFIGURED"


def test_images_are_resources_of_their_owner(served: RunningStudio) -> None:
    made = call(served, "generate_image", prompt="a red apple").structured_content["images"][0]["id"]

    async def work() -> Any:
        async with connect(served) as client:
            return await client.read_resource(f"easel://images/{made}")

    (content,) = anyio.run(work).contents
    assert base64.b64decode(content.blob).startswith(b"\x89PNG")


def test_a_call_that_is_given_up_stops_its_job(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, backend=make_backend(held=True)) as served:

        async def work() -> None:
            async with connect(served) as client:
                with anyio.move_on_after(2):
                    await client.call_tool("generate_image", {"prompt": "a red apple"})

        anyio.run(work)
        (job,) = served.studio.engine.jobs(LOCAL_USER)
        wait_until(lambda: job.stop_reason is not None)
        served.backend.release(10)
        wait_until(lambda: served.studio.engine.job(job.id, LOCAL_USER).snapshot.status is Status.CANCELLED)


def test_things_of_a_composed_image_count_for_an_assistant(tmp_path: Path) -> None:
    class ComposingBackend(FakeBackend):
        def count_generations(self, request: GenerationRequest) -> int:
            return 9 if request.compose else 1

    model = dataclasses.replace(DRAWING, sampling=dataclasses.replace(DRAWING.sampling, compose=True, scenery=True))
    with serve_dialects(tmp_path, backend=ComposingBackend(model), users=True, images_per_day=9) as served:
        tokens = served.studio.engine.tokens
        ann, bob = (tokens.create(name, "assistant", TokenScope.GENERATE) for name in ("ann", "bob"))
        refused = call(served, "generate_image", ann, prompt="nine cats", count=2)
        assert refused.is_error
        assert "this would be 18. Each thing" in str(refused.structured_content)
        assert served.backend.seen == []
        for token, name in ((ann, "ann"), (bob, "bob")):
            assert not call(served, "generate_image", token, prompt="nine cats").is_error
            wait_until(lambda name=name: served.studio.engine.usage.count_images_today(name) == 9)
        assert call(served, "generate_image", ann, prompt="nine cats").is_error


def test_a_token_sees_its_own_jobs_only(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        tokens = served.studio.engine.tokens
        ann, bob = (tokens.create(name, "assistant", TokenScope.GENERATE) for name in ("ann", "bob"))
        job = call(served, "generate_image", ann, prompt="a red apple").structured_content["job_id"]
        assert not call(served, "get_job", ann, job_id=job).is_error
        for tool in ("get_job", "cancel_job"):
            assert call(served, tool, bob, job_id=job).structured_content["code"] == "NOT_FOUND"
        refused = call(served, "generate_image", ann, prompt="x", model="cloud/paid", confirm_spend=True)
        assert refused.structured_content["code"] == "FORBIDDEN"
        stranger = served.open_client().post("/mcp", json={})
        assert stranger.status_code == 401
        assert stranger.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_foreign_page_reaches_no_tool_and_the_setting_switches_all_off(served: RunningStudio) -> None:
    client = served.open_client()
    assert client.post("/mcp", json={}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/mcp", json={}, headers={"Host": "evil.example"}).status_code == 400
    served.studio.settings.change({"api_mcp": False})
    try:
        assert client.post("/mcp", json={}).status_code == 404
    finally:
        served.studio.settings.change({"api_mcp": True})


def test_a_named_page_may_hold_a_session(tmp_path: Path) -> None:
    page = "https://inspector.example"
    with serve_dialects(tmp_path, allowed_origins=page) as served:
        asked = {
            "Origin": page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, mcp-session-id, mcp-protocol-version",
        }
        answer = served.open_client().options("/mcp", headers=asked)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == page
        stranger = {**asked, "Origin": "https://evil.example"}
        assert served.open_client().options("/mcp", headers=stranger).status_code == 400


def test_both_eras_of_the_protocol_are_spoken(served: RunningStudio) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    headers = {"Accept": "application/json, text/event-stream"}
    answer = served.open_client().post("/mcp", json=body, headers=headers)
    assert answer.status_code == 200
    assert '"protocolVersion":"2025-06-18"' in answer.text.replace(" ", "")


def begin_session(client: httpx.Client, headers: dict[str, str] | None = None) -> httpx.Response:
    parameters = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": parameters}
    accept = {"Accept": "application/json, text/event-stream"}
    return client.post("/mcp", json=body, headers={**(headers or {}), **accept})


def test_a_session_is_its_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_SESSIONS_OF_USER", 2)
    with serve_dialects(tmp_path, users=True) as served:
        tokens = served.studio.engine.tokens
        secrets = [tokens.create(name, "assistant", TokenScope.GENERATE) for name in ("ann", "bob")]
        ann, bob = ({"Authorization": f"Bearer {secret}"} for secret in secrets)
        client = served.open_client()
        session = begin_session(client, ann).headers["mcp-session-id"]
        assert client.delete("/mcp", headers={**bob, "mcp-session-id": session}).status_code == 404
        assert begin_session(client, ann).status_code == 200
        assert begin_session(client, ann).status_code == 429
        assert begin_session(client, bob).status_code == 200, "one user's sessions leave room for another's"
        assert client.delete("/mcp", headers={**ann, "mcp-session-id": session}).status_code == 200
        assert begin_session(client, ann).status_code == 200


def test_a_session_that_nobody_ends_makes_room_once_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_SESSIONS_OF_USER", 1)
    monkeypatch.setattr(endpoint, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(endpoint, "_MARGIN_SECONDS", 0.0)
    with serve_dialects(tmp_path) as served:
        client = served.open_client()
        assert begin_session(client).status_code == 200
        wait_until(lambda: begin_session(client).status_code == 200)
