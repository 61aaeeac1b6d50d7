"""The routes of the protocol, each with and without "/api" before it, and its WebSocket."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import platform
import re
import sys
import uuid
from collections.abc import Callable
from typing import Annotated, Any, cast
from urllib.parse import quote

import anyio.to_thread
import psutil
from fastapi import APIRouter, Query, Request, WebSocket
from fastapi.responses import Response
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.websockets import WebSocketDisconnect

from studio import __version__
from studio.api.dialects.comfyui.executions import Execution, Executions, Sockets
from studio.api.dialects.comfyui.graph_checks import check_graph, make_graph_error, parse_graph
from studio.api.dialects.comfyui.graph_requests import GraphReader
from studio.api.dialects.comfyui.node_types import NODE_TYPES, Choices, describe_node, list_choices
from studio.api.dialects.comfyui.user_files import UserFiles, clean_name, insert_png_texts
from studio.api.dialects.dialect_jobs import require_dialect, run_soon
from studio.api.dialects.dialect_paths import Dialect
from studio.api.responses import CONTENT_TYPES, resolve_asset_file
from studio.api.rights import needs
from studio.api.submit_request import get_caller
from studio.core.errors import InvalidRequest, NotFound
from studio.core.image_gate import ImageLimits, open_image
from studio.core.model import GPU_LANE
from studio.core.rights import Right
from studio.core.user import User
from studio.core.weights import WeightKind
from studio.engine.studio import Studio

COMFYUI_VERSION = "0.3.60"  # whose protocol this is
MAX_EXTRA = 2**20  # characters of extra_data
_MAX_REFERENCE = 1000  # characters
_REFERENCE = (("filename", ""), ("subfolder", ""), ("type", "output"))  # what names a file, and its defaults
_PROMPT_ID = re.compile(r"[\w\-]{1,64}")
_FOLDERS = {
    "checkpoints": Choices.CHECKPOINTS,
    "loras": Choices.LORAS,
    "vae": Choices.VAES,
    "controlnet": Choices.CONTROL_NETS,
    "upscale_models": Choices.UPSCALERS,
}


def build_comfyui_routers(studio: Studio) -> list[APIRouter]:
    """All routes, twice: ComfyUI answers them below /api too."""
    server = ComfyServer(studio)
    routers: list[APIRouter] = []
    for prefix in ("", "/api"):
        enabled = require_dialect(studio, Dialect.COMFYUI)
        part = APIRouter(prefix=prefix, include_in_schema=False, dependencies=enabled)
        server.add_prompt_routes(part)
        server.add_history_routes(part)
        server.add_file_routes(part)
        server.add_information_routes(part)
        sockets = APIRouter(prefix=prefix, dependencies=[needs(Right.USE)])
        server.add_socket(sockets)
        routers += [part, sockets]
    return routers


class ComfyServer:
    """What the routes share."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._files = UserFiles()
        self._sockets = Sockets()
        self._executions = Executions(studio, self._files, self._sockets)
        self._tasks: set[asyncio.Task[None]] = set()

    def add_prompt_routes(self, routes: APIRouter) -> None:
        """Queueing and stopping graphs."""

        @routes.post("/prompt")
        async def queue_prompt(request: Request) -> dict[str, Any]:
            """Check a graph and queue it."""
            user, body = get_caller(request), await _read_json(request)
            execution = await anyio.to_thread.run_sync(self._plan, body, user)
            await anyio.to_thread.run_sync(self._executions.submit, execution)
            run_soon(self._executions.follow(execution), self._tasks)
            return {"prompt_id": execution.id, "number": execution.number, "node_errors": {}}

        @routes.get("/prompt")
        def get_prompt_state(request: Request) -> dict[str, Any]:
            """How many graphs wait."""
            count = self._executions.count_waiting(get_caller(request).name)
            return {"exec_info": {"queue_remaining": count}}

        @routes.get("/queue")
        def get_queue(request: Request) -> dict[str, Any]:
            """The caller's graphs that run and wait."""
            open_ones = [one for one in self._executions.list(get_caller(request).name) if not one.status]
            return {
                "queue_running": [one.describe() for one in open_ones if one.running],
                "queue_pending": [one.describe() for one in open_ones if not one.running],
            }

        @routes.post("/queue")
        async def change_queue(request: Request) -> Response:
            """Take waiting graphs out: {"clear": true} or {"delete": [ids]}."""
            user, body = get_caller(request), await _read_json(request)
            named = _read_names(body)
            for one in self._executions.list(user.name):
                if not one.status and not one.running and (body.get("clear") or one.id in named):
                    self._executions.cancel(one)
            return Response(status_code=200)

        @routes.post("/interrupt")
        async def interrupt(request: Request) -> Response:
            """Stop the caller's running graph, or the one that is named."""
            user, body = get_caller(request), await _read_json(request)
            named = body.get("prompt_id")
            for one in self._executions.list(user.name):
                if not one.status and (one.id == named if named else one.running):
                    self._executions.cancel(one)
            return Response(status_code=200)

        @routes.post("/free")
        async def free_memory(request: Request) -> Response:
            """Unload models where the caller may; for others nothing."""
            user, body = get_caller(request), await _read_json(request)
            if user.may(Right.SETTINGS) and (body.get("unload_models") or body.get("free_memory")):
                await anyio.to_thread.run_sync(self._unload_models)
            return Response(status_code=200)

    def add_history_routes(self, routes: APIRouter) -> None:
        """What became of graphs."""

        @routes.get("/history")
        def list_history(request: Request, max_items: int = 200) -> dict[str, Any]:
            """The caller's ended graphs."""
            ended = [one for one in self._executions.list(get_caller(request).name) if one.status]
            return {one.id: one.describe_history() for one in ended[-max(1, max_items) :]}

        @routes.get("/history/{prompt_id}")
        def get_history(request: Request, prompt_id: str) -> dict[str, Any]:
            """One of them; nothing while it runs."""
            found = self._executions.find(get_caller(request).name, prompt_id)
            return {found.id: found.describe_history()} if found is not None and found.status else {}

        @routes.post("/history")
        async def change_history(request: Request) -> Response:
            """Forget graphs: {"clear": true} or {"delete": [ids]}. Their images stay."""
            user, body = get_caller(request), await _read_json(request)
            self._executions.forget(user.name, None if body.get("clear") else _read_names(body))
            return Response(status_code=200)

    def add_file_routes(self, routes: APIRouter) -> None:
        """Images in and out."""

        @routes.post("/upload/image")
        async def upload_image(request: Request) -> dict[str, str]:
            """Let an image in, for LoadImage to name."""
            return await self._upload(request)

        @routes.post("/upload/mask")
        async def upload_mask(request: Request) -> dict[str, str]:
            """The same: the transparent parts of the image are the mask, of the image that “original_ref” names where
            it names one."""
            return await self._upload(request, is_mask=True)

        @routes.get("/view")
        def view_image(
            request: Request, filename: str, subfolder: str = "", kind: Annotated[str, Query(alias="type")] = "output"
        ) -> Response:
            """The file of a result or of an upload."""
            return self._view(get_caller(request), filename, subfolder, kind)

        @routes.get("/view_metadata/{folder}")
        def view_metadata(request: Request, folder: str, filename: str = "") -> dict[str, Any]:
            """What a LoRA file says of itself."""
            get_caller(request)
            name = filename.removesuffix(".safetensors")
            for one in self._studio.store.weights():
                if one.name == name and one.header is not None:
                    return dict(one.header.metadata)
            raise NotFound("File not found.", hint="GET /models/{folder} lists the files.")

    def add_information_routes(self, routes: APIRouter) -> None:
        """What there is."""

        @routes.get("/object_info")
        def describe_nodes(request: Request) -> dict[str, Any]:
            """Every node that is understood."""
            user = get_caller(request)
            choices = self._make_choices(user)
            return {name: describe_node(name, choices) for name in NODE_TYPES}

        @routes.get("/object_info/{node}")
        def describe_one_node(request: Request, node: str) -> dict[str, Any]:
            """One of them; nothing for one that is not."""
            user = get_caller(request)
            return {node: describe_node(node, self._make_choices(user))} if node in NODE_TYPES else {}

        @routes.get("/system_stats")
        def get_system_stats(request: Request) -> dict[str, Any]:
            """Versions and memory."""
            get_caller(request)
            return self._describe_system()

        @routes.get("/embeddings")
        def list_embeddings(request: Request) -> list[str]:
            """The textual inversions."""
            get_caller(request)
            weights = self._studio.store.weights()
            return sorted(one.name for one in weights if one.kind is WeightKind.EMBEDDING and not one.problem)

        @routes.get("/extensions")
        def list_extensions(request: Request) -> list[str]:
            """None: they are scripts of ComfyUI's page."""
            get_caller(request)
            return []

        @routes.get("/features")
        def get_features(request: Request) -> dict[str, Any]:
            """What the server offers beyond the protocol."""
            get_caller(request)
            limit = self._studio.settings.current.max_upload_mb * 1024 * 1024
            return {"supports_preview_metadata": False, "max_upload_size": limit}

        @routes.get("/models")
        def list_folders(request: Request) -> list[str]:
            """The folders of models."""
            get_caller(request)
            return list(_FOLDERS)

        @routes.get("/models/{folder}")
        def list_files(request: Request, folder: str) -> list[str]:
            """The files of one."""
            user = get_caller(request)
            if folder not in _FOLDERS:
                raise NotFound("Folder not found.", hint="GET /models lists the folders.")
            return self._make_choices(user)(_FOLDERS[folder])

    def add_socket(self, routes: APIRouter) -> None:
        """The WebSocket on which clients hear of their graphs."""

        @routes.websocket("/ws")
        async def listen(socket: WebSocket) -> None:
            user = socket.scope.get("user")
            client_id = str(socket.query_params.get("clientId", ""))[:100] or uuid.uuid4().hex
            queue = self._sockets.open(user.name, client_id) if isinstance(user, User) else None
            if queue is None or user is None or not Dialect.COMFYUI.is_enabled(self._studio.settings.current):
                await socket.close(1008)
                return
            await socket.accept()
            waiting = self._executions.count_waiting(user.name)
            status = {"status": {"exec_info": {"queue_remaining": waiting}}, "sid": client_id}
            try:
                await socket.send_text(json.dumps({"type": "status", "data": status}))
                await _serve_socket(socket, queue)
            finally:
                self._sockets.close(user.name, client_id, queue)

    def _plan(self, body: dict[str, Any], user: User) -> Execution:
        """The graph of a body, checked and read. Decodes images: call it in a thread."""
        graph = parse_graph(body.get("prompt"))
        outputs = check_graph(graph, self._make_choices(user))
        reader = GraphReader(graph, self._studio, user, lambda name: self._find_file(user, name))
        try:
            planned = reader.plan_jobs(outputs)
        except KeyError as error:
            raise make_graph_error("invalid_prompt", "The graph is not complete.", str(error)[:100]) from error
        given = body.get("prompt_id")
        prompt_id = given if isinstance(given, str) and _PROMPT_ID.fullmatch(given) else str(uuid.uuid4())
        if self._executions.find(user.name, prompt_id) is not None:
            raise make_graph_error("invalid_prompt", "A graph of that prompt_id is there already.", "")
        extra: Any = body.get("extra_data")
        return Execution(
            id=prompt_id,
            number=self._executions.take_number(),
            user=user,
            client_id=str(body.get("client_id", ""))[:100],
            graph=graph,
            extra=_limit_extra(extra),
            outputs_to_execute=outputs,
            planned=planned,
            prefixes={name: str(graph[name]["inputs"].get("filename_prefix", "ComfyUI")) for name in outputs},
        )

    def _find_file(self, user: User, name: str) -> str:
        """The hash of an upload, or of a result where " [output]" or " [temp]" stands behind its name."""
        plain, _, kind = name.removesuffix("]").rpartition(" [")
        if kind in ("output", "temp"):
            folder, _, file = plain.rpartition("/")
            found = self._files.find_output(user.name, file, folder, kind)
            if found is not None:
                return self._studio.engine.keep_asset(found.asset_id, user).hash
        return self._files.find_upload(user.name, name)

    def _make_choices(self, user: User) -> Callable[[Choices], list[str]]:
        """The entries of lists as they are now, each looked up once."""
        models, weights = self._studio.engine.models(), self._studio.store.weights()

        @functools.cache
        def make_choices(source: Choices) -> list[str]:
            return list_choices(source, models, weights, lambda: self._files.list_uploads(user.name))

        return make_choices

    def _unload_models(self) -> None:
        for one in self._studio.store.get_memory_report().resident:
            self._studio.engine.run_in_lane(GPU_LANE, lambda _, name=one.model: self._studio.store.unload(name))

    async def _upload(self, request: Request, *, is_mask: bool = False) -> dict[str, str]:
        user = get_caller(request)
        async with request.form(max_files=2, max_fields=20) as form:
            file = form.get("image")
            if not isinstance(file, UploadFile):
                raise InvalidRequest("No image was sent.", hint="Send it as the field “image” of a form.")
            data, name = await file.read(), file.filename or "image.png"
            subfolder, overwrite = str(form.get("subfolder", "")), str(form.get("overwrite", "")).lower()
            kind, original = str(form.get("type", "input")), str(form.get("original_ref", "") if is_mask else "")
        content: bytes | Image.Image = data
        if original:
            content = await anyio.to_thread.run_sync(self._apply_mask, user, original, data)
        kept = await anyio.to_thread.run_sync(self._studio.engine.keep_image, content, user)
        chosen, folder = self._files.add_upload(
            user.name, name, subfolder, kept.hash, overwrite=overwrite in ("true", "1")
        )
        return {"name": chosen, "subfolder": folder, "type": kind if kind in ("input", "temp") else "input"}

    def _apply_mask(self, user: User, reference: str, mask: bytes) -> Image.Image:
        """The image that `reference` names, as JSON, with the transparency of `mask`."""
        try:
            named: Any = json.loads(reference[:_MAX_REFERENCE])
            place = [str(named.get(part, default)) for part, default in _REFERENCE]
        except (ValueError, AttributeError, RecursionError) as error:
            raise InvalidRequest(
                "“original_ref” is not a JSON object.", hint="Send what the upload answered."
            ) from error
        limits = ImageLimits.of(self._studio.settings.current)
        original = open_image(self._read_file(user, *place)[0], limits=limits).convert("RGB")
        alpha = open_image(mask, limits=limits).convert("RGBA").getchannel("A")
        original.putalpha(alpha.resize(original.size, Image.Resampling.BILINEAR))
        return original

    def _view(self, user: User, name: str, subfolder: str, kind: str) -> Response:
        data, content_type = self._read_file(user, name, subfolder, kind)
        return _make_file_response(data, name, content_type)

    def _read_file(self, user: User, name: str, subfolder: str, kind: str) -> tuple[bytes, str]:
        """(the file of a result or an upload, its type); raises NotFound."""
        if kind in ("output", "temp"):
            found = self._files.find_output(user.name, name, subfolder, kind)
            if found is not None:
                path = resolve_asset_file(
                    self._studio.engine.asset(found.asset_id, user), self._studio.engine.file_roots
                )
                return insert_png_texts(path.read_bytes(), found.texts), CONTENT_TYPES[path.suffix.lower()]
            if kind == "output":
                raise NotFound("File not found.", hint="GET /history lists the files of a graph.")
        try:
            content = self._files.find_upload(user.name, f"{subfolder}/{name}" if subfolder else name)
        except InvalidRequest as error:
            raise NotFound("File not found.", hint="Upload it with POST /upload/image.") from error
        return self._studio.engine.get_kept_file(content, user).read_bytes(), "image/png"

    def _describe_system(self) -> dict[str, Any]:
        memory, report = psutil.virtual_memory(), self._studio.store.get_memory_report()
        torch = sys.modules.get("torch")
        device = report.device
        return {
            "system": {
                "os": sys.platform,
                "ram_total": memory.total,
                "ram_free": memory.available,
                "comfyui_version": COMFYUI_VERSION,
                "easel_version": __version__,
                "python_version": platform.python_version(),
                "pytorch_version": str(getattr(torch, "__version__", "not loaded")),
                "embedded_python": False,
                "argv": [],
            },
            "devices": [
                {
                    "name": device,
                    "type": device.partition(":")[0],
                    "index": 0 if device.startswith("cuda") else None,
                    "vram_total": report.total,
                    "vram_free": report.free,
                    "torch_vram_total": report.budget,
                    "torch_vram_free": max(0, report.budget - sum(one.bytes for one in report.resident)),
                }
            ],
        }


