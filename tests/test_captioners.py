"""Captions: written by transformers' own classes where their weights are, and never fetched unasked."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import FakeBackend
from PIL import Image
from serving import RunningStudio, serve_studio
from tiny_captioners import WORDS, save_tiny_blip, save_tiny_florence

from studio.core.errors import JobCancelled, ModelBroken, NotConfigured
from studio.core.settings import Settings
from studio.engine.jobs.job_context import LaneContext
from studio.preprocessors.common.preprocessor_backend import PreprocessorBackend

SAVERS: dict[str, Callable[[Path], None]] = {
    "Florence-2-base": save_tiny_florence,
    "blip-image-captioning-large": save_tiny_blip,
}
IMAGE = Image.new("RGBA", (120, 60), (200, 20, 20, 255))


def open_backend(folder: Path, *names: str) -> PreprocessorBackend:
    for name in names:
        SAVERS[name](folder / "preprocessors" / name)
    return PreprocessorBackend((), folder, device=lambda settings: "cpu")


def write(backend: PreprocessorBackend, is_cancelled: Callable[[], bool] = lambda: False) -> tuple[str, str]:
    return backend.write_caption(IMAGE, LaneContext(Settings()), is_cancelled)


def test_without_weights_there_is_no_caption_and_the_downloads_are_named(tmp_path: Path) -> None:
    backend = open_backend(tmp_path)
    assert "Florence-2 Base" in backend.caption_problem
    with pytest.raises(NotConfigured) as caught:
        write(backend)
    assert caught.value.details["offers"] == ["preprocessors/Florence-2-base"]
    offered = {one.id for one in backend.list_downloadable_weights()}
    assert {f"preprocessors/{name}" for name in SAVERS} <= offered
    assert not list(tmp_path.iterdir())


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "title"), [("Florence-2-base", "Florence-2"), ("blip-image-captioning-large", "BLIP")]
)
def test_a_caption_is_written_by_the_network_that_is_here(name: str, title: str, tmp_path: Path) -> None:
    backend = open_backend(tmp_path, name)
    assert backend.caption_problem == ""
    text, writer = write(backend)
    assert writer == title
    assert text
    assert set(text.split()) <= {word for word in WORDS if not word.startswith("[")}
    assert write(backend) == (text, writer)
    assert f"preprocessors/{name}" not in {one.id for one in backend.list_downloadable_weights()}


@pytest.mark.torch
def test_a_caption_is_stopped_and_broken_weights_are_told(tmp_path: Path) -> None:
    backend = open_backend(tmp_path, *SAVERS)
    with pytest.raises(JobCancelled):
        write(backend, lambda: True)
    assert write(backend)[1] == "Florence-2"  # the one that says more, where both are here
    (tmp_path / "preprocessors" / "Florence-2-base" / "config.json").write_text("{}")
    with pytest.raises(ModelBroken):
        write(open_backend(tmp_path))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("captions")
    with serve_studio(folder, users=True, backend=FakeBackend()) as found:
        object.__setattr__(found.studio, "captioner", open_backend(folder / "models"))
        yield found


def encode() -> str:
    out = io.BytesIO()
    IMAGE.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def ask(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/api/image-studio/prompts/interrogate", json={"image": encode(), **body})


def test_a_caption_is_refused_over_http_before_the_image_is_looked_at(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    refused = ask(ann, by="captioner")
    assert (refused.status_code, refused.json()["code"]) == (409, "NOT_CONFIGURED")
    assert "Download “Florence-2 Base" in refused.json()["details"]["hint"]
    assert ask(ann, by="somebody").status_code == 400
    assert ask(served.open_client(), by="captioner").status_code == 401
    old = ann.post("/sdapi/v1/interrogate", json={"image": encode(), "model": "clip"})
    assert (old.status_code, old.json()["detail"]) == (404, "Model not found")
    assert not ann.get("/api/image-studio/prompts/helpers").json()["captioner"]


@pytest.mark.torch
def test_a_caption_is_given_over_http_with_the_name_of_its_writer(served: RunningStudio, tmp_path: Path) -> None:
    ann = served.open_client("ann")
    before = served.studio.captioner
    object.__setattr__(served.studio, "captioner", open_backend(tmp_path, "blip-image-captioning-large"))
    try:
        found = ask(ann, by="captioner")
        assert found.status_code == 200, found.text
        assert (found.json()["source"], found.json()["negativePrompt"]) == ("BLIP", "")
        old = ann.post("/sdapi/v1/interrogate", json={"image": encode(), "model": "clip"})
        assert old.json() == {"caption": found.json()["prompt"]}
        for wrong in ({"image": encode(), "model": "deepdanbooru"}, {"image": "", "model": "clip"}):
            assert ann.post("/sdapi/v1/interrogate", json=wrong).status_code == 404
        assert ann.get("/api/image-studio/prompts/helpers").json()["captioner"]
        assert served.open_client().post("/sdapi/v1/interrogate", json={"image": encode()}).status_code == 401
    finally:
        object.__setattr__(served.studio, "captioner", before)
