"""python -m tools.conformance URL [--token TOKEN]: how much of each API that other programs speak a running studio
answers. Prints a score per API and what failed. It makes small images with the studio's default model."""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

SIDE = 128  # px of the images that are made
STEPS = 2
DEADLINE = 300.0  # seconds for one image
PROMPT = "a red apple"
MCP_VERSION = "2025-06-18"


@dataclass
class Session:
    """A connection to the studio, and what earlier checks found out."""

    http: httpx.Client
    url: str
    headers: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


Check = Callable[[Session], bool]
CHECKS: dict[str, list[tuple[str, Check]]] = {}


def check(group: str, name: str) -> Callable[[Check], Check]:
    """Register a function as the check `name` of an API."""

    def register(function: Check) -> Check:
        CHECKS.setdefault(group, []).append((name, function))
        return function

    return register


def make_png(colour: str = "red") -> bytes:
    """A small image."""
    out = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(out, "PNG")
    return out.getvalue()


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def is_image(text: str) -> bool:
    """Whether base64 text is an image."""
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        image.load()
    return True


def draw_a1111(session: Session, kind: str = "txt2img", **body: Any) -> Any:
    sent = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": 5, **body}
    answer = session.http.post(f"/sdapi/v1/{kind}", json=sent)
    answer.raise_for_status()
    return answer.json()


@check("AUTOMATIC1111", "txt2img gives an image, its parameters and info")
def check_txt2img(session: Session) -> bool:
    answer = draw_a1111(session)
    info = json.loads(answer["info"])
    session.facts["a1111"] = answer["images"][0]
    return is_image(answer["images"][0]) and info["seed"] == 5 and answer["parameters"]["steps"] == STEPS


@check("AUTOMATIC1111", "img2img gives an image")
def check_img2img(session: Session) -> bool:
    answer = draw_a1111(session, "img2img", init_images=[encode(make_png())])
    return is_image(answer["images"][0]) and answer["parameters"]["init_images"] is None


@check("AUTOMATIC1111", "inpainting takes a mask")
def check_inpainting(session: Session) -> bool:
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (32, 32, 96, 96))
    out = io.BytesIO()
    mask.save(out, "PNG")
    sent = {"init_images": [encode(make_png())], "mask": encode(out.getvalue()), "inpainting_fill": 1}
    return is_image(draw_a1111(session, "img2img", **sent)["images"][0])


@check("AUTOMATIC1111", "a batch that is saved has its grid first")
def check_grid(session: Session) -> bool:
    answer = draw_a1111(session, batch_size=2, save_images=True)
    return len(answer["images"]) == 3 and json.loads(answer["info"])["index_of_first_image"] == 1


@check("AUTOMATIC1111", "the X/Y/Z plot gives a grid and its images")
def check_xyz(session: Session) -> bool:
    plot = ["Seed", "1,2", [], 0, "", [], 0, "", [], True, True]
    return len(draw_a1111(session, script_name="x/y/z plot", script_args=plot)["images"]) == 3


@check("AUTOMATIC1111", "png-info reads the parameters")
def check_png_info(session: Session) -> bool:
    answer = session.http.post("/sdapi/v1/png-info", json={"image": session.facts["a1111"]}).json()
    return bool(answer["parameters"]["Seed"] == "5")


@check("AUTOMATIC1111", "extras enlarge an image")
def check_extras(session: Session) -> bool:
    body = {"image": encode(make_png()), "upscaler_1": "Lanczos", "upscaling_resize": 2}
    answer = session.http.post("/sdapi/v1/extra-single-image", json=body).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["image"]))) as image:
        return image.size == (2 * SIDE, 2 * SIDE)


@check("AUTOMATIC1111", "errors have its statuses and its shape")
def check_a1111_errors(session: Session) -> bool:
    cases = (
        ("txt2img", {"sampler_name": "none such"}, 400),
        ("txt2img", {"script_name": "none such"}, 422),
        ("img2img", {}, 404),
    )
    answers = [(session.http.post(f"/sdapi/v1/{kind}", json=body), status) for kind, body, status in cases]
    return all(answer.status_code == status and "detail" in answer.json() for answer, status in answers)


