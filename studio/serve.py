"""The application around page and API, and the server that runs it and ends it gently."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType

import uvicorn
from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from studio import __version__
from studio.api import error_responses, metrics_routes, native_api, openapi_docs
from studio.api.dialects.alias_routes import AliasMiddleware
from studio.api.dialects.automatic1111.router import ProcessTimeMiddleware
from studio.api.dialects.dialect_routers import build_dialect_routers
from studio.api.rights import needs
from studio.cluster.replica_routes import build_replica_router
from studio.core.errors import NotConfigured, StudioError
from studio.core.model import CLUSTER_LANE
from studio.core.rights import Right
from studio.core.settings import Settings
from studio.engine.studio import Studio
from studio.serving.account_routes import build_account_router
from studio.serving.compression import CompressionMiddleware
from studio.serving.cookies import Cookies
from studio.serving.frontend_files import FrontendFilesMiddleware, find_frontend_folder
from studio.serving.guard import Guard, Lifecycle
from studio.serving.hosts import Hosts, normalize_origins, split_names
from studio.serving.json_bodies import JsonDepthMiddleware
from studio.serving.login import Authenticator, LoginMiddleware
from studio.serving.login import build_login_router as login_router
from studio.serving.openid import OpenIdClient, OpenIdSettings
from studio.serving.response_headers import build_refusal
from studio.serving.sessions import PAGE_PREFIX, SessionOwnerMiddleware, SessionOwners
from studio.serving.share import close_links
from studio.serving.users import Users, load_secret, require_users
from studio.serving.visitors import Accounts, Visitors
from studio.wiring import build_replica

DRAIN_SECONDS = (
    20.0  # seconds that the running job may take to finish; putting it back, saving and closing need some after that
)
CLOSE_SECONDS = 2  # seconds that open connections are given after that
EXIT_SECONDS = 28.0  # seconds after the first signal at which the process ends, whatever still runs
# The last one is Ctrl+Break, and how programs ask one of a console to end; on Windows only.
END_SIGNALS = frozenset({"SIGINT", "SIGTERM", "SIGBREAK"})
MAX_CONNECTIONS = 2000
MCP_HEADERS = ("Mcp-Session-Id", "Mcp-Protocol-Version", "Last-Event-ID")  # what MCP clients in a browser send
MAX_WEBSOCKET_MESSAGE = 64 * 1024  # bytes; clients say little over one
WARM_UP_DELAY = 1.0  # seconds from the first answer to the warm-up
WARM_UP_NICENESS = 10
TICKS_A_SECOND = 10  # uvicorn's: at each tenth it brings the Date header up to date
# Named, or asyncio leaves Nagle's algorithm on: the body of each answer waits 40 ms for the head's acknowledgement.
_PROTOCOL = socket.IPPROTO_TCP

log = logging.getLogger(__name__)


class StudioApp(FastAPI):
    """FastAPI with the guard outside everything, its error handling included."""

    def __init__(self, settings: Settings, users: Accounts | None, access: logging.Logger) -> None:
        self.settings = settings
        self.users = users
        self.hosts = Hosts(settings)
        self.lifecycle = Lifecycle()
        self._access = access
        super().__init__(title="Easel", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    def build_middleware_stack(self) -> ASGIApp:
        return Guard(super().build_middleware_stack(), self.settings, self.hosts, self.lifecycle, self._access)


def build_app(
    studio: Studio, page: Callable[[FastAPI], FastAPI], users: Users | None, openid: OpenIdClient | None = None
) -> StudioApp:
    """The whole application: guard, compression, CORS, login gate, session gate, login page, HTTP API, and the page
    that `page` mounts. With `openid` users of that provider may log in too.

    Raises:
        NotConfigured: the settings open the studio to others and there are no users.
    """
    settings = studio.settings.current
    accounts = _gather_accounts(studio, users, openid)
    require_users(settings, accounts)
    app = StudioApp(settings, accounts, studio.engine.logs.get_access_logger())
    authenticator = None
    if accounts is not None:
        cookies = Cookies(accounts, load_secret(accounts.secret_file), framed=bool(settings.frame_ancestors))
        authenticator = Authenticator(accounts, cookies, studio.engine.tokens, studio.engine.audit, openid)
    # The last one added stands outermost. Gradio finds CORSMiddleware here and leaves out its own, which mirrors any
    # origin.
    private = [
        settings.outputs_dir,
        settings.logs_dir,
        settings.models_dir,
        *([settings.auth_file] if settings.auth_file else []),
    ]
    app.add_middleware(AliasMiddleware, studio=studio)
    app.add_middleware(JsonDepthMiddleware, page_prefix=PAGE_PREFIX)
    app.add_middleware(FrontendFilesMiddleware, folder=find_frontend_folder(), root_path=settings.root_path)
    app.add_middleware(SessionOwnerMiddleware, owners=SessionOwners(), private=private)
    app.add_middleware(LoginMiddleware, authenticator=authenticator, root_path=settings.root_path)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=normalize_origins(split_names(settings.allowed_origins)),
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", *MCP_HEADERS],
        expose_headers=[MCP_HEADERS[0]],
        allow_credentials=False,
    )
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(ProcessTimeMiddleware)
    app.add_exception_handler(Exception, _handle_internal_error)
    error_responses.install_error_handlers(app)
    app.include_router(login_router(authenticator, settings.root_path))
    for router in native_api.build_api_routers(studio):
        _add_routes(app, router)
    app.include_router(build_account_router(studio, authenticator))
    for router in build_dialect_routers(studio):
        _add_routes(app, router)
    app.include_router(metrics_routes.build_metrics_router(studio))
    if settings.replica:
        replica = build_replica_router(build_replica(studio), settings, studio.engine.passes.admit)
        app.include_router(replica, dependencies=[needs(Right.GENERATE)])
    app.include_router(openapi_docs.build_docs_router(app, settings.root_path))
    app.include_router(error_responses.build_fallback_router(), dependencies=[needs(Right.USE)])
    page(app)
    return app


def _add_routes(app: FastAPI, router: APIRouter) -> None:
    """Add the routes of `router` as they are; `include_router` makes each anew at the first request, which takes as
    long as making them did."""
    app.router.routes.extend(router.routes)


def _gather_accounts(studio: Studio, users: Users | None, openid: OpenIdClient | None) -> Accounts | None:
    """All who may log in: `users`, and guests and users of a provider where they may."""
    guests = studio.settings.current.guests
    if not guests and openid is None:
        return users
    administrators = openid.settings.administrators if openid is not None else frozenset[str]()
    return Visitors(users, studio.settings.folder, guests=guests, administrators=administrators)


async def _handle_internal_error(request: Request, error: Exception) -> JSONResponse:
    """The answer to a caller after a defect, without details. The log has the rest."""
    log.error("a defect at %s", request.url.path, exc_info=error)
    return build_refusal(500, "INTERNAL", "Internal error.", "See the log for details.", path=request.scope["path"])


class StudioServer(uvicorn.Server):
    """Ends gently: on SIGTERM or SIGINT nothing new is begun, the engine finishes its running job or puts it back, then
    connections close and `run` returns, within half a minute. A second signal puts the job back at once."""

    def __init__(
        self,
        config: uvicorn.Config,
        lifecycle: Lifecycle,
        close: Callable[[float], None],
        on_drain: Callable[[], None] = lambda: None,
    ) -> None:
        """`close` ends the engine within the seconds that it is given; `on_drain` is called when the end begins."""
        super().__init__(config)
        self._on_drain = on_drain
        self._lifecycle = lifecycle
        self._close = close
        self._closers: list[threading.Thread] = []
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = [number for number in signal.Signals if number.name in END_SIGNALS]
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def main_loop(self) -> None:
        """As uvicorn's, which checks ten times a second whether it should end; here an event says so."""
        self._loop = asyncio.get_running_loop()
        tick = 0
        while not await self.on_tick(tick * TICKS_A_SECOND):
            tick += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1.0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.drain()

    def drain(self) -> None:
        """Begin to end, or hurry when already begun. Returns at once; may be called from any thread."""
        first = not self._lifecycle.draining.is_set()
        self._lifecycle.draining.set()
        if first:
            self._on_drain()
        self.force_exit = self.force_exit or not first
        if len(self._closers) < 2:
            self._closers.append(
                threading.Thread(
                    target=self._close_and_exit, args=(DRAIN_SECONDS if first else 0.0,), name="drain", daemon=True
                )
            )
            self._closers[-1].start()

    def _close_and_exit(self, seconds: float) -> None:
        try:
            self._close(seconds)
        finally:
            self.should_exit = True
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: a second signal came late
                    self._loop.call_soon_threadsafe(self._ending.set)