async def _serve_socket(socket: WebSocket, queue: asyncio.Queue[Any]) -> None:
    """Send what is queued until either side ends."""

    async def read() -> None:
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass  # feature flags and the like, which change nothing here

    async def write() -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # closed meanwhile
            while (message := await queue.get()) is not None:
                if isinstance(message, bytes):
                    await socket.send_bytes(message)
                else:
                    await socket.send_text(json.dumps(message))

    tasks = [asyncio.create_task(read()), asyncio.create_task(write())]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    with contextlib.suppress(RuntimeError):
        await socket.close()


async def _read_json(request: Request) -> dict[str, Any]:
    """The JSON object of a body, whatever type the client calls it; an empty body is an empty object.

    Raises:
        InvalidGraph: the body is no JSON object.
    """
    body = await request.body()
    if not body.strip():
        return {}
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise make_graph_error("invalid_prompt", "The body is not JSON.", "") from error
    if not isinstance(found, dict):
        raise make_graph_error("no_prompt", "No prompt provided", "No prompt provided")
    return found  # pyright: ignore[reportUnknownVariableType]


def _read_names(body: dict[str, Any]) -> list[str]:
    """The ids of graphs that a body wants deleted."""
    named: Any = body.get("delete")
    return [str(one) for one in cast("list[Any]", named)] if isinstance(named, list) else []


def _limit_extra(extra: Any) -> dict[str, Any]:
    """The extra_data of a graph that is kept in memory with it, its workflow for the files among it.

    Raises:
        InvalidRequest: more than a megabyte of it.
    """
    if not isinstance(extra, dict):
        return {}
    found = cast("dict[str, Any]", extra)
    if len(json.dumps(found)) > MAX_EXTRA:
        raise make_graph_error("invalid_prompt", "The extra_data is larger than a megabyte.", "Send it without images.")
    info = found.get("extra_pnginfo")
    return {**found, "extra_pnginfo": info if isinstance(info, dict) else {}}


def _make_file_response(data: bytes, name: str, content_type: str) -> Response:
    plain = clean_name(name)
    told = f'filename="{plain}"' if plain.isascii() else f"filename*=UTF-8''{quote(plain)}"
    headers = {"Content-Disposition": told, "Cache-Control": "private, no-cache"}
    return Response(data, media_type=content_type, headers=headers)
