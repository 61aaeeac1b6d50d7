"""Gradio's page is made once for each user and address."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.serving import page_cache
from studio.serving.page_cache import PageCacheMiddleware


@dataclass(frozen=True)
class Visitor:
    name: str


class NamingMiddleware:
    """Takes the user from a header, and adds a header to each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            names = [value.decode() for name, value in scope["headers"] if name == b"x-user"]
            scope["user"] = Visitor(*names or ["anna"])

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-added", b"1"))
            await send(message)

        await self.app(scope, receive, add)


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def client(asked: list[str]) -> TestClient:
    def answer(request: Request) -> Response:
        asked.append(f"{request.method} {request.url}")
        text = f"{request.user.name} at {request.headers.get('x-forwarded-host', request.url.netloc)}"
        response = HTMLResponse(text, status_code=500 if len(asked) == 1 and request.user.name == "bad" else 200)
        if request.user.name == "new":
            response.set_cookie("session", str(len(asked)))
        return response

    routes = [Route(path, answer, methods=["GET", "HEAD"]) for path in ("/", "/config")]
    return TestClient(NamingMiddleware(PageCacheMiddleware(Starlette(routes=routes))))


def test_the_page_is_made_once(client: TestClient, asked: list[str]) -> None:
    answers = [client.get("/") for _ in range(3)]
    assert [answer.text for answer in answers] == ["anna at testserver"] * 3
    assert len(asked) == 1
    assert answers[0].headers == answers[2].headers
    assert answers[2].headers.get_list("x-added") == ["1"], "what is added to one answer is not kept"


@pytest.mark.parametrize(
    "headers",
    [{"x-user": "berta"}, {"host": "other"}, {"x-forwarded-host": "proxy"}, {"x-forwarded-proto": "https"}],
)
def test_another_user_or_address_gets_a_page_of_its_own(
    client: TestClient, asked: list[str], headers: dict[str, str]
) -> None:
    first, other = client.get("/").text, client.get("/", headers=headers).text
    assert len(asked) == 2
    assert (
        other
        == f"{headers.get('x-user', 'anna')} at {headers.get('x-forwarded-host', headers.get('host', 'testserver'))}"
    )
    assert client.get("/").text == first


@pytest.mark.parametrize("path", ["/?deep_link=a", "/config"])
def test_what_is_not_the_page_alone_is_passed_on(client: TestClient, asked: list[str], path: str) -> None:
    for _ in range(2):
        client.get(path)
        client.head("/")
    assert len(asked) == 4


def test_an_error_is_not_kept(client: TestClient, asked: list[str]) -> None:
    answers = [client.get("/", headers={"x-user": "bad"}).status_code for _ in range(3)]
    assert answers == [500, 200, 200]
    assert len(asked) == 2


def test_a_page_with_a_cookie_is_not_kept(client: TestClient) -> None:
    cookies = [client.get("/", headers={"x-user": "new"}).cookies["session"] for _ in range(2)]
    assert cookies == ["1", "2"]


def test_the_page_that_was_asked_for_longest_ago_is_dropped(
    client: TestClient, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_cache, "MAX_PAGES", 2)
    for name in ("a", "b", "a", "c", "a", "b"):
        client.get("/", headers={"x-user": name})
    assert len(asked) == 4
