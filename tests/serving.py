"""A whole studio for the tests of serving: real engine, real guard, a real Gradio page, a real uvicorn on loopback;
only the backend draws fakes."""

from __future__ import annotations

import contextlib
import functools
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
from argon2 import PasswordHasher
from fakes import DEADLINE, FakeBackend
from fastapi import FastAPI
from gradio import blocks as blocks_module
from gradio.routes import App

from studio.core.ports import Backend, MemoryReport
from studio.core.rights import Role
from studio.core.settings import Settings
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups
from studio.engine.prompt_room import PromptRoom
from studio.engine.settings_store import SettingsStore
from studio.engine.studio import Studio
from studio.finishing.hidden_text import read_hidden
from studio.library.database import Database
from studio.providers.common.chat_connection import ChatConnection
from studio.serve import StudioApp, build_app, make_server, open_listener
from studio.serving import users as users_module
from studio.serving.openid import OpenIdClient
from studio.serving.users import Users, save_user

PASSWORDS = {"ann": "ann's own password", "bob": "bob's own password", "root": "the admin password"}
# The real hash with little work: that of the studio, which test_login checks, takes 50 ms and 64 MiB for each password.
users_module.PasswordHasher = functools.partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)


def make_app_once(blocks: gr.Blocks, **options: Any) -> App:
    """As Gradio's, which makes all of its routes when blocks are begun, left and queued, and once more when they are
    mounted; only those of the mount are called."""
    made = blocks.__dict__.get("app") if options == {"mcp_server": False} else None
    return made or App.create_app(blocks, **options)


blocks_module.App = types.SimpleNamespace(create_app=make_app_once)


class EmptyStore:
    """A ModelStore without models, as far as serving asks it."""

    def get_memory_report(self) -> MemoryReport:
        return MemoryReport(device="cpu", total=1, free=1, budget=1, resident=())


def make_studio(
    folder: Path,
    backend: Backend | list[Backend],
    *,
    models: Any = None,
    social: Any = None,
    clouds: Any = None,
    lookups: Lookups | None = None,
    **settings: Any,
) -> Studio:
    """A studio on `folder` with one backend, or several; its engine is not started yet. `models` is its ModelStore, by
    default an empty one; `social` its SocialParts, `clouds` its Clouds, `lookups` those of its engine, by default
    none."""
    store = SettingsStore(
        Settings(
            **{
                "outputs_dir": folder / "outputs",
                "logs_dir": folder / "logs",
                "models_dir": folder / "models",
                "port": 0,
                **settings,
            }
        )
    )
    (folder / "outputs").mkdir(parents=True, exist_ok=True)
    backends = backend if isinstance(backend, list) else [backend]
    database = Database(folder / "outputs" / "library.db")
    engine = Engine(settings=store, backends=backends, database=database, lookups=lookups or Lookups())
    prompts = PromptRoom(ChatConnection(lambda: store.current, lambda: ""), engine.ledger, lambda: store.current)
    return Studio(
        engine,
        store,
        models or EmptyStore(),
        doctor=list,
        social=social,
        clouds=clouds,
        prompts=prompts,
        read_hidden=read_hidden,
    )


def make_users(folder: Path) -> Users:
    """ann and bob, and root, who is an admin."""
    for name, password in PASSWORDS.items():
        save_user(folder / "users.json", name, password, Role.ADMINISTRATOR if name == "root" else None)
    return Users(folder / "users.json")


def mount_small_page(app: FastAPI, studio: Studio) -> FastAPI:
    """A Blocks app with public, private and undocumented functions, a generator, a slider and a dropdown."""
    with gr.Blocks(delete_cache=(3600, 3600)) as blocks:
        text, out = gr.Textbox(), gr.Textbox()
        number = gr.Slider(1, 10, value=5, step=1)
        choice = gr.Dropdown(["a", "b"], value="a")
        image = gr.Image(type="filepath")
        button = gr.Button()
        button.click(lambda value: f"ran:{value}", text, out, api_name="public")
        button.click(lambda value: f"PRIVATE-RAN:{value}", text, out, api_visibility="private")
        button.click(lambda value: f"UNDOCUMENTED-RAN:{value}", text, out, api_visibility="undocumented")
        button.click(lambda value, chosen: f"{value}{chosen}", [number, choice], out, api_name="limits")
        button.click(lambda path: str(path), image, out, api_name="picture")
        button.click(show_user, None, out, api_name="who")
        button.click(raise_defect, None, out, api_name="broken")
    blocks.queue(max_size=20)
    return gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        auth_dependency=lambda request: request.scope["user"].name,
        max_file_size="1mb",
        show_error=False,
        enable_monitoring=False,
        run_history=False,
    )


def show_user(request: gr.Request) -> str:
    """Who calls, as the page sees it."""
    return f"user:{request.username}"


def raise_defect() -> str:
    """A defect whose text must not get out."""
    raise ValueError("CANARY-IN-A-TRACEBACK")


class RunningStudio:
    """A running studio and clients for it."""

    def __init__(self, url: str, app: StudioApp, studio: Studio, backend: Any) -> None:
        self.url = url
        self.app = app
        self.studio = studio
        self.backend = backend
        self._stack = contextlib.ExitStack()

    def open_client(self, name: str | None = None, **options: Any) -> httpx.Client:
        """A client; with a name, logged in as that user through the login page."""
        client = self._stack.enter_context(httpx.Client(base_url=self.url, timeout=DEADLINE, **options))
        if name:
            answer = client.post("/login", data={"username": name, "password": PASSWORDS[name]})
            assert answer.status_code == 303, answer.text
        return client

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def serve_studio(
    folder: Path,
    *,
    users: bool = False,
    backend: Any = None,
    page: Any = mount_small_page,
    openid: OpenIdClient | None = None,
    **settings: Any,
) -> Iterator[RunningStudio]:
    """Serve a studio on a free port of loopback."""
    backend = backend or FakeBackend()
    studio = make_studio(folder, backend, **settings)
    app = build_app(studio, lambda app: page(app, studio), make_users(folder) if users else None, openid)
    with run_server(app, studio, backend) as served:
        yield served


@contextlib.contextmanager
def run_server(
    app: StudioApp, studio: Studio, backend: Any, *, end_seconds: float = DEADLINE
) -> Iterator[RunningStudio]:
    """Start `studio` and its server, and end both after at most `end_seconds`."""
    studio.engine.start()
    listener = open_listener("127.0.0.1", 0)
    server = make_server(app, studio)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    served = RunningStudio(f"http://127.0.0.1:{listener.getsockname()[1]}", app, studio, backend)
    wait_until(lambda: server.started)
    try:
        yield served
    finally:
        served.close()
        if isinstance(backend, FakeBackend):
            backend.release(1000)
        server.drain()
        thread.join(end_seconds)
        assert not thread.is_alive()


def wait_until(condition: Any, deadline: float = DEADLINE) -> None:
    """Poll for what has no event of its own."""
    pause, tries = threading.Event(), int(deadline / 0.02)
    for _ in range(tries):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("waited in vain")