@check("AUTOMATIC1111", "progress is 0 when nothing runs")
def check_progress(session: Session) -> bool:
    answer = session.http.get("/sdapi/v1/progress").json()
    return answer["progress"] == 0 and answer["state"]["job_count"] == 0


@check("AUTOMATIC1111", "all options can be sent back")
def check_options(session: Session) -> bool:
    whole = session.http.get("/sdapi/v1/options").json()
    return "sd_model_checkpoint" in whole and session.http.post("/sdapi/v1/options", json=whole).json() is None


_LISTS = (
    "samplers schedulers upscalers latent-upscale-modes sd-models sd-vae hypernetworks face-restorers realesrgan-models"
    " prompt-styles embeddings loras scripts script-info extensions cmd-flags memory"
)
for _name in _LISTS.split():

    @check("AUTOMATIC1111", f"GET {_name}")
    def check_list(session: Session, path: str = _name) -> bool:
        return session.http.get(f"/sdapi/v1/{path}").is_success


for _name in "interrupt skip refresh-checkpoints refresh-vae refresh-embeddings refresh-loras".split():

    @check("AUTOMATIC1111", f"POST {_name}")
    def check_action(session: Session, path: str = _name) -> bool:
        answer = session.http.post(f"/sdapi/v1/{path}")
        return answer.is_success and answer.json() in ({}, None)


for _name in "version settings model_list module_list control_types".split():

    @check("ControlNet", f"GET {_name}")
    def check_control_list(session: Session, path: str = _name) -> bool:
        return session.http.get(f"/controlnet/{path}").is_success


@check("ControlNet", "detect gives a map")
def check_detect(session: Session) -> bool:
    body = {"controlnet_module": "canny", "controlnet_input_images": [encode(make_png())]}
    answer = session.http.post("/controlnet/detect", json=body).json()
    return answer["info"] == "Success" and is_image(answer["images"][0])


@check("ControlNet", "an unknown module is 422")
def check_unknown_module(session: Session) -> bool:
    body = {"controlnet_module": "none such", "controlnet_input_images": [encode(make_png())]}
    return session.http.post("/controlnet/detect", json=body).status_code == 422


@check("ControlNet", "a unit adds its map to the images")
def check_unit(session: Session) -> bool:
    models = session.http.get("/controlnet/model_list").json()["model_list"]
    unit = {"module": "canny", "model": models[0], "image": encode(make_png()), "pixel_perfect": True}
    answer = draw_a1111(session, alwayson_scripts={"ControlNet": {"args": [unit]}})
    return len(answer["images"]) == 2


def generate_openai(session: Session, **body: Any) -> httpx.Response:
    sent = {"prompt": PROMPT, "size": f"{SIDE}x{SIDE}", "seed": 5, "steps": STEPS, **body}
    return session.http.post("/v1/images/generations", json=sent)


@check("OpenAI", "an image in base64 with its facts")
def check_generation(session: Session) -> bool:
    answer = generate_openai(session).json()
    return is_image(answer["data"][0]["b64_json"]) and {"created", "usage", "size", "output_format"} <= set(answer)


@check("OpenAI", "an address that leads to the image")
def check_url(session: Session) -> bool:
    place = generate_openai(session, response_format="url").json()["data"][0]["url"]
    return session.http.get(place).headers["content-type"].startswith("image/")


@check("OpenAI", "a stream ends with the image and its usage")
def check_stream(session: Session) -> bool:
    answer = generate_openai(session, stream=True, partial_images=2)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    return events[-1]["type"] == "image_generation.completed" and "usage" in events[-1]


@check("OpenAI", "an edit as a form")
def check_edit(session: Session) -> bool:
    answer = session.http.post(
        "/v1/images/edits",
        data={"prompt": "a pear", "steps": str(STEPS), "response_format": "b64_json", "n": "1"},
        files={"image": ("a.png", make_png(), "image/png")},
    )
    return is_image(answer.json()["data"][0]["b64_json"])


