"""ComfyUI's protocol."""

from __future__ import annotations

import contextlib
import copy
import json
import time
import uuid
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tools.dialect_checks.session import (
    DEADLINE,
    PROMPT,
    SIDE,
    STEPS,
    Session,
    Unexpected,
    check,
    expect,
    expect_equal,
    expect_keys,
    expect_status,
    load,
    make_png,
    make_transparent_mask,
    read_json,
)

GROUP = "ComfyUI"
_NODES = (
    "KSampler KSamplerAdvanced CheckpointLoaderSimple UNETLoader CLIPLoader VAELoader LoraLoader LoraLoaderModelOnly"
    " ControlNetLoader ControlNetApply ControlNetApplyAdvanced UpscaleModelLoader ImageUpscaleWithModel CLIPTextEncode"
    " CLIPSetLastLayer ConditioningZeroOut EmptyLatentImage EmptySD3LatentImage LatentUpscale LatentUpscaleBy VAEEncode"
    " VAEEncodeForInpaint SetLatentNoiseMask VAEDecode LoadImage LoadImageMask ImageScale SaveImage PreviewImage"
    " SaveImageWebsocket"
)


def list_choices(session: Session, node: str, name: str) -> list[str]:
    """The entries of an input's list."""
    found: list[str] = read_json(session.http.get(f"/object_info/{node}"))[node]["input"]["required"][name][0]
    return found


def build_graph(session: Session, **changes: Any) -> dict[str, Any]:
    """A plain graph; `changes` are nodes by "n" and their number, (class, inputs), inputs merged into its own."""
    if "checkpoint" not in session.facts:
        session.facts["checkpoint"] = list_choices(session, "CheckpointLoaderSimple", "ckpt_name")[0]
    sampling = {"seed": 5, "steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]}
    graph: dict[str, Any] = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": session.facts["checkpoint"]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": SIDE, "height": SIDE, "batch_size": 1}},
        "5": {"class_type": "KSampler", "inputs": {**sampling, **links}},
        "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
        "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "conformance"}},
    }
    for name, (kind, inputs) in changes.items():
        old = graph.get(name[1:], {})
        kept = old.get("inputs", {}) if old.get("class_type") == kind else {}
        graph[name[1:]] = {"class_type": kind, "inputs": {**kept, **inputs}}
    return graph


def run(session: Session, graph: dict[str, Any], **body: Any) -> Any:
    """The history of a graph that was carried out."""
    name = read_json(session.http.post("/prompt", json={"prompt": graph, **body}))["prompt_id"]
    end = time.monotonic() + DEADLINE
    while not (found := read_json(session.http.get(f"/history/{name}"))):
        if time.monotonic() > end:
            raise Unexpected("the graph did not end")
        time.sleep(0.1)
    expect_equal(found[name]["status"]["status_str"], "success", "the status")
    return found[name]


def get_image(session: Session, history: Any, node: str = "7") -> Any:
    """The first image of an output node."""
    return load(session.http.get("/view", params=history["outputs"][node]["images"][0]).content)


def upload(session: Session, name: str, data: bytes, **fields: str) -> Any:
    """The answer to an upload."""
    return read_json(
        session.http.post("/upload/image", files={"image": (name, data, "image/png")}, data={"type": "input", **fields})
    )


def listen(session: Session, graph: dict[str, Any]) -> tuple[list[Any], list[bytes], str]:
    """What the socket tells of a graph until its end: messages, files, and the graph's id."""
    try:
        return _listen(session, graph)
    except WebSocketException as error:
        raise Unexpected(f"the socket is closed: {error}") from error


def _listen(session: Session, graph: dict[str, Any]) -> tuple[list[Any], list[bytes], str]:
    client = uuid.uuid4().hex
    address = session.url.replace("http", "ws", 1) + f"/ws?clientId={client}"
    told: list[Any] = []
    files: list[bytes] = []
    with connect(address, additional_headers=session.headers, max_size=2**26) as socket:
        socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": False}}))
        body = {"prompt": graph, "client_id": client}
        name = read_json(session.http.post("/prompt", json=body))["prompt_id"]
        while True:
            message = socket.recv(DEADLINE)
            if isinstance(message, bytes):
                files.append(message)
                continue
            told.append(json.loads(message))
            if told[-1]["type"] == "executing" and told[-1]["data"]["node"] is None:
                return told, files, name


@check(GROUP, "a graph gives its image, named as there")
def _(session: Session) -> None:
    history = run(session, build_graph(session))
    file = history["outputs"]["7"]["images"][0]
    expect_keys(file, "filename subfolder type", "the file")
    expect(file["filename"].startswith("conformance_0"), f"the name is {file['filename']}")
    answer = session.http.get("/view", params=file)
    expect_equal(answer.headers["content-type"], "image/png", "the file type")
    expect_equal(answer.headers["content-disposition"], f'filename="{file["filename"]}"', "Content-Disposition")
    expect("prompt" in load(answer.content).info, "the PNG has no text “prompt”")
    expect_keys(history, "prompt outputs status meta", "the history")
    expect_equal(history["status"]["completed"], True, "completed")


