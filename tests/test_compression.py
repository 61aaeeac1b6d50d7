from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import brotli
import pytest
from fastapi import FastAPI
from serving import RunningStudio, serve_studio
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.testclient import TestClient

from studio.serving.compression import CompressionMiddleware

TEXT = "an image of a red apple, " * 200
UNTOUCHED = ("image/png", "image/webp", "application/zip", "application/octet-stream", "font/woff2")


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    app = FastAPI()
    app.add_middleware(CompressionMiddleware)
    (tmp_path / "a.css").write_text(TEXT)

    @app.get("/json")
    def get_json() -> JSONResponse:
        return JSONResponse({"prompt": TEXT}, headers={"Vary": "Cookie"})

    @app.get("/typed")
    def get_typed(kind: str, status: int = 200) -> Response:
        return Response(TEXT, status, media_type=kind)

    @app.get("/small")
    def get_small() -> JSONResponse:
        return JSONResponse({})

    @app.get("/file")
    def get_file() -> FileResponse:
        return FileResponse(tmp_path / "a.css")

    @app.get("/coded")
    def get_coded() -> Response:
        return Response(gzip.compress(TEXT.encode()), media_type="text/html", headers={"Content-Encoding": "gzip"})

    @app.get("/events")
    def get_events() -> StreamingResponse:
        def write() -> Iterator[str]:
            yield TEXT
            yield TEXT

        return StreamingResponse(write(), media_type="text/event-stream")

    return TestClient(app)


def ask(client: TestClient, path: str, accepted: str, **options: object) -> tuple[Response, bytes]:
    """The answer to GET `path`, and its body as it was sent."""
    with client.stream("GET", path, headers={"Accept-Encoding": accepted, **options}) as answer:
        return answer, b"".join(answer.iter_raw())  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br;q=0.000", ""),
        ("identity", ""),
        ("", ""),
    ],
)
def test_text_is_compressed_as_the_caller_takes_it(client: TestClient, accepted: str, coding: str) -> None:
    answer, body = ask(client, "/json", accepted)
    opened = {"br": brotli.decompress, "gzip": gzip.decompress, "": bytes}[coding](body)
    assert answer.headers.get("content-encoding", "") == coding
    assert TEXT.encode() in opened
    assert (len(body) < len(opened) / 10) == bool(coding)
    assert answer.headers["content-length"] == str(len(body))


def test_caches_learn_that_the_answer_depends_on_the_coding(client: TestClient) -> None:
    assert ask(client, "/json", "br")[0].headers["vary"] == "Cookie, Accept-Encoding"


def test_a_file_of_text_is_compressed(client: TestClient) -> None:
    answer, body = ask(client, "/file", "br")
    assert answer.headers["content-encoding"] == "br"
    assert brotli.decompress(body).decode() == TEXT


@pytest.mark.parametrize("kind", UNTOUCHED)
def test_what_is_compressed_already_is_left_alone(client: TestClient, kind: str) -> None:
    answer, body = ask(client, f"/typed?kind={kind}", "br, gzip")
    assert "content-encoding" not in answer.headers
    assert body.decode() == TEXT


@pytest.mark.parametrize("path", ["/small", "/typed?kind=text/plain&status=404"])
def test_small_answers_and_errors_are_left_alone(client: TestClient, path: str) -> None:
    assert "content-encoding" not in ask(client, path, "br, gzip")[0].headers


def test_events_arrive_as_they_are_written(client: TestClient) -> None:
    answer, body = ask(client, "/events", "br, gzip")
    assert "content-encoding" not in answer.headers
    assert body.decode() == TEXT * 2


def test_nothing_is_compressed_twice(client: TestClient) -> None:
    _, body = ask(client, "/coded", "br, gzip")
    assert gzip.decompress(body).decode() == TEXT


def test_a_part_of_a_file_stays_a_part(client: TestClient) -> None:
    answer, body = ask(client, "/file", "br, gzip", Range="bytes=3-9")
    assert (answer.status_code, body.decode()) == (206, TEXT[3:10])


def test_a_question_for_the_headers_alone_is_answered_without_a_body(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        answer = served.open_client().head("/", headers={"Accept-Encoding": "br"})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


def test_the_page_and_the_api_leave_compressed_with_the_guards_headers(tmp_path: Path) -> None:
    with serve_studio(tmp_path) as served:
        for path in ("/", "/config", "/api/openapi.json"):
            answer = _get(served, path)
            assert answer.headers["content-encoding"] == "br", path
            assert answer.headers["x-frame-options"] == "DENY", path
            assert answer.headers["vary"].count("Accept-Encoding") == 1


def _get(served: RunningStudio, path: str):  # type: ignore[no-untyped-def]
    return served.open_client().get(path, headers={"Accept-Encoding": "br"})
