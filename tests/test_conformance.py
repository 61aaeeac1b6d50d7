"""The script that scores the APIs of a running studio."""

from __future__ import annotations

from pathlib import Path

import pytest
from dialect_studio import serve_dialects

from studio.engine.api_tokens import TokenScope
from tools import conformance


def test_a_studio_passes_all_checks_of_every_api(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve_dialects(tmp_path, users=True) as served:
        token = served.studio.engine.tokens.create("ann", "conformance", TokenScope.GENERATE)
        apis = ("OpenAI", "MCP", "ComfyUI")
        arguments = [word for api in apis for word in ("--only", api)]
        assert conformance.main([served.url, "--token", token, *arguments]) == 0
    told = capsys.readouterr().out
    for api in apis:
        passed, _, of = told.partition(f"{api}: ")[2].partition("\n")[0].partition(" of ")
        assert passed == of
        assert int(of) > 3


def test_what_fails_is_named_with_its_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve_dialects(tmp_path, api_openai=False) as served:
        assert conformance.main([served.url, "--only", "OpenAI"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("OpenAI: 0 of 8")
    assert "- models by id: KeyError" in told
