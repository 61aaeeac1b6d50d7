"""Who is calling: the login page, the session cookie, HTTP Basic and tokens for programs, and the gate that asks for
one of them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import functools
import hashlib
import hmac
import ipaddress
import logging
import math
import secrets
import time
from collections import OrderedDict
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, cast
from urllib.parse import parse_qs, quote

from fastapi import APIRouter
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.dialects.dialect_paths import find_dialect
from studio.api.rights import needs
from studio.core.errors import Forbidden
from studio.core.rights import Right
from studio.core.user import GUEST_PREFIX, LOCAL_USER, User
from studio.engine.api_tokens import SCOPE_RIGHTS, ApiTokens, TokenScope
from studio.engine.audit import AuditEvent, AuditLog
from studio.serving.cookies import COOKIE_NAME, Cookies
from studio.serving.login_end import EndWithLogin
from studio.serving.openid import OpenIdClient
from studio.serving.openid_routes import OPENID_PATHS, add_openid_routes
from studio.serving.response_headers import build_refusal
from studio.serving.throttle import Throttle
from studio.serving.users import MAX_PASSWORD_LENGTH, Users
from studio.serving.visitors import Accounts, Visitors

HEALTH_PATH = "/api/image-studio/health"
METRICS_PATH = "/metrics"
OPEN_PATHS = frozenset(
    {"/login", "/logout", "/favicon.ico", HEALTH_PATH, f"{HEALTH_PATH}/live", f"{HEALTH_PATH}/ready", *OPENID_PATHS}
)
MAX_FAILURES = 5  # per address and name, in 300 s
MAX_FAILURES_PER_ADDRESS = 20  # whatever the names
MAX_FAILURES_PER_TUNNEL = 200  # all visitors of a share link come from one address
MAX_CONCURRENT_HASHES = 2  # each takes 64 MiB
GUEST_NAME = "guest"  # programs that cannot open the page log in with it, and any password
BASIC_CACHE_SECONDS = 300.0  # seconds
_MAX_CACHED_LOGINS = 256

log = logging.getLogger(__name__)


class Authenticator:
    """Checks names and passwords, slowly for those who guess."""

    def __init__(
        self, users: Accounts, cookies: Cookies, tokens: ApiTokens, audit: AuditLog, openid: OpenIdClient | None = None
    ) -> None:
        self.users = users
        self.openid = openid
        self.cookies = cookies
        self.tokens = tokens
        self.audit = audit
        self._by_name = Throttle(limit=MAX_FAILURES)
        self._by_address = Throttle(limit=MAX_FAILURES_PER_ADDRESS)
        self._by_tunnel = Throttle(limit=MAX_FAILURES_PER_TUNNEL)
        self._hashing = asyncio.Semaphore(MAX_CONCURRENT_HASHES)
        self._pepper = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[float, str, bytes]] = OrderedDict()

    async def check_password(self, scope: Scope, name: str, password: str) -> tuple[User | None, float]:
        """(user, 0) when the password is right, (None, 0) when it is wrong, (None, seconds to wait) when too many
        were."""
        address = get_client_address(scope)
        wide = self._by_tunnel if scope.get("via_share") else self._by_address
        narrow_key = (address, name.casefold()[:64])
        for throttle, key in ((wide, address), (self._by_name, narrow_key)):
            wait = throttle.begin(key)
            if wait:
                if throttle is self._by_name:
                    wide.record_success(address, forget=False)  # it was not tried
                log.warning("login refused for a while: %s %r", address, name[:64])
                return None, wait
        async with self._hashing:
            user = await asyncio.to_thread(self.users.verify_password, name, password)
        if user is None:
            log.warning("login failed: %s %r", address, name[:64])
            self.audit.record(AuditEvent.LOGIN_FAILED, name[:64], address=address)
        else:
            wide.record_success(address, forget=False)
            self._by_name.record_success(narrow_key, forget=True)
            self.audit.record(AuditEvent.LOGIN, user.name, address=address)
        return user, 0.0

    async def check_basic_header(self, scope: Scope, header: str) -> tuple[User | None, float]:
        """As `enter`, for an Authorization header; a right one is remembered for five minutes, as hashing is
        expensive."""
        try:
            name, separator, password = base64.b64decode(header[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None, 0.0
        if not separator:
            return None, 0.0
        key = hmac.digest(self._pepper, f"{name}\0{password}".encode(), hashlib.sha256)
        known = self._remembered.get(key)
        if known and known[0] > time.monotonic() and hmac.compare_digest(known[2], self.users.fingerprint(known[1])):
            return self.users.get(known[1]), 0.0
        user, wait = await self.check_password(scope, name, password)
        if user is not None:
            self._remembered[key] = (
                time.monotonic() + BASIC_CACHE_SECONDS,
                user.name,
                self.users.fingerprint(user.name),
            )
            while len(self._remembered) > _MAX_CACHED_LOGINS:
                self._remembered.popitem(last=False)
        return user, wait

    @property
    def file(self) -> Users | None:
        """The users with passwords; None where there are none."""
        return self.users.file if isinstance(self.users, Visitors) else cast("Users", self.users)

    def admit_guest(self, scope: Scope) -> tuple[User | None, float]:
        """See `Visitors.admit_guest`."""
        if not isinstance(self.users, Visitors):
            return None, 0.0
        return self.users.admit_guest(get_client_address(scope))

    def check_bearer_header(self, header: str, *, writes: bool) -> User | None:
        """The user that the token of an Authorization header speaks for, with no more rights than it has; None for no
        token of ours.

        Raises:
            Forbidden: something is to be written, and the token may only read.
        """
        token = self.tokens.find(header[7:].strip())
        user = self.users.get(token.user) if token is not None else None
        if token is None or user is None:
            return None
        if writes and token.scope is TokenScope.READ:
            raise Forbidden("This token may only read.", hint="Create a token that may generate.")
        return dataclasses.replace(user.without(*(set(Right) - SCOPE_RIGHTS[token.scope])), by_token=True)


class LoginMiddleware:
    """Puts the caller into `scope["user"]`, or turns them away. Without an authenticator everybody is LOCAL."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator | None, root_path: str = "") -> None:
        self._app = app
        self._authenticator = authenticator
        self._root = root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if self._authenticator is None:
            scope["user"] = LOCAL_USER
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            user, wait = await self._identify_caller(self._authenticator, scope, headers)
        except Forbidden as error:
            refusal = build_refusal(403, error.code, error.message, error.hint, path=scope["path"])
            await refusal(scope, receive, send)
            return
        if user is None and not wait and _opens_page(scope, headers):
            user, wait = self._authenticator.admit_guest(scope)
            if user is not None:
                send = _add_cookie(send, self._authenticator.cookies, user, scope, self._root)
        if user is not None:
            scope["user"] = user
        cookies, cookie = self._authenticator.cookies, get_cookie(headers)
        if user is not None and cookies.is_valid(cookie):
            connection = EndWithLogin(scope, receive, send, functools.partial(cookies.is_valid, cookie))
            receive, send = connection.receive, connection.send
        if user is not None or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._build_rejection(scope, headers, wait)(scope, receive, send)

    async def _identify_caller(
        self, authenticator: Authenticator, scope: Scope, headers: Headers
    ) -> tuple[User | None, float]:
        user = authenticator.cookies.read(get_cookie(headers))
        authorization = headers.get("authorization", "")
        path = scope["path"]
        by_script = path.startswith("/api/") or path == METRICS_PATH or find_dialect(path)
        if user is not None or not by_script:
            return user, 0.0
        if authorization[:6].lower() == "basic ":
            return await authenticator.check_basic_header(scope, authorization)
        if authorization[:7].lower() == "bearer ":
            writes = scope.get("method", "GET") not in ("GET", "HEAD", "OPTIONS")
            return authenticator.check_bearer_header(authorization, writes=writes), 0.0
        return None, 0.0

    def _build_rejection(self, scope: Scope, headers: Headers, wait: float) -> Response:
        if wait:
            return build_refusal(
                429,
                "TOO_MANY_TRIES",
                "Too many attempts from this address.",
                "Wait a few minutes.",
                {"Retry-After": str(math.ceil(wait))},
                path=scope["path"],
            )
        if _opens_page(scope, headers):
            query = "?" + scope["query_string"].decode("latin-1") if scope["query_string"] else ""
            return RedirectResponse(
                f"{self._root}/login?next={quote(scope['path'] + query, safe='/')}", 303, {"Cache-Control": "no-store"}
            )
        # WWW-Authenticate only where no browser goes, which would ask with a window of its own.
        return build_refusal(
            401,
            "LOGIN_NEEDED",
            "Please log in.",
            "Log in at /login, or send a token, or a name and password with HTTP Basic.",
            path=scope["path"],
        )


