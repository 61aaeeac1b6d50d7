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


class ComfyServer:
    """One server. `plan` is what happens to the next graph: "run", "error", "hang", "drop" (the line breaks, the graph
    goes on)."""

    def __init__(self) -> None:
        self.graphs: list[dict[str, Any]] = []
        self.uploads: list[str] = []
        self.interrupted: list[str] = []
        self.connections = 0
        self.plan = "run"
        self.history: dict[str, Any] = {}
        self._lines: dict[str, WebSocket] = {}
        self.app = FastAPI()
        self._add_routes()

    def _add_routes(self) -> None:  # noqa: C901 - one route after the other
        app = self.app

        @app.get("/system_stats")
        def get_stats() -> dict[str, Any]:
            return {"system": {"comfyui_version": "0.9.1"}}

        @app.get("/object_info/{node}")
        def get_node_info(node: str) -> dict[str, Any]:
            return {
                node: {"input": {"required": {name: [choices] for name, choices in NODE_CHOICES.get(node, {}).items()}}}
            }

        @app.post("/upload/image")
        async def upload_image(request: Request) -> dict[str, str]:
            form = await request.form()
            self.uploads.append(form["image"].filename)  # type: ignore[union-attr, arg-type]
            return {"name": form["image"].filename, "subfolder": "", "type": "input"}  # type: ignore[union-attr, dict-item]

        @app.post("/prompt")
        async def submit_prompt(request: Request) -> Response:
            body = await request.json()
            graph, client = body["prompt"], body["client_id"]
            for number, node in graph.items():
                wanted = KNOWN_NODES.get(node["class_type"])
                if wanted is None or set(node["inputs"]) != wanted:
                    errors = {
                        number: {
                            "errors": [{"message": "bad", "details": f"{node['class_type']} {sorted(node['inputs'])}"}]
                        }
                    }
                    return JSONResponse(
                        {"error": {"message": "Prompt outputs failed validation"}, "node_errors": errors}, 400
                    )
            self.graphs.append(graph)
            name = f"p{len(self.graphs)}"
            asyncio.get_running_loop().create_task(self._run_graph(name, client))
            return JSONResponse({"prompt_id": name, "number": 1, "node_errors": {}})

        @app.post("/interrupt")
        async def interrupt_prompt(request: Request) -> dict[str, str]:
            self.interrupted.append((await request.json())["prompt_id"])
            return {}

        @app.post("/queue")
        async def update_queue(request: Request) -> dict[str, str]:
            return {}

        @app.get("/history/{name}")
        def get_history(name: str) -> dict[str, Any]:
            return {name: self.history[name]} if name in self.history else {}

        @app.get("/view")
        def get_image(filename: str) -> Response:
            return Response(make_png() if filename == "easel_1.png" else b"", media_type="image/png")

        @app.websocket("/ws")
        async def open_socket(socket: WebSocket) -> None:
            await socket.accept()
            self.connections += 1
            self._lines[socket.query_params["clientId"]] = socket
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await socket.send_text(json.dumps({"type": "status", "data": {}}))
                while True:
                    await socket.receive_text()

    async def _run_graph(self, name: str, client: str) -> None:
        async def send_message(kind: str, **data: Any) -> None:
            with contextlib.suppress(RuntimeError, KeyError):
                await self._lines[client].send_text(json.dumps({"type": kind, "data": {"prompt_id": name, **data}}))

        await send_message("execution_start")
        await send_message("progress", value=1, max=4, prompt_id="another client's")
        await self._lines[client].send_bytes(b"\x00\x00\x00\x01\x00\x00\x00\x01" + make_png(8, 8))
        for step in (1, 2, 3, 4):
            await send_message("executing", node="5")
            await send_message("progress", value=step, max=4)
        if self.plan == "error":
            await send_message("execution_error", exception_message="out of foxes", node_type="KSampler")
            return
        if self.plan == "hang":
            return
        outputs = {"7": {"images": [{"filename": "easel_1.png", "subfolder": "", "type": "output"}]}}
        if self.plan == "drop":
            self.plan = "run"
            await self._lines[client].close()
            await asyncio.sleep(0.1)
            self.history[name] = {"outputs": outputs}
            return
        self.history[name] = {"outputs": outputs}
        await send_message("execution_success")


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