@check(GROUP, "the socket tells every stage in ComfyUI's order")
def _(session: Session) -> None:
    told, _, name = listen(session, build_graph(session))
    kinds = [one["type"] for one in told]
    expect_equal(kinds[0], "status", "the first message")
    expect_keys(told[0]["data"], "status sid", "the first message")
    wanted = ["execution_start", "execution_cached", "executing", "progress", "executed", "execution_success"]
    places = [kinds.index(kind) for kind in wanted if kind in kinds]
    expect(len(places) == len(wanted) and places == sorted(places), f"the order is {list(dict.fromkeys(kinds))}")
    expect_equal(told[-1]["data"]["prompt_id"], name, "the graph of the last message")
    executed = next(one["data"] for one in told if one["type"] == "executed")
    expect_keys(executed, "node output prompt_id", "executed")
    progress = next(one["data"] for one in told if one["type"] == "progress")
    expect_keys(progress, "value max prompt_id node", "progress")


@check(GROUP, "SaveImageWebsocket sends its image over the socket")
def _(session: Session) -> None:
    graph = build_graph(session, n7=("SaveImageWebsocket", {"images": ["6", 0]}))
    graph["7"]["inputs"].pop("filename_prefix", None)
    _, files, _ = listen(session, graph)
    expect_equal(files[-1][:8], b"\0\0\0\1\0\0\0\2", "the head of the file")
    load(files[-1][8:])


@check(GROUP, "a graph in a body called text, and one with an id of its own")
def _(session: Session) -> None:
    body = json.dumps({"prompt": build_graph(session)})
    expect_status(session.http.post("/prompt", content=body, headers={"Content-Type": "text/plain"}), 200)
    own = uuid.uuid4().hex
    answer = read_json(session.http.post("/api/prompt", json={"prompt": build_graph(session), "prompt_id": own}))
    expect_equal(answer["prompt_id"], own, "the id")
    expect_keys(answer, "prompt_id number node_errors", "the answer")


@check(GROUP, "one seed gives the same image again")
def _(session: Session) -> None:
    first, again = (get_image(session, run(session, build_graph(session))).tobytes() for _ in range(2))
    expect(first == again, "the images differ")


@check(GROUP, "an upload keeps its name, and other bytes under it get another")
def _(session: Session) -> None:
    folder = uuid.uuid4().hex[:8]
    first = upload(session, "a.png", make_png("red"), subfolder=folder)
    expect_equal(first, {"name": "a.png", "subfolder": folder, "type": "input"}, "the first upload")
    expect_equal(upload(session, "a.png", make_png("red"), subfolder=folder)["name"], "a.png", "the same bytes")
    expect_equal(upload(session, "a.png", make_png("blue"), subfolder=folder)["name"], "a (1).png", "other bytes")
    over = upload(session, "a.png", make_png("green"), subfolder=folder, overwrite="true")
    expect_equal(over["name"], "a.png", "bytes that overwrite")
    params = {"filename": "a.png", "type": "input", "subfolder": folder}
    shown = load(session.http.get("/view", params=params).content).convert("RGB")
    expect_equal(shown.getpixel((9, 9)), (0, 128, 0), "the colour that is shown")
    expect_status(session.http.post("/upload/mask", files={"image": ("m.png", make_transparent_mask())}), 200)


def _load(session: Session, data: bytes) -> tuple[str, dict[str, Any]]:
    return "LoadImage", {"image": upload(session, f"{uuid.uuid4().hex[:8]}.png", data)["name"]}


@check(GROUP, "img2img with a denoise below 1")
def _(session: Session) -> None:
    encoded = ("VAEEncode", {"pixels": ["8", 0], "vae": ["1", 2]})
    sampler = ("KSampler", {"latent_image": ["9", 0], "denoise": 0.5, "steps": 4})
    told, _, _ = listen(session, build_graph(session, n8=_load(session, make_png()), n9=encoded, n5=sampler))
    progress = [one["data"] for one in told if one["type"] == "progress"]
    expect_equal(progress[-1]["max"], 4, "the number of steps")