def serve_app(
    app: StudioApp, settings: Settings, studio: Studio, *, on_ready: Callable[[str], None] = lambda _: None
) -> None:
    """Run until a signal ends it; `on_ready` is called with each address once it answers.

    Raises:
        NotConfigured: the port is taken or the address is not ours. Unreachable: the share link did not open.
    """
    listener = open_listener(settings.host, settings.port)
    server = make_server(app, studio, on_drain=end_process_later)
    ready = threading.Thread(
        target=_announce_address, args=(server, app, listener.getsockname()[1], on_ready), name="ready", daemon=True
    )
    ready.start()
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        studio.engine.close(drain=0.0)
        end_process_under_running_code(studio)


def end_process_under_running_code(studio: Studio) -> None:
    """End the process with 0 where a job still computes after the engine was closed: its threads would be torn down
    under it at the interpreter's end, which aborts the process."""
    if not studio.engine.has_ended:
        close_links()
        os._exit(0)


def end_process_later() -> None:
    """Let the process end with 0 after EXIT_SECONDS, should it not have ended by then: a job that answers nothing, a
    disk that hangs, or native code that keeps the interpreter waiting at its end. What is unfinished stays in the
    journal, as after a power cut. Where even this thread gets no turn the system's alarm clock ends the process."""

    def end() -> None:
        time.sleep(EXIT_SECONDS)
        log.warning("the studio did not end within %.0f s and was cut off; its jobs are kept", EXIT_SECONDS)
        close_links()
        os._exit(0)

    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_REAL, EXIT_SECONDS + 1.5)
    threading.Thread(target=end, name="exit", daemon=True).start()


