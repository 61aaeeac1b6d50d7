"""Providers, estimates, ledger, upscale and image info over HTTP; a sentinel key that must turn up nowhere."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FAKE_MODEL, FakeBackend, draw_fake_image
from providers import SENTINEL
from serving import RunningStudio, make_users, serve_studio
from vendor_server import Reply, run_vendor_server
from vendors.stability import Stability

from studio.core.model import Model
from studio.core.task import Task
from studio.engine.metadata.embed import EmbeddedMetadata, encode_image
from studio.engine.money.cloud_accounts import CloudAccounts
from studio.engine.money.keys import KeyStore
from studio.providers.common.service_backend import Service
from studio.providers.stability import PROVIDER

API = "/api/image-studio"
UPSCALER = Model(
    id="upscaler/Lanczos", title="Lanczos", family="upscaler", tasks=frozenset({Task.UPSCALE}), features=frozenset()
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningStudio]:
    """A studio with the real service of Stability AI, which talks to a stand-in, beside the fake."""
    with run_vendor_server(Stability()) as vendor:
        keys = KeyStore(tmp_path / "user" / "keys.json", {})
        service = Service(PROVIDER, keys, lambda: vendor.url)
        fake = FakeBackend(dataclasses.replace(FAKE_MODEL, tasks=frozenset({Task.TXT2IMG})), UPSCALER)
        with serve_studio(tmp_path, backend=[fake, service], users=make_users(tmp_path)) as served:
            object.__setattr__(
                served.studio, "clouds", CloudAccounts([service], keys, lambda: served.studio.settings.current)
            )
            served.vendor = vendor  # type: ignore[attr-defined]
            yield served


def unlock(served: RunningStudio) -> None:
    assert served.studio.clouds is not None
    served.studio.clouds.set_key("stability", SENTINEL)


def test_a_service_is_locked_until_its_key_is_set_and_the_key_is_never_told(served: RunningStudio) -> None:
    ann, root = served.open_client("ann"), served.open_client("root")
    [before] = ann.get(f"{API}/providers").json()["providers"]
    assert "STABILITY_API_KEY" in before["locked"]
    assert not before["keySet"]
    refused = ann.post(f"{API}/create", json={"prompt": "x", "model": "stability/core"})
    assert refused.status_code >= 400
    assert "STABILITY_API_KEY" in refused.text
    unlock(served)
    [after] = ann.get(f"{API}/providers").json()["providers"]
    assert (after["locked"], after["keySet"], after["keyEnds"]) == ("", True, "")
    assert root.get(f"{API}/providers").json()["providers"][0]["keyEnds"] == SENTINEL[-4:]
    assert {"stability/core", "stability/edit"} <= {model["id"] for model in after["models"]}


def test_an_estimate_costs_nothing_and_the_ledger_tells_what_was_spent(served: RunningStudio) -> None:
    unlock(served)
    ann = served.open_client("ann")
    wish = {"prompt": "a fox", "model": "stability/core", "count": 2}
    found = ann.post(f"{API}/estimate-cost", json={"create": wish}).json()
    assert (found["amount"], found["model"]) == (pytest.approx(0.06), "stability/core")
    assert ann.post(f"{API}/estimate-cost", json={"create": {"prompt": "x"}}).json()["amount"] == 0
    assert served.vendor.seen == []  # type: ignore[attr-defined]
    done = ann.post(f"{API}/create?wait=true", json=wish)
    assert done.status_code == 200, done.text
    [line] = ann.get(f"{API}/ledger").json()["lines"]
    assert (line["provider"], line["pictures"], line["billed"]) == ("stability", 2, pytest.approx(0.06))
    assert served.open_client("bob").get(f"{API}/ledger").json()["lines"] == []
    assert served.open_client("bob").get(f"{API}/ledger?everybody=true").status_code == 403
    assert len(served.open_client("root").get(f"{API}/ledger?everybody=true").json()["lines"]) == 1


def test_a_sentinel_key_turns_up_nowhere(served: RunningStudio, tmp_path: Path) -> None:
    unlock(served)
    ann = served.open_client("ann")
    answers = [ann.post(f"{API}/create?wait=true", json={"prompt": "x", "model": "stability/core"}).text]
    for reply in (
        Reply(status=401, body={"errors": [f"bad key {SENTINEL}"]}),
        Reply(status=400, body={"errors": ["no"]}),
        Reply(status=500, body=b"<html>"),
        Reply(drop=True),
        Reply(status=429, headers={"Retry-After": "999"}, body={}),
    ):
        served.vendor.fail(reply, times=5)  # type: ignore[attr-defined]
        answers.append(ann.post(f"{API}/create?wait=true", json={"prompt": "x", "model": "stability/core"}).text)
        served.vendor._queued.clear()  # type: ignore[attr-defined]
    for path in ("/jobs", "/providers", "/ledger", "/models"):
        answers.append(ann.get(API + path).text)
    assert not [text for text in answers if SENTINEL in text]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and SENTINEL.encode() in path.read_bytes()]
    assert [path.name for path in written] == ["keys.json"]


def test_upscale_by_mode_and_by_model(served: RunningStudio) -> None:
    ann = served.open_client("ann")
    image = base64.b64encode(encode_image(draw_fake_image(1, 64, 64), "png", quality=90)).decode()
    done = ann.post(f"{API}/upscale?wait=true", json={"image": image, "quality": "draft"})
    assert done.status_code == 200, done.text
    request = served.backend[0].seen[-1][0]
    assert (request.model, request.upscale.scale) == ("upscaler/Lanczos", 4)
    ann.post(
        f"{API}/upscale?wait=true", json={"image": image, "model": "upscaler/Lanczos", "upscale": {"long_side": 100}}
    )
    assert served.backend[0].seen[-1][0].upscale.long_side == 100
    assert ann.post(f"{API}/upscale", json={"image": image, "mode": "magic"}).status_code == 404
    assert ann.post(f"{API}/upscale", json={"image": image, "mode": "creative"}).status_code == 404


def test_image_info(served: RunningStudio) -> None:
    data = encode_image(
        draw_fake_image(1, 64, 48),
        "webp",
        quality=90,
        carried=EmbeddedMetadata(infotext="a fox\nSteps: 4, Seed: 7, Size: 64x48"),
    )
    form = served.open_client("ann").post(f"{API}/png-info", files={"image": ("a.webp", io.BytesIO(data))}).json()
    assert (form["program"], form["request"]["seed"], form["width"], form["bytes"]) == (
        "AUTOMATIC1111",
        7,
        64,
        len(data),
    )
    assert served.open_client("ann").post(f"{API}/png-info", json={"image": "AAAA"}).status_code == 400
