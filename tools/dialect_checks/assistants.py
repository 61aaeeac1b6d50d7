"""Tools for assistants: the Model Context Protocol over streamable HTTP."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx

from tools.dialect_checks.session import (
    PROMPT,
    SIDE,
    STEPS,
    Session,
    check,
    encode,
    expect,
    expect_equal,
    expect_keys,
    expect_status,
    load,
    make_mask,
    make_png,
)

GROUP = "MCP"
VERSION = "2025-06-18"
VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
_ACCEPT = {"Accept": "application/json, text/event-stream"}
_TOOLS = (
    "generate_image edit_image upscale_image make_social_formats get_job cancel_job estimate_cost list_models"
    " search_templates search_library"
)


def send(session: Session, body: dict[str, Any], **headers: str) -> httpx.Response:
    """A message as it is."""
    return session.http.post("/mcp", json={"jsonrpc": "2.0", **body}, headers={**_ACCEPT, **headers})


def read_messages(answer: httpx.Response) -> list[Any]:
    """The messages of an answer, which is JSON or a stream."""
    expect(answer.is_success, f"it answers {answer.status_code}: {answer.text[:120]}")
    lines = [line[5:].strip() for line in answer.text.splitlines() if line.startswith("data:")] or [answer.text]
    return [json.loads(line) for line in lines if line]


def open_session(session: Session, version: str = VERSION) -> tuple[Any, dict[str, str]]:
    """What the server tells in the handshake, and the headers of its session."""
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "conformance", "version": "1"}}
    answer = send(session, {"id": 1, "method": "initialize", "params": params})
    told = read_messages(answer)[-1]["result"]
    headers = {"MCP-Protocol-Version": told["protocolVersion"]}
    if "mcp-session-id" in answer.headers:
        headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
    expect_status(send(session, {"method": "notifications/initialized"}, **headers), 202, 200)
    return told, headers


def call(session: Session, method: str, **params: Any) -> Any:
    """The last message of one call."""
    if "mcp" not in session.facts:
        session.facts["mcp"] = open_session(session)[1]
    found = read_messages(send(session, {"id": 2, "method": method, "params": params}, **session.facts["mcp"]))
    session.facts["messages"] = found
    return found[-1]


def use_tool(session: Session, name: str, **arguments: Any) -> Any:
    """The result of a tool that succeeds."""
    told = call(session, "tools/call", name=name, arguments=arguments)
    expect("result" in told, f"{name} answers {str(told)[:150]}")
    result = told["result"]
    expect(not result.get("isError"), f"{name} fails: {str(result['content'])[:150]}")
    return result


def generate(session: Session, **arguments: Any) -> Any:
    """The result of generate_image."""
    plain = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": 5}
    return use_tool(session, "generate_image", **{**plain, **arguments})


def expect_small_images(result: Any, count: int) -> None:
    """Every image as a small JPEG with a link to its file, below what the smallest client takes."""
    kinds = [block["type"] for block in result["content"]]
    expect_equal((kinds.count("image"), kinds.count("resource_link")), (count, count), "images and links")
    for block in result["content"]:
        if block["type"] == "image":
            image = load(base64.b64decode(block["data"]))
            expect_equal((image.format, block["mimeType"]), ("JPEG", "image/jpeg"), "the file type")
            expect(max(image.size) <= 1024, f"the image is {image.size}")
    expect(len(json.dumps(result)) < 1_048_576, "the result is longer than Claude Desktop takes")


def _add_handshake(version: str) -> None:
    @check(GROUP, f"the handshake of version {version}")
    def _(session: Session) -> None:
        told, _ = open_session(session, version)
        expect_equal(told["protocolVersion"], version, "the version")
        expect_keys(told, "serverInfo capabilities", "the answer")
        expect_keys(told["capabilities"], {"tools"}, "capabilities")


for _version in VERSIONS:
    _add_handshake(_version)


@check(GROUP, "a ping is answered, an unknown method is an error")
def _(session: Session) -> None:
    expect_equal(call(session, "ping")["result"], {}, "the answer to ping")
    expect("error" in call(session, "none/such"), "an unknown method is no error")


@check(GROUP, "tools have typed schemas and descriptions")
def _(session: Session) -> None:
    tools = {tool["name"]: tool for tool in call(session, "tools/list")["result"]["tools"]}
    expect_keys(tools, _TOOLS, "the list")
    for name, tool in tools.items():
        expect_equal(tool["inputSchema"]["type"], "object", f"the schema of {name}")
        expect(tool.get("description") and tool.get("annotations"), f"{name} has no description or annotations")
    fields = tools["generate_image"]["inputSchema"]
    expect_equal(fields["required"], ["prompt"], "what generate_image needs")
    expect(all("description" in one for one in fields["properties"].values()), "a field has no description")


@check(GROUP, "an image comes small, with a link and its facts")
def _(session: Session) -> None:
    result = generate(session)
    expect_small_images(result, 1)
    facts = result["structuredContent"]
    expect_keys(facts, "job_id status model images", "the structured content")
    expect_equal((facts["status"], facts["images"][0]["seed"]), ("finished", 5), "status and seed")
    session.facts["image id"] = facts["images"][0]["id"]
    session.facts["job id"] = facts["job_id"]
    link = next(block for block in result["content"] if block["type"] == "resource_link")
    expect(session.http.get(link["uri"]).headers["content-type"].startswith("image/"), "the link leads to no image")


@check(GROUP, "several images stay below the limit together")
def _(session: Session) -> None:
    expect_small_images(generate(session, count=3), 3)


@check(GROUP, "progress is told where it is asked for")
def _(session: Session) -> None:
    arguments = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": 10}
    told = call(session, "tools/call", name="generate_image", arguments=arguments, _meta={"progressToken": "p"})
    expect("result" in told, "there is no result")
    notes = [one for one in session.facts["messages"] if one.get("method") == "notifications/progress"]
    values = [one["params"]["progress"] for one in notes]
    expect(values and values == sorted(set(values)), f"the progress is {values[:10]}")


@check(GROUP, "an image is edited by its id, by a data address and by base64")
def _(session: Session) -> None:
    for image in (session.facts["image id"], "data:image/png;base64," + encode(make_png()), encode(make_png())):
        result = use_tool(session, "edit_image", prompt="a pear", image=image, steps=STEPS, strength=0.6)
        expect_small_images(result, 1)


@check(GROUP, "an image is edited within a mask")
def _(session: Session) -> None:
    arguments = {"prompt": "a pear", "image": encode(make_png()), "mask": encode(make_mask()), "steps": STEPS}
    expect_small_images(use_tool(session, "edit_image", **arguments), 1)


@check(GROUP, "an image is enlarged")
def _(session: Session) -> None:
    result = use_tool(session, "upscale_image", image=encode(make_png()), scale=2)
    expect_equal(result["structuredContent"]["images"][0]["width"], 2 * SIDE, "the width")


@check(GROUP, "an image is cut into the formats of a platform")
def _(session: Session) -> None:
    result = use_tool(session, "make_social_formats", image=encode(make_png()), formats=["instagram.story"])
    expect_small_images(result, 1)


@check(GROUP, "a job is looked up and stopped")
def _(session: Session) -> None:
    job = session.facts["job id"]
    expect_equal(use_tool(session, "get_job", job_id=job)["structuredContent"]["status"], "finished", "the status")
    use_tool(session, "cancel_job", job_id=job)


@check(GROUP, "models, templates and the library are listed, and costs are told")
def _(session: Session) -> None:
    models = use_tool(session, "list_models")["structuredContent"]["models"]
    expect(models and {"id", "tasks", "paid"} <= set(models[0]), "the models have no facts")
    expect(use_tool(session, "search_templates", query="product")["structuredContent"]["templates"], "no template fits")
    expect(use_tool(session, "search_library", query=PROMPT)["structuredContent"]["images"], "no image is found")
    cost = use_tool(session, "estimate_cost", prompt=PROMPT, model=models[0]["id"])["structuredContent"]
    expect_keys(cost, "model amount currency", "the cost")


@check(GROUP, "images are resources")
def _(session: Session) -> None:
    templates = call(session, "resources/templates/list")["result"]["resourceTemplates"]
    expect(any("{image_id}" in one["uriTemplate"] for one in templates), "no template is listed")
    read = call(session, "resources/read", uri=f"easel://images/{session.facts['image id']}")
    load(base64.b64decode(read["result"]["contents"][0]["blob"]))


_WRONG: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("an unknown model", "generate_image", {"prompt": PROMPT, "model": "none such"}),
    ("a value beyond its range", "generate_image", {"prompt": PROMPT, "steps": 10_000_000}),
    ("a missing prompt", "generate_image", {}),
    ("an unknown job", "get_job", {"job_id": "0" * 32}),
    ("an image that is none", "edit_image", {"prompt": PROMPT, "image": "%%%"}),
    ("an address in the place of an image", "edit_image", {"prompt": PROMPT, "image": "http://127.0.0.1:9/a.png"}),
    ("an unknown tool", "none_such", {}),
)


def _add_wrong(what: str, tool: str, arguments: dict[str, Any]) -> None:
    @check(GROUP, f"{what} is an error that says so")
    def _(session: Session) -> None:
        told = call(session, "tools/call", name=tool, arguments=arguments)
        if "error" in told:
            expect(told["error"]["message"], "the error has no text")
            return
        expect(told["result"].get("isError"), "it is no error")
        expect(len(told["result"]["content"][0]["text"]) > 10, "the error has no text")


for _wrong in _WRONG:
    _add_wrong(*_wrong)


@check(GROUP, "a session is ended, and unknown ones are 404")
def _(session: Session) -> None:
    _, headers = open_session(session)
    if "Mcp-Session-Id" not in headers:
        return  # a server without sessions
    expect_status(session.http.delete("/mcp", headers={**_ACCEPT, **headers}), 200, 202, 204)
    ping = {"id": 3, "method": "ping"}
    expect_status(send(session, ping, **headers), 404)
    expect_status(send(session, ping, **{**headers, "Mcp-Session-Id": "none-such"}), 404)