@check(GROUP, "inpainting by both nodes")
def _(session: Session) -> None:
    load_node = _load(session, make_transparent_mask())
    whole = {"pixels": ["8", 0], "vae": ["1", 2]}
    run(
        session,
        build_graph(
            session,
            n8=load_node,
            n9=("VAEEncodeForInpaint", {**whole, "mask": ["8", 1], "grow_mask_by": 6}),
            n5=("KSampler", {"latent_image": ["9", 0]}),
        ),
    )
    history = run(
        session,
        build_graph(
            session,
            n8=load_node,
            n9=("VAEEncode", whole),
            n10=("SetLatentNoiseMask", {"samples": ["9", 0], "mask": ["8", 1]}),
            n5=("KSampler", {"latent_image": ["10", 0], "denoise": 0.8}),
        ),
    )
    expect_equal(get_image(session, history).convert("RGB").getpixel((2, 2)), (255, 0, 0), "a pixel outside the mask")


@check(GROUP, "a second sampler behind LatentUpscale enlarges")
def _(session: Session) -> None:
    plain = get_image(session, run(session, build_graph(session)))
    size = {"width": 2 * plain.width, "height": 2 * plain.height, "crop": "disabled"}
    graph = build_graph(session)
    second = {**graph["5"]["inputs"], "latent_image": ["8", 0], "denoise": 0.6}
    changes = {
        "n8": ("LatentUpscale", {"samples": ["5", 0], "upscale_method": "nearest-exact", **size}),
        "n9": ("KSampler", second),
        "n6": ("VAEDecode", {"samples": ["9", 0]}),
    }
    larger = get_image(session, run(session, build_graph(session, **changes)))
    expect_equal(larger.size, (2 * plain.width, 2 * plain.height), "the size")


@check(GROUP, "an upscaler enlarges an image")
def _(session: Session) -> None:
    names = list_choices(session, "UpscaleModelLoader", "model_name")
    expect(names, "there is no upscaler")
    loader = ("UpscaleModelLoader", {"model_name": names[0]})
    upscale = ("ImageUpscaleWithModel", {"upscale_model": ["8", 0], "image": ["9", 0]})
    nodes = {"n8": loader, "n9": _load(session, make_png()), "n10": upscale, "n7": ("SaveImage", {"images": ["10", 0]})}
    expect(get_image(session, run(session, build_graph(session, **nodes))).width > SIDE, "it is not larger")


@check(GROUP, "PreviewImage gives a temporary file, batches several")
def _(session: Session) -> None:
    graph = build_graph(session, n7=("PreviewImage", {"images": ["6", 0]}))
    graph["7"]["inputs"].pop("filename_prefix", None)
    file = run(session, graph)["outputs"]["7"]["images"][0]
    expect_equal(file["type"], "temp", "the type")
    expect_status(session.http.get("/view", params=file), 200)
    batch = run(session, build_graph(session, n4=("EmptyLatentImage", {"batch_size": 2})))
    expect_equal(len(batch["outputs"]["7"]["images"]), 2, "the number of images")


def _break(session: Session, node: str, **inputs: Any) -> dict[str, Any]:
    graph = copy.deepcopy(build_graph(session))
    for name, value in inputs.items():
        if value is None:
            graph[node]["inputs"].pop(name)
        else:
            graph[node]["inputs"][name] = value
    return graph


_WRONG: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("value_smaller_than_min", "5", {"steps": 0}),
    ("value_bigger_than_max", "5", {"cfg": 1000}),
    ("value_not_in_list", "5", {"sampler_name": "none such"}),
    ("value_not_in_list", "1", {"ckpt_name": "none such"}),
    ("required_input_missing", "5", {"positive": None}),
    ("invalid_input_type", "5", {"steps": "many"}),
    ("return_type_mismatch", "5", {"model": ["1", 1]}),
    ("bad_linked_input", "5", {"model": "x"}),
)


def _add_wrong(kind: str, node: str, inputs: dict[str, Any]) -> None:
    @check(GROUP, f"{kind} of {next(iter(inputs))} is named with its node")
    def _(session: Session) -> None:
        answer = session.http.post("/prompt", json={"prompt": _break(session, node, **inputs)})
        expect_status(answer, 400)
        told = answer.json()
        expect_equal(told["error"]["type"], "prompt_outputs_failed_validation", "the error")
        expect_keys(told["node_errors"][node], "errors dependent_outputs class_type", "the node's error")
        expect_equal(told["node_errors"][node]["errors"][0]["type"], kind, "the node's error")


for _wrong in _WRONG:
    _add_wrong(*_wrong)


