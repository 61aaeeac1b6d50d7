"""The short routes of smaller generators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dialect_studio import decode_image, encode, make_png, serve_dialects
from fakes import draw_fake_image
from serving import PASSWORDS, RunningStudio, wait_until

from studio.core.task import Task


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    with serve_dialects(tmp_path_factory.mktemp("aliases")) as found:
        yield found


@pytest.fixture
def client(served: RunningStudio) -> httpx.Client:
    return served.open_client()


def test_one_image_comes_at_once_or_by_a_job(client: httpx.Client, served: RunningStudio) -> None:
    body = {"prompt": "a red apple", "negativePrompt": "blurry", "width": 64, "height": 64, "seed": 5, "guidance": 3}
    answer = client.post("/generate", json=body)
    assert answer.status_code == 200
    assert {"imageData", "format", "width", "height"} <= set(answer.json())
    assert decode_image(answer.json()["imageData"]).tobytes() == draw_fake_image(5, 64, 64).tobytes()
    assert served.backend.seen[-1][0].negative_prompt == "blurry"
    job = client.post("/generate/async", json=body).json()["jobId"]
    wait_until(lambda: client.get(f"/jobs/{job}").json()["status"] == "finished")
    again = decode_image(client.get(f"/jobs/{job}/result").json()["imageData"])
    assert again.tobytes() == draw_fake_image(5, 64, 64).tobytes()


def test_an_image_is_uploaded_and_redrawn(client: httpx.Client, served: RunningStudio) -> None:
    name = client.post("/api/upload-controlnet-image", files={"file": ("a.png", make_png())}).json()["filename"]
    answer = client.post("/api/generate", json={"prompt": "a pear", "image": name, "denoising_strength": 0.4})
    assert answer.json()["status"] == "success"
    request, _ = served.backend.seen[-1]
    assert (request.task, request.strength) == (Task.IMG2IMG, 0.4)
    assert client.get(answer.json()["url"]).headers["content-type"] == "image/png"


def test_derivatives_name_their_image_and_sizes(client: httpx.Client, served: RunningStudio) -> None:
    sizes = [{"width": 32, "format": "webp"}, {"width": 16, "format": "jpg"}]
    client.post("/derivatives", json={"imageData": encode(make_png()), "sizes": sizes})
    request, _ = served.backend.seen[-1]
    assert [(one.width, one.file.format) for one in request.finish.derivatives] == [(32, "webp"), (16, "jpeg")]


def test_wrong_values_are_named(client: httpx.Client) -> None:
    for body in ({}, {"prompt": "x", "width": "wide"}, {"prompt": "x", "seed": 1.5}, {"prompt": "x", "image": "?"}):
        answer = client.post("/generate", json=body)
        assert answer.status_code == 400
        assert answer.json()["code"] in ("INVALID_REQUEST", "BAD_IMAGE")
    assert client.post("/generate", content=b"[]").status_code == 400
    assert client.post("/derivatives", json={}).status_code == 400


def test_the_native_route_answers_under_its_short_name(client: httpx.Client) -> None:
    body = {"context": "a bakery"}
    native = client.post("/api/image-studio/analyze-context", json=body)
    assert client.post("/analyze-context", json=body).status_code == native.status_code


def test_jobs_are_their_owners_and_a_foreign_page_starts_none(tmp_path: Path) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        ann, bob = (served.open_client(auth=(name, PASSWORDS[name])) for name in ("ann", "bob"))
        job = ann.post("/generate/async", json={"prompt": "a red apple"}).json()["jobId"]
        assert bob.get(f"/jobs/{job}").status_code == 404
        assert bob.get(f"/jobs/{job}/result").status_code == 404
        assert served.open_client().post("/generate", json={"prompt": "x"}).status_code == 401
        headers = {"Origin": "https://evil.example"}
        assert ann.post("/generate", json={"prompt": "x"}, headers=headers).status_code == 403


def test_the_routes_can_be_switched_off(served: RunningStudio, client: httpx.Client) -> None:
    served.studio.settings.change({"api_aliases": False})
    try:
        assert client.post("/generate", json={"prompt": "x"}).status_code == 404
    finally:
        served.studio.settings.change({"api_aliases": True})
