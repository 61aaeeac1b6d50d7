"""One price for a call: what is estimated, reserved and written into the ledger is what will really be sent."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fakes import FakeBackend, open_engine, wait_until_final
from PIL import Image
from providers import make_service
from serving import serve_studio
from vendor_server import Reply, VendorServer, make_png, run_vendor_server

from studio.core.events import Status
from studio.core.request import GenerationRequest
from studio.core.request_parts import Reference
from studio.core.task import Task
from studio.core.user import LOCAL_USER
from studio.engine.engine import Engine
from studio.engine.lookups import Lookups, Successor
from studio.providers.common.service_backend import Service

BASES = {"openai": "/v1", "bfl": "", "gemini": "", "stability": "", "ideogram": ""}


@pytest.fixture
def services() -> Iterator[dict[str, tuple[Service, VendorServer]]]:
    with ExitStack() as stack:
        found: dict[str, tuple[Service, VendorServer]] = {}
        for name, base in BASES.items():
            vendor = importlib.import_module(f"vendors.{name}").VENDOR
            server = stack.enter_context(run_vendor_server(vendor.stand_in()))
            found[name] = (make_service(vendor.spec, server, path=base), server)
        yield found


@pytest.fixture
def engine(tmp_path: Path, services: dict[str, tuple[Service, VendorServer]]) -> Iterator[Engine]:
    engine = open_engine(tmp_path, FakeBackend(), *(service for service, _ in services.values()))
    yield engine
    engine.close()


def keep(engine: Engine, width: int, height: int) -> str:
    return engine.keep_image(Image.new("RGB", (width, height), "red"), LOCAL_USER).hash


@pytest.mark.parametrize("model", ["openai/gpt-image-2", "bfl/flux-2-pro", "gemini/gemini-nano-banana-2.1"])
@pytest.mark.parametrize("size", [(720, 512), (1024, 1024), (3000, 2000)])
def test_estimate_reservation_and_ledger_are_the_same_figure(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, model: str, size: tuple[int, int]
) -> None:
    reserved: list[float] = []
    reserve = engine.ledger.reserve
    monkeypatch.setattr(
        engine.ledger,
        "reserve",
        lambda job, user, amount, now: (reserved.append(amount), reserve(job, user, amount, now))[1],
    )
    request = GenerationRequest(model=model, task=Task.EDIT, prompt="a fox", source=keep(engine, *size))
    told = engine.estimate(request)
    assert wait_until_final(engine.submit(request, LOCAL_USER)).status is Status.FINISHED
    [line] = engine.ledger.lines("local")
    assert told
    assert reserved == [told]
    assert line.estimated == pytest.approx(told)


@pytest.mark.parametrize(
    ("model", "size", "price"),
    [
        ("bfl/flux-2-pro", (1024, 1024), 0.045),  # one megapixel out, one in
        ("bfl/flux-2-pro", (3000, 2000), 0.03 + 0.015 * (4 - 1 + 6)),  # four out, six in
        ("gemini/gemini-nano-banana-2.1", (1024, 1024), 0.0336),
        ("gemini/gemini-nano-banana-2.1", (3000, 2000), 0.0504),
        ("openai/gpt-image-2", (1024, 1024), 0.0527),
    ],
)
def test_a_source_counts_with_its_megapixels_before_anything_is_sent(
    engine: Engine, model: str, size: tuple[int, int], price: float
) -> None:
    request = GenerationRequest(model=model, task=Task.EDIT, prompt="a fox", source=keep(engine, *size))
    assert engine.estimate(request) == pytest.approx(price, abs=2e-4)
    batch = request.replace(source=None, batch=(request.source or "", keep(engine, *size)))
    assert engine.estimate(batch) == pytest.approx(2 * price, abs=4e-4)


def test_references_and_steps_that_follow_count_as_they_are_sent(engine: Engine) -> None:
    large = keep(engine, 2048, 1024)
    edit = GenerationRequest(
        model="bfl/flux-2-pro",
        task=Task.EDIT,
        prompt="x",
        source=keep(engine, 1024, 1024),
        references=(Reference(image=large),),
    )
    assert engine.estimate(edit) == pytest.approx(0.03 + 0.015 * (1 + 2))
    drawn = GenerationRequest(model="bfl/flux-2-pro", prompt="x", width=2048, height=2048)
    chain = drawn.replace(then=(GenerationRequest(model="bfl/flux-2-pro", task=Task.EDIT, prompt="y"),))
    assert engine.estimate(chain) == pytest.approx((0.03 + 0.015 * 3) + (0.03 + 0.015 * (3 + 4)))


@pytest.mark.parametrize("name", ["stability", "ideogram"])
def test_the_asset_shows_the_seed_that_the_service_used(
    engine: Engine, services: dict[str, tuple[Service, VendorServer]], name: str
) -> None:
    vendor = importlib.import_module(f"vendors.{name}").VENDOR
    server = services[name][1]
    entry = {"url": f"{server.url}/api/images/ephemeral/x.png", "is_image_safe": True}
    body = {"image": base64.b64encode(make_png()).decode(), "finish_reason": "SUCCESS", "data": [entry], "seed": 4321}
    server.fail(Reply(body=body), path=vendor.path)
    job = engine.submit(GenerationRequest(model=vendor.model, prompt="x", seed=7), LOCAL_USER)
    [asset] = wait_until_final(job).assets
    assert (asset.seed, asset.request.seed) == (4321, 4321)
    assert "Seed: 4321" in asset.infotext


def test_retired_names_and_paid_defaults_are_priced_over_http(
    tmp_path: Path, services: dict[str, tuple[Service, VendorServer]]
) -> None:
    heir = Successor("openai/gpt-image-2.5-flare", "gone")
    service, server = services["openai"]
    with serve_studio(tmp_path, backend=[FakeBackend(), service]) as served:
        served.studio.engine._admission._find_successor = Lookups(  # type: ignore[attr-defined]
            find_successor=lambda name: heir if name == "dall-e-3" else None
        ).find_successor
        client = served.open_client()
        found = client.post(
            "/api/image-studio/estimate-cost", json={"create": {"prompt": "x", "model": "dall-e-3"}}
        ).json()
        assert found["amount"] == pytest.approx(0.0132, abs=1e-4)
        assert found["model"] == "openai/gpt-image-2.5-flare"
        assert server.seen == []