def _opens_page(scope: Scope, headers: Headers) -> bool:
    """Whether somebody opens a page in a browser, who can be sent on to another."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and "text/html" in headers.get("accept", "")
        and not scope["path"].startswith("/gradio_api/")
        and scope["path"] not in OPEN_PATHS
        and find_dialect(scope["path"]) is None
    )


def _add_cookie(send: Send, cookies: Cookies, user: User, scope: Scope, root: str) -> Send:
    """`send`, with a fresh cookie for `user` on the answer."""
    header = cookies.format_header(cookies.issue_cookie(user), scope, root).encode("latin-1")

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {
                **message,
                "headers": [*message["headers"], (b"set-cookie", header), (b"cache-control", b"no-store")],
            }
        await send(message)

    return send_with_cookie


def build_login_router(authenticator: Authenticator | None, root_path: str = "") -> APIRouter:
    """The routes /login and /logout. Without an authenticator both lead to the page."""
    routes = APIRouter(include_in_schema=False, dependencies=[needs(None)])
    root = root_path.rstrip("/")

    @routes.get("/login")
    async def show_login(request: Request) -> Response:
        target = sanitize_target(request.query_params.get("next", "/"))
        user = request.scope.get("user")
        if authenticator is None or (isinstance(user, User) and not is_guest(user.name)):
            return RedirectResponse(root + target, 303)
        return _render_login_page(authenticator, root, target)

    @routes.post("/login")
    async def log_in(request: Request) -> Response:
        if authenticator is None:
            return RedirectResponse(root + "/", 303)
        return await _log_in(authenticator, request, root)

    @routes.api_route("/logout", methods=["GET", "POST"])
    async def log_out(request: Request) -> Response:
        if authenticator is None:
            return RedirectResponse(root + "/", 303)
        if request.method == "GET" and request.headers.get("sec-fetch-site") not in (None, "same-origin", "none"):
            return RedirectResponse(root + "/", 303)  # a link on another site does not log anybody out
        value = get_cookie(request.headers)
        if (user := authenticator.cookies.read(value)) is not None:
            authenticator.audit.record(AuditEvent.LOGOUT, user.name)
        await asyncio.to_thread(authenticator.cookies.end, value)  # which waits for the disk
        response = RedirectResponse(
            root + "/login", 303, {"Cache-Control": "no-store", "Clear-Site-Data": '"cache", "storage"'}
        )
        response.headers.append("Set-Cookie", authenticator.cookies.format_header("", request.scope, root))
        return response

    if authenticator is not None and authenticator.openid is not None:
        answer = functools.partial(_answer_openid, authenticator, root)
        add_openid_routes(routes, authenticator.openid, root, get_client_address, answer)
    return routes


async def _log_in(authenticator: Authenticator, request: Request, root: str) -> Response:
    """The answer to the form: a user with a password, or a program that comes as a guest."""
    fields = await _read_form(request)
    name, target = fields.get("username", "").strip(), sanitize_target(fields.get("next", "/"))
    user, wait = None, 0.0
    if name == GUEST_NAME and authenticator.users.get(name) is None:
        user, wait = authenticator.admit_guest(request.scope)
        if user is not None and "text/html" not in request.headers.get("accept", ""):
            # Gradio's own client takes a redirection for a refusal.
            return await _build_login_answer(authenticator, user, request, JSONResponse({"success": True}))
    if user is None and not wait:
        user, wait = await authenticator.check_password(
            request.scope, name, fields.get("password", "")[: MAX_PASSWORD_LENGTH + 1]
        )
    if user is not None:
        return await _answer_login(authenticator, user, request, root + target)
    if wait:
        message = f"Too many failed attempts. Try again in {math.ceil(wait / 60)} min."
        retry = {"Retry-After": str(math.ceil(wait))}
        return _render_login_page(authenticator, root, target, name, message, status=429, headers=retry)
    return _render_login_page(authenticator, root, target, name, "Wrong user name or password.", status=401)


async def _answer_openid(authenticator: Authenticator, root: str, name: str, request: Request, target: str) -> Response:
    user = authenticator.users.get(name)
    if user is None:
        raise Forbidden("Nobody may log in here.", hint="Ask the administrator.")
    authenticator.audit.record(AuditEvent.LOGIN, user.name, address=get_client_address(request.scope))
    return await _answer_login(authenticator, user, request, root + sanitize_target(target))


async def _answer_login(authenticator: Authenticator, user: User, request: Request, address: str) -> Response:
    """`user` is logged in from now on, and goes on to `address`."""
    return await _build_login_answer(authenticator, user, request, RedirectResponse(address, 303))


async def _build_login_answer(authenticator: Authenticator, user: User, request: Request, answer: Response) -> Response:
    """`answer` with a fresh cookie for `user`."""
    cookies, client = authenticator.cookies, request.headers.get("user-agent", "")
    value = await asyncio.to_thread(cookies.issue_cookie, user, client, get_client_address(request.scope))
    header = cookies.format_header(value, request.scope, request.scope.get("root_path", ""))
    answer.headers["Cache-Control"] = "no-store"
    answer.headers.append("Set-Cookie", header)
    return answer


def is_guest(name: str) -> bool:
    """Whether a user of that name came without a login."""
    return name.startswith(GUEST_PREFIX)


def get_cookie(headers: Headers) -> str:
    """The value of our cookie, empty when there is none."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE_NAME, "")


