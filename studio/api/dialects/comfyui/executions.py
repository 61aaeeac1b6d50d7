"""Graphs that are carried out: their jobs followed, told over WebSockets as ComfyUI tells them, and kept as history."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from studio.api.dialects.comfyui.graph_checks import Graph
from studio.api.dialects.comfyui.graph_requests import GraphJob
from studio.api.dialects.comfyui.node_types import WEBSOCKET_NODE
from studio.api.dialects.comfyui.user_files import OutputFile, UserFiles
from studio.api.responses import resolve_asset_file
from studio.core.errors import NotFound, StudioError
from studio.core.events import Snapshot, Status
from studio.core.user import User
from studio.engine.jobs.job import Job
from studio.engine.studio import Studio

MAX_HISTORY = 200  # graphs of one user that are remembered
MAX_SOCKETS = 200
MAX_SOCKETS_OF_USER = 40  # so that one user leaves room for the others
MAX_WAITING_MESSAGES = 500  # of one socket; a client that reads no more is let go
MAX_WAITING_FILES = 8  # of one socket
FILE_SECONDS = 10.0  # that a client has to make room for the next file
_POLL_SECONDS = 1.0
_ROOM_SECONDS = 0.05  # between two looks whether there is room
_JPEG_PREVIEW = struct.pack(">II", 1, 1)  # a preview image, JPEG
_PNG_FILE = struct.pack(">II", 1, 2)  # the same kind of message, PNG
Message = dict[str, Any] | bytes


@dataclass
class Execution:
    """One graph on its way. `messages` are those of its history."""

    id: str
    number: int
    user: User
    client_id: str
    graph: Graph
    extra: dict[str, Any]
    outputs_to_execute: list[str]
    planned: list[GraphJob]
    prefixes: dict[str, str]
    jobs: list[Job] = field(default_factory=list[Job])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    status: str = ""  # "success" or "error" when it has ended
    running: bool = False
    cancelled: bool = False

    def describe(self) -> list[Any]:
        """The entry of the queue."""
        return [self.number, self.id, self.graph, self.extra, self.outputs_to_execute]

    def describe_history(self) -> dict[str, Any]:
        """The entry of the history."""
        meta = {
            name: {"node_id": name, "display_node": name, "parent_node": None, "real_node_id": name}
            for name in self.outputs
        }
        return {
            "prompt": self.describe(),
            "outputs": self.outputs,
            "status": {
                "status_str": self.status,
                "completed": self.status == "success",
                "messages": [list(message) for message in self.messages],
            },
            "meta": meta,
        }


class Sockets:
    """The WebSockets of all users by client id. Used in the event loop only."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str], asyncio.Queue[Message | None]] = {}

    def open(self, user: str, client_id: str) -> asyncio.Queue[Message | None] | None:
        """A queue of what is to be sent to a new socket, which takes the place of an older one of that id; None when
        there are too many."""
        own = sum(name == user for name, _ in self._queues)
        full = len(self._queues) >= MAX_SOCKETS or own >= MAX_SOCKETS_OF_USER
        if full and (user, client_id) not in self._queues:
            return None
        old = self._queues.get((user, client_id))
        if old is not None:
            _put(old, None)
        queue: asyncio.Queue[Message | None] = asyncio.Queue(MAX_WAITING_MESSAGES)
        self._queues[user, client_id] = queue
        return queue

    def close(self, user: str, client_id: str, queue: asyncio.Queue[Message | None]) -> None:
        """Forget a socket that was closed."""
        if self._queues.get((user, client_id)) is queue:
            del self._queues[user, client_id]

    def send(self, user: str, client_id: str, message: Message) -> None:
        """Queue a message for one client of the user."""
        queue = self._queues.get((user, client_id))
        if queue is not None:
            _put(queue, message)

    async def send_file(self, user: str, client_id: str, message: bytes) -> None:
        """Queue a whole file once the client has read what came before; left out for a client that does not read."""
        queue = self._queues.get((user, client_id))
        end = time.monotonic() + FILE_SECONDS
        while queue is not None and queue.qsize() >= MAX_WAITING_FILES and time.monotonic() < end:
            await asyncio.sleep(_ROOM_SECONDS)
        if queue is not None and queue.qsize() < MAX_WAITING_FILES:
            _put(queue, message)

    def send_to_all(self, user: str, message: Message) -> None:
        """Queue a message for every client of the user."""
        for (owner, _), queue in list(self._queues.items()):
            if owner == user:
                _put(queue, message)


