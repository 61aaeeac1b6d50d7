from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from fakes import FakeBackend, open_engine
from gradio_client import Client
from PIL import Image
from serving import PASSWORDS, RunningStudio, serve_studio, wait_until

from studio.core.request import GenerationRequest
from studio.core.settings import Settings
from studio.core.user import LOCAL_USER
from studio.engine.plugins import discover
from studio.engine.storage import outputs as outputs_module
from studio.page import list_tabs, mount
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines
from studio.tabs.common.run_job import JobPanel, build_save_again_button, run_request, wire_save_again
from tests.access import find_blocks
from tests.test_merging import save_checkpoint

BUILD = """
import sys
from pathlib import Path
from studio.engine.settings_store import SettingsStore
from studio.core.settings import Settings
from studio.wiring import build_studio
from studio.serve import build_app
from studio import page
folder = Path(sys.argv[1])
studio = build_studio(SettingsStore(Settings(outputs_dir=folder, logs_dir=folder / "logs")))
build_app(studio, lambda app: page.mount(app, studio), None)
heavy = {"torch", "diffusers", "transformers"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
PUBLIC = {
    "txt2img",
    "txt2img_stop",
    "txt2img_skip",
    "img2img",
    "img2img_stop",
    "img2img_skip",
    "compare",
    "extras",
    "extras_stop",
    "extras_skip",
}


def store(folder: Path) -> LocalPipelines:
    return LocalPipelines(
        lambda: Settings(models_dir=folder),
        Catalog(folder, [], folder / ".cache"),
        Hub(folder, lambda: True, lambda: None),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    """One studio without users for the tests that look at the page."""
    folder = tmp_path_factory.mktemp("page")
    with serve_studio(folder, page=mount, models=store(folder / "models"), default_model="fake") as found:
        yield found


@pytest.mark.slow
def test_the_page_is_up_before_torch(tmp_path: Path) -> None:
    built = subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr


def test_every_tab_is_there_in_its_order() -> None:
    # A tab that cannot be imported is left out with a line in the log, so that the others still open.
    assert [tab.title for tab in list_tabs()] == [
        "Txt2Img",
        "Img2Img",
        "Extras",
        "Social Optimizer",
        "Prompts",
        "Library",
        "Compare",
        "Configurations",
        "Home",
    ]


def test_the_public_events_have_stable_names(served: RunningStudio) -> None:
    named = served.open_client().get("/gradio_api/info").json()["named_endpoints"]
    assert {name.strip("/") for name in named} == PUBLIC


@pytest.mark.parametrize("user", ["bob", "root"])
def test_hidden_handlers_ask_who_calls(tmp_path: Path, user: str) -> None:
    """Every event of Configurations, called by its number as an attacker would: an administrator's passes, bob's does
    not."""
    with serve_studio(
        tmp_path, users=True, page=mount, models=store(tmp_path / "models"), default_model="fake"
    ) as served:
        client = served.open_client(user)
        config = client.get("/config").json()
        numbers = {entry["api_name"]: entry["id"] for entry in config["dependencies"]}
        refused = 0
        for name in ("tail", "examine"):
            body = {"data": [], "fn_index": numbers[name], "session_hash": f"{user}session{name}"}
            assert client.post("/gradio_api/queue/join", json=body).status_code == 200
            with client.stream(
                "GET", "/gradio_api/queue/data", params={"session_hash": body["session_hash"]}
            ) as answer:
                done = next(line for line in answer.iter_lines() if "process_completed" in line)
            refused += '"success":false' in done.replace(" ", "")
        assert refused == (0 if user == "root" else 2)


ADMIN_BUTTONS = {
    "load-model": "tiny",
    "unload-model": "tiny",
    "hash-model": "tiny",
    "refresh-models": "tiny",
    "download": "org/name",
    "cancel-download": "org/name",
    "fetch-offer": "u2netp",
    "cancel-offer": "u2netp",
    "merge-start": "A",
    "merge-stop": None,
    "save-settings": {"log_level": "debug"},
}


def click(client: httpx.Client, config: dict[str, Any], button: str, *more: Any) -> httpx.Response:
    """Queue the click event of the button with that element id, as any script with a session could."""
    number = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == button)
    events = config["dependencies"]
    event = next(one for one in events if [number, "click"] in one["targets"])
    if not event["backend_fn"]:  # the browser gathers the form; what follows it calls the server
        event = next(one for one in events if one["trigger_after"] == event["id"])
    given = [ADMIN_BUTTONS[button], *more]
    data = [*given, *[None] * (len(event["inputs"]) - len(given))]
    body = {"data": data, "fn_index": event["id"], "session_hash": f"session-{button}"}
    return client.post("/gradio_api/queue/join", json=body)


def read_result(client: httpx.Client, button: str) -> str:
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": f"session-{button}"}) as answer:
        return next(line for line in answer.iter_lines() if "process_completed" in line).replace(" ", "")


class WatchedStore:
    """A store that notes every call which changes something."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("load", "unload", "sha256", "refresh", "download", "cancel_download", "fetch", "merge"):
            self.calls.append(name)
        return getattr(self._inner, name)


