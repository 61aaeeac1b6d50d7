"""Merging checkpoints over the native API: begin, look, stop; for administrators alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from serving import RunningStudio, serve_studio, wait_until

from studio.core.settings import Settings
from studio.engine.plugins import discover
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines

MERGES = "/api/image-studio/merges"
UNET = "model.diffusion_model."
SHAPES = {
    f"{UNET}input_blocks.0.0.weight": (8, 4, 3, 3),
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
    "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 8),
    "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
}
BODY: dict[str, Any] = {"name": "new", "first": "A", "second": "B", "amount": 0.25}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints, one of ones and one of threes."""
    folder = tmp_path_factory.mktemp("models")
    for name, value in (("A", 1), ("B", 3)):
        tensors = {key: np.full(shape, value, dtype=np.float16) for key, shape in SHAPES.items()}
        save_file(tensors, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStudio]:
    catalog = Catalog(models, discover("studio.pipelines.families", "PIPELINE"), models / ".cache")
    hub = Hub(models, lambda: True, catalog.refresh)
    store = LocalPipelines(lambda: Settings(models_dir=models), catalog, hub)
    with serve_studio(tmp_path_factory.mktemp("merging"), models=store, users=True) as served:
        yield served
    hub.close()


def wait_for_end(client: Any, name: str) -> dict[str, Any]:
    wait_until(lambda: client.get(f"{MERGES}/{name}").json()["status"] != "running")
    found: dict[str, Any] = client.get(f"{MERGES}/{name}").json()
    return found


@pytest.mark.torch
def test_an_administrator_merges_and_sees_how_far_it_is(served: RunningStudio, models: Path) -> None:
    root = served.open_client("root")
    answer = root.post(MERGES, json={**BODY, "name": "a new (one)", "blocks": "BASE: 1", "format": "same"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["name"] == "a new (one)"
    ended = wait_for_end(root, "a new (one)")
    assert (ended["status"], ended["progress"], ended["error"]) == ("finished", 1, "")
    assert ended["done"] == ended["total"] > 0
    merged = load_file(models / "checkpoints" / "a new (one).safetensors")
    assert [float(merged[name].mean()) for name in SHAPES] == [1.5, 1.5, 3.0, 3.0]
    assert "a new (one)" in [one["name"] for one in root.get(MERGES).json()["merges"]]
    again = root.post(MERGES, json={**BODY, "name": "a new (one)"})
    assert (again.status_code, again.json()["code"]) == (400, "INVALID_REQUEST")
    assert root.delete(f"{MERGES}/a new (one)").json()["status"] == "finished", "a finished one keeps its file"


@pytest.mark.torch
def test_a_merge_is_stopped_and_leaves_nothing(
    served: RunningStudio, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, go_on, advance = served.open_client("root"), threading.Event(), Hub._advance

    def advance_slowly(self: Hub, download: Any, amount: int, total: int | None = None) -> None:
        if amount:
            go_on.wait(30)
        advance(self, download, amount, total)

    monkeypatch.setattr(Hub, "_advance", advance_slowly)
    assert root.post(MERGES, json={**BODY, "name": "stopped"}).json()["status"] == "running"
    twice = root.post(MERGES, json={**BODY, "name": "stopped"})
    assert twice.status_code == 400
    assert root.delete(f"{MERGES}/stopped").status_code == 200
    go_on.set()
    ended = wait_for_end(root, "stopped")
    assert ended["status"] == "cancelled"
    assert ended["error"].startswith("Stopped")
    assert not list((models / "checkpoints").glob("*stopped*"))


def test_only_administrators_merge_see_and_stop(served: RunningStudio, models: Path) -> None:
    for name, status in (("ann", 403), ("bob", 403), (None, 401)):
        client = served.open_client(name)
        answers = [
            client.post(MERGES, json={**BODY, "name": "of a member"}),
            client.get(MERGES),
            client.get(f"{MERGES}/of a member"),
            client.delete(f"{MERGES}/of a member"),
        ]
        assert [answer.status_code for answer in answers] == [status] * 4, name
    assert served.open_client("root").get(f"{MERGES}/of a member").status_code == 404
    assert not list(models.rglob("of a member*"))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": "../evil"}, 400),
        ({"name": "/tmp/evil"}, 400),
        ({"name": "a\\b"}, 400),
        ({"name": ".hidden"}, 400),
        ({"name": "nul\0"}, 400),
        ({"name": "x" * 200}, 422),
        ({"name": ""}, 400),
        ({"second": "nothing"}, 404),
        ({"second": "../B"}, 404),
        ({"second": "/etc/passwd"}, 404),
        ({"second": ""}, 400),
        ({"amount": 1.5}, 400),
        ({"amount": -1}, 422),
        ({"amount": "much"}, 422),
        ({"method": "add_difference"}, 400),
        ({"method": "multiply"}, 422),
        ({"format": "int4"}, 422),
        ({"blocks": "IN00"}, 400),
        ({"blocks": "IN00: 3"}, 400),
        ({"blocks": "1," * 5000}, 422),
        ({"path": "/tmp"}, 422),
    ],
)
def test_what_cannot_be_merged_is_refused(
    served: RunningStudio, models: Path, changes: dict[str, Any], status: int
) -> None:
    before = {path for path in models.rglob("*") if ".cache" not in path.parts}
    root = served.open_client("root")
    count = len(root.get(MERGES).json()["merges"])
    answer = root.post(MERGES, json={**BODY, "name": "refused", **changes})
    assert answer.status_code in (status, 400 if status == 422 else status), answer.text
    assert answer.json()["error"]
    assert str(models) not in answer.text
    assert len(root.get(MERGES).json()["merges"]) == count
    assert {path for path in models.rglob("*") if ".cache" not in path.parts} == before


def test_downloads_are_no_merges(served: RunningStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    store = served.studio.store
    held = threading.Event()
    hub: Any = store._hub  # type: ignore[attr-defined]
    monkeypatch.setattr(hub, "_offline", lambda: False)
    hub._start_download("some/model", lambda download: held.wait(30))
    try:
        root = served.open_client("root")
        assert [one.repo_id for one in store.list_downloads() if not one.is_merge] == ["some/model"]
        assert "some/model" not in root.get(MERGES).text
        assert root.delete(f"{MERGES}/some%2Fmodel").status_code == 404
    finally:
        held.set()