@check("OpenAI", "models by id")
def check_models(session: Session) -> bool:
    listed = session.http.get("/v1/models").json()["data"]
    return bool(listed) and session.http.get(f"/v1/models/{listed[0]['id']}").is_success


@check("OpenAI", "OpenAI's own names mean the default model")
def check_foreign_model(session: Session) -> bool:
    return generate_openai(session, model="dall-e-2").is_success


@check("OpenAI", "errors are typed and not sent again")
def check_openai_errors(session: Session) -> bool:
    answer = generate_openai(session, n=99)
    told = answer.json()["error"]
    return answer.status_code == 400 and told["param"] == "n" and answer.headers["x-should-retry"] == "false"


@check("OpenAI", "OPTIONS is answered")
def check_preflight(session: Session) -> bool:
    return session.http.options("/v1/images/generations").is_success


def call_mcp(session: Session, method: str, **params: Any) -> Any:
    """The result of one call in the protocol's handshake era."""
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": MCP_VERSION}
    if "mcp" in session.facts:
        headers["Mcp-Session-Id"] = session.facts["mcp"]
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = session.http.post("/mcp", json=body, headers=headers)
    answer.raise_for_status()
    if answer.headers.get("mcp-session-id"):
        session.facts["mcp"] = answer.headers["mcp-session-id"]
    texts = [line[5:].strip() for line in answer.text.splitlines() if line.startswith("data:")] or [answer.text]
    return json.loads(texts[-1])["result"]


@check("MCP", "the handshake")
def check_handshake(session: Session) -> bool:
    about = {"name": "conformance", "version": "1"}
    result = call_mcp(session, "initialize", protocolVersion=MCP_VERSION, capabilities={}, clientInfo=about)
    headers = {"Accept": "application/json, text/event-stream", "Mcp-Session-Id": session.facts["mcp"]}
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    return bool(result["serverInfo"]["name"]) and session.http.post("/mcp", json=told, headers=headers).is_success


@check("MCP", "tools with schemas")
def check_tools(session: Session) -> bool:
    tools = call_mcp(session, "tools/list")["tools"]
    return len(tools) >= 6 and all(tool["inputSchema"]["type"] == "object" for tool in tools)


@check("MCP", "an image with a link")
def check_tool_image(session: Session) -> bool:
    arguments = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": 5}
    result = call_mcp(session, "tools/call", name="generate_image", arguments=arguments)
    kinds = {block["type"] for block in result["content"]}
    return {"image", "resource_link"} <= kinds and not result.get("isError")


@check("MCP", "an error that tells what happened")
def check_tool_error(session: Session) -> bool:
    arguments = {"prompt": PROMPT, "model": "none such"}
    result = call_mcp(session, "tools/call", name="generate_image", arguments=arguments)
    return result["isError"] and "none such" in result["content"][0]["text"]


def build_graph(session: Session) -> dict[str, Any]:
    info = session.http.get("/object_info/CheckpointLoaderSimple").json()["CheckpointLoaderSimple"]
    name = info["input"]["required"]["ckpt_name"][0][0]
    sampling = {"seed": 5, "steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": SIDE, "height": SIDE, "batch_size": 1}},
        "5": {"class_type": "KSampler", "inputs": {**sampling, **links}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "conformance"}},
    }


@check("ComfyUI", "a graph is told over the socket and gives its image")
def check_graph(session: Session) -> bool:
    from websockets.sync.client import connect

    client = uuid.uuid4().hex
    address = session.url.replace("http", "ws", 1) + f"/ws?clientId={client}"
    kinds: list[str] = []
    with connect(address, additional_headers=session.headers) as socket:
        body = {"prompt": build_graph(session), "client_id": client}
        name = session.http.post("/prompt", json=body).json()["prompt_id"]
        while True:
            message = socket.recv(DEADLINE)
            if isinstance(message, bytes):
                continue
            told = json.loads(message)
            kinds.append(told["type"])
            if told["type"] == "executing" and told["data"]["node"] is None:
                break
    history = session.http.get(f"/history/{name}").json()[name]
    file = history["outputs"]["7"]["images"][0]
    answer = session.http.get("/view", params=file)
    wanted = {"status", "execution_start", "progress", "executed", "execution_success"}
    return wanted <= set(kinds) and answer.headers["content-type"] == "image/png"