def test_a_normal_user_and_a_foreign_site_change_no_model_and_no_setting(tmp_path: Path) -> None:
    watched = WatchedStore(store(tmp_path / "models"))
    with serve_studio(tmp_path, users=True, page=mount, models=watched, default_model="fake") as served:
        before = served.studio.settings.current
        watched.calls.clear()
        bob, root = served.open_client("bob"), served.open_client("root")
        config = bob.get("/config").json()
        root.headers["Origin"] = "https://evil.example"
        for button in ADMIN_BUTTONS:
            assert click(bob, config, button).status_code == 200
            answer = read_result(bob, button)
            assert "Youraccountmaynot" in answer, button
            assert '"success":false' in answer, button
            assert click(root, config, button).status_code == 403, button
        assert watched.calls == []
        assert served.studio.settings.current == before


def test_an_administrator_refreshes_the_models(tmp_path: Path) -> None:
    watched = WatchedStore(store(tmp_path / "models"))
    with serve_studio(tmp_path, users=True, page=mount, models=watched, default_model="fake") as served:
        watched.calls.clear()
        client = served.open_client("root")
        assert click(client, client.get("/config").json(), "refresh-models").status_code == 200
        assert '"success":true' in read_result(client, "refresh-models")
        assert watched.calls == ["refresh"]


@pytest.mark.torch
def test_an_administrator_merges_checkpoints(tmp_path: Path) -> None:
    import torch

    folder = tmp_path / "models"
    folder.mkdir()
    context = {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(8, 768)}
    for name, value in (("A", 1.0), ("B", 3.0)):
        save_checkpoint(folder, name, value, tensors=context)
    catalog = Catalog(folder, list(discover("studio.pipelines.families", "PIPELINE")), folder / ".cache")
    models = LocalPipelines(lambda: Settings(models_dir=folder), catalog, Hub(folder, lambda: True, catalog.refresh))
    with serve_studio(tmp_path, users=True, page=mount, models=models, default_model="fake") as served:
        client = served.open_client("root")
        values = "B", "", "weighted sum", 0.5, "M00: 1", "as in A", "half"
        assert click(client, client.get("/config").json(), "merge-start", *values).status_code == 200
        answer = read_result(client, "merge-start")
        assert '"success":true' in answer, answer
        wait_until(lambda: all(one.finished for one in models.list_downloads()))
        assert [(one.repo_id, one.error) for one in models.list_downloads()] == [("half", "")]
        assert "half" in [weight.name for weight in models.weights()], "it is listed at once"


def test_no_setting_lies_in_the_page_of_somebody_else(tmp_path: Path) -> None:
    with serve_studio(
        tmp_path, users=True, page=mount, models=store(tmp_path / "models"), default_model="fake"
    ) as served:
        client = served.open_client("bob")
        pages = client.get("/config").text + client.get("/").text
        assert str(tmp_path) not in pages
        assert not any(password in pages for password in PASSWORDS.values())


def test_sessions_are_bounded_and_uploads_go_away(tmp_path: Path) -> None:
    with serve_studio(
        tmp_path, page=mount, models=store(tmp_path / "models"), default_model="fake", session_limit=17
    ) as served:
        blocks = find_blocks(served.app)
        assert blocks.state_session_capacity == 17
        assert blocks.delete_cache is not None


