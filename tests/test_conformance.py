"""The script that scores the APIs of a running studio, against a whole one."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from dialect_studio import make_backend, serve_dialects
from whole_studio import serve_whole_studio

from studio.engine.api_tokens import TokenScope
from tools import conformance

COUNTS = {  # so that a check that is lost does not go unnoticed
    "AUTOMATIC1111": 71,
    "ControlNet": 16,
    "OpenAI": 28,
    "MCP": 24,
    "ComfyUI": 37,
    "Short routes": 9,
    "One seed": 5,
}


NEED_A_MODEL = {  # what fakes do not do: enlarge, keep within a mask, follow a control image, cut formats
    "loopback, SD upscale and outpainting are drawn",
    "black parts of a mask keep their pixels",
    "extras enlarge by a factor, to a size, and leave as it is",
    "extras of several images keep their order",
    "GET upscalers has its shape",
    "a unit changes what is drawn",
    "a mask changes what is transparent, and nothing else",
    "an image is enlarged",
    "an image is cut into the formats of a platform",
    "models, templates and the library are listed, and costs are told",
    "inpainting by both nodes",
    "an upscaler enlarges an image",
    "derivatives in several sizes and file types",
}


def read_scores(told: str) -> dict[str, tuple[int, int]]:
    """(passed, of) by API."""
    scores = [line.rpartition(": ") for line in told.splitlines() if not line.startswith(" ")]
    return {api: (int(score.split()[0]), int(score.split()[2])) for api, _, score in scores}


@pytest.mark.torch
def test_the_whole_studio_passes_all_checks_of_every_api(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve_whole_studio(tmp_path, users=True, preview_interval=0.1, accelerator="none") as served:
        token = served.studio.engine.tokens.create("ann", "conformance", TokenScope.GENERATE)
        status = conformance.main([served.url, "--token", token])
    told = capsys.readouterr().out
    assert status == 0, told
    assert {api: passed for api, (passed, _) in read_scores(told).items() if api != "All"} == COUNTS


def test_users_pass_with_a_token_what_needs_no_real_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("models/controlnet/embedded-edges", tmp_path / "models" / "controlnet" / "edges")
    backend = make_backend()
    # An image that is to be interrupted must not be there before the interruption.
    backend.fail = lambda request, step: time.sleep(0.5) if (request.steps or 0) >= 1000 else None
    with serve_dialects(tmp_path, users=True, backend=backend) as served:
        token = served.studio.engine.tokens.create("ann", "conformance", TokenScope.GENERATE)
        assert conformance.main([served.url, "--token", token]) == 1
    told = capsys.readouterr().out
    failed = {line.strip(" -").partition(": ")[0] for line in told.splitlines() if line.startswith("  - ")}
    assert failed == NEED_A_MODEL, told
    assert {api: of for api, (_, of) in read_scores(told).items() if api != "All"} == COUNTS


def test_what_fails_is_named_with_its_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve_dialects(tmp_path, api_openai=False) as served:
        assert conformance.main([served.url, "--only", "OpenAI"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("OpenAI: 0 of ")
    assert "- models are listed, and one by its id: /v1/models answers 404" in told