def make_server(app: StudioApp, studio: Studio, on_drain: Callable[[], None] = lambda: None) -> StudioServer:
    """Our server for `app`, not yet running; `on_drain` is called when it begins to end."""
    config = uvicorn.Config(
        app,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="critical",
        log_config=None,
        ws="websockets-sansio",
        ws_max_size=MAX_WEBSOCKET_MESSAGE,
        lifespan="on",
        http="h11",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        limit_concurrency=MAX_CONNECTIONS,
    )
    return StudioServer(config, app.lifecycle, lambda seconds: studio.engine.close(drain=seconds), on_drain)


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        NotConfigured: the port is taken or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=_PROTOCOL, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind, _PROTOCOL)
    except OSError as error:
        raise NotConfigured(f"{host} is not an address of this machine.", hint="Choose another with --host.") from error
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise _explain_refused_port(host, port, error) from error
    return listener


def check_port(settings: Settings) -> None:
    """Refuse to begin where the address of `settings` cannot be listened on, before anything is built; raises as
    `open_listener`."""
    open_listener(settings.host, settings.port).close()


def _explain_refused_port(host: str, port: int, error: OSError) -> NotConfigured:
    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", errno.EADDRINUSE)):
        return NotConfigured(
            f"Port {port} on {host} is already in use.",
            hint=f"Is Easel running already? Open http://{host}:{port}, or choose another port with --port {port + 1}.",
        )
    if error.errno in (errno.EACCES, getattr(errno, "WSAEACCES", errno.EACCES)):
        return NotConfigured(
            f"Port {port} on {host} needs more rights than Easel has.", hint="Choose one above 1023 with --port."
        )
    return NotConfigured(
        f"Port {port} on {host} cannot be used: {error.strerror}.", hint="Choose another with --port, or --host."
    )


def _announce_address(server: StudioServer, app: StudioApp, port: int, on_ready: Callable[[str], None]) -> None:
    waiting = threading.Event()
    while not server.started:
        if server.should_exit or waiting.wait(0.02):
            return
    settings = app.settings
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    on_ready(f"http://{f'[{shown}]' if ':' in shown else shown}:{port}{settings.root_path}")
    if settings.share:
        from studio.serving.share import open_link

        try:
            on_ready(open_link(settings, app.users, app.hosts, port))
        except StudioError as error:
            log.error("%s %s", error.message, error.hint)
            on_ready(f"No share link: {error.message} {error.hint}")


def run_studio(
    studio: Studio, on_ready: Callable[[str], None] | None = None, openid: OpenIdSettings | None = None
) -> int:
    """Run the wired studio until the process ends: users, page, engine, server. Returns the exit status. `on_ready` is
    called with the page's address, and with that of the share link; `openid` is a provider whose users may log in.

    Raises:
        StudioError: the studio cannot be started as it is configured; the message says what to do.
    """
    from studio import page

    settings = studio.settings.current
    users = Users(settings.auth_file) if settings.auth_file else None
    provider = OpenIdClient(openid) if openid is not None else None
    app = build_app(studio, lambda parent: page.mount(parent, studio), users, provider)
    studio.engine.start()
    if studio.clouds is not None:
        threading.Thread(target=studio.clouds.refresh_models, name="server models", daemon=True).start()
    warm_up = threading.Thread(target=_warm_up, args=(studio,), name="warm-up", daemon=True)

    def announce(address: str) -> None:
        print(f"Easel is ready: {address}", flush=True)  # noqa: T201
        if settings.warm_up and warm_up.ident is None:
            warm_up.start()
        if on_ready is not None:
            on_ready(address)

    serve_app(app, settings, studio, on_ready=announce)
    return 0


def _warm_up(studio: Studio) -> None:
    """Make the default model ready once the first page had time to be sent. Other threads go first."""
    time.sleep(WARM_UP_DELAY)
    if sys.platform.startswith("linux"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), WARM_UP_NICENESS)  # of this thread alone
    with contextlib.suppress(StudioError):  # without any model there is nothing to make ready
        model = studio.engine.model("")
        if model.lane != CLUSTER_LANE:  # other machines draw with it
            studio.store.warm_up(model.id)