def _put(queue: asyncio.Queue[Message | None], message: Message | None) -> None:
    if queue.full():
        queue.get_nowait()  # the oldest goes: a slow reader must not hold up memory
    queue.put_nowait(message)


class Executions:
    """The graphs of all users."""

    def __init__(self, studio: Studio, files: UserFiles, sockets: Sockets) -> None:
        self._studio = studio
        self._files = files
        self._sockets = sockets
        self._lock = threading.Lock()
        self._by_user: dict[str, OrderedDict[str, Execution]] = {}
        self._number = 0
        self._waiting = anyio.CapacityLimiter(64)

    def take_number(self) -> int:
        """The next number of a graph."""
        with self._lock:
            self._number += 1
            return self._number

    def find(self, user: str, prompt_id: str) -> Execution | None:
        """One graph of the user."""
        with self._lock:
            return self._by_user.get(user, OrderedDict()).get(prompt_id)

    def list(self, user: str) -> list[Execution]:
        """The user's graphs, the oldest first."""
        with self._lock:
            return list(self._by_user.get(user, OrderedDict()).values())

    def count_waiting(self, user: str) -> int:
        """How many of the user's graphs have not ended."""
        return sum(not one.status for one in self.list(user))

    def forget(self, user: str, prompt_ids: list[str] | None) -> None:
        """Remove ended graphs from the history: those named, or all."""
        with self._lock:
            own = self._by_user.get(user, OrderedDict())
            for prompt_id in prompt_ids if prompt_ids is not None else list(own):
                if prompt_id in own and own[prompt_id].status:
                    del own[prompt_id]

    def cancel(self, execution: Execution) -> None:
        """Stop a graph that waits or runs."""
        execution.cancelled = True
        for job in execution.jobs:
            self._studio.engine.cancel(job.id, execution.user)

    def submit(self, execution: Execution) -> None:
        """Queue all jobs of the graph; raises as the engine does, and then none of them is left."""
        try:
            for planned in execution.planned:
                execution.jobs.append(self._studio.engine.submit(planned.request, execution.user))
        except StudioError:
            self.cancel(execution)
            raise
        with self._lock:
            own = self._by_user.setdefault(execution.user.name, OrderedDict())
            own[execution.id] = execution
            while len(own) > MAX_HISTORY:
                own.popitem(last=False)

    async def follow(self, execution: Execution) -> None:
        """Tell the client how the graph goes until it has ended."""
        self.send_status(execution.user.name)
        try:
            await self._run_jobs(execution)
        except StudioError as error:
            self._tell_error(execution, error, execution.planned[-1].sampler)
        self._send(execution, "executing", {"node": None, "prompt_id": execution.id})
        self.send_status(execution.user.name)

    async def _run_jobs(self, execution: Execution) -> None:
        for planned, job in zip(execution.planned, execution.jobs, strict=True):
            now = await self._follow_job(execution, planned, job)
            if now.status is Status.CANCELLED or (execution.cancelled and not now.assets):
                self._tell_interruption(execution, planned.sampler)
                return
            if now.error is not None:
                self._tell_error(execution, now.error, planned.sampler)
                return
            await self._show_outputs(execution, planned, now)
        self._record(execution, "execution_success", {})
        execution.status = "success"

    async def _follow_job(self, execution: Execution, planned: GraphJob, job: Job) -> Snapshot:
        """Wait for the job's end, telling its steps and previews."""
        now, shown = job.snapshot, None
        while True:
            if now.status in (Status.LOADING, Status.RUNNING) or now.status.is_final:
                self._tell_start(execution, planned)
            if now.steps:
                self._tell_progress(execution, planned.sampler, now)
            if now.preview is not None and now.preview != shown:
                shown = now.preview
                await self._send_preview(execution, now.preview)
            if now.status.is_final:
                return now
            now = await anyio.to_thread.run_sync(job.wait, now.version, _POLL_SECONDS, limiter=self._waiting)

    def _tell_start(self, execution: Execution, planned: GraphJob) -> None:
        if execution.running:
            return
        execution.running = True
        self._record(execution, "execution_start", {})
        self._record(execution, "execution_cached", {"nodes": []})
        for name in [*(name for name in execution.graph if name not in planned.outputs), planned.sampler]:
            self._send(execution, "executing", {"node": name, "display_node": name, "prompt_id": execution.id})

    def _tell_progress(self, execution: Execution, node: str, now: Snapshot) -> None:
        values = {"value": now.step, "max": now.steps}
        self._send(execution, "progress", {**values, "prompt_id": execution.id, "node": node})
        state = {
            **values,
            "state": "finished" if now.step >= now.steps else "running",
            "node_id": node,
            "prompt_id": execution.id,
            "display_node_id": node,
            "parent_node_id": None,
            "real_node_id": node,
        }
        self._send(execution, "progress_state", {"prompt_id": execution.id, "nodes": {node: state}})

    async def _send_preview(self, execution: Execution, preview: Path) -> None:
        try:
            data = await anyio.to_thread.run_sync(preview.read_bytes)
        except OSError:
            return  # a newer one took its place
        self._sockets.send(execution.user.name, execution.client_id, _JPEG_PREVIEW + data)

    async def _show_outputs(self, execution: Execution, planned: GraphJob, now: Snapshot) -> None:
        """Name the images at every output node that shows them."""
        texts = {"prompt": json.dumps(execution.graph)}
        workflow = execution.extra.get("extra_pnginfo", {}).get("workflow")
        if workflow is not None:
            texts["workflow"] = json.dumps(workflow)
        for name in planned.outputs:
            if execution.graph[name]["class_type"] == WEBSOCKET_NODE:
                await self._send_files(execution, name, now)
                continue
            saves = execution.graph[name]["class_type"] == "SaveImage"
            kind = "output" if saves else "temp"
            prefix = execution.prefixes.get(name, "ComfyUI")
            images = [
                self._files.add_output(
                    execution.user.name, prefix, kind, OutputFile(asset_id=asset.id, texts=texts if saves else {})
                )
                for asset in now.assets
            ]
            execution.outputs[name] = {"images": images}
            self._send(execution, "executing", {"node": name, "display_node": name, "prompt_id": execution.id})
            told = {"node": name, "display_node": name, "output": execution.outputs[name], "prompt_id": execution.id}
            self._send(execution, "executed", told)

    async def _send_files(self, execution: Execution, node: str, now: Snapshot) -> None:
        """Send the images over the socket, which the history tells nothing of."""
        self._send(execution, "executing", {"node": node, "display_node": node, "prompt_id": execution.id})
        for asset in now.assets:
            path = resolve_asset_file(asset, self._studio.engine.file_roots)
            try:
                data = await anyio.to_thread.run_sync(path.read_bytes)
            except OSError as error:
                raise NotFound("The image is not there any more.", hint="Run the graph again.") from error
            await self._sockets.send_file(execution.user.name, execution.client_id, _PNG_FILE + data)

    def _tell_interruption(self, execution: Execution, node: str) -> None:
        kind = execution.graph[node]["class_type"]
        self._record(execution, "execution_interrupted", {"node_id": node, "node_type": kind, "executed": []})
        execution.status = "error"

    def _tell_error(self, execution: Execution, error: StudioError, node: str) -> None:
        told: dict[str, Any] = {
            "node_id": node,
            "node_type": execution.graph[node]["class_type"],
            "executed": [],
            "exception_message": f"{error.message} {error.hint}".strip(),
            "exception_type": type(error).__name__,
            "traceback": [],
            "current_inputs": {},
            "current_outputs": [],
        }
        self._record(execution, "execution_error", told)
        execution.status = "error"

    def _record(self, execution: Execution, kind: str, data: dict[str, Any]) -> None:
        """Tell something that the history keeps too."""
        told = {"prompt_id": execution.id, **data, "timestamp": int(time.time() * 1000)}
        execution.messages.append((kind, told))
        self._send(execution, kind, told)

    def _send(self, execution: Execution, kind: str, data: dict[str, Any]) -> None:
        self._sockets.send(execution.user.name, execution.client_id, {"type": kind, "data": data})

    def send_status(self, user: str) -> None:
        """Tell all clients of the user how many graphs wait."""
        info = {"status": {"exec_info": {"queue_remaining": self.count_waiting(user)}}}
        self._sockets.send_to_all(user, {"type": "status", "data": info})