@check("ComfyUI", "unknown nodes are named")
def check_unknown_node(session: Session) -> bool:
    graph = {"1": {"class_type": "NoSuchNode", "inputs": {}}}
    answer = session.http.post("/prompt", json={"prompt": graph})
    return answer.status_code == 400 and "NoSuchNode" in answer.json()["error"]["message"]


@check("ComfyUI", "values that do not fit are named")
def check_wrong_value(session: Session) -> bool:
    graph = build_graph(session)
    graph["5"]["inputs"]["steps"] = 0
    answer = session.http.post("/prompt", json={"prompt": graph}).json()
    return bool(answer["node_errors"]["5"]["errors"][0]["type"] == "value_smaller_than_min")


@check("ComfyUI", "an image is uploaded and shown")
def check_upload(session: Session) -> bool:
    answer = session.http.post("/upload/image", files={"image": ("conformance.png", make_png(), "image/png")}).json()
    params = {"filename": answer["name"], "type": "input"}
    return session.http.get("/view", params=params).is_success


for _name in "object_info system_stats queue prompt history embeddings extensions features models".split():

    @check("ComfyUI", f"GET {_name}")
    def check_comfy_list(session: Session, path: str = _name) -> bool:
        return session.http.get(f"/{path}").is_success and session.http.get(f"/api/{path}").is_success


@check("Short routes", "generate")
def check_short_generation(session: Session) -> bool:
    body = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS, "seed": 5}
    return is_image(session.http.post("/generate", json=body).json()["imageData"])


@check("Short routes", "a job and its result")
def check_short_job(session: Session) -> bool:
    body = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": STEPS}
    job = session.http.post("/generate/async", json=body).json()["jobId"]
    end = time.monotonic() + DEADLINE
    while session.http.get(f"/jobs/{job}").json()["status"] not in ("finished", "failed", "cancelled"):
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return is_image(session.http.get(f"/jobs/{job}/result").json()["imageData"])


@check("Short routes", "derivatives")
def check_short_derivatives(session: Session) -> bool:
    body = {"imageData": encode(make_png()), "sizes": [{"width": 32, "format": "webp"}]}
    return len(session.http.post("/derivatives", json=body).json()["derivatives"]) == 1


def run_checks(session: Session, groups: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """By API: each check with what is wrong, "" where it passed."""
    found: dict[str, list[tuple[str, str]]] = {}
    for group in groups:
        for name, function in CHECKS[group]:
            try:
                problem = "" if function(session) else "not as expected"
            except (httpx.HTTPError, LookupError, TypeError, ValueError, OSError) as error:
                problem = f"{type(error).__name__}: {error}"
            found.setdefault(group, []).append((name, problem))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.conformance", description=__doc__)
    parser.add_argument("url", help="address of the studio, such as http://127.0.0.1:7860")
    parser.add_argument("--token", default="", help="a token made on Configurations, where there are users")
    parser.add_argument("--only", choices=list(CHECKS), action="append", help="one API")
    given = parser.parse_args(arguments)
    headers = {"Authorization": f"Bearer {given.token}"} if given.token else {}
    url = given.url.rstrip("/")
    with httpx.Client(base_url=url, headers=headers, timeout=DEADLINE) as http:
        found = run_checks(Session(http, url, headers), given.only or list(CHECKS))
    for group, results in found.items():
        passed = sum(not problem for _, problem in results)
        print(f"{group}: {passed} of {len(results)}")
        for name, problem in results:
            if problem:
                print(f"  - {name}: {problem[:200]}")
    return int(any(problem for results in found.values() for _, problem in results))


if __name__ == "__main__":
    sys.exit(main())
