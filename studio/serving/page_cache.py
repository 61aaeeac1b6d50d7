"""Gradio's page, kept as it was answered last.

For each visit Gradio copies its description of the page, looks for files in it and describes the API anew, which takes
longer than sending all files of the page. What it answers hangs on who visits, and on the address that they see.
"""

from __future__ import annotations

from collections import OrderedDict

from starlette.datastructures import URL, Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_PAGES = 32  # of 100 kB; one for each user and address
_ADDRESS_HEADERS = ("x-forwarded-host", "x-forwarded-proto", "x-gradio-server")  # by which Gradio finds its address


class PageCacheMiddleware:
    """Answers GET of the page as `app` answered it before to the same user at the same address. What has a query is
    passed on: it may name a state to show."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._pages: OrderedDict[tuple[str | None, ...], list[Message]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _asks_for_page(scope):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        user = getattr(scope.get("user"), "name", None)
        key = (user, str(URL(scope=scope)), *(headers.get(name) for name in _ADDRESS_HEADERS))
        answer = self._pages.get(key)
        if answer is None:
            answer = await self._ask(scope, receive)
            if answer[0]["status"] == 200 and "set-cookie" not in Headers(raw=answer[0]["headers"]):
                self._pages[key] = answer  # a cookie is one visitor's
        if key in self._pages:
            self._pages.move_to_end(key)
        while len(self._pages) > MAX_PAGES:
            self._pages.popitem(last=False)
        for message in answer:
            await send(_copy(message))

    async def _ask(self, scope: Scope, receive: Receive) -> list[Message]:
        answer: list[Message] = []

        async def note(message: Message) -> None:
            answer.append(message)

        await self.app(scope, receive, note)
        return answer


def _asks_for_page(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
        return False
    return scope["path"].removeprefix(scope.get("root_path", "")) in ("", "/")


def _copy(message: Message) -> Message:
    """`message` with headers of its own: what stands around changes them."""
    return {**message, "headers": [*message["headers"]]} if "headers" in message else {**message}