def test_events_of_forms_touch_few_components(served: RunningStudio) -> None:
    """Gradio's page looks each input and each component that shows progress up at every step of every event that comes
    later."""
    events = served.open_client().get("/config").json()["dependencies"]
    touched = {
        event["api_name"]: len({*event["inputs"], *(event["show_progress_on"] or event["outputs"])})
        for event in events
        if event["backend_fn"]
    }
    assert len(touched) > 100
    assert {name: count for name, count in touched.items() if count > 15} == {}


def test_what_the_page_asks_as_it_comes_up_does_not_queue(served: RunningStudio) -> None:
    """Gradio's stream of queued answers closes when its last event ends, and loses what is asked in that moment."""
    events = served.open_client().get("/config").json()["dependencies"]
    loads = [event for event in events if event["backend_fn"] and any(name == "load" for _, name in event["targets"])]
    queued = {event["api_name"].strip("_0123456789") for event in loads if event["queue"]}
    assert len(loads) > 10
    assert queued == {"attach"}, "a running job alone is followed through the queue"


def test_another_program_names_only_the_fields_that_it_means(served: RunningStudio) -> None:
    client = Client(served.url, verbose=False, download_files=False)
    client.predict({"prompt": "a hat", "count": 2}, api_name="/txt2img")
    drawn = [(request.prompt, request.model) for request, _ in served.backend.seen]
    assert drawn == [("a hat", "fake")] * 2


def test_what_the_browser_remembers_counts_as_used_when_the_page_opens_and_stays_open(served: RunningStudio) -> None:
    """Kept images that nothing names are removed after a month: a form in the browser names them too."""
    kept = served.studio.engine.keep_image(Image.new("RGB", (8, 8)), LOCAL_USER).hash
    path = served.studio.engine.get_kept_file(kept, LOCAL_USER)
    os.utime(path, (1, 1))
    client = served.open_client()
    config = client.get("/config").json()
    [event] = [event for event in config["dependencies"] if event["api_name"] == "mark_used"]
    assert {name for _, name in event["targets"]} == {"load", "tick"}
    names = {part["id"]: str(part["props"].get("storage_key")) for part in config["components"]}
    remembered = [names[number] for number in event["inputs"]]
    assert {"easel-img2img-form", "easel-extras-form"} <= set(remembered)
    data = [{"source": kept} if name == "easel-img2img-form" else None for name in remembered]
    body = {"data": data, "fn_index": event["id"], "session_hash": "session"}
    assert client.post("/gradio_api/run/predict", json=body).status_code == 200
    assert path.stat().st_mtime > 1


def test_images_that_the_disk_refused_are_saved_by_a_button_that_shows_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    backend = FakeBackend()
    with contextlib.closing(open_engine(tmp_path, backend)) as engine, gr.Blocks() as blocks:
        buttons = {name: gr.Button(name) for name in ("generate", "stop", "skip")}
        panel = JobPanel(
            result=gr.HTML(),
            job=gr.BrowserState(""),
            actions=gr.Column(),
            save_again=build_save_again_button(),
            **buttons,
        )
        wire_save_again(engine, panel)
        [event] = blocks.fns.values()
        seen: list[Any] = []
        with monkeypatch.context() as patch:
            patch.setattr(outputs_module, "write_synced", refuse)
            updates = run_request(engine, panel, GenerationRequest(model="fake", seed=1), LOCAL_USER)
            with pytest.raises(gr.Error, match="full"):
                seen += iter(updates.__next__, None)
        assert seen[0][panel.save_again]["visible"] is False
        assert seen[-1][panel.save_again]["visible"] is True
        asker = SimpleNamespace(username=None, session_hash="page", request=SimpleNamespace(scope={"user": LOCAL_USER}))
        seen = list(event.fn(seen[0][panel.job], asker))
        assert seen[-1][panel.save_again]["visible"] is False
        assert 'class="film' in seen[-1][panel.result]
        assert len(backend.seen) == 1


def test_every_tab_with_a_job_has_the_button_that_saves_again(served: RunningStudio) -> None:
    config = served.open_client().get("/config").json()
    buttons = {part["id"] for part in config["components"] if part["props"].get("value") == "Save again"}
    clicks = {number for event in config["dependencies"] for number, name in event["targets"] if name == "click"}
    assert len(buttons) == 4  # Txt2Img, Img2Img, Extras and Compare; there are no platform formats here
    assert buttons <= clicks
