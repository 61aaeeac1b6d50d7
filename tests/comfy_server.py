"""ComfyUI as its clients see it: a queue over HTTP, what happens over a real WebSocket, images from /view."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, Response
from vendor_server import make_png

KNOWN_NODES = {
    "CheckpointLoaderSimple": {"ckpt_name"},
    "CLIPTextEncode": {"text", "clip"},
    "EmptyLatentImage": {"width", "height", "batch_size"},
    "KSampler": {
        "seed",
        "steps",
        "cfg",
        "sampler_name",
        "scheduler",
        "denoise",
        "model",
        "positive",
        "negative",
        "latent_image",
    },
    "VAEDecode": {"samples", "vae"},
    "VAEEncode": {"pixels", "vae"},
    "SaveImage": {"filename_prefix", "images"},
    "LoadImage": {"image"},
    "ImageScale": {"image", "upscale_method", "width", "height", "crop"},
    "UNETLoader": {"unet_name", "weight_dtype"},
    "DualCLIPLoader": {"clip_name1", "clip_name2", "type"},
    "VAELoader": {"vae_name"},
    "FluxGuidance": {"guidance", "conditioning"},
    "EmptySD3LatentImage": {"width", "height", "batch_size"},
}
NODE_CHOICES = {
    "CheckpointLoaderSimple": {"ckpt_name": ["foxes.safetensors", "b.safetensors"]},
    "UNETLoader": {"unet_name": ["flux1-dev.safetensors"]},
    "DualCLIPLoader": {
        "clip_name1": ["t5xxl.safetensors", "clip_l.safetensors"],
        "clip_name2": ["t5xxl.safetensors", "clip_l.safetensors"],
    },
    "VAELoader": {"vae_name": ["ae.safetensors"]},
}


HISTORY_DELAY = 0.3  # seconds between the end that is told and the history that has it
IMAGE = {"filename": "easel_1.png", "subfolder": "", "type": "output"}


class ComfyServer:
    """One server, with one graph at work at a time and the others in a queue; as the real one it tells the end before
    it writes the history, and interrupts whatever runs.

    `plan` is what happens to the next graph: "run", "error", "hang" until it is interrupted, "drop" (the line breaks,
    the graph goes on), "deaf" (its end is never told), "silent error" (only the history tells of it), "cached",
    "no image", "previews", "restart". `key` is asked for on every route. `chatty` sends what an extension sends, all
    the time. `closed` is the status that the WebSocket is refused with.
    """

    def __init__(self) -> None:
        self.graphs: list[dict[str, Any]] = []
        self.uploads: list[str] = []
        self.uploaded: list[bytes] = []
        self.interrupted: list[str] = []
        self.deleted: list[str] = []
        self.connections = 0
        self.plan = "run"
        self.key = ""
        self.chatty = False
        self.closed = 0
        self.slow_upload = 0.0
        self.new_form = False
        self.history: dict[str, Any] = {}
        self.running: list[list[Any]] = []
        self.pending: list[list[Any]] = []
        self._stops: dict[str, asyncio.Event] = {}
        self._lines: dict[str, WebSocket] = {}
        self.app = FastAPI()
        self.app.middleware("http")(self._check_key)
        self._add_routes()
        self._add_queue_routes()

    async def _check_key(self, request: Request, call: Any) -> Response:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        return await call(request)

    def hold(self) -> None:
        """Somebody else's graph is at work, and stays so."""
        self.running.append([0, "another's", {}, {"client_id": "another"}, []])

    def _add_routes(self) -> None:
        app = self.app

        @app.get("/system_stats")
        def get_stats() -> dict[str, Any]:
            return {"system": {"comfyui_version": "0.9.1"}}

        @app.get("/object_info/{node}")
        def get_node_info(node: str) -> dict[str, Any]:
            fields: dict[str, Any] = {
                name: ["COMBO", {"options": choices}] if self.new_form else [choices]
                for name, choices in NODE_CHOICES.get(node, {}).items()
            }
            return {node: {"input": {"required": fields}}}

        @app.post("/upload/image")
        async def upload_image(request: Request) -> dict[str, str]:
            form = await request.form()
            self.uploads.append(form["image"].filename)  # type: ignore[union-attr, arg-type]
            self.uploaded.append(await form["image"].read())  # type: ignore[union-attr]
            return {"name": form["image"].filename, "subfolder": "", "type": "input"}

        @app.get("/view")
        def get_image(filename: str) -> Response:
            return Response(make_png() if filename == "easel_1.png" else b"", media_type="image/png")

        @app.websocket("/ws")
        async def open_socket(socket: WebSocket) -> None:
            if self.key and socket.headers.get("Authorization") != f"Bearer {self.key}":
                self.closed = 401
            if self.closed:
                await socket.send_denial_response(Response(status_code=self.closed))
                return
            await socket.accept()
            self.connections += 1
            self._lines[socket.query_params["clientId"]] = socket
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.send_text(json.dumps({"type": "status", "data": {}}))
                while self.chatty:
                    await socket.send_text(json.dumps({"type": "crystools.monitor", "data": {"cpu_utilization": 3}}))
                    await asyncio.sleep(0.05)
                while True:
                    await socket.receive_text()

    def _add_queue_routes(self) -> None:
        app = self.app

        @app.post("/prompt")
        async def submit_prompt(request: Request) -> Response:
            body = await request.json()
            graph, client = body["prompt"], body["client_id"]
            for number, node in graph.items():
                wanted = KNOWN_NODES.get(node["class_type"])
                if wanted is None or set(node["inputs"]) != wanted:
                    details = f"{node['class_type']} {sorted(node['inputs'])}"
                    errors = {number: {"errors": [{"message": "bad", "details": details}]}}
                    return JSONResponse(
                        {"error": {"message": "Prompt outputs failed validation"}, "node_errors": errors}, 400
                    )
            self.graphs.append(graph)
            name = f"p{len(self.graphs)}"
            item = [len(self.graphs), name, graph, {"client_id": client}, ["7"]]
            self.pending.append(item)
            asyncio.get_running_loop().create_task(self._work(item))
            await asyncio.sleep(self.slow_upload)
            return JSONResponse({"prompt_id": name, "number": 1, "node_errors": {}})

        @app.post("/interrupt")
        async def interrupt_prompt(request: Request) -> dict[str, str]:
            for item in self.running:  # whatever runs, whoever asks
                self.interrupted.append(item[1])
                self._stops.setdefault(item[1], asyncio.Event()).set()
            return {}

        @app.get("/queue")
        def get_queue() -> dict[str, Any]:
            return {"queue_running": self.running, "queue_pending": self.pending}

        @app.post("/queue")
        async def update_queue(request: Request) -> dict[str, str]:
            gone = (await request.json()).get("delete", [])
            self.deleted += [item[1] for item in self.pending if item[1] in gone]
            self.pending = [item for item in self.pending if item[1] not in gone]
            return {}

        @app.get("/history/{name}")
        def get_history(name: str) -> dict[str, Any]:
            return {name: self.history[name]} if name in self.history else {}

    async def _work(self, item: list[Any]) -> None:
        """Let the graph wait for its turn, and run it."""
        while self.running:
            await asyncio.sleep(0.02)
            if item not in self.pending:
                return
        self.pending.remove(item)
        self.running.append(item)
        try:
            await self._run_graph(item[1], item[3]["client_id"])
        finally:
            self.running = [one for one in self.running if one[1] != item[1]]

    async def _run_graph(self, name: str, client: str) -> None:
        plan, self.plan = self.plan, "run"

        async def send_message(kind: str, **data: Any) -> None:
            with contextlib.suppress(RuntimeError, KeyError):
                if plan != "deaf":
                    await self._lines[client].send_text(json.dumps({"type": kind, "data": {"prompt_id": name, **data}}))

        await send_message("execution_start")
        await send_message("progress", value=1, max=4, prompt_id="another client's")
        with contextlib.suppress(RuntimeError, KeyError):
            await self._lines[client].send_bytes(b"\x00\x00\x00\x01\x00\x00\x00\x01" + make_png(8, 8))
        for step in (1, 2, 3, 4):
            await send_message("executing", node="5")
            await send_message("progress", value=step, max=4)
        failure = {"exception_message": "out of foxes", "node_type": "KSampler"}
        if plan == "error":
            await send_message("execution_error", **failure)
        if plan == "hang":
            await self._stops.setdefault(name, asyncio.Event()).wait()
            await send_message("execution_interrupted")
        if plan == "restart":
            self.pending.clear()
            self.running.clear()
            await self._lines[client].close()
            return
        if plan == "drop":
            await self._lines[client].close()
            await asyncio.sleep(0.1)
        if plan in ("run", "deaf", "cached", "no image", "previews"):
            await send_message("execution_success")
            await asyncio.sleep(HISTORY_DELAY)
        self.history[name] = _build_entry(plan, failure)
        await send_message("executing", node=None)


def _build_entry(plan: str, failure: dict[str, Any]) -> dict[str, Any]:
    outputs: dict[str, Any] = {"7": {"images": [IMAGE]}}
    status: dict[str, Any] = {"status_str": "success", "completed": True, "messages": []}
    if plan in ("error", "silent error", "hang"):
        kind = "execution_interrupted" if plan == "hang" else "execution_error"
        return {
            "outputs": {},
            "status": {"status_str": "error", "completed": False, "messages": [[kind, failure]]},
        }
    if plan == "cached":
        outputs, status["messages"] = {}, [["execution_cached", {"nodes": ["1", "7"]}]]
    if plan == "no image":
        outputs = {"9": {"gifs": [{"filename": "a.mp4"}]}}
    if plan == "previews":
        outputs = {number: {"images": [{**IMAGE, "type": "temp"}]} for number in ("8", "9")}
    return {"outputs": outputs, "status": status}


@contextlib.contextmanager
def run_comfy_server() -> Iterator[tuple[ComfyServer, str]]:
    """A running server and its address."""
    found = ComfyServer()
    server = uvicorn.Server(
        uvicorn.Config(found.app, host="127.0.0.1", port=0, log_level="error", ws="websockets-sansio")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield found, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
