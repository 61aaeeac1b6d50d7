"""Cloud providers and spending on Configurations: keys by their ends only, administrators only, and a table that adds
up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import FakeBackend
from providers import SENTINEL
from serving import RunningStudio, serve_studio
from vendor_server import VendorServer, run_vendor_server
from vendors.openai import OpenAI

from studio.core.settings import Settings
from studio.engine.money.cloud_accounts import CloudAccounts, CloudState
from studio.engine.money.keys import KeyState, KeyStore
from studio.engine.money.ledger import LedgerRow
from studio.page import mount
from studio.pipelines.catalog.catalog import Catalog
from studio.pipelines.catalog.hub import Hub
from studio.pipelines.local_backend import LocalPipelines
from studio.providers.common.service_backend import Service
from studio.providers.openai import PROVIDER
from studio.tabs.configurations.cloud_services import _render_services_table, render_spending

EVENTS = ("keep_key", "test_key", "remove_key")


@pytest.fixture
def vendor() -> Iterator[VendorServer]:
    with run_vendor_server(OpenAI()) as server:
        yield server


@pytest.fixture
def served(tmp_path: Path, vendor: VendorServer) -> Iterator[RunningStudio]:
    with serve_clouds(tmp_path, vendor) as found:
        yield found


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningStudio, VendorServer]]:
    """One studio without a key, and its vendor, for the tests that are refused."""
    with run_vendor_server(OpenAI()) as vendor, serve_clouds(tmp_path_factory.mktemp("locked"), vendor) as found:
        yield found, vendor


@contextmanager
def serve_clouds(folder: Path, vendor: VendorServer) -> Iterator[RunningStudio]:
    keys = KeyStore(folder / "keys.json", {})
    service = Service(PROVIDER, keys, lambda: f"{vendor.url}/v1")
    models = folder / "models"
    store = LocalPipelines(
        lambda: Settings(models_dir=models),
        Catalog(models, [], models / ".cache"),
        Hub(models, lambda: True, lambda: None),
    )
    with ExitStack() as stack:
        served = stack.enter_context(
            serve_studio(
                folder, users=True, backend=[FakeBackend(), service], page=mount, models=store, default_model="fake"
            )
        )
        object.__setattr__(
            served.studio, "clouds", CloudAccounts([service], keys, lambda: served.studio.settings.current)
        )
        yield served


def press(served: RunningStudio, client: httpx.Client, button: str, key: str = "") -> str:
    """Press a button of the panel as the page would, for OpenAI; everything that comes back."""
    names = {entry["api_name"]: entry["id"] for entry in client.get("/config").json()["dependencies"]}
    body = {"data": ["openai", key], "fn_index": names[button], "session_hash": f"x{button}{len(key)}"}
    assert client.post("/gradio_api/queue/join", json=body).status_code == 200
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": body["session_hash"]}) as answer:
        return next(line for line in answer.iter_lines() if "process_completed" in line)


def test_a_key_is_set_tested_and_removed_and_never_told(served: RunningStudio, vendor: VendorServer) -> None:
    root = served.open_client("root")
    assert "Key for OpenAI saved. Its models are now available." in press(served, root, "keep_key", SENTINEL)
    told = press(served, root, "test_key")
    assert "The key works." in told
    assert "gpt-image-2 will be retired on 2027-06-01" in told
    assert f"set here, ends in \\u2026{SENTINEL[-4:]}" in json.dumps(json.loads(told.removeprefix("data: ")))
    assert SENTINEL not in told
    assert [seen.path for seen in vendor.seen] == ["/v1/models"] * len(vendor.seen)  # nothing that costs money
    assert "Key for OpenAI removed." in press(served, root, "remove_key")
    assert served.studio.clouds is not None
    assert served.studio.clouds.all()[0].locked


def test_a_wrong_key_says_so(served: RunningStudio) -> None:
    root = served.open_client("root")
    assert "Invalid API key." in press(served, root, "keep_key", "two words")
    press(served, root, "keep_key", "sk-wrong-0123456789")
    assert "OpenAI rejected the key." in press(served, root, "test_key")


@pytest.mark.parametrize("button", EVENTS)
def test_only_an_administrator_may(locked: tuple[RunningStudio, VendorServer], button: str) -> None:
    served, vendor = locked
    answer = press(served, served.open_client("bob"), button, "sk-of-bob-0123456789")
    assert "administrator" in answer
    assert '"success":false' in answer.replace(" ", "")
    assert served.studio.clouds is not None
    assert served.studio.clouds.all()[0].locked
    assert vendor.seen == []


def state(**changes: Any) -> CloudState:
    values: dict[str, Any] = {"id": "x", "title": "X", "site": "x.example", "locked": "", "key": None, "models": ()}
    return CloudState(**{**values, **changes})


def test_the_table_tells_where_a_key_is_from() -> None:
    table = _render_services_table(
        [
            state(title="<i>"),
            state(key=KeyState(name="K"), locked="it needs a key"),
            state(key=KeyState(name="K", where="environment")),
            state(key=KeyState(name="K", where="file", ends="1234")),
        ]
    )
    assert "<i>" not in table
    for words in (
        "none needed",
        "not set",
        "Locked:</b> <span>it needs a key",
        "set in the environment",
        "set here, ends in …1234",
    ):
        assert words in table


def test_what_was_spent_adds_up() -> None:
    day = {"day": "2026-11-20", "user": "ann", "images": 2, "estimated": 0.1}
    lines = [LedgerRow(provider="openai", billed=0.08, **day), LedgerRow(provider="<i>", billed=0.02, **day)]
    table = render_spending(lines)
    assert "$0.10 in the last 31 days" in table
    assert "<i>" not in table
    assert "inline-size:25%" in table
    assert "No spending" in render_spending([])
