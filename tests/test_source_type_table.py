"""The digital source type of files that the HTTP API writes, one row for each thing that is done to an image."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FAKE_MODEL, FakeBackend
from PIL import Image
from serving import RunningStudio, serve_studio
from test_source_type import ANY, CAPTURED, EDITED, ENHANCED, GENERATED, REDRAWING, SHARP, UPSCALER, camera_jpeg

from studio.engine.metadata.embed import read_metadata
from studio.finishing.finish_backend import FinishingBackend
from studio.finishing.fonts import Fonts

API = "/api/image-studio"
SMALLER = {"derivatives": [{"width": 32}]}
REWRITTEN = {"derivatives": [{"file": {"format": "webp", "quality": 80}}]}
CROPPED = {"finish": {"crop": {"left": 0.1, "top": 0.1, "right": 0.9, "bottom": 0.9}}}
MARKED = {"finish": {"text": [{"text": "Sale"}], "watermark": {"text": "mine"}}}
LARGER = {"upscale": {"scale": 2}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    folder = tmp_path_factory.mktemp("studio")
    fake = FakeBackend(FAKE_MODEL, ANY, UPSCALER, SHARP, REDRAWING)
    with serve_studio(folder, backend=[fake, FinishingBackend(Fonts(folder / "fonts"))]) as served:
        yield served


def post_job(served: RunningStudio, route: str, body: dict[str, Any]) -> str:
    """The id of the last image of the job."""
    answer = served.open_client().post(f"{API}/{route}?wait=true", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["images"][-1]["id"]


def read_written(served: RunningStudio, asset: str, folder: Path) -> str:
    """The source type in the file as it is sent."""
    path = folder / "image"
    path.write_bytes(served.open_client().get(f"{API}/images/{asset}").content)
    return read_metadata(path).source_type


def edit(operation: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "edit", {"operation": operation, "model": "any", "prompt": "a hat", **more}


def draw_mask() -> str:
    out = io.BytesIO()
    Image.new("L", (64, 64), 255).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


ROWS = {  # what is done, and the type for a photograph that says so, for one that says nothing, for a generated image
    "img2img": (*edit("img2img", strength=0.5), EDITED, EDITED, GENERATED),
    "inpaint": (*edit("inpaint", mask=draw_mask()), EDITED, EDITED, GENERATED),
    "outpaint": (*edit("outpaint", outpaint={"left": 32}), EDITED, EDITED, GENERATED),
    "edit by words": (*edit("edit"), EDITED, EDITED, GENERATED),
    "search and replace": (*edit("search_replace", search="hat"), EDITED, EDITED, GENERATED),
    "new background": (*edit("replace_background"), EDITED, EDITED, GENERATED),
    "restored faces": ("restore-faces", {"model": "any"}, EDITED, EDITED, GENERATED),
    "creative upscale": ("upscale", {"model": "creative", **LARGER}, EDITED, EDITED, GENERATED),
    "upscaler": ("upscale", {"model": "upscaler/Sharp", **LARGER}, ENHANCED, ENHANCED, GENERATED),
    "background removed": (*edit("remove_background"), ENHANCED, ENHANCED, GENERATED),
    "plain enlarging": ("upscale", {"model": "upscaler/Lanczos", **LARGER}, CAPTURED, "", GENERATED),
    "smaller": ("derivatives", SMALLER, CAPTURED, "", GENERATED),
    "another format": ("derivatives", REWRITTEN, CAPTURED, "", GENERATED),
    "crop": ("derivatives", CROPPED, CAPTURED, "", GENERATED),
    "text and mark": ("derivatives", MARKED, CAPTURED, "", GENERATED),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_kind_of_work_marks_the_file_as_what_it_is(served: RunningStudio, row: str, tmp_path: Path) -> None:
    route, body, of_said, of_silent, of_drawn = ROWS[row]
    drawn = post_job(served, "create", {"prompt": "an apple", "model": "fake", "seed": 1})
    for image, expected in (
        (base64.b64encode(camera_jpeg(CAPTURED)).decode(), of_said),
        (base64.b64encode(camera_jpeg(seed=8)).decode(), of_silent),
        (drawn, of_drawn),
    ):
        assert read_written(served, post_job(served, route, {**body, "image": image}), tmp_path) == expected


def test_what_is_drawn_from_words_is_generated(served: RunningStudio, tmp_path: Path) -> None:
    drawn = post_job(served, "create", {"prompt": "an apple", "model": "fake", "seed": 2})
    assert read_written(served, drawn, tmp_path) == GENERATED