@check(GROUP, "graphs that are none are refused in ComfyUI's words")
def _(session: Session) -> None:
    nothing: dict[str, Any] = {"1": build_graph(session)["1"]}
    cases: tuple[tuple[Any, str], ...] = (
        ({}, "no_prompt"),
        ({"prompt": {}}, "no_prompt"),
        ({"prompt": {"1": {"inputs": {}}}}, "invalid_prompt"),
        ({"prompt": {"1": {"class_type": "NoSuchNode", "inputs": {}}}}, "invalid_prompt"),
        ({"prompt": nothing}, "prompt_no_outputs"),
    )
    for body, kind in cases:
        answer = session.http.post("/prompt", json=body)
        expect_status(answer, 400)
        expect_keys(answer.json(), "error node_errors", "the answer")
        expect_keys(answer.json()["error"], "type message details extra_info", "the error")
        expect_equal(answer.json()["error"]["type"], kind, "the error")
    expect("NoSuchNode" in session.http.post("/prompt", json=cases[3][0]).text, "the unknown node is not named")


@check(GROUP, "nodes are described")
def _(session: Session) -> None:
    info = read_json(session.http.get("/object_info"))
    expect_keys(info, _NODES, "the list of nodes")
    for name in ("KSampler", "SaveImage"):
        expect_keys(info[name], "input input_order output output_name name category output_node", name)
    steps = info["KSampler"]["input"]["required"]["steps"]
    expect_equal((steps[0], steps[1]["min"]), ("INT", 1), "the input “steps”")
    expect("euler" in info["KSampler"]["input"]["required"]["sampler_name"][0], "euler is not among the samplers")
    expect_equal(read_json(session.http.get("/object_info/NoSuchNode")), {}, "an unknown node")


@check(GROUP, "the system is described")
def _(session: Session) -> None:
    found = read_json(session.http.get("/system_stats"))
    expect_keys(found["system"], "os ram_total ram_free comfyui_version python_version pytorch_version argv", "system")
    expect_keys(found["devices"][0], "name type index vram_total vram_free", "the device")


@check(GROUP, "the queue is told and changed")
def _(session: Session) -> None:
    expect_keys(read_json(session.http.get("/queue")), "queue_running queue_pending", "the queue")
    expect_keys(read_json(session.http.get("/prompt"))["exec_info"], {"queue_remaining"}, "exec_info")
    for body in ({"clear": True}, {"delete": ["none such"]}):
        expect_status(session.http.post("/queue", json=body), 200)


@check(GROUP, "an interrupted graph ends as there")
def _(session: Session) -> None:
    graph = build_graph(session, n5=("KSampler", {"steps": 1000}))
    name = read_json(session.http.post("/prompt", json={"prompt": graph}))["prompt_id"]
    end = time.monotonic() + DEADLINE
    while not (found := read_json(session.http.get(f"/history/{name}"))) and time.monotonic() < end:
        expect_status(session.http.post("/interrupt"), 200)
        expect_status(session.http.post("/interrupt", json={"prompt_id": name}), 200)
        time.sleep(0.1)
    status = found[name]["status"]
    expect_equal((status["status_str"], status["completed"]), ("error", False), "the status")
    expect_equal(status["messages"][-1][0], "execution_interrupted", "the last message")


@check(GROUP, "the history is told, limited and forgotten")
def _(session: Session) -> None:
    run(session, build_graph(session))
    expect_equal(len(read_json(session.http.get("/history?max_items=1"))), 1, "the number of entries")
    name = next(iter(read_json(session.http.get("/history?max_items=1"))))
    expect_status(session.http.post("/history", json={"delete": [name]}), 200)
    expect_equal(read_json(session.http.get(f"/history/{name}")), {}, "a forgotten entry")


@check(GROUP, "folders of models are listed")
def _(session: Session) -> None:
    folders = read_json(session.http.get("/models"))
    expect({"checkpoints", "loras", "vae"} <= set(folders), "checkpoints, loras or vae are not there")
    expect(session.facts["checkpoint"] in read_json(session.http.get("/models/checkpoints")), "the checkpoint is not")
    expect_status(session.http.get("/models/none-such"), 404)


@check(GROUP, "files that are not there are 404, and no name leaves its folder")
def _(session: Session) -> None:
    for params in (
        {"filename": "none.png"},
        {"filename": "../../config.json", "type": "input"},
        {"filename": "passwd", "subfolder": "/etc", "type": "output"},
    ):
        expect_status(session.http.get("/view", params=params), 400, 403, 404)


@check(GROUP, "the root answers, and memory is freed")
def _(session: Session) -> None:
    if not session.headers:  # with users the page asks for a login of its own
        expect_status(session.http.get("/", follow_redirects=True), 200)
    expect_status(session.http.post("/free", json={"unload_models": True, "free_memory": True}), 200)


def _add_route(path: str) -> None:
    @check(GROUP, f"GET {path} is below /api too")
    def _(session: Session) -> None:
        with contextlib.suppress(KeyError):
            expect_equal(
                type(read_json(session.http.get(f"/{path}"))), type(read_json(session.http.get(f"/api/{path}"))), path
            )


for _path in "object_info system_stats queue prompt history embeddings extensions features models".split():
    _add_route(_path)