def sanitize_target(target: str) -> str:
    """`target` when it is a path on this site, else "/"."""
    plain = (
        target.startswith("/") and not target.startswith(("//", "/\\")) and target.isascii() and target.isprintable()
    )
    return target if plain and "\\" not in target and not target.startswith(("/login", "/logout")) else "/"


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of a plain form; the guard keeps its body small."""
    body = (await request.body()).decode(errors="replace")
    try:
        return {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True, max_num_fields=10).items()}
    except ValueError:
        return {}


def _render_login_page(
    authenticator: Authenticator, root: str, target: str, name: str = "", message: str = "", **answer: Any
) -> HTMLResponse:
    status, headers = answer.get("status", 200), {"Cache-Control": "no-store", **answer.get("headers", {})}
    template = Template(files("studio").joinpath("assets/login.html").read_text(encoding="utf-8"))
    shown = f'<p class="error" role="alert">{escape(message)}</p>' if message else "<p>Log in to open the studio.</p>"
    content = template.substitute(
        message=shown,
        provider=_render_provider_link(authenticator.openid, root, target),
        form_hidden="" if authenticator.file is not None else "hidden",
        action=escape(root + "/login"),
        next=escape(target),
        username=escape(name[:64]),
        focus_name="" if name else "autofocus",
        focus_password="autofocus" if name else "",
    )
    return HTMLResponse(content, status_code=status, headers=headers)


def _render_provider_link(openid: OpenIdClient | None, root: str, target: str) -> str:
    """The link to the OpenID provider, whose page no frame may show."""
    if openid is None:
        return ""
    address = escape(f"{root}/login/openid?next={quote(target, safe='/')}")
    return f'<a class="provider" href="{address}" target="_top">Log in with {escape(openid.settings.title)}</a>'


def get_client_address(scope: Scope) -> str:
    """The caller's address; of IPv6 the /64 that one caller usually owns."""
    host = scope["client"][0] if scope.get("client") else "?"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network(f"{address}/64", strict=False)) if address.version == 6 else host
