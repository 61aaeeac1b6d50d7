"""The routes of a login with an OpenID provider: to it, and back from it."""

# pyright: reportUnusedFunction=false
# The functions are used by their decorators.

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from html import escape

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from studio.core.errors import RateLimited, StudioError
from studio.serving.cookies import format_cookie
from studio.serving.openid import PENDING_SECONDS, OpenIdClient
from studio.serving.throttle import Throttle
from studio.serving.visitors import make_openid_name

BEGIN_PATH, CALLBACK_PATH = "/login/openid", "/login/callback"
OPENID_PATHS = (BEGIN_PATH, CALLBACK_PATH)
STATE_COOKIE = "easel_openid"
MAX_BEGUN = 60  # logins from one address in PENDING_SECONDS
_WAIT = "Wait a few minutes."
_NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}  # the address has the code

log = logging.getLogger(__name__)


def add_openid_routes(
    routes: APIRouter,
    client: OpenIdClient,
    root: str,
    get_address: Callable[[Scope], str],
    answer_login: Callable[[str, Request, str], Awaitable[Response]],
) -> None:
    """The two routes. `get_address` tells where a request comes from; `answer_login` is given the user's name, the
    request and where the user wanted to go."""
    # Nobody is logged in yet: whoever begins logins without an end must not push out those of others.
    begun = Throttle(limit=MAX_BEGUN, window=PENDING_SECONDS)

    @routes.get(BEGIN_PATH)
    async def begin_login(request: Request) -> Response:
        wait = begun.begin(get_address(request.scope))
        if wait:
            return _render_failure(RateLimited("Too many logins were begun.", retry_after=wait, hint=_WAIT), root)
        back = f"{request.scope['scheme']}://{request.headers['host']}{root}{CALLBACK_PATH}"
        try:
            address, state = await asyncio.to_thread(client.begin, back, request.query_params.get("next", "/"))
        except StudioError as error:
            return _render_failure(error, root)
        answer = RedirectResponse(address, 303, _NO_STORE)
        answer.headers.append("Set-Cookie", _format_state(request, state, root))
        return answer

    @routes.get(CALLBACK_PATH)
    async def finish_login(request: Request) -> Response:
        given = request.query_params
        held = request.cookies.get(STATE_COOKIE, "")
        try:
            if "error" in given:
                raise StudioError(f"{client.settings.title} did not log you in.", hint="Log in once more.")
            subject, target = await asyncio.to_thread(
                client.finish, given.get("state", ""), held, given.get("code", "")
            )
            answer = await answer_login(make_openid_name(subject), request, target)
        except StudioError as error:
            log.warning("login with %s failed: %s", client.settings.title, error.message)
            answer = _render_failure(error, root)
        answer.headers.append("Set-Cookie", _format_state(request, "", root))
        answer.headers.update(_NO_STORE)
        return answer


def _format_state(request: Request, state: str, root: str) -> str:
    """The cookie that binds a login under way to this browser. It has to come along from the provider's page, which is
    another site: Lax lets it, on the way of a link."""
    max_age = int(PENDING_SECONDS) if state else 0
    return format_cookie(STATE_COOKIE, state, request.scope, max_age=max_age, path=f"{root}/login")


def _render_failure(error: StudioError, root: str) -> HTMLResponse:
    content = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f"<title>Easel · Log in</title><h1>{escape(error.title)}</h1>"
        f"<p>{escape(error.message)} {escape(error.hint)}</p>"
        f'<p><a href="{escape(root)}/login">Log in</a></p></html>'
    )
    return HTMLResponse(content, status_code=error.status, headers=_NO_STORE)
