"""Threads that give up a busy core."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from studio import cli
from studio.core.thread_spinning import limit_spinning

LOAD = """
from studio.core.thread_spinning import limit_spinning
limit_spinning()
import torch
"""


def test_spinning_is_limited_unless_the_user_chose() -> None:
    for chosen, expected in (({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)):
        environment = dict(chosen)
        limit_spinning(environment)
        assert environment.get("GOMP_SPINCOUNT") == expected


def test_a_start_limits_it_before_the_studio_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def load(*_: object) -> object:
        assert called == ["limit"]
        raise SystemExit(5)

    monkeypatch.setattr(cli, "limit_spinning", lambda: called.append("limit"))
    monkeypatch.setattr(cli, "load_settings", load)
    with pytest.raises(SystemExit):
        cli.main([])


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch has GNU OpenMP on Linux only")
def test_the_library_that_torch_loads_takes_the_limit() -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env={**own, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    assert "GOMP_SPINCOUNT = '10000'" in done.stderr
