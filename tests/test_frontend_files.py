"""The scripts and styles of Gradio's page: kept by the browser, compressed once, and only those."""

from __future__ import annotations

from collections.abc import Iterator

import brotli
import pytest
from serving import RunningStudio, serve_studio

from studio.serving.frontend_files import FOREVER, find_frontend_folder

FOLDER = find_frontend_folder()
SCRIPT = min(FOLDER.glob("core-*.js"))


@pytest.fixture(scope="module", params=["", "/easel"])
def root(request: pytest.FixtureRequest) -> str:
    """The path prefix of a proxy."""
    return request.param


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, root: str) -> Iterator[RunningStudio]:
    with serve_studio(tmp_path_factory.mktemp("served"), users=True, root_path=root) as found:
        yield found


def test_a_script_is_kept_by_the_browser_and_compressed(served: RunningStudio, root: str) -> None:
    client = served.open_client("ann")
    for _ in range(2):  # read, then from memory
        with client.stream("GET", f"{root}/assets/{SCRIPT.name}", headers={"Accept-Encoding": "br"}) as answer:
            assert brotli.decompress(b"".join(answer.iter_raw())) == SCRIPT.read_bytes()
        assert answer.headers["Cache-Control"] == FOREVER
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert "nosniff" in answer.headers["X-Content-Type-Options"]
    plain = client.get(f"{root}/assets/{SCRIPT.name}", headers={"Accept-Encoding": "identity"})
    assert (plain.content, "Content-Encoding" in plain.headers) == (SCRIPT.read_bytes(), False)


def test_nobody_gets_a_script_without_login(served: RunningStudio, root: str) -> None:
    answer = served.open_client().get(f"{root}/assets/{SCRIPT.name}", follow_redirects=False)
    assert answer.status_code in (303, 401)
    assert b"import" not in answer.content


@pytest.mark.parametrize(
    "name", ["../index.html", "..%2findex.html", "none-12345678.js", "/etc/passwd", "", "core-.js"]
)
def test_other_names_are_not_answered_from_memory(served: RunningStudio, root: str, name: str) -> None:
    answer = served.open_client("ann").get(f"{root}/assets/{name}")
    assert answer.headers.get("Cache-Control") != FOREVER
    assert b"root:" not in answer.content
