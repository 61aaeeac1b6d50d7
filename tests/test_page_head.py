"""The head of the page: it names early, and once, what Gradio's page loads step by step."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from studio.serving.frontend_files import find_frontend_folder
from studio.serving.page_head import (
    PageHeadMiddleware,
    list_first_files,
    read_styles,
    render_preloads,
    render_styles,
)

FRONTEND = find_frontend_folder().parent
PAGE = "<!doctype html><html><head><base href='./'><title>T</title></head><body>&lt;/head> </head></body></html>"


def test_the_files_of_the_components_that_are_shown_are_listed_once_and_exist() -> None:
    names = list_first_files(FRONTEND, {"textbox", "dropdown"})
    assert len(set(names)) == len(names)
    assert all((FRONTEND / "assets" / name).is_file() for name in names)
    assert {name.partition("-")[0] for name in names} >= {"core", "Blocks", "statustracker"}
    only_text = list_first_files(FRONTEND, {"textbox"})
    assert set(only_text) < set(names)
    assert not any(name.startswith("Login-") for name in names), "nobody is asked to log in by Gradio"


def test_a_kind_that_gradio_does_not_know_adds_nothing() -> None:
    assert list_first_files(FRONTEND, {"nonesuch", "a.b["}) == list_first_files(FRONTEND, set())


def test_a_frontend_that_is_built_in_another_way_gives_no_names(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<script src="./bundle.js"></script>')
    assert list_first_files(tmp_path, {"textbox"}) == []
    (tmp_path / "index.html").write_text('<script src="./assets/index-abc.js"></script>')
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "index-abc.js").write_text("import('./Index-1.js')")
    assert list_first_files(tmp_path, {"textbox"}) == []


def test_scripts_are_fetched_in_the_way_in_which_gradio_asks_for_them() -> None:
    styles = '<link rel="preload" as="style" href="all.css">'
    assert render_preloads(["a-1.js"], "all.css") == (
        styles + '<link rel="modulepreload" crossorigin href="assets/a-1.js">'
    )


def test_styles_come_in_one_file_and_are_not_asked_for_alone(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "b-2.css").write_text(".b { color: red }")
    (tmp_path / "assets" / "c-3.css").write_text("@font-face { src: url(./c.woff2) }")
    styles = read_styles(tmp_path, ["a-1.js", "b-2.css", "c-3.css"])
    assert styles == {"b-2.css": ".b { color: red }"}, "c-3.css names a file beside it"
    html = render_styles(styles, "all.css")
    assert html == '<link rel="stylesheet" href="all.css"><link rel="stylesheet" disabled href="assets/b-2.css">'


def answer_page(request: Request) -> Response:
    return HTMLResponse(PAGE)


def answer_error(request: Request) -> Response:
    return HTMLResponse(PAGE, status_code=404)


def answer_json(request: Request) -> Response:
    return JSONResponse({"page": PAGE})


def answer_in_parts(request: Request) -> Response:
    return StreamingResponse(iter([PAGE[:30], PAGE[30:]]), media_type="text/html")


@pytest.fixture
def client() -> TestClient:
    answers = {"/": answer_page, "/error": answer_error, "/json": answer_json, "/parts": answer_in_parts}
    app = Starlette(routes=[Route(path, answer, methods=["GET", "HEAD", "POST"]) for path, answer in answers.items()])
    return TestClient(PageHeadMiddleware(app, "<!-- first -->", "<!-- hé -->"))


def test_the_head_of_a_page_gets_hints_before_and_the_rest_after_what_it_has(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.text == PAGE.replace("<title>T</title>", "<!-- first --><title>T</title><!-- hé -->")
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_only_what_is_read_as_a_page_is_changed(client: TestClient) -> None:
    assert client.post("/").text == PAGE
    assert client.head("/").headers["Content-Length"] == str(len(PAGE))


@pytest.mark.parametrize("path", ["/error", "/json", "/parts"])
def test_other_answers_stay_as_they_are(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert PAGE in (answer.text, *([answer.json()["page"]] if path == "/json" else []))
